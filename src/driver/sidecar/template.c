/* The Deployment's template, brought in line with a pod that was changed, without another pod.
 *
 * A Deployment whose template differs from its ReplicaSet's makes another ReplicaSet, and so
 * another pod; paused, it makes none. What it compares is the templates alone, not the ReplicaSet's
 * name: if the ReplicaSet's template gets the same image while it is paused, it finds its own again
 * when it is unpaused, and does nothing. Seen on 1.36: with the Deployment's template alone,
 * unpausing makes the pod anew, and a pod that is lost while it is paused has the old image again.
 */
#include "driver/sidecar/internal.h"
#include "format/json.h"
#include "sys/clock.h"

#include <string.h>

#define HASH "pod-template-hash"
#define LABEL_PATH "/metadata/labels/changeover~1paused"
#define SEEN_MOST (20 * NSEC_S) /* until the Deployment's controller has looked */
#define STEP (200 * NSEC_MS)

/* --- looking --------------------------------------------------------------------------------- */

/* The template without what only the ReplicaSet's has. The caller's. */
static json_t *bare(json_t *object)
{
    json_t *t = json_deep_copy(json_at(object, "spec.template"));
    json_t *meta = json_object_get(t, "metadata"), *labels = json_object_get(meta, "labels");
    json_object_del(labels, HASH);
    json_object_del(meta, "creationTimestamp");
    return t;
}

static bool same_template(const struct sidecar_pod *p)
{
    cleanup_json json_t *a = bare(p->of), *b = bare(p->set);
    return a && b && json_equal(a, b);
}

/* Where a template has the image: a path of a JSON patch, up to the container. */
static json_t *place_of(json_t *object, const char *name, char path[96])
{
    static const char *const lists[] = {"initContainers", "containers"};
    json_t *spec = json_at(object, "spec.template.spec"), *c;
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t i;
        json_array_foreach(json_object_get(spec, lists[l]), i, c)
        {
            if (!str_eq(json_string_value(json_object_get(c, "name")), name))
                continue;
            str_format(path, 96, "/spec/template/spec/%s/%zu", lists[l], i);
            return c;
        }
    }
    return NULL;
}

static bool has_image(json_t *object, const char *name, const char *image)
{
    char path[96];
    return str_eq(json_string_value(json_object_get(place_of(object, name, path), "image")), image);
}

/* --- patches --------------------------------------------------------------------------------- */

static int no_place(const char *kind, const char *name, struct err *err)
{
    return err_set(err, ERR_FAILED, "the template of the %s has no container '%s'", kind, name);
}

static void test_uid(json_t *ops, json_t *object)
{
    kube_op(ops, "test", "/metadata/uid", json_incref(json_at(object, "metadata.uid")));
}

/* tests for the container, then its image */
static int put_image(json_t *ops, json_t *object, const char *kind, const char *name,
                     const char *image, struct err *err)
{
    char place[96], path[112];
    json_t *c = place_of(object, name, place);
    if (!c)
        return no_place(kind, name, err);
    str_format(path, sizeof(path), "%s/name", place);
    kube_op(ops, "test", path, json_string(name));
    str_format(path, sizeof(path), "%s/image", place);
    kube_op(ops, "test", path, json_incref(json_object_get(c, "image")));
    kube_op(ops, "replace", path, json_string(image));
    return 0;
}

static struct kube_ref deployment_of(const struct sidecar_pod *p)
{
    return (struct kube_ref){&kube_deployment, p->ns, p->deployment};
}

/* One patch that pauses, says why, and has the image: there is no moment in between. */
static int pause_with_image(struct kube *k, const struct sidecar_pod *p, const char *name,
                            const char *image, bool dry_run, struct err *err)
{
    cleanup_json json_t *ops = json_array();
    const struct kube_ref ref = deployment_of(p);
    test_uid(ops, p->of);
    /* nobody changed what it asks for since we looked; a status does not count */
    kube_op(ops, "test", "/metadata/generation",
            json_incref(json_at(p->of, "metadata.generation")));
    if (!json_at(p->of, "metadata.labels"))
        kube_op(ops, "add", "/metadata/labels", json_object());
    kube_op(ops, "add", LABEL_PATH, json_string(name));
    kube_op(ops, "add", "/spec/paused", json_true());
    if (put_image(ops, p->of, "Deployment", name, image, err) < 0)
        return -1;
    return kube_patch(k, &ref, ops, dry_run, NULL, err);
}

static int patch_set(struct kube *k, const struct sidecar_pod *p, const char *name,
                     const char *image, bool dry_run, struct err *err)
{
    cleanup_json json_t *ops = json_array();
    const char *set = json_string_value(json_at(p->set, "metadata.name"));
    const struct kube_ref ref = {&kube_replicaset, p->ns, set};
    test_uid(ops, p->set);
    if (put_image(ops, p->set, "ReplicaSet", name, image, err) < 0)
        return -1;
    return kube_patch(k, &ref, ops, dry_run, NULL, err);
}

static int unpause(struct kube *k, const struct sidecar_pod *p, const char *name, json_t **ret,
                   struct err *err)
{
    cleanup_json json_t *ops = json_array();
    const struct kube_ref ref = deployment_of(p);
    test_uid(ops, p->of);
    kube_op(ops, "test", "/metadata/generation",
            json_incref(json_at(p->of, "metadata.generation")));
    kube_op(ops, "test", LABEL_PATH, json_string(name));
    kube_op(ops, "remove", LABEL_PATH, NULL);
    kube_op(ops, "remove", "/spec/paused", NULL);
    return kube_patch(k, &ref, ops, false, ret, err);
}

/* --- before ---------------------------------------------------------------------------------- */

