/* stop: no replica first, for a container that a stop command ends would only be started again by
 * the kubelet; then until the pod and its processes are gone. remove: the Deployment itself. */
#include "driver/runtime/kubernetes.h"
#include "driver/runtime/ports.h"
#include "driver/runtime/run.h"
#include "format/json.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"
#include "translate/deployment.h"

#include <string.h>

#define PROCESSES 1024
/* Beside the grace: for the kubelet, and for an API server that was away: controller and kubelet,
 * one after the other, ask again within 30 s each (the cap of client-go's reflectors). */
#define MARGIN (90 * NSEC_S)
#define GONE_WITHIN (10 * NSEC_S)

struct stopping {
    struct kubernetes *u;
    json_t *left; /* uid: name, of the pods that are still there */
    bool again;   /* a container was started after the stop began */
    bool synced;
};

static bool started_since(json_t *pod, nsec_t wall)
{
    size_t i;
    json_t *s;
    json_array_foreach(json_at(pod, "status.containerStatuses"), i, s)
    {
        const char *at = json_string_value(json_at(s, "state.running.startedAt"));
        if (kubernetes_time(at) > wall + NSEC_S) /* full seconds, by the node's clock */
            return true;
    }
    return false;
}

static int look(void *ctx, enum kube_seen what, json_t *pod)
{
    struct stopping *s = ctx;
    if (what == KUBE_BEGIN) {
        json_object_clear(s->left);
        s->synced = false;
    }
    s->synced = s->synced || what == KUBE_SYNCED;
    if (pod && kubernetes_is_ours(s->u, pod)) {
        const char *uid = json_string_value(json_at(pod, "metadata.uid")),
                   *name = json_string_value(json_at(pod, "metadata.name"));
        if (what == KUBE_DELETED)
            json_object_del(s->left, uid ? uid : "");
        else
            json_object_set_new(s->left, uid ? uid : "", json_string(name ? name : "?"));
        s->again = s->again || started_since(pod, s->u->rec.stopped_wall_ns);
    }
    return s->synced && json_object_size(s->left) == 0;
}

static int wait_pods(struct stopping *s, json_t *deployment, json_int_t grace_s, struct err *err)
{
    struct kubernetes *u = s->u;
    cleanup_str struct str labels = {0};
    char words[24];
    kubernetes_selector(u, deployment, &labels);
    const struct kube_select sel = {.labels = str_cstr(&labels)};
    nsec_t most = grace_s * NSEC_S + MARGIN;
    u->began = sys_clock_mono();
    kubernetes_doing(u, most, "%s stops: its pod is asked to end", colour_name(u->c));
    int r = kube_watch(u->k, &(struct kube_ref){&kube_pod, NULL, NULL}, &sel, u->began + most, look,
                       s, err);
    u->doing[0] = '\0';
    if (r < 0)
        return err_ctx(err, "wait for the end of %s", colour_name(u->c));
    if (r == 1)
        return 0;
    const char *key, *name = "";
    json_t *value;
    json_object_foreach(s->left, key, value) name = json_string_value(value);
    err_set(err, ERR_TIMEOUT, "%s still runs after %s: pod '%s' does not end", colour_name(u->c),
            clock_words(words, sizeof(words), most), name);
    return err_hint(err, "kubectl describe pod %s: look at why, then the same command again", name);
}

/* A node may say that a pod is gone a moment before its last process is. */
static int wait_processes(const struct kubernetes *u, const struct proc_id *ids, size_t n,
                          struct err *err)
{
    nsec_t until = sys_clock_mono() + GONE_WITHIN;
    for (size_t i = 0; i < n; i++)
        if (!sys_proc_wait_gone(ids[i], until)) {
            err_set(err, ERR_TIMEOUT, "%s: the pod is gone, and its process %d still runs",
                    colour_name(u->c), (int)ids[i].pid);
            return err_hint(err, "look at why: cat /proc/%d/stack", (int)ids[i].pid);
        }
    return 0;
}

/* Its pod was not made by us: it has no preStop of ours, so the command runs in the termination. */
static void stop_command(struct kubernetes *u, json_t *pods)
{
    const struct spec_command *cmd = &u->spec->stop.command;
    struct kube_exec_result result = {0};
    struct pod_view v;
    struct err why = {0};
    json_t *pod = json_array_get(pods, 0);
    if (!u->rec.adopted || !cmd->argv.n || !pod)
        return;
    kubernetes_pod_view(pod, NULL, &v);
    const struct kube_ref ref = {&kube_pod, NULL, v.name};
    const struct kube_exec ask = {.container = u->spec->runtime.kubernetes.container,
                                  .argv = (const char *const *)cmd->argv.v,
                                  .timeout = cmd->timeout};
    if (kube_exec(u->k, &ref, &ask, &result, &why) < 0)
        event_warn(u->ctx->sink, "%s; its own handler of SIGTERM has to do", why.msg);
    else if (result.status != cmd->status)
        event_warn(u->ctx->sink, "stop.command ended with status %d in pod '%s': %.200s",
                   result.status, v.name, str_cstr(&result.err));
    kube_exec_result_done(&result);
}

