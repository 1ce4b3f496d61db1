/* What there is: the pod, its containers, the Deployment behind it. Reads only. */
#include "driver/sidecar/internal.h"
#include "format/json.h"

#include <string.h>

void sidecar_text(json_t *object, const char *path, char *buf, size_t size)
{
    const char *text = json_string_value(json_at(object, path));
    str_format(buf, size, "%s", text ? text : "");
}

void sidecar_pod_done(struct sidecar_pod *p)
{
    json_decref(p->object);
    json_decref(p->of);
    json_decref(p->set);
    p->object = p->of = p->set = NULL;
}

/* --- containers ------------------------------------------------------------------------------ */

static const struct {
    const char *spec, *status;
} lists[] = {{"initContainers", "initContainerStatuses"}, {"containers", "containerStatuses"}};

static json_t *named(json_t *list, const char *name, size_t *ret_index)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (!str_eq(json_string_value(json_object_get(item, "name")), name))
            continue;
        *ret_index = i;
        return item;
    }
    return NULL;
}

static json_t *part(json_t *pod, const char *which, const char *list)
{
    return json_object_get(json_object_get(pod, which), list);
}

static void take_state(json_t *status, struct sidecar_container *c)
{
    char reason[100], message[300];
    const char *const states[] = {"waiting", "terminated"};
    sidecar_text(status, "image", c->running, sizeof(c->running));
    sidecar_text(status, "imageID", c->image_id, sizeof(c->image_id));
    sidecar_text(status, "containerID", c->id, sizeof(c->id));
    sidecar_text(status, "state.running.startedAt", c->started, sizeof(c->started));
    c->restarts = (int)json_integer_value(json_object_get(status, "restartCount"));
    c->ready = json_is_true(json_object_get(status, "ready"));
    c->up = json_is_object(json_at(status, "state.running"));
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        json_t *s = json_object_get(json_object_get(status, "state"), states[i]);
        if (!s)
            continue;
        sidecar_text(s, "reason", reason, sizeof(reason));
        sidecar_text(s, "message", message, sizeof(message));
        str_format(c->why, sizeof(c->why), "%s%s%.*s", *reason ? reason : states[i],
                   *message ? ": " : "", (int)strcspn(message, "\n"), message);
    }
}

static int no_such(json_t *pod, const char *name, struct err *err)
{
    cleanup_str struct str names = {.max = 400};
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t i;
        json_t *item;
        json_array_foreach(part(pod, "spec", lists[l].spec), i, item)
        {
            const char *n = json_string_value(json_object_get(item, "name"));
            str_addf(&names, "%s%s", names.len ? ", " : "", n ? n : "");
        }
    }
    char pod_name[254];
    sidecar_text(pod, "metadata.name", pod_name, sizeof(pod_name));
    return err_set(err, ERR_NOT_FOUND, "pod '%s' has no container '%.100s'; it has: %s", pod_name,
                   name, str_cstr(&names));
}

int sidecar_find(json_t *pod, const char *name, struct sidecar_container *ret, struct err *err)
{
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        struct sidecar_container c = {.init = l == 0};
        size_t at = 0;
        json_t *spec = named(part(pod, "spec", lists[l].spec), name, &c.index);
        if (!spec)
            continue;
        c.lives =
            !c.init || str_eq(json_string_value(json_object_get(spec, "restartPolicy")), "Always");
        sidecar_text(spec, "name", c.name, sizeof(c.name));
        sidecar_text(spec, "image", c.wanted, sizeof(c.wanted));
        take_state(named(part(pod, "status", lists[l].status), name, &at), &c);
        *ret = c;
        return 0;
    }
    return no_such(pod, name, err);
}

json_t *sidecar_others(json_t *pod, const char *name)
{
    json_t *all = json_object();
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t i;
        json_t *s;
        json_array_foreach(part(pod, "status", lists[l].status), i, s)
        {
            const char *is = json_string_value(json_object_get(s, "name"));
            char id[160], started[40];
            if (!is || str_eq(is, name))
                continue;
            sidecar_text(s, "containerID", id, sizeof(id));
            sidecar_text(s, "state.running.startedAt", started, sizeof(started));
            json_object_set_new(all, is,
                                json_pack("{s:s, s:s, s:I}", "id", id, "started", started,
                                          "restarts",
                                          json_integer_value(json_object_get(s, "restartCount"))));
        }
    }
    return all;
}

json_t *sidecar_record(json_t *pod, const char *name)
{
    json_t *notes = json_object_get(json_object_get(pod, "metadata"), "annotations");
    const char *text = json_string_value(json_object_get(notes, SIDECAR_RECORD));
    cleanup_json json_t *all = NULL;
    if (!text || json_read(text, strlen(text), &all, NULL) < 0)
        return NULL;
    json_t *one = json_object_get(all, name);
    bool whole = json_is_string(json_object_get(one, "from")) &&
                 json_is_string(json_object_get(one, "to")) &&
                 json_is_string(json_object_get(one, "id")) &&
                 json_is_object(json_object_get(one, "others"));
    return whole ? json_incref(one) : NULL;
}

