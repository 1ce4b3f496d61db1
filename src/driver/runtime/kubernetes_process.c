/* The processes of a colour's pods, where this machine is their node: found by the control group,
 * whose path has the pod's uid. */
#include "driver/ice.h"
#include "driver/runtime/kubernetes.h"
#include "format/json.h"
#include "sys/cgroup.h"
#include "sys/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROCESSES 1024

static size_t living(const struct sys_cgroup *g, struct proc_id *ids, size_t max)
{
    pid_t pids[PROCESSES];
    size_t n = 0, alive = 0;
    sys_cgroup_pids(g, pids, max < PROCESSES ? max : PROCESSES, &n);
    for (size_t i = 0; i < n; i++) {
        uint64_t ticks = sys_proc_start_ticks(pids[i]); /* 0: a zombie, or gone */
        if (ticks)
            ids[alive++] = (struct proc_id){pids[i], ticks};
    }
    return alive;
}

size_t kubernetes_in_group(const char *word, struct proc_id *ids, size_t max)
{
    struct sys_cgroup g;
    return *word && sys_cgroup_find((const char *const[]){word, NULL}, &g) ? living(&g, ids, max)
                                                                           : 0;
}

/* What the pod's control group has in its name: "pod<uid>" in the kubelet's own groups; in
 * systemd's slices with _ for -. */
struct words {
    char own[80], slice[80];
    const char *list[3];
};

static const char *const *words_of(const char *uid, struct words *w)
{
    str_format(w->own, sizeof(w->own), "pod%s", uid);
    str_format(w->slice, sizeof(w->slice), "pod%s", uid);
    for (char *p = w->slice; *p; p++)
        *p = *p == '-' ? '_' : *p;
    w->list[0] = w->own;
    w->list[1] = w->slice;
    w->list[2] = NULL;
    return w->list;
}

static bool group_of(const char *uid, struct sys_cgroup *ret)
{
    struct words w;
    return sys_cgroup_find(words_of(uid, &w), ret);
}

size_t kubernetes_processes(json_t *pods, struct proc_id *ids, size_t max)
{
    size_t i, n = 0;
    json_t *pod;
    json_array_foreach(pods, i, pod)
    {
        const char *uid = json_string_value(json_at(pod, "metadata.uid"));
        struct sys_cgroup g;
        if (uid && *uid && group_of(uid, &g))
            n += living(&g, ids + n, max - n);
    }
    return n;
}

/* The uids of the colour's pods, with the processes and control groups of theirs that this machine
 * sees. */
struct found {
    struct strv uids;
    struct proc_id ids[PROCESSES];
    size_t n;
    struct sys_cgroup *groups;
    size_t groups_n;
};

static void found_free(struct found **f)
{
    strv_done(&(*f)->uids);
    free((*f)->groups);
    free(*f);
}

static void look_again(struct found *f)
{
    f->n = f->groups_n = 0;
    f->groups = x_realloc(f->groups, f->uids.n, sizeof(*f->groups));
    for (size_t i = 0; i < f->uids.n; i++) {
        struct sys_cgroup *g = &f->groups[f->groups_n];
        if (!group_of(f->uids.v[i], g))
            continue;
        f->groups_n++;
        f->n += living(g, f->ids + f->n, PROCESSES - f->n);
    }
}

static int find(const struct driver_ctx *ctx, enum colour c, struct found *f, struct err *err)
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *deployment = NULL, *pods = NULL;
    size_t i;
    json_t *pod;
    struct kubernetes_record rec = {0};
    if (kubernetes_record_of(ctx, c, &rec, err) < 0)
        return -1;
    /* as long as the pod lives that we know of, nobody needs to be asked */
    if (*rec.pod)
        strv_add(&f->uids, rec.pod);
    look_again(f);
    if (f->n)
        return 0;
    strv_done(&f->uids);
    if (kubernetes_open(ctx, c, KUBERNETES_PATIENCE, &u, err) < 0 ||
        kubernetes_deployment(&u, &deployment, err) < 0)
        return -1;
    if (!deployment)
        return 0;
    if (kubernetes_pods(&u, deployment, &pods, err) < 0)
        return -1;
    json_array_foreach(pods, i, pod)
    {
        const char *uid = json_string_value(json_at(pod, "metadata.uid"));
        if (uid && *uid)
            strv_add(&f->uids, uid);
    }
    look_again(f);
    if (!f->n && f->uids.n) {
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
    cleanup(found_free) struct found *f = x_alloc(sizeof(*f));
    if (find(ctx, c, f, err) < 0)
        return -1;
    for (size_t i = 0; i < f->n && i < max; i++)
        pids[i] = f->ids[i].pid;
    *ret_n = f->n < max ? f->n : max;
    return 0;
}

/* --- standing still --------------------------------------------------------------------------- */

static int freeze_groups(void *ctx, nsec_t until)
{
    const struct found *f = ctx;
    for (size_t i = 0; i < f->groups_n; i++)
        if (sys_cgroup_freeze(&f->groups[i], true, until - sys_clock_mono()) < 0)
            return -1;
    return 0;
}

static int thaw_groups(void *ctx)
{
    const struct found *f = ctx;
    int failed = 0;
    for (size_t i = 0; i < f->groups_n; i++)
        if (sys_cgroup_frozen(&f->groups[i]) && sys_cgroup_freeze(&f->groups[i], false, NSEC_S) < 0)
            failed = errno;
    errno = failed;
    return failed ? -1 : 0;
}

int kubernetes_freeze(const struct driver_ctx *ctx, enum colour c, nsec_t ceiling, int *ret_fd,
                      struct err *err)
{
    cleanup(found_free) struct found *f = x_alloc(sizeof(*f));
    if (find(ctx, c, f, err) < 0) {
        err_ctx(err, "freeze");
        return err->code == ERR_UNSUPPORTED
                   ? err_hint(err, "run changeover on the node, as root; or write `consistency: "
                                   "none` for volumes that need no pause")
                   : -1;
    }
    if (!f->n)
        return err_set(err, ERR_FAILED, "freeze %s: it does not run", colour_name(c));
    struct ice ice = {
        .what = colour_name(c), .ctx = f, .freeze = freeze_groups, .thaw = thaw_groups};
    if (ice_freeze(ctx, &ice, ceiling, ret_fd, err) == 0)
        return 0;
    (void)thaw_groups(f);
    bool refused = err && (err->sys == EACCES || err->sys == EPERM || err->sys == EROFS);
    return refused ? err_hint(err, "run changeover on the node, as root") : -1;
}

int kubernetes_thaw(const struct driver_ctx *ctx, enum colour c, int fd, nsec_t *ret_held_ns,
                    struct err *err)
{
    cleanup(found_free) struct found *f = x_alloc(sizeof(*f));
    enum ice_end end = ICE_ASKED;
    nsec_t held = 0;
    struct err why = {0};
    if (fd >= 0)
        end = ice_thaw(ctx, fd, &held);
    /* By the helper it is done; this is for one that was killed, and for recovery. What runs on
     * another machine was never frozen by us. */
    if (fd < 0 || end == ICE_LOST) {
        if (find(ctx, c, f, &why) < 0 && why.code != ERR_UNSUPPORTED) {
            if (err)
                *err = why;
            return err_ctx(err, "let %s go on", colour_name(c));
        }
        if (thaw_groups(f) < 0)
            return err_sys(err, ERR_FAILED, "let the frozen instance go on");
    }
    if (ret_held_ns)
        *ret_held_ns = held;
    return ice_ended(end, colour_name(c), err);
}