static int stopped(struct kubernetes *u, json_t *deployment, struct err *err)
{
    u->rec.stopped = true;
    if (!u->rec.stopped_wall_ns)
        u->rec.stopped_wall_ns = sys_clock_wall();
    return deployment ? kubernetes_record_seen(u, deployment, err)
                      : kubernetes_record_write(u, err);
}

static int end_pods(struct kubernetes *u, json_t *there, json_t *pods, struct err *err)
{
    cleanup_free struct proc_id *ids = x_alloc(PROCESSES * sizeof(*ids));
    cleanup_json json_t *now = NULL, *left = json_object();
    struct port_holders before = {0};
    struct stopping s = {.u = u, .left = left};
    json_t *grace = json_at(there, "spec.template.spec.terminationGracePeriodSeconds");
    size_t n = kubernetes_processes(pods, ids, PROCESSES);
    ports_held(u->spec, ids, n, &before);
    u->rec.stopped_wall_ns = sys_clock_wall();
    if (kubernetes_scale(u, 0, &now, err) < 0 || stopped(u, now, err) < 0)
        return -1;
    (void)sys_fault_point("runtime/stop:scaled");
    stop_command(u, pods);
    if (wait_pods(&s, now, grace ? json_integer_value(grace) : 30, err) < 0)
        return -1;
    (void)sys_fault_point("runtime/stop:gone");
    if (s.again)
        event_warn(u->ctx->sink, "a container of %s was started after its stop had begun",
                   colour_name(u->c));
    return wait_processes(u, ids, n, err) < 0 ? -1
           : n                                ? ports_proof(u->ctx, u->c, &before, err)
                                              : 0;
}

int kubernetes_stop(const struct driver_ctx *ctx, enum colour c, struct err *err)
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *there = NULL, *pods = NULL;
    struct err why = {0};
    if (kubernetes_open(ctx, c, KUBERNETES_PATIENCE, &u, err) < 0)
        return err_ctx(err, "stop %s", colour_name(c));
    if (kubernetes_deployment(&u, &there, &why) < 0) {
        if (why.code == ERR_FOREIGN && !*u.rec.uid)
            return 0; /* nothing of ours was ever started */
        if (err)
            *err = why;
        return err_ctx(err, "stop %s", colour_name(c));
    }
    if (!there)
        return *u.rec.uid ? stopped(&u, NULL, err) : 0;
    if (kubernetes_pods(&u, there, &pods, err) < 0)
        return err_ctx(err, "stop %s", colour_name(c));
    if (!kubernetes_replicas(there) && !json_array_size(pods))
        return stopped(&u, there, err);
    if (end_pods(&u, there, pods, err) < 0)
        return err_ctx(err, "stop %s", colour_name(c));
    return 0;
}

/* --- remove ---------------------------------------------------------------------------------- */

static const char *noted(json_t *object, const char *key)
{
    return json_string_value(json_object_get(json_at(object, "metadata.annotations"), key));
}

/* The name alone is no proof; and of an adopted one, our note must still be there. */
static int marked(struct kubernetes *u, json_t *there, struct err *err)
{
    if (!u->rec.adopted || (str_eq(noted(there, DEPLOYMENT_SERVICE), u->ctx->service) &&
                            str_eq(noted(there, DEPLOYMENT_COLOUR), colour_name(u->c))))
        return 0;
    err_set(err, ERR_FOREIGN, "Deployment '%s' was adopted, and our annotations are gone from it",
            u->name);
    return err_hint(err,
                    "look whether it may go; then kubectl delete deployment %s, and the same "
                    "command again",
                    u->name);
}

static int forget(struct kubernetes *u, struct err *err)
{
    static const char *const files[] = {"kubernetes.json", "manifest.json"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        cleanup_free char *path = run_path(u->dir, files[i]);
        if (sys_file_remove(path, err) < 0)
            return -1;
    }
    return 0;
}

int kubernetes_remove(const struct driver_ctx *ctx, enum colour c, struct err *err)
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *there = NULL, *pods = NULL;
    struct err why = {0};
    if (kubernetes_open(ctx, c, KUBERNETES_PATIENCE, &u, err) < 0)
        return -1;
    if (kubernetes_deployment(&u, &there, &why) < 0 && why.code != ERR_FOREIGN) {
        if (err)
            *err = why;
        return -1;
    }
    if (!there)
        return forget(&u, err);
    if (marked(&u, there, err) < 0 || kubernetes_pods(&u, there, &pods, err) < 0)
        return -1;
    if (kubernetes_replicas(there) || json_array_size(pods)) {
        err_set(err, ERR_FAILED, "Deployment '%s' runs: it is not removed", u.name);
        return err_hint(err, "changeover stop with its colour");
    }
    const struct kube_delete how = {.uid = json_string_value(json_at(there, "metadata.uid")),
                                    .propagation = "Background",
                                    .grace_s = -1};
    if (kube_delete(u.k, &u.ref, &how, &why) < 0 && why.code != ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return -1;
    }
    return forget(&u, err);
}
