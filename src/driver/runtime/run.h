/* What is kept of an instance in service_dir/runtime/COLOUR/, read and written whole:
 *   instance.json  how to start it (struct launch): written by start, read by the shim alone
 *   run.json       what runs or ran (struct run): written by the shim, or by adopt
 *   adopted.json   the process that adopt found (argv, environment, cwd, user, limits)
 *   lock           held by the shim for life; its label says who
 *   stop           a stop was asked for: no restart any more
 *   boot           it comes back after a reboot
 *   log, log.1 ... its output
 * The shim includes this, not the spec's loader: it stays small. */
#pragma once

#include "driver/context.h"
#include "driver/runtime/ops.h"
#include "format/json.h"
#include "sys/cgroup.h"
#include "sys/spawn.h"

enum run_phase {
    RUN_STOPPED,  /* asked for, and proven */
    RUN_STARTING, /* its pid is stored, it waits to be let go */
    RUN_RUNNING,
    RUN_WAITING, /* ended by itself, is restarted soon */
    RUN_EXITED,  /* ended by itself for good */
};

struct run {
    enum run_phase phase;
    struct proc_id pid, shim; /* of this boot only */
    char boot_id[40];
    bool adopted;
    nsec_t started_wall_ns, exited_wall_ns, ran_ns;
    int restarts, last_status; /* last_status -1: none, or unknown */
    char version[64];
    char spec_hash[20];
    char text[160]; /* why it is in this phase, if there is more to say */
    struct sys_cgroup cgroup;
};

struct launch {
    char service[128], colour[8], version[64], spec_hash[20];
    char exe[1024], cwd[1024];
    struct strv argv, env;
    uid_t uid;
    gid_t gid, groups[64];
    size_t groups_n;
    bool set_ids;
    struct sys_limit limits[SYS_LIMITS];
    size_t limits_n;
    mode_t umask;
    int nice, ioclass, weight;
    int io_weight; /* 0: its io is not weighed at all */
    enum spec_restart restart;
    nsec_t restart_delay;
    int restart_max;
    bool kill; /* SIGKILL allowed for what a crashed run left behind */
    char log[1024];
    uint64_t log_max;
    int log_keep;
    char cgroup[160]; /* name of the group to make */
};
void launch_done(struct launch *l);
#define cleanup_launch cleanup(launch_done)

/* DIR = service_dir/runtime/COLOUR; run_path: a file in it. The caller's (free). */
char *run_dir(const struct driver_ctx *ctx, enum colour c);
char *run_path(const char *dir, const char *name);

/* ERR_NOT_FOUND: never ran. A record of another boot comes back without pids. */
must_check int run_read(const char *dir, struct run *ret, struct err *err);
must_check int run_write(const char *dir, const struct run *r, struct err *err);

must_check int launch_read(const char *dir, struct launch *ret, struct err *err);
must_check int launch_write(const char *dir, const struct launch *l, struct err *err);

/* Any record by its file name, and the pieces it is made of. */
must_check int run_record_read(const char *dir, const char *name, json_t **ret, struct err *err);
must_check int run_record_write(const char *dir, const char *name, const json_t *j,
                                struct err *err);
json_t *run_strings_json(const struct strv *v);
void run_strings_read(const json_t *list, struct strv *ret);
json_t *run_limits_json(const struct sys_limit *limits, size_t n);
size_t run_limits_read(const json_t *list, struct sys_limit ret[SYS_LIMITS]);

/* The same number for the same text. */
uint64_t run_hash(uint64_t seed, const char *text);
#define RUN_HASH_SEED 14695981039346656037ULL

/* Living processes of the instance (no zombies): its group's, else everything that descends from
 * it. *ret_n of them, at most max. */
void run_tree(const struct run *r, struct proc_id *ids, size_t max, size_t *ret_n);
#define RUN_TREE_MAX 1024
