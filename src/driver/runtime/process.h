/* The runtime driver `process`, inside: one function a file or two, put together in process.c. */
#pragma once

#include "driver/runtime/launch.h"
#include "driver/runtime/ops.h"

/* What is known of an instance right now. */
struct process_view {
    bool recorded; /* run.json is there: run holds it */
    struct run run;
    bool alive;      /* its process is */
    bool shim_alive; /* somebody holds its lock */
    bool stop_asked;
    struct proc_id left[RUN_TREE_MAX]; /* living processes, looked up when it is not alive */
    size_t left_n;
};
must_check int process_view(const char *dir, struct process_view *ret, struct err *err);
void process_facts(const char *dir, const struct process_view *v, struct instance_facts *ret);

runtime_inspect_fn process_inspect;
runtime_validate_fn process_validate;
runtime_start_fn process_start;
runtime_stop_fn process_stop;
runtime_priority_fn process_priority;
runtime_freeze_fn process_freeze;
runtime_thaw_fn process_thaw;
runtime_boot_fn process_boot;
runtime_adopt_fn process_adopt;
runtime_pids_fn process_pids;

/* The version that runtime.version prints ("" if the spec has no such command), run as the instance
 * would. */
must_check int process_version(const struct driver_ctx *ctx, enum colour c, const struct launch *l,
                               char *buf, size_t size, struct err *err);

/* Lets every process of it go on, whoever stopped it. Nothing frozen is success. */
must_check int process_thaw_all(const struct run *r, struct err *err);
