#include "translate/deployment_internal.h"

#include "format/json.h"

#include <stdlib.h>
#include <string.h>

#define MARKS "/.changeover/" /* in the container; a directory for each volume's mark */

const char *deployment_mark(char buf[256], const char *service, enum colour c)
{
    return str_format(buf, 256, DEPLOYMENT_MARK_PREFIX "%.128s-%s", service, colour_name(c));
}

char *deployment_node_path(const struct spec_kubernetes *k, const char *path)
{
    const struct spec_var *best = NULL;
    for (size_t i = 0; i < k->node_paths.n; i++) {
        const struct spec_var *v = &k->node_paths.items[i];
        size_t n = strlen(v->name);
        if (strncmp(path, v->name, n) == 0 && (path[n] == '/' || !path[n]) &&
            (!best || n > strlen(best->name)))
            best = v;
    }
    return best ? x_asprintf("%s%s", best->value, path + strlen(best->name)) : x_strdup(path);
}

static json_t *named(json_t *list, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (str_eq(json_string_value(json_object_get(item, "name")), name))
            return item;
    }
    return NULL;
}

json_t *deployment_container(json_t *pod_spec, const char *name, struct err *err)
{
    json_t *list = json_object_get(pod_spec, "containers");
    json_t *found = name ? named(list, name) : json_array_get(list, 0);
    cleanup_str struct str names = {.max = 400};
    size_t i;
    json_t *item;
    if (found)
        return found;
    json_array_foreach(list, i, item)
    {
        const char *n = json_string_value(json_object_get(item, "name"));
        str_addf(&names, "%s%s", names.len ? ", " : "", n ? n : "");
    }
    err_set(err, ERR_USAGE, "the pod has no container '%.100s'; it has: %s", name ? name : "",
            str_cstr(&names));
    (void)err_hint(err, "correct runtime.kubernetes.container");
    return NULL;
}

const char *deployment_singleton(json_t *pod_spec, const struct strv *singleton)
{
    static const char *const lists[] = {"initContainers", "containers"};
    for (size_t l = 0; l < ARRAY_LEN(lists); l++)
        for (size_t i = 0; i < singleton->n; i++)
            if (named(json_object_get(pod_spec, lists[l]), singleton->v[i]))
                return singleton->v[i];
    return NULL;
}

/* --- texts ----------------------------------------------------------------------------------- */

static int expand_all(json_t *value, const struct deployment_goal *g, const char *at,
                      struct err *err)
{
    const char *key;
    size_t i;
    json_t *item;
    if (json_is_object(value)) {
        json_object_foreach(value, key, item)
        {
            if (expand_all(item, g, key, err) < 0)
                return -1;
        }
        return 0;
    }
    json_array_foreach(value, i, item)
    {
        if (expand_all(item, g, at, err) < 0)
            return -1;
    }
    if (!json_is_string(value) || !strstr(json_string_value(value), "${"))
        return 0;
    cleanup_str struct str out = {0};
    if (deployment_expand(g, json_string_value(value), &out, err) < 0)
        return err_ctx(err, "template, '%s'", at);
    json_string_set(value, str_cstr(&out));
    return 0;
}

/* --- parts ----------------------------------------------------------------------------------- */

/* The object under a key, made if it is missing. Borrowed. */
static json_t *sub(json_t *object, const char *key)
{
    json_t *found = json_object_get(object, key);
    if (json_is_object(found))
        return found;
    json_object_set_new(object, key, json_object());
    return json_object_get(object, key);
}

static json_t *sub_list(json_t *object, const char *key)
{
    json_t *found = json_object_get(object, key);
    if (json_is_array(found))
        return found;
    json_object_set_new(object, key, json_array());
    return json_object_get(object, key);
}

static void label(json_t *labels, const struct deployment_goal *g, bool upgrade)
{
    json_object_set_new(labels, DEPLOYMENT_SERVICE, json_string(g->spec->service));
    json_object_set_new(labels, DEPLOYMENT_COLOUR, json_string(colour_name(g->spec->colour)));
    if (upgrade && g->upgrade && *g->upgrade)
        json_object_set_new(labels, DEPLOYMENT_UPGRADE, json_string(g->upgrade));
}

static void set_env(json_t *container, const struct spec_runtime *r)
{
    if (!r->env_n)
        return;
    json_t *env = sub_list(container, "env");
    for (size_t i = 0; i < r->env_n; i++) {
        json_t *it = named(env, r->env[i].name);
        if (!it) {
            it = json_pack("{s:s}", "name", r->env[i].name);
            json_array_append_new(env, it);
        }
        json_object_del(it, "valueFrom");
        json_object_set_new(it, "value", json_string(r->env[i].value));
    }
}

static json_t *texts(const struct strv *list)
{
    json_t *j = json_array();
    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(j, json_string(list->v[i]));
    return j;
}

static void set_command(json_t *container, const struct spec *s)
{
    if (s->runtime.command.n) {
        json_object_set_new(container, "command", texts(&s->runtime.command));
        json_object_del(container, "args");
    }
    if (s->stop.command.argv.n)
        json_object_set_new(
            sub(container, "lifecycle"), "preStop",
            json_pack("{s:{s:o}}", "exec", "command", texts(&s->stop.command.argv)));
}

