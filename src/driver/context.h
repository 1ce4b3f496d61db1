/* What every driver operation gets first: whose service this is, where things are kept, where to
 * report, and when to stop. Nothing here is changed by a driver. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "model/event.h"
#include "spec/spec.h"
#include "sys/proc.h"

struct driver_ctx {
    const struct spec
        *side[COLOURS]; /* each colour's own stored spec, bound to its version; a colour that
                           has never had a generation: the file's, bound to the target */
    const char *service;
    const char
        *service_dir; /* STATE/SERVICE, 0700: drivers keep their files in service_dir/<kind>/ */
    const char *upgrade_id; /* tag of everything made; "" outside an upgrade */
    const struct sink *sink;

    /* 0: go on; 1: end after the current step (SIGINT/SIGTERM once): a driver inside a long effect
     * that can be continued may return ERR_INTERRUPTED; 2: end now. Also runs the guard's duties
     * while a command waits. Call it at least every 200 ms of waiting. */
    int (*poll)(void *ctx);
    void *poll_ctx;

    /* Journals a program that the current step has spawned (pid, start time) before it may run;
     * pass it as proc_spec.started. */
    int (*note_child)(void *ctx, struct proc_id id, struct err *err);
    void *note_ctx;

    const char *step_name;    /* CHANGEOVER_STEP for programs of the spec; NULL outside a step */
    int step_attempt;         /* CHANGEOVER_ATTEMPT, from 1 */
    struct driver_memo *memo; /* within one step (memo.h); NULL: nothing is remembered */

    const char *adopt_name; /* adopt --deployment: by this name; NULL: the colour's own */

    bool take_snapshots; /* cleanup --destroy-snapshots: those of others on the loser go, by name */
};

static inline int driver_poll(const struct driver_ctx *d)
{
    return d->poll ? d->poll(d->poll_ctx) : 0;
}

/* Runs a command of the spec (expanded argv) with CHANGEOVER_STEP, CHANGEOVER_ATTEMPT,
 * CHANGEOVER_SERVICE, CHANGEOVER_COLOUR and CHANGEOVER_UPGRADE in its environment, noted in the
 * journal before it runs. Wrong status, wrong output or its timeout: ERR_FAILED with file:line of
 * the spec and its last words. out (may be NULL) gets its standard output. */
must_check int driver_command(const struct driver_ctx *d, const struct spec_command *cmd,
                              const char *what, enum colour colour, struct str *out,
                              struct err *err);
