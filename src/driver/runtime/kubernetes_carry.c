/* A sidecar that was upgraded alone (driver/sidecar) drifts from the template. The next colour is
 * made with what live runs, not with what the template still says; a template that names another
 * image since then has the last word. */
#include "driver/runtime/kubernetes.h"
#include "driver/sidecar/sidecar.h"
#include "format/json.h"
#include "translate/deployment.h"

#include <string.h>

/* Of the pod's template: {"container": {"from": what the template said, "to": what it became}}, so
 * that the colour after the next one has it, too. */
#define CARRIED "changeover/carried"

static const char *const lists[] = {"initContainers", "containers"};

static json_t *carried_before(json_t *pod)
{
    const char *text =
        json_string_value(json_object_get(json_at(pod, "metadata.annotations"), CARRIED));
    json_t *j = NULL;
    return text && json_read(text, strlen(text), &j, NULL) == 0 && json_is_object(j)
               ? j
               : (json_decref(j), json_object());
}

/* What the template said when the drift began; "": it has not drifted. */
static void base_of(json_t *pod, json_t *before, const char *name, char base[512])
{
    cleanup_json json_t *record = sidecar_record(pod, name);
    const char *first = json_string_value(json_at(json_object_get(before, name), "from")),
               *since = json_string_value(json_object_get(record, "from"));
    str_format(base, 512, "%s", first ? first : since ? since : "");
}

static bool carry(struct kubernetes *u, json_t *pod, json_t *before, json_t *container, json_t *now)
{
    const char *name = json_string_value(json_object_get(container, "name")),
               *image = json_string_value(json_object_get(container, "image"));
    struct sidecar_container runs;
    char base[512];
    if (!name || !image || sidecar_find(pod, name, &runs, NULL) < 0)
        return false;
    base_of(pod, before, name, base);
    if (!str_eq(base, image) || str_eq(runs.wanted, image))
        return false;
    event_note(u->ctx->sink, "%s gets '%s' with %s, as %s has it; the template still says %s",
               colour_name(u->c), name, runs.wanted, colour_name(colour_other(u->c)), base);
    json_object_set_new(now, name, json_pack("{s:s, s:s}", "from", base, "to", runs.wanted));
    json_object_set_new(container, "image", json_string(runs.wanted));
    return true;
}

static void carry_all(struct kubernetes *u, json_t *pod, json_t *manifest)
{
    json_t *template = json_at(manifest, "spec.template"), *spec = json_at(template, "spec"), *c;
    json_t *service = deployment_container(spec, u->spec->runtime.kubernetes.container, NULL);
    cleanup_json json_t *before = carried_before(pod), *now = json_object();
    cleanup_str struct str text = {0};
    bool any = false;
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t i;
        json_array_foreach(json_object_get(spec, lists[l]), i, c)
        {
            if (c != service && carry(u, pod, before, c, now))
                any = true;
        }
    }
    if (!any)
        return;
    json_t *meta = json_object_get(template, "metadata");
    if (!json_object_get(meta, "annotations"))
        json_object_set_new(meta, "annotations", json_object());
    json_print(now, 0, &text);
    json_object_set_new(json_object_get(meta, "annotations"), CARRIED,
                        json_string(str_cstr(&text)));
}

int kubernetes_carry(struct kubernetes *u, json_t *manifest, struct err *err)
{
    cleanup_kubernetes struct kubernetes o = {0};
    cleanup_json json_t *there = NULL, *pods = NULL;
    const struct spec *other = u->ctx->side[colour_other(u->c)];
    if (!other || !str_eq(other->runtime.driver, "kubernetes"))
        return 0;
    if (kubernetes_open(u->ctx, colour_other(u->c), KUBERNETES_PATIENCE, &o, err) < 0 ||
        kubernetes_deployment(&o, &there, err) < 0)
        return -1;
    if (!there)
        return 0;
    if (kubernetes_pods(&o, there, &pods, err) < 0)
        return -1;
    json_t *pod = kubernetes_pod_current(pods);
    if (pod)
        carry_all(u, pod, manifest);
    return 0;
}
