/* lock, with-lock: keep everybody off the service. */
#include "cmd/session.h"
#include "sys/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct cmd_option lock_options[] = {
    {"release", 0, NULL, "take the maintenance lock off"},
    {0},
};

/* Without the refusal of a maintenance lock, which these commands are about. */
static int run_lock(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s = SESSION_NONE;
    bool release = cmd_option(call, "release") != NULL;
    if (!release && !call->reason) {
        err_set(err, ERR_USAGE, "a lock needs a reason, for whoever meets it");
        return err_hint(err, "changeover lock --reason TEXT; or changeover lock --release");
    }
    if (session_open(&s, call, 0, NULL, err) < 0)
        return -1;
    if (release) {
        if (journal_meta_set(s.j, "lock", NULL, err) < 0)
            return -1;
        session_result(&s, NULL, "released");
        return 0;
    }
    struct deadline d;
    nsec_t left = 0;
    int waits = journal_deadline(s.j, CONFIRM_DEADLINE, &d, &left, err);
    if (waits < 0)
        return -1;
    if (waits) {
        err_set(err, ERR_LOCKED,
                "the upgrade %s waits to be confirmed, and silence rolls it back: a lock would "
                "break that promise",
                s.up.id);
        return err_hint(err, "changeover confirm, or changeover rollback; then lock");
    }
    char since[32], text[512];
    time_t now = (time_t)(sys_clock_wall() / NSEC_S);
    struct tm tm;
    localtime_r(&now, &tm);
    strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S", &tm);
    str_format(text, sizeof(text), "%s (since %s)", call->reason, since);
    if (journal_meta_set(s.j, "lock", text, err) < 0)
        return -1;
    session_result(&s, "changeover lock --release", "locked: %s", text);
    return 0;
}

const struct cmd_row cmd_lock = {
    .name = "lock",
    .args = "",
    .summary = "a maintenance lock, which every changing command refuses",
    .flags = CMD_JSON,
    .options = lock_options,
    .run = run_lock,
};

static const struct cmd_option with_options[] = {
    {"even-if-open", 0, NULL, "run it although an upgrade is open"},
    {0},
};

static int run_with_lock(const struct cmd_call *call, struct err *err)
{
    cleanup_session struct session s;
    if (session_open(&s, call, SESSION_LOCK, NULL, err) < 0)
        return -1;
    if (s.open && !cmd_option(call, "even-if-open")) {
        err_set(err, ERR_LOCKED, "the upgrade %s is %s: '%s' was not run", s.up.id,
                state_name(s.up.state), call->argv[0]);
        return err_hint(err, "end the upgrade, or with-lock --even-if-open -- %s", call->argv[0]);
    }
    return sys_proc_run_foreground((const char *const *)call->argv, err);
}

const struct cmd_row cmd_with_lock = {
    .name = "with-lock",
    .args = "-- COMMAND [ARG ...]",
    .summary = "run a program while nobody else may change the service",
    .min_args = 1,
    .max_args = -1,
    .options = with_options,
    .run = run_with_lock,
};
