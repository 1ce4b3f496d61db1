/* Before anything is changed: can this node have that image? The kubelet kills the old container
 * before it looks. */
#include "driver/sidecar/internal.h"
#include "format/json.h"
#include "sys/clock.h"

#include <stdlib.h>
#include <string.h>

/* In no image: the kubelet fetches the image, makes the container, and cannot start it. */
#define NO_PROGRAM "/changeover-asks-for-the-image-only"

static void keep(json_t *to, json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    if (value)
        json_object_set(to, key, value);
}

static json_t *manifest(const struct sidecar_pod *p, const struct sidecar_container *c,
                        const char *image, const char *name)
{
    json_t *theirs = json_object_get(p->object, "spec");
    json_t *list = json_object_get(theirs, c->init ? "initContainers" : "containers");
    json_t *container =
        json_pack("{s:s, s:s, s:[s]}", "name", "image", "image", image, "command", NO_PROGRAM);
    keep(container, json_array_get(list, c->index), "imagePullPolicy");
    keep(container, json_array_get(list, c->index), "securityContext"); /* what is allowed here */
    json_t *spec = json_pack("{s:s, s:s, s:b, s:i, s:b, s:[{s:s}], s:[o]}", "nodeName", p->node,
                             "restartPolicy", "Never", "automountServiceAccountToken", 0,
                             "terminationGracePeriodSeconds", 0, "enableServiceLinks", 0,
                             "tolerations", "operator", "Exists", "containers", container);
    keep(spec, theirs, "imagePullSecrets");
    keep(spec, theirs, "hostNetwork");
    keep(spec, theirs, "securityContext");
    return json_pack("{s:s, s:s, s:{s:s, s:{s:s}, s:[{s:s, s:s, s:s, s:s}]}, s:o}", "apiVersion",
                     "v1", "kind", "Pod", "metadata", "name", name, "labels",
                     "app.kubernetes.io/managed-by", "changeover", "ownerReferences", "apiVersion",
                     "v1", "kind", "Pod", "name", p->name, "uid", p->uid, "spec", spec);
}

struct seen {
    char image_id[256], why[400];
};

/* A container that was made had its image; one that waits for it says why. */
static int look(void *ctx, enum kube_seen what, json_t *pod)
{
    static const char *const errors[] = {"ErrImage", "ImagePullBackOff", "InvalidImageName",
                                         "ImageInspectError", "RegistryUnavailable"};
    struct seen *s = ctx;
    struct sidecar_container c = {0};
    if (what == KUBE_DELETED) {
        str_format(s->why, sizeof(s->why), "somebody removed the pod that looks for it");
        return 2;
    }
    if (!pod || sidecar_find(pod, "image", &c, NULL) < 0)
        return 0;
    if (*c.image_id && *c.id) {
        memcpy(s->image_id, c.image_id, sizeof(s->image_id));
        return 1;
    }
    const char *reason = json_string_value(json_at(pod, "status.reason"));
    str_format(s->why, sizeof(s->why), "%s", reason ? reason : c.why);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        if (str_starts(c.why, errors[i]))
            return 2;
    return reason ? 2 : 0; /* the kubelet refused the pod: "OutOfcpu" */
}

/* One a pod and owned by it: whatever becomes of us, it goes with the pod at the latest. */
static struct kube_ref ref_of(const struct sidecar_pod *p, char name[64])
{
    str_format(name, 64, "changeover-image-%.8s", p->uid);
    return (struct kube_ref){&kube_pod, p->ns, name};
}

void sidecar_image_drop(struct kube *k, const struct sidecar_pod *p)
{
    char name[64];
    const struct kube_ref ref = ref_of(p, name);
    cleanup_json json_t *made = NULL;
    kube_hold_poll(k, true); /* also on the way out after an interruption */
    for (int i = 0; i < 2; i++) {
        const char *owner = NULL;
        if (kube_get(k, &ref, &made, NULL) == 0)
            owner = json_string_value(json_at(made, "metadata.ownerReferences.0.uid"));
        if (!owner || !str_eq(owner, p->uid))
            break;
        const struct kube_delete how = {.uid = json_string_value(json_at(made, "metadata.uid")),
                                        .grace_s = 0};
        if (kube_delete(k, &ref, &how, NULL) == 0)
            break;
        json_decref(made);
        made = NULL;
    }
    kube_hold_poll(k, false);
}

static int make(struct kube *k, const struct sidecar_pod *p, const struct kube_ref *ref,
                const json_t *object, struct err *err)
{
    struct err why = {0};
    int r = kube_create(k, ref, object, false, NULL, &why);
    if (r < 0 && why.code == ERR_EXISTS) { /* of one that was killed; another image, perhaps */
        sidecar_image_drop(k, p);
        r = kube_create(k, ref, object, false, NULL, &why);
    }
    if (r < 0 && err)
        *err = why;
    return r;
}

int sidecar_image_prove(struct kube *k, const struct sidecar_pod *p,
                        const struct sidecar_container *c, const char *image, nsec_t timeout,
                        char image_id[256], struct err *err)
{
    char name[64];
    struct seen s = {0};
    const struct kube_ref ref = ref_of(p, name);
    cleanup_json json_t *object = manifest(p, c, image, name);
    if (make(k, p, &ref, object, err) < 0)
        return err_ctx(err, "look for the image on node '%s'", p->node);
    int r = kube_watch(k, &ref, NULL, sys_clock_mono() + timeout, look, &s, err);
    if (r < 0)
        return err_ctx(err, "look for the image on node '%s'", p->node);
    if (r == 1) {
        memcpy(image_id, s.image_id, 256);
        return 0;
    }
    err_set(err, r == 2 ? ERR_FAILED : ERR_TIMEOUT, "node '%s' cannot have the image '%s': %s",
            p->node, image, *s.why ? s.why : "no answer in time");
    return err_hint(err,
                    "nothing was changed; push or load the image, then the same command again");
}
