/* The processes of a colour's pods, where this machine is their node: found by the control group,
 * whose path has the pod's uid. */
#include "driver/ice.h"
#include "driver/runtime/kubernetes.h"
#include "format/json.h"
#include "sys/clock.h"
#include "sys/task.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define PROCESSES 1024

size_t kubernetes_in_group(const char *word, struct proc_id *ids, size_t max)
{
    return *word ? sys_task_in_cgroup((const char *const[]){word, NULL}, ids, max) : 0;
}

/* "pod<uid>" in the kubelet's own groups; in systemd's slices with _ for -. */
static size_t of_pod(const char *uid, struct proc_id *ids, size_t max)
{
    char word[80], other[80];
    str_format(word, sizeof(word), "pod%s", uid);
    str_format(other, sizeof(other), "pod%s", uid);
    for (char *p = other; *p; p++)
        *p = *p == '-' ? '_' : *p;
    return sys_task_in_cgroup((const char *const[]){word, other, NULL}, ids, max);
}

size_t kubernetes_processes(json_t *pods, struct proc_id *ids, size_t max)
{
    size_t i, n = 0;
    json_t *pod;
    json_array_foreach(pods, i, pod)
    {
        const char *uid = json_string_value(json_at(pod, "metadata.uid"));
        if (uid && *uid)
            n += of_pod(uid, ids + n, max - n);
    }
    return n;
}

static int find(const struct driver_ctx *ctx, enum colour c, struct proc_id *ids, size_t *ret_n,
                struct err *err)
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *deployment = NULL, *pods = NULL;
    if (kubernetes_open(ctx, c, KUBERNETES_PATIENCE, &u, err) < 0)
        return -1;
    /* as long as the pod lives that we know of, nobody needs to be asked */
    *ret_n = *u.rec.pod ? of_pod(u.rec.pod, ids, PROCESSES) : 0;
    if (*ret_n)
        return 0;
    if (kubernetes_deployment(&u, &deployment, err) < 0)
        return -1;
    if (!deployment)
        return 0;
    if (kubernetes_pods(&u, deployment, &pods, err) < 0)
        return -1;
    *ret_n = kubernetes_processes(pods, ids, PROCESSES);
    if (!*ret_n && json_array_size(pods)) {
        err_set(err, ERR_UNSUPPORTED,
                "%s's processes cannot be seen from here: its pod runs on another machine, or in "
                "another process namespace",
                colour_name(c));
        return err_hint(err, "run changeover on the node, as root");
    }
    return 0;
}

int kubernetes_pids(const struct driver_ctx *ctx, enum colour c, pid_t *pids, size_t max,
                    size_t *ret_n, struct err *err)
{
    cleanup_free struct proc_id *ids = x_alloc(PROCESSES * sizeof(*ids));
    size_t n = 0;
    if (find(ctx, c, ids, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n && i < max; i++)
        pids[i] = ids[i].pid;
    *ret_n = n < max ? n : max;
    return 0;
}

/* --- standing still --------------------------------------------------------------------------- */

struct freezing {
    struct proc_id ids[PROCESSES];
    size_t n;
};

static int stop_each(void *ctx, nsec_t until)
{
    struct freezing *f = ctx;
    for (bool all = false; !all;) {
        all = true;
        for (size_t i = 0; i < f->n; i++) {
            struct sys_task t;
            if (!sys_task_read(f->ids[i].pid, &t) || strchr("TZX", t.state))
                continue;
            all = false;
            if (sys_proc_signal(f->ids[i], SIGSTOP) < 0)
                return -1;
        }
        if (!all && sys_clock_mono() >= until) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (!all)
            sys_sleep(NSEC_MS);
    }
    return 0;
}

static int go_on_each(void *ctx)
{
    struct freezing *f = ctx;
    int failed = 0;
    for (size_t i = f->n; i-- > 0;) {
        struct sys_task t;
        if (sys_task_read(f->ids[i].pid, &t) && t.state == 'T' &&
            sys_proc_signal(f->ids[i], SIGCONT) < 0)
            failed = errno;
    }
    errno = failed;
    return failed ? -1 : 0;
}

int kubernetes_freeze(const struct driver_ctx *ctx, enum colour c, nsec_t ceiling, int *ret_fd,
                      struct err *err)
{
    cleanup_free struct freezing *f = x_alloc(sizeof(*f));
    if (find(ctx, c, f->ids, &f->n, err) < 0) {
        err_ctx(err, "freeze");
        return err->code == ERR_UNSUPPORTED
                   ? err_hint(err, "run changeover on the node, as root; or write `consistency: "
                                   "none` for volumes that need no pause")
                   : -1;
    }
    if (!f->n)
        return err_set(err, ERR_FAILED, "freeze %s: it does not run", colour_name(c));
    struct ice ice = {.what = colour_name(c), .ctx = f, .freeze = stop_each, .thaw = go_on_each};
    if (ice_freeze(ctx, &ice, ceiling, ret_fd, err) == 0)
        return 0;
    (void)go_on_each(f);
    return -1;
}

int kubernetes_thaw(const struct driver_ctx *ctx, enum colour c, int fd, nsec_t *ret_held_ns,
                    struct err *err)
{
    cleanup_free struct freezing *f = x_alloc(sizeof(*f));
    enum ice_end end = ICE_ASKED;
    nsec_t held = 0;
    struct err none = {0};
    if (fd >= 0)
        end = ice_thaw(ctx, fd, &held);
    /* by the helper it is done; this is for one that was killed, and for recovery */
    if ((fd < 0 || end == ICE_LOST) && find(ctx, c, f->ids, &f->n, &none) == 0 && go_on_each(f) < 0)
        return err_sys(err, ERR_FAILED, "let the frozen instance go on");
    if (ret_held_ns)
        *ret_held_ns = held;
    if (end == ICE_ASKED)
        return 0;
    return err_set(err, ERR_TIMEOUT,
                   end == ICE_CEILING
                       ? "the freeze of %s reached its ceiling and was thawed before the end"
                       : "the holder of the freeze of %s was killed: it was thawed early",
                   colour_name(c));
}
