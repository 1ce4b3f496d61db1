/* The patch, and the wait for what proves it. */
#include "driver/sidecar/internal.h"
#include "format/json.h"
#include "sys/clock.h"

#include <stdlib.h>
#include <string.h>

#define AGAIN (500 * NSEC_MS)
#define ANNOTATION_PATH "/metadata/annotations/changeover~1sidecars"

/* --- the patch ------------------------------------------------------------------------------- */

/* All records of the pod, with this one set, as the annotation's text. */
static json_t *records(const struct sidecar_pod *p, const char *name, json_t *record)
{
    json_t *notes = json_object_get(json_object_get(p->object, "metadata"), "annotations");
    const char *text = json_string_value(json_object_get(notes, SIDECAR_RECORD));
    cleanup_json json_t *all = NULL;
    cleanup_str struct str out = {0};
    if (!text || json_read(text, strlen(text), &all, NULL) < 0 || !json_is_object(all)) {
        json_decref(all);
        all = json_object();
    }
    json_object_set(all, name, record);
    json_print(all, 0, &out);
    return json_string(str_cstr(&out));
}

int sidecar_patch(struct kube *k, const struct sidecar_pod *p, const struct sidecar_container *c,
                  const char *image, json_t *record, bool dry_run, struct err *err)
{
    cleanup_json json_t *ops = json_array();
    char path[80];
    const char *list = c->init ? "initContainers" : "containers";
    kube_op(ops, "test", "/metadata/uid", json_string(p->uid));
    str_format(path, sizeof(path), "/spec/%s/%zu/name", list, c->index);
    kube_op(ops, "test", path, json_string(c->name));
    str_format(path, sizeof(path), "/spec/%s/%zu/image", list, c->index);
    kube_op(ops, "test", path, json_string(c->wanted));
    kube_op(ops, "replace", path, json_string(image));
    if (record && !json_at(p->object, "metadata.annotations"))
        kube_op(ops, "add", "/metadata/annotations", json_object());
    if (record)
        kube_op(ops, "add", ANNOTATION_PATH, records(p, c->name, record));
    return kube_patch(k, &(struct kube_ref){&kube_pod, p->ns, p->name}, ops, dry_run, NULL, err);
}

int sidecar_note(struct kube *k, const struct sidecar_pod *p, const char *name, json_t *record,
                 struct err *err)
{
    cleanup_json json_t *ops = json_array();
    kube_op(ops, "test", "/metadata/uid", json_string(p->uid));
    kube_op(ops, "add", ANNOTATION_PATH, records(p, name, record));
    return kube_patch(k, &(struct kube_ref){&kube_pod, p->ns, p->name}, ops, false, NULL, err);
}

/* --- the proof ------------------------------------------------------------------------------- */

struct wait {
    const struct sidecar_goal *g;
    struct sidecar_container now;
    bool met;      /* it is so */
    bool holds;    /* wanted: it stays so */
    char why[600]; /* what is seen instead */
    bool lost;     /* and cannot become so */
};

bool sidecar_same_image(const char *running, const char *wanted)
{
    static const char *const prefixes[] = {"docker.io/library/", "docker.io/"};
    if (str_eq(running, wanted))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (str_starts(running, prefixes[i]) && str_eq(running + strlen(prefixes[i]), wanted))
            return true;
    return false;
}

static bool is_new(const struct sidecar_goal *g, const struct sidecar_container *c)
{
    if (!*c->id || str_eq(c->id, g->old_id) || !str_eq(c->wanted, g->image))
        return false;
    return *g->image_id ? str_eq(c->image_id, g->image_id)
                        : sidecar_same_image(c->running, g->image);
}

/* Another container is not what it was: the name, in why. */
static bool touched(struct wait *w, json_t *pod)
{
    cleanup_json json_t *now = sidecar_others(pod, w->g->name);
    const char *name;
    json_t *before;
    json_object_foreach(w->g->others, name, before)
    {
        if (json_equal(before, json_object_get(now, name)))
            continue;
        str_format(w->why, sizeof(w->why), "container '%s' is not the one that ran before", name);
        return true;
    }
    return false;
}

