/* Short-lived pods of ours on the node, before anything of the service is touched: can it have the
 * image, what do the service's own commands say, what are the volumes as the node sees them. */
#include "driver/runtime/kubernetes_probe.h"

#include "format/json.h"
#include "sys/clock.h"

#include <string.h>

/* In no image: the kubelet fetches the image, makes the container, and cannot start it. */
#define NO_PROGRAM "/changeover-asks-for-the-image-only"
#define LOOK (2 * NSEC_S)
#define LOG_MAX ((size_t)1 << 20)

struct probe {
    struct kubernetes *u;
    struct check_result *r;
    struct pod_view v;
    bool image_only;
};

static struct kube_ref ref_of(const struct kubernetes *u, char name[254])
{
    str_format(name, 254, "changeover-check-%.190s-%s", u->ctx->service, colour_name(u->c));
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p >= 'A' && *p <= 'Z' ? (char)(*p + 'a' - 'A') : *p;
    return (struct kube_ref){&kube_pod, NULL, name};
}

void kubernetes_probe_drop(struct kubernetes *u)
{
    char name[254];
    const struct kube_ref ref = ref_of(u, name);
    cleanup_json json_t *there = NULL;
    kube_hold_poll(u->k, true); /* also on the way out after an interruption */
    if (kube_get(u->k, &ref, &there, NULL) == 0 &&
        str_eq(json_string_value(json_object_get(json_at(there, "metadata.labels"), PROBE_LABEL)),
               colour_name(u->c))) {
        const struct kube_delete how = {.uid = json_string_value(json_at(there, "metadata.uid")),
                                        .grace_s = 0};
        (void)!kube_delete(u->k, &ref, &how, NULL);
    }
    kube_hold_poll(u->k, false);
}

static int look(void *ctx, enum kube_seen what, json_t *pod)
{
    struct probe *p = ctx;
    if (!pod || what == KUBE_DELETED)
        return 0;
    json_t *s = json_at(pod, "status.containerStatuses.0"), *ended = json_at(s, "state.terminated");
    const char *reason = json_string_value(json_at(ended, "reason"));
    kubernetes_pod_view(pod, NULL, &p->v);
    str_format(p->r->image_id, sizeof(p->r->image_id), "%s", p->v.image_id);
    if (p->image_only && *p->v.id && *p->v.image_id)
        return 1;
    if (ended) {
        p->r->status = (int)json_integer_value(json_object_get(ended, "exitCode"));
        p->r->ran = !str_eq(reason, "StartError") && !str_eq(reason, "ContainerCannotRun");
        const char *words = json_string_value(json_object_get(ended, "message"));
        str_format(p->r->why, sizeof(p->r->why), "%s%s%.300s", reason ? reason : "",
                   words ? ": " : "", words ? words : "");
        return 1;
    }
    str_format(p->r->why, sizeof(p->r->why), "%.400s", p->v.why);
    bool image = strstr(p->v.why, "ErrImage") || strstr(p->v.why, "ImagePullBackOff");
    return p->v.hopeless || image ? 2 : 0;
}

static int make(struct kubernetes *u, const struct kube_ref *ref, const json_t *object,
                struct err *err)
{
    for (int tries = 0;; tries++) {
        struct err why = {0};
        if (kube_create(u->k, ref, object, false, NULL, &why) == 0)
            return 0;
        if (why.code == ERR_EXISTS && tries < 50) { /* of a run that was killed, or just ending */
            kubernetes_probe_drop(u);
            sys_sleep(100 * NSEC_MS);
            continue;
        }
        if (err)
            *err = why;
        return -1;
    }
}

static int wait_end(struct probe *p, const struct kube_ref *ref, nsec_t timeout, struct err *err)
{
    nsec_t until = sys_clock_mono() + timeout;
    for (;;) {
        nsec_t now = sys_clock_mono(), end = now + LOOK < until ? now + LOOK : until;
        if (now >= until)
            return err_set(err, ERR_TIMEOUT, "no answer in time: %s", p->r->why);
        int r = kube_watch(p->u->k, ref, NULL, end, look, p, err);
        if (r < 0 || r == 1)
            return r < 0 ? -1 : 0;
        if (r == 2)
            return err_set(err, ERR_FAILED, "%s", p->r->why);
        char warning[500] = "";
        if (*p->v.uid && p->v.stage == POD_WAITS)
            kubernetes_warning(p->u, p->v.uid, warning, sizeof(warning));
        if (strstr(warning, "hostPath type check failed"))
            return err_set(err, ERR_FAILED, "%s", warning);
        if (*warning)
            str_format(p->r->why, sizeof(p->r->why), "%.400s", warning);
    }
}

