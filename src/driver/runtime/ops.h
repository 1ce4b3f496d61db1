/* Runtime drivers: how an instance of a colour is run, looked at, stopped.
 *
 * All operations may be called again after a crash at any point. */
#pragma once

#include "driver/context.h"
#include "model/facts.h"

enum instance_state {
    INSTANCE_STOPPED, /* nothing of it runs */
    INSTANCE_RUNNING, /* it runs, or is about to be restarted by policy (then pid.pid is 0) */
    INSTANCE_EXITED,  /* it ended by itself, and is not restarted (any more) */
    INSTANCE_UNKNOWN, /* something runs that we cannot account for: text says what; stop ends it */
};

struct instance_facts {
    enum instance_state state;
    struct proc_id pid; /* of the service's process */
    nsec_t started_wall_ns;
    int restarts;    /* since its start was asked for */
    int last_status; /* exit status or 128 + signal of the last run, -1: none */
    nsec_t exited_wall_ns;
    char version[64];   /* recorded at its start */
    bool adopted;       /* not started by us: no shim, no restart */
    bool boot;          /* it is to come back after a reboot */
    char text[256];     /* for people: "it ended by itself with status 1 after 2.1 s" */
    char log_path[256]; /* runtime_log_tail() (runtime/tail.h) has its last lines */
};

/* "pid 4711", or what runs where no pid is known. Returns buf. */
static inline const char *instance_words(char *buf, size_t size, const struct instance_facts *f)
{
    return f->pid.pid > 0 || !f->text[0] ? str_format(buf, size, "pid %d", (int)f->pid.pid)
                                         : str_format(buf, size, "%s", f->text);
}

/* Read-only; never blocks for more than 100 ms, but for a server that does not answer. Then it
 * fails with state INSTANCE_UNKNOWN: that may be another matter in a while. */
typedef int runtime_inspect_fn(const struct driver_ctx *ctx, enum colour c,
                               struct instance_facts *ret, struct err *err);

/* Before anything is touched: runs runtime.validate and runtime.version of side[c] (the new
 * version's own argument check) and compares the version with `version` (NULL: any). */
typedef int runtime_validate_fn(const struct driver_ctx *ctx, enum colour c, const char *version,
                                struct err *err);

/* Starts the instance of colour c by its stored spec, as a standby (standby_nice ...) or not.
 * Pre:   every volume's sentinel says c (checked here, so nothing starts on an empty mount point);
 * its identity files differ from the other colour's, as the instance will see them. Post:  it runs
 * under our shim, known by pid and start time; or nothing of it runs. Again: an instance of c that
 * runs already and was started for this generation is success. A crash before the pid is stored
 * leaves no instance: the child waits on a pipe and ends at end of file. */
typedef int runtime_start_fn(const struct driver_ctx *ctx, enum colour c, bool standby,
                             struct err *err);

/* Asks it to stop (stop.command, else stop.signal), waits stop.grace, then SIGKILL if stop.kill
 * allows. Post: proven gone: its cgroup, else every descendant, is empty, and its ports are free.
 * Not gone in time: ERR_TIMEOUT, it still runs and the message says which process.
 * Again: stopped already is success. */
typedef int runtime_stop_fn(const struct driver_ctx *ctx, enum colour c, struct err *err);

/* Priority, io class, cpu and io weight of a standby or of live, for all that runs of it and for
 * its restarts. Safe to repeat; what is not allowed is a warning. */
typedef int runtime_priority_fn(const struct driver_ctx *ctx, enum colour c, bool standby,
                                struct err *err);

/* Stops every process of the instance where it is (cgroup freezer, else SIGSTOP), held by a child
 * that thaws when its pipe ends (we die) or at `ceiling`. *ret_fd: close it to thaw; runtime_thawed
 * tells whether the ceiling came first. */
typedef int runtime_freeze_fn(const struct driver_ctx *ctx, enum colour c, nsec_t ceiling,
                              int *ret_fd, struct err *err);
/* Thaws: returns 0 with *ret_held_ns, or ERR_TIMEOUT if the ceiling had thawed it before. Takes fd
 * over. fd -1 (recovery): thaws whatever is frozen of it, by whomever; nothing frozen is success.
 */
typedef int runtime_thaw_fn(const struct driver_ctx *ctx, enum colour c, int fd,
                            nsec_t *ret_held_ns, struct err *err);

/* Whether the instance comes back after a reboot (`start --boot` of the boot unit asks). */
typedef int runtime_boot_fn(const struct driver_ctx *ctx, enum colour c, bool on, struct err *err);

/* First contact: records the running process as colour c's instance (argv, environment, cwd, user,
 * limits into service_dir/runtime/c/adopted.json). Refuses one that another supervisor keeps (a
 * unit's cgroup, a parent that is a known supervisor), naming it. pid 0: found by the listening
 * socket on traffic.port. */
typedef int runtime_adopt_fn(const struct driver_ctx *ctx, enum colour c, pid_t pid,
                             struct str *ret_text, struct err *err);

/* Pids of every process of the instance (cgroup, else descendants); *ret_n of them, at most max. */
typedef int runtime_pids_fn(const struct driver_ctx *ctx, enum colour c, pid_t *pids, size_t max,
                            size_t *ret_n, struct err *err);

/* Takes away what start made beside the processes (a Deployment), if it carries our mark: of the
 * loser at cleanup, or of a prepare that is undone. Pre: it is stopped. Again: gone already is
 * success. */
typedef int runtime_remove_fn(const struct driver_ctx *ctx, enum colour c, struct err *err);

/* Has anybody else changed what the instance is kept by, since we did last? ERR_FOREIGN: who, and
 * what. Read-only. */
typedef int runtime_unchanged_fn(const struct driver_ctx *ctx, enum colour c, struct err *err);
/* From here on, what it is now counts as unchanged (an upgrade begins). */
typedef int runtime_settle_fn(const struct driver_ctx *ctx, enum colour c, struct err *err);

/* What `check` looks at beyond inspect. Read-only. */
typedef void runtime_check_fn(const struct driver_ctx *ctx, enum colour live, struct findings *f);

struct runtime_ops {
    const char *name;
    runtime_inspect_fn *inspect;
    runtime_validate_fn *validate;
    runtime_start_fn *start;
    runtime_stop_fn *stop;
    runtime_priority_fn *priority;
    runtime_freeze_fn *freeze;
    runtime_thaw_fn *thaw;
    runtime_boot_fn *boot;
    runtime_adopt_fn *adopt;
    runtime_pids_fn *pids;
    runtime_remove_fn *remove;       /* NULL: start makes nothing else */
    runtime_unchanged_fn *unchanged; /* NULL: nobody else can */
    runtime_settle_fn *settle;       /* with it */
    runtime_check_fn *check;         /* NULL: nothing more */
};

extern const struct runtime_ops runtime_process, runtime_kubernetes;
const struct runtime_ops *runtime_find(const struct spec *s, struct err *err);
