/* Control groups for instances: one directory in the v2 hierarchy (or v1's freezer) that tells
 * whose a process is and can stop all of them at once, and one that weighs their cpu time.
 *
 * All of it is "where allowed": without the right to make one, track is "" and callers fall back to
 * walking descendants. The shim is never in it, so freezing it freezes the service only. */
#pragma once

#include "base/clock.h"
#include "base/err.h"

#include <sys/types.h>

struct sys_cgroup {
    char track[320]; /* directory; "" if there is none */
    bool v2;         /* cgroup.freeze and cgroup.kill, else freezer.state */
    char cpu[320];   /* where the weight is set; "" if nowhere */
    bool cpu_v2;     /* cpu.weight, else cpu.shares */
    char io[320];    /* where io is weighed; "" if nowhere, or not wanted */
    bool io_v2;      /* in the group `track` */
};

/* Makes (or finds) the group `name`, a single path part; io: also one that weighs io. False: not
 * allowed here, *ret has no track. */
bool sys_cgroup_make(const char *name, bool io, struct sys_cgroup *ret);

/* Whether such a group would weigh cpu time, or io, here. Makes nothing. */
bool sys_cgroup_weighs_cpu(void);
bool sys_cgroup_weighs_io(void);

/* Where v2 is mounted. False: nowhere. */
bool sys_cgroup_top(char *buf, size_t size);

/* The first group with processes, in v2 or else v1's freezer, whose own name has one of these words
 * (NULL-terminated): somebody else's, to be listed and frozen. Unlike a look at every process it
 * takes no longer than there are groups, and misses nobody who lives for a moment only. False:
 * there is none, or it is not seen here. */
bool sys_cgroup_find(const char *const *words, struct sys_cgroup *ret);

/* Moves a process in. -1 with errno. */
int sys_cgroup_join(const struct sys_cgroup *cg, pid_t pid);

/* Pids in it and in groups below it; *ret_n of them, at most max. A group that is gone has none. */
void sys_cgroup_pids(const struct sys_cgroup *cg, pid_t *pids, size_t max, size_t *ret_n);

/* Stops or continues all; waits up to `within` for it to be so. -1 with errno (ETIMEDOUT: a process
 * in an uninterruptible call may take long; undo it then). */
int sys_cgroup_freeze(const struct sys_cgroup *cg, bool on, nsec_t within);
bool sys_cgroup_frozen(const struct sys_cgroup *cg);

int sys_cgroup_kill(
    const struct sys_cgroup *cg); /* SIGKILL to all; callers wait until it is empty */
/* Of cpu time, of io: 1..10000, 100 is normal. -1 with errno (ENOTSUP: nothing here weighs it). Io
 * is weighed by a device's scheduler alone: sys_io_device() tells. */
int sys_cgroup_weight(const struct sys_cgroup *cg, int weight);
int sys_cgroup_io_weight(const struct sys_cgroup *cg, int weight);
/* Takes the calling process out of the unit or session it was started from, whose end would end it
 * (a boot unit that has done its work, a login): into a v2 group for processes of ours that outlive
 * their command. Best effort. */
void sys_cgroup_leave_unit(void);

void sys_cgroup_remove(const struct sys_cgroup *cg); /* an empty one, and empty groups below */