int kubernetes_probe(struct kubernetes *u, json_t *spec, nsec_t timeout, struct check_result *ret,
                     struct err *err)
{
    char name[254];
    const struct kube_ref ref = ref_of(u, name);
    struct probe p = {.u = u, .r = ret};
    json_t *command = json_at(spec, "containers.0.command");
    p.image_only = str_eq(json_string_value(json_array_get(command, 0)), NO_PROGRAM);
    cleanup_json json_t *object =
        json_pack("{s:s, s:s, s:{s:s, s:{s:s, s:s}}, s:O}", "apiVersion", "v1", "kind", "Pod",
                  "metadata", "name", name, "labels", "app.kubernetes.io/managed-by", "changeover",
                  PROBE_LABEL, colour_name(u->c), "spec", spec);
    u->began = sys_clock_mono();
    if (make(u, &ref, object, err) < 0)
        return -1;
    int r = wait_end(&p, &ref, timeout, err);
    const struct kube_log ask = {.max = LOG_MAX};
    if (r == 0 && !p.image_only && ret->ran)
        r = kube_log(u->k, &ref, &ask, &ret->log, err);
    kubernetes_probe_drop(u);
    u->doing[0] = '\0';
    return r;
}

void check_result_done(struct check_result *r)
{
    str_done(&r->log);
}

/* --- what such a pod is ---------------------------------------------------------------------- */

static void keep(json_t *to, json_t *from, const char *key)
{
    json_t *value = json_object_get(from, key);
    if (value)
        json_object_set(to, key, value);
}

json_t *kubernetes_probe_spec(json_t *pod, json_t *container, const char *node)
{
    static const char *const kept[] = {"imagePullSecrets",   "securityContext",  "hostNetwork",
                                       "nodeSelector",       "runtimeClassName", "dnsPolicy",
                                       "serviceAccountName", "affinity"};
    json_t *spec = json_pack("{s:s, s:b, s:i, s:b, s:[{s:s}], s:[o]}", "restartPolicy", "Never",
                             "automountServiceAccountToken", 0, "terminationGracePeriodSeconds", 0,
                             "enableServiceLinks", 0, "tolerations", "operator", "Exists",
                             "containers", container);
    if (*node)
        json_object_set_new(spec, "nodeName", json_string(node));
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        keep(spec, pod, kept[i]);
    return spec;
}

static bool is_data(json_t *pod, const char *volume)
{
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(pod, "volumes"), i, v)
    {
        if (!str_eq(json_string_value(json_object_get(v, "name")), volume))
            continue;
        const char *type = json_string_value(json_at(v, "hostPath.type"));
        return str_eq(type, "Directory") || str_eq(type, "File");
    }
    return true;
}

/* The service's container as the colour will have it, less the data, which is not there yet. */
json_t *kubernetes_probe_service(struct kubernetes *u, json_t *pod, const char *node,
                                 const char *const *argv, struct err *err)
{
    static const char *const kept[] = {"image", "imagePullPolicy", "securityContext", "envFrom",
                                       "env",   "workingDir"};
    json_t *service = deployment_container(pod, u->spec->runtime.kubernetes.container, err), *v;
    size_t i;
    if (!service)
        return NULL;
    json_t *c = json_pack("{s:s, s:[], s:[]}", "name", "check", "command", "volumeMounts");
    for (i = 0; i < ARRAY_LEN(kept); i++)
        keep(c, service, kept[i]);
    for (i = 0; argv && argv[i]; i++)
        json_array_append_new(json_object_get(c, "command"), json_string(argv[i]));
    if (!argv)
        json_array_append_new(json_object_get(c, "command"), json_string(NO_PROGRAM));
    json_t *mounts = json_object_get(c, "volumeMounts"), *volumes = json_array();
    json_array_foreach(json_object_get(service, "volumeMounts"), i, v)
    {
        if (argv && !is_data(pod, json_string_value(json_object_get(v, "name"))))
            json_array_append(mounts, v);
    }
    json_array_foreach(json_object_get(pod, "volumes"), i, v)
    {
        if (argv && !is_data(pod, json_string_value(json_object_get(v, "name"))))
            json_array_append(volumes, v);
    }
    json_t *spec = kubernetes_probe_spec(pod, c, node);
    json_object_set_new(spec, "volumes", volumes);
    return spec;
}