bool sidecar_paused(const struct sidecar_pod *p, char ret_for[64])
{
    json_t *labels = json_at(p->of, "metadata.labels");
    const char *name = json_string_value(json_object_get(labels, SIDECAR_PAUSED));
    str_format(ret_for, 64, "%s", name ? name : "");
    return json_is_true(json_at(p->of, "spec.paused"));
}

const char *sidecar_template_image(const struct sidecar_pod *p, const char *name)
{
    char whom[64];
    json_t *spec =
        json_at(p->set && sidecar_paused(p, whom) ? p->set : p->of, "spec.template.spec");
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t at;
        json_t *c = named(json_object_get(spec, lists[l].spec), name, &at);
        if (c)
            return json_string_value(json_object_get(c, "image"));
    }
    return NULL;
}

/* --- the pod --------------------------------------------------------------------------------- */

/* The name of the controller of that kind, or NULL. */
static const char *owner(json_t *object, const char *kind)
{
    size_t i;
    json_t *o;
    json_array_foreach(json_at(object, "metadata.ownerReferences"), i, o)
    {
        if (json_is_true(json_object_get(o, "controller")) &&
            str_eq(json_string_value(json_object_get(o, "kind")), kind))
            return json_string_value(json_object_get(o, "name"));
    }
    return NULL;
}

/* The Deployment that a pod belongs to, by its ReplicaSet. Without the right to look: none. */
static int take_deployment(struct kube *k, struct sidecar_pod *p, struct err *err)
{
    const char *name = owner(p->object, "ReplicaSet");
    struct err why = {0};
    if (!name)
        return 0;
    int r = kube_get(k, &(struct kube_ref){&kube_replicaset, p->ns, name}, &p->set, &why);
    name = r < 0 ? NULL : owner(p->set, "Deployment");
    if (name) {
        str_format(p->deployment, sizeof(p->deployment), "%s", name);
        r = kube_get(k, &(struct kube_ref){&kube_deployment, p->ns, name}, &p->of, &why);
    }
    int code = kube_status(k)->code;
    if (r == 0 || code == 403 || code == 404)
        return 0;
    if (err)
        *err = why;
    return -1;
}

static void labels_of(json_t *deployment, struct str *ret)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_at(deployment, "spec.selector.matchLabels"), key, value)
    {
        str_addf(ret, "%s%s=%s", ret->len ? "," : "", key,
                 json_string_value(value) ? json_string_value(value) : "");
    }
}

/* The one pod of a Deployment that is not on its way out. */
static int pod_of(struct kube *k, const struct sidecar_target *t, json_t **ret, struct err *err)
{
    cleanup_json json_t *deployment = NULL, *pods = NULL;
    cleanup_str struct str labels = {0}, names = {.max = 300};
    const struct kube_ref ref = {&kube_deployment, t->ns, t->deployment};
    size_t i, n = 0;
    json_t *pod, *found = NULL;
    if (kube_get(k, &ref, &deployment, err) < 0)
        return -1;
    labels_of(deployment, &labels);
    const struct kube_select sel = {.labels = str_cstr(&labels)};
    if (!labels.len)
        return err_set(err, ERR_FAILED, "Deployment '%s' has no matchLabels; name the pod",
                       t->deployment);
    if (kube_list(k, &(struct kube_ref){&kube_pod, t->ns, NULL}, &sel, &pods, NULL, err) < 0)
        return -1;
    json_array_foreach(pods, i, pod)
    {
        const char *phase = json_string_value(json_at(pod, "status.phase"));
        if (json_at(pod, "metadata.deletionTimestamp") || str_eq(phase, "Succeeded") ||
            str_eq(phase, "Failed"))
            continue;
        const char *name = json_string_value(json_at(pod, "metadata.name"));
        str_addf(&names, "%s%s", n++ ? ", " : "", name ? name : "");
        found = pod;
    }
    if (n != 1)
        return err_set(err, ERR_FAILED, "Deployment '%s' has %zu pods, not one%s%s", t->deployment,
                       n, n ? ": " : "", str_cstr(&names));
    *ret = json_incref(found);
    return 0;
}

int sidecar_look(struct kube *k, const struct sidecar_target *t, struct sidecar_pod *ret,
                 struct err *err)
{
    struct sidecar_pod p = {0};
    int r = t->pod ? kube_get(k, &(struct kube_ref){&kube_pod, t->ns, t->pod}, &p.object, err)
                   : pod_of(k, t, &p.object, err);
    if (r < 0)
        return -1;
    sidecar_text(p.object, "metadata.namespace", p.ns, sizeof(p.ns));
    sidecar_text(p.object, "metadata.name", p.name, sizeof(p.name));
    sidecar_text(p.object, "metadata.uid", p.uid, sizeof(p.uid));
    sidecar_text(p.object, "spec.nodeName", p.node, sizeof(p.node));
    if (!*p.uid || json_at(p.object, "metadata.deletionTimestamp") || !*p.node)
        r = err_set(err, ERR_FAILED, "pod '%s/%s' %s", p.ns, p.name,
                    *p.node ? "is being deleted" : "is on no node yet");
    if (r < 0 || take_deployment(k, &p, err) < 0) {
        sidecar_pod_done(&p);
        return -1;
    }
    *ret = p;
    return 0;
}