static const char *pod_volume(const struct spec_kubernetes *k, const char *name)
{
    for (size_t i = 0; i < k->volumes.n; i++)
        if (str_eq(k->volumes.items[i].name, name))
            return k->volumes.items[i].value;
    return name;
}

static void put_host_path(json_t *volumes, const char *name, const char *path, const char *type)
{
    json_t *it = named(volumes, name);
    if (!it) {
        it = json_object();
        json_array_append_new(volumes, it);
    }
    json_object_clear(it);
    json_object_set_new(it, "name", json_string(name));
    json_object_set_new(it, "hostPath", json_pack("{s:s, s:s}", "path", path, "type", type));
}

static int set_volume(json_t *pod, json_t *container, const struct deployment_goal *g,
                      const struct spec_volume *v, struct err *err)
{
    const struct spec_kubernetes *k = &g->spec->runtime.kubernetes;
    const char *name = pod_volume(k, v->name);
    json_t *volumes = json_object_get(pod, "volumes"),
           *mounts = sub_list(container, "volumeMounts");
    char mark[256];
    bool mounted = false;
    size_t i;
    json_t *item;
    json_array_foreach(mounts, i, item)
    {
        mounted = mounted || str_eq(json_string_value(json_object_get(item, "name")), name);
    }
    if (!named(volumes, name) || !mounted) {
        err_set(err, ERR_USAGE, "volume '%s': the template's %s no volume '%s'", v->name,
                mounted ? "pod has" : "container mounts", name);
        return err_hint(err, "write `volumes: {%s: NAME}` under runtime.kubernetes", v->name);
    }
    cleanup_free char *path = deployment_node_path(k, v->path);
    cleanup_free char *file =
        x_asprintf("%s/%s", path, deployment_mark(mark, g->spec->service, g->spec->colour));
    cleanup_free char *mark_name =
        x_asprintf("changeover-mark-%zu", (size_t)(v - g->spec->volumes));
    cleanup_free char *at = x_asprintf(MARKS "%s", v->name);
    put_host_path(volumes, name, path, "Directory");
    put_host_path(volumes, mark_name, file, "File");
    json_array_append_new(
        mounts, json_pack("{s:s, s:s, s:b}", "name", mark_name, "mountPath", at, "readOnly", 1));
    return 0;
}

static json_int_t whole_seconds(nsec_t t)
{
    return (t + NSEC_S - 1) / NSEC_S;
}

static int render_pod(json_t *pod, const struct deployment_goal *g, struct err *err)
{
    const struct spec *s = g->spec;
    json_t *container = deployment_container(pod, s->runtime.kubernetes.container, err);
    if (!container)
        return -1;
    json_object_set_new(pod, "terminationGracePeriodSeconds",
                        json_integer(whole_seconds(s->stop.grace)));
    set_env(container, &s->runtime);
    set_command(container, s);
    for (size_t i = 0; i < s->volumes_n; i++)
        if (set_volume(pod, container, g, &s->volumes[i], err) < 0)
            return -1;
    return deployment_ports(container, g, err);
}

static int is_deployment(const json_t *template, struct err *err)
{
    const char *kind = json_string_value(json_object_get(template, "kind")),
               *api = json_string_value(json_object_get(template, "apiVersion"));
    const json_t *pod =
        json_object_get(json_object_get(json_object_get(template, "spec"), "template"), "spec");
    if (str_eq(kind, "Deployment") && str_eq(api, "apps/v1") && json_is_object(pod))
        return 0;
    err_set(err, ERR_USAGE, "the template is %s (%s), not a Deployment (apps/v1) with a pod",
            kind ? kind : "of no kind", api ? api : "no apiVersion");
    return err_hint(err, "write a Deployment: a pod alone does not come back after a reboot");
}

int deployment_render(const json_t *template, const struct deployment_goal *g, json_t **ret,
                      struct err *err)
{
    static const char *const keys[] = {"progressDeadlineSeconds", "minReadySeconds"};
    if (is_deployment(template, err) < 0)
        return -1;
    cleanup_json json_t *in = json_deep_copy(template);
    if (expand_all(in, g, "kind", err) < 0)
        return -1;
    json_t *meta = sub(in, "metadata"), *spec = sub(in, "spec"), *pod = sub(spec, "template");
    json_t *labels = json_incref(sub(meta, "labels")),
           *notes = json_object_get(meta, "annotations");
    cleanup_json json_t *match = json_object();
    label(labels, g, true);
    label(match, g, false);
    label(sub(sub(pod, "metadata"), "labels"), g, true);
    cleanup_json json_t *out = json_pack(
        "{s:s, s:s, s:{s:s, s:o, s:O*}, s:{s:{s:O}, s:{s:s}, s:O}}", "apiVersion", "apps/v1",
        "kind", "Deployment", "metadata", "name", g->spec->runtime.kubernetes.name, "labels",
        labels, "annotations", notes, "spec", "selector", "matchLabels", match, "strategy", "type",
        "Recreate", "template", pod);
    if (!out)
        return err_set(err, ERR_USAGE, "the template has a text that is not UTF-8");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        json_t *value = json_object_get(spec, keys[i]);
        if (value)
            json_object_set(json_object_get(out, "spec"), keys[i], value);
    }
    if (render_pod(json_object_get(pod, "spec"), g, err) < 0)
        return -1;
    *ret = TAKE(out);
    return 0;
}