/* Nobody else has it paused, and nothing else would come of unpausing it. */
static int check_free(const struct sidecar_pod *p, const char *name, bool *ret_ours,
                      struct err *err)
{
    char whom[64];
    *ret_ours = false;
    if (!p->of || !p->set)
        return err_set(err, ERR_FAILED,
                       "pod '%s' belongs to no Deployment that may be read: there is no template "
                       "to update",
                       p->name);
    if (sidecar_paused(p, whom)) {
        *ret_ours = str_eq(whom, name);
        if (*ret_ours)
            return 0;
        err_set(err, ERR_FAILED, "Deployment '%s' is paused by somebody else%s%s", p->deployment,
                *whom ? ", for " : "", whom);
        return err_hint(err,
                        "kubectl rollout resume deployment/%s, or go on without "
                        "--update-template",
                        p->deployment);
    }
    if (same_template(p))
        return 0;
    return err_set(err, ERR_FAILED,
                   "Deployment '%s' is being rolled out: its template is not the one that the "
                   "pod's ReplicaSet has",
                   p->deployment);
}

static bool is_in_line(const struct sidecar_pod *p, const char *name, const char *image)
{
    return has_image(p->of, name, image) && has_image(p->set, name, image);
}

int sidecar_template_ready(struct kube *k, const struct sidecar_pod *p, const char *name,
                           const char *image, struct err *err)
{
    bool ours;
    if (check_free(p, name, &ours, err) < 0)
        return -1;
    if (!ours && is_in_line(p, name, image))
        return 0;
    if (pause_with_image(k, p, name, image, true, err) < 0 ||
        patch_set(k, p, name, image, true, err) < 0)
        return err_ctx(err, "--update-template (nothing was changed)");
    return 0;
}

/* --- the change ------------------------------------------------------------------------------ */

static int look(struct kube *k, const struct sidecar_pod *before, struct sidecar_pod *ret,
                struct err *err)
{
    const struct sidecar_target same = {.ns = before->ns, .pod = before->name};
    sidecar_pod_done(ret);
    if (sidecar_look(k, &same, ret, err) < 0)
        return -1;
    if (str_eq(ret->uid, before->uid))
        return 0;
    return err_set(err, ERR_FAILED, "pod '%s' was made anew by somebody", before->name);
}

static int release(struct kube *k, const struct sidecar_pod *before, const char *name,
                   json_t **ret_after, struct err *err)
{
    cleanup_sidecar_pod struct sidecar_pod p = {0};
    char whom[64];
    if (look(k, before, &p, err) < 0)
        return -1;
    if (!p.of || !p.set || !sidecar_paused(&p, whom) || !str_eq(whom, name))
        return err_set(err, ERR_FAILED, "Deployment '%s' was changed by somebody meanwhile",
                       before->deployment);
    if (!same_template(&p))
        return err_set(
            err, ERR_FAILED,
            "the templates of Deployment '%s' and of its ReplicaSet differ: unpaused, it "
            "would make the pod anew, so it stays paused",
            p.deployment);
    return unpause(k, &p, name, ret_after, err);
}

/* Its controller has looked at what we left; then the pod and its containers stay. */
static int prove(struct kube *k, const struct sidecar_pod *before, const char *name,
                 const char *image, json_t *after, nsec_t settle, struct err *err)
{
    const struct kube_ref ref = deployment_of(before);
    const nsec_t end = sys_clock_mono() + SEEN_MOST;
    const json_int_t want = json_integer_value(json_at(after, "metadata.generation"));
    struct sidecar_container was, now;
    cleanup_json json_t *others = sidecar_others(before->object, name);
    nsec_t at;
    if (sidecar_find(before->object, name, &was, err) < 0)
        return -1;
    for (;;) {
        cleanup_json json_t *d = NULL;
        if (kube_get(k, &ref, &d, err) < 0)
            return -1;
        if (json_integer_value(json_at(d, "status.observedGeneration")) >= want)
            break;
        if (sys_clock_mono() >= end)
            return err_set(err, ERR_TIMEOUT,
                           "the controller of Deployment '%s' does not look at it",
                           before->deployment);
        if (kube_pause(k, STEP, err) < 0)
            return -1;
    }
    const struct sidecar_goal g = {.uid = before->uid,
                                   .name = name,
                                   .image = image,
                                   .old_id = "",
                                   .image_id = was.image_id,
                                   .others = others,
                                   .timeout = SEEN_MOST,
                                   .settle = settle};
    if (sidecar_wait(k, before, &g, &now, &at, err) < 0)
        return err_ctx(err, "after Deployment '%s' was unpaused", before->deployment);
    return str_eq(now.id, was.id)
               ? 0
               : err_set(err, ERR_FAILED, "container '%s' is not the one that ran before", name);
}

int sidecar_template_update(struct kube *k, const struct sidecar_pod *pod, const char *name,
                            const char *image, nsec_t settle, bool *ret_done, struct err *err)
{
    cleanup_sidecar_pod struct sidecar_pod p = {0};
    cleanup_json json_t *after = NULL;
    bool ours;
    *ret_done = false;
    if (look(k, pod, &p, err) < 0 || check_free(&p, name, &ours, err) < 0)
        return -1;
    if (!ours && is_in_line(&p, name, image))
        return 0;
    if ((!ours || !has_image(p.of, name, image)) &&
        pause_with_image(k, &p, name, image, false, err) < 0)
        return -1;
    if (!has_image(p.set, name, image) && patch_set(k, &p, name, image, false, err) < 0)
        return -1;
    if (release(k, &p, name, &after, err) < 0 || prove(k, &p, name, image, after, settle, err) < 0)
        return -1;
    *ret_done = true;
    return 0;
}