/* The pod itself is another one, or on its way out. */
static bool gone(struct wait *w, enum kube_seen what, json_t *pod)
{
    const char *uid = json_string_value(json_at(pod, "metadata.uid"));
    if (what != KUBE_DELETED && str_eq(uid, w->g->uid) &&
        !json_at(pod, "metadata.deletionTimestamp"))
        return false;
    str_format(w->why, sizeof(w->why), "the pod was removed or made anew by somebody");
    return true;
}

/* It is not so (yet), and this is what is seen; true: waiting does not help. */
static bool hopeless(struct wait *w, const struct sidecar_container *c, bool ended)
{
    str_format(w->why, sizeof(w->why), "it is %s%s, image %s%s%s",
               c->up ? "running" : "not running", c->ready ? "" : " and not ready",
               *c->running ? c->running : "(none)", *c->why ? ": " : "", c->why);
    return w->holds || (is_new(w->g, c) && !c->up && ended) ||
           str_starts(c->why, "CrashLoopBackOff") || str_starts(c->why, "InvalidImageName");
}

static int look(void *ctx, enum kube_seen what, json_t *pod)
{
    struct wait *w = ctx;
    struct sidecar_container c = {0};
    if (what == KUBE_BEGIN || what == KUBE_SYNCED)
        return 0;
    w->lost = gone(w, what, pod);
    if (w->lost)
        return 1;
    if (sidecar_find(pod, w->g->name, &c, NULL) < 0)
        return 0;
    bool ended = *w->now.name && c.restarts > w->now.restarts;
    w->now = c;
    w->lost = touched(w, pod);
    w->met = !w->lost && is_new(w->g, &c) && c.up && c.ready;
    if (w->met)
        return !w->holds;
    w->lost = w->lost || hopeless(w, &c, ended);
    return w->lost;
}

/* An answer that is none (a proxy's page, half an object) says nothing of the container, and is no
 * reason to go back and stop it once more: it is asked again until the deadline. A refusal is one.
 */
static int watch(struct kube *k, const struct sidecar_pod *p, struct wait *w, nsec_t deadline,
                 nsec_t give_up, struct err *err)
{
    const struct kube_ref ref = {&kube_pod, p->ns, p->name};
    for (;;) {
        struct err why = {0};
        int r = kube_watch(k, &ref, NULL, deadline, look, w, &why);
        int code = kube_status(k)->code;
        bool final = why.code == ERR_INTERRUPTED || (code >= 400 && code < 500);
        nsec_t least = sys_clock_mono() + 2 * AGAIN; /* one good look at least */
        if (r >= 0 || final || least > give_up) {
            if (r < 0 && err)
                *err = why;
            return r;
        }
        deadline = deadline > least ? deadline : least;
        if (kube_pause(k, AGAIN, err) < 0)
            return -1;
    }
}

static int not_met(const struct wait *w, struct err *err)
{
    return err_set(err, w->lost ? ERR_FAILED : ERR_TIMEOUT, "container '%s': %s", w->g->name,
                   *w->why ? w->why : "its pod was not seen");
}

int sidecar_wait(struct kube *k, const struct sidecar_pod *p, const struct sidecar_goal *g,
                 struct sidecar_container *ret, nsec_t *ret_at, struct err *err)
{
    struct wait w = {.g = g};
    const nsec_t end = sys_clock_mono() + g->timeout;
    if (watch(k, p, &w, end, end, err) < 0)
        return -1;
    if (!w.met || w.lost)
        return not_met(&w, err);
    *ret = w.now;
    *ret_at = sys_clock_mono();
    /* ready without a probe says only that it was started */
    w.holds = true;
    const nsec_t settled = sys_clock_mono() + g->settle;
    if (g->settle && watch(k, p, &w, settled, settled > end ? settled : end, err) < 0)
        return -1;
    if (!w.met || w.lost || !str_eq(w.now.id, ret->id))
        return not_met(&w, err);
    *ret = w.now;
    return 0;
}
