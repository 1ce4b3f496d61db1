/* Children of the shim and helpers that share our program: forks that are more than "run and wait".
 * Meant for processes with one thread, apart from sys_helper_start. */
#pragma once

#include "base/err.h"
#include "sys/task.h"

struct sys_launch {
    const char *exe; /* file to execute */
    char *const *argv, *const *envp;
    const char *cwd; /* entered as the new user; NULL: / */
    const struct sys_limit *limits;
    size_t limits_n;
    const gid_t *groups;
    size_t groups_n;
    uid_t uid; /* with gid and groups, if set_ids */
    gid_t gid;
    bool set_ids;
    mode_t umask;
    int nice, ioclass; /* best effort: without the right to it, it keeps ours */
    int out_fd;        /* its stdout and stderr; stdin is /dev/null */
};

/* A child in a session of its own that waits, before exec, for sys_held_go(). The end of go_fd (our
 * death included) ends it unrun. */
struct sys_held {
    struct proc_id id;
    int go_fd, report_fd;
};
must_check int sys_launch_held(const struct sys_launch *l, struct sys_held *ret, struct err *err);
/* Lets it go and waits until it has exec'ed; else what went wrong, and it is gone and reaped. */
must_check int sys_held_go(struct sys_held *h, const struct sys_launch *l, struct err *err);
void sys_held_drop(struct sys_held *h); /* ends and reaps it */

/* Runs `exe` with argv in a session of its own in /, not our child to reap, with nothing open but
 * /dev/null on 0, log_path (appended) on 1 and 2, and its end of a socket pair on 3; *ret_fd is our
 * end (closed on exec). SYS_SELF as exe is this program, even when its file was replaced since. */
#define SYS_SELF "/proc/self/exe"
must_check int sys_spawn_connected(const char *exe, const char *const *argv, const char *log_path,
                                   int *ret_fd, struct proc_id *ret, struct err *err);

/* Runs fn in a fork of ours: own session, re-parented, deaf to INT, TERM, HUP and PIPE, nothing
 * open but 0..2 and its end of a socket pair; it ends when fn returns. Only async-signal-safe work
 * if we have threads. */
must_check int sys_helper_start(void (*fn)(void *ctx, int fd), void *ctx, int *ret_fd,
                                struct err *err);

/* The same as a plain child of ours in our session, with only `fd` open, reaped by sys_wait_any().
 */
pid_t sys_child_start(void (*fn)(void *ctx, int fd), void *ctx, int fd);

/* A child that ended: its pid and exit status (128 + signal); 0: none did; -1: there are no
 * children. */
pid_t sys_wait_any(int *ret_status);

void sys_keep_from_children(int fd);  /* closed on exec from now on */
void sys_become_subreaper(void);      /* orphans among our descendants come to us */
void sys_name_self(const char *name); /* what ps shows as our command */
void sys_signals_hold(
    void); /* SIGCHLD, SIGTERM, SIGINT, SIGHUP: only sys_signal_next() sees them; no SIGPIPE */
int sys_signal_next(nsec_t within); /* the signal, 0 if none came */

int sys_send(int fd, const void *bytes, size_t n); /* 0, or -1 with errno; no SIGPIPE */
int sys_wait_readable(int fd, nsec_t within);      /* 1 yes (or end of file), 0 not in time */
void sys_end_writing(int fd);    /* shutdown(2): the other end reads end of file */
size_t sys_pipe_waiting(int fd); /* bytes in it */
bool sys_file_rename(const char *from, const char *to);
