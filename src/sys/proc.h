/* Processes: run a program without a shell, look at one, end one.
 *
 * A process is named by pid and start time (proc(5) stat field 22, clock ticks since boot)
 * together: a pid alone may be somebody else's by now. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_id {
    pid_t pid;
    uint64_t start_ticks; /* 0: unknown */
};

struct proc_spec {
    const char *const *argv; /* argv[0] is looked up in PATH if it has no slash */
    const char *const *envp; /* NULL: ours */
    const char *cwd;         /* NULL: ours */
    nsec_t timeout;    /* 0: 60 s. When it passes: SIGTERM, 2 s, SIGKILL to its process group */
    size_t max_output; /* per stream; 0: 64 KiB; the rest is read and dropped */
    uid_t uid;         /* with gid: run as; used if set_ids */
    gid_t gid;
    bool set_ids;
    /* called in the parent with the child's id before it may run (it waits on a pipe); an error
     * there ends the child unrun. May be NULL. */
    int (*started)(void *ctx, struct proc_id id, struct err *err);
    void *ctx;
    /* called every 200 ms at least while it runs; 2 or more: end it now, as if its time were up.
     * May be NULL. */
    int (*tick)(void *ctx);
    void *tick_ctx;
};

struct proc_result {
    int status; /* exit status, or 128 + signal */
    bool timed_out;
    bool interrupted;    /* `tick` asked for its end */
    struct str out, err; /* the caller's: proc_result_done() */
};
void proc_result_done(struct proc_result *r);
#define cleanup_proc_result cleanup(proc_result_done)

/* Runs it to its end, in a process group of its own. -1 only if it could not be started at all
 * (ERR_NOT_FOUND: no such program). */
must_check int sys_proc_run(const struct proc_spec *spec, struct proc_result *ret, struct err *err);

/* The same, and an exit status other than 0 is an error that holds its last words. */
must_check int sys_proc_run_ok(const struct proc_spec *spec, struct proc_result *ret,
                               struct err *err);

uint64_t sys_proc_start_ticks(pid_t pid); /* 0: no such process */
bool sys_proc_alive(struct proc_id id);   /* a zombie is not alive */
struct proc_id sys_proc_self(void);
pid_t sys_proc_parent(void);

/* Sends sig if the process is still that one. 0 sent or gone, -1 with errno. */
int sys_proc_signal(struct proc_id id, int sig);

/* Waits (pidfd) until it is gone; false when the deadline (monotonic, 0: for ever) comes first. */
bool sys_proc_wait_gone(struct proc_id id, nsec_t deadline);

/* Runs it in the foreground, with our terminal and descriptors 0 to 2, and waits. Returns its exit
 * status (128 + signal), or -1 if it could not be started. */
must_check int sys_proc_run_foreground(const char *const *argv, struct err *err);

/* Starts argv in a session of its own, detached from us: stdin /dev/null, stdout and stderr to
 * log_path (appended, NULL: /dev/null). Returns when it has exec'ed. It is not our child's child to
 * reap: it is re-parented. */
must_check int sys_proc_spawn_detached(const char *const *argv, const char *log_path,
                                       struct proc_id *ret, struct err *err);

const char *sys_self_exe(char *buf, size_t size); /* the path of this binary */
int sys_uid(void);                                /* effective */
