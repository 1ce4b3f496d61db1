/* Other processes as proc(5) shows them, and what may be changed about them. */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "sys/proc.h"

#include <stdint.h>
#include <sys/types.h>

struct sys_task {
    pid_t pid, ppid, sid;
    char state; /* R S D T t Z X */
    uint64_t start_ticks;
    char comm[32];
};

bool sys_task_read(pid_t pid, struct sys_task *ret); /* false: no such process */

/* Every thread of it is stopped (SIGSTOP and the like), or it is no more. The process's own state
 * is its first thread's: others may still be in the middle of a write. */
bool sys_task_stopped(pid_t pid);

/* Every process, in no order; stops at the first non-zero return. */
typedef int sys_task_fn(void *ctx, const struct sys_task *t);
int sys_task_each(sys_task_fn *fn, void *ctx, struct err *err);

/* argv and environment as the process was started with. ERR_FAILED if it is not ours to see. */
must_check int sys_task_argv(pid_t pid, struct strv *ret, struct err *err);
must_check int sys_task_env(pid_t pid, struct strv *ret, struct err *err);

/* "cwd", "exe", "root", "ns/mnt": where the link points; "" if it cannot be read. */
const char *sys_task_link(pid_t pid, const char *name, char *buf, size_t size);

/* Effective user and group, and the umask. */
must_check int sys_task_ids(pid_t pid, uid_t *ret_uid, gid_t *ret_gid, mode_t *ret_umask,
                            struct err *err);

/* Resource limits by prlimit(1)'s names ("nofile"). */
struct sys_limit {
    int resource;
    uint64_t soft, hard; /* UINT64_MAX: unlimited */
};
#define SYS_LIMITS 16
int sys_limit_number(const char *name); /* -1: no such limit */
const char *sys_limit_name(int resource);
size_t sys_task_limits(pid_t pid, struct sys_limit ret[SYS_LIMITS]); /* 0: not ours to see */

/* All threads of a process. -1 with errno if one could not be changed; equal values are no call. */
int sys_task_nice(pid_t pid, int nice);
int sys_task_ionice(pid_t pid, int class); /* 0 none, 1 realtime, 2 best effort, 3 idle */
int sys_task_nice_of(pid_t pid);

/* Users. False: no such name. */
bool sys_user_find(const char *name, uid_t *ret_uid, gid_t *ret_gid, char *home, size_t home_size);
bool sys_group_find(const char *name, gid_t *ret_gid);
size_t sys_user_groups(const char *name, gid_t gid, gid_t *ret, size_t max);
const char *sys_user_name(uid_t uid, char *buf, size_t size); /* the number if it has no name */

/* The file that a command name means, by PATH of `path_list` (NULL: ours). False: none that may be
 * executed. */
bool sys_path_program(const char *name, const char *path_list, char *buf, size_t size);
