/* What a command about a service works with: spec, journal, lock, drivers, screen. */
#pragma once

#include "cmd/cmd.h"
#include "engine/engine.h"
#include "observe/terminal.h"
#include "plan/plan.h"

enum session_flag {
    SESSION_LOCK = 1,   /* take the service's kernel lock; refuse a maintenance lock */
    SESSION_CREATE = 2, /* make the journal if there is none (adopt, start) */
    SESSION_OPEN = 4,   /* an upgrade must be open */
    SESSION_SETTLE = 8, /* compare the claim with the flags first */
    SESSION_EMPTY = 16, /* no journal is fine (status, check, plan): live is then NONE */
    SESSION_FILE =
        32, /* the file itself is looked at: the stored spec does not stand in for a broken one */
};

struct session {
    const struct cmd_call *call;
    char *spec_path, *state_root, *service_dir, *service;
    char *file_text;    /* the spec file as it is now; if it is broken or gone, the stored one */
    char *file_problem; /* then: what is wrong with the file, and what is done; else NULL */
    char *file_errors;  /* and all that is wrong, a line each */
    struct spec *side[COLOURS]; /* each colour's own: stored, else the file's */
    struct generation gen[COLOURS];
    bool has_gen[COLOURS];
    struct journal *j; /* NULL with SESSION_EMPTY and no journal */
    enum colour live;
    struct upgrade up; /* up.id is "" if none is open */
    bool open;
    int lock_fd;
    struct terminal terminal;
    struct sink out;
    struct engine engine;
    struct strv other_dirs;
    struct json_t *more; /* further members of the result with -o json; or NULL */
};

/* target: the version that the colour without a stored spec is bound to (prepare), or NULL. */
must_check int session_open(struct session *s, const struct cmd_call *call, unsigned flags,
                            const char *target, struct err *err);
void session_done(struct session *s);
#define cleanup_session cleanup(session_done)
/* What session_done() may be given: for commands that may end before they open one. */
#define SESSION_NONE                       \
    {                                      \
        .lock_fd = -1, .live = COLOUR_NONE \
    }

/* Fails if the stored spec stands in for the file: what begins something new needs the file. */
must_check int session_need_file(const struct session *s, struct err *err);

/* Binds a colour anew from the spec file (prepare takes the file's spec for the standby). */
must_check int session_rebind(struct session *s, enum colour c, const char *version,
                              struct err *err);

/* Stores the file's spec as the colour's generation. */
must_check int session_store(struct session *s, enum colour c, const char *version,
                             struct err *err);

/* Starts the guard if an upgrade is open and it does not live (same binary, own session). */
must_check int session_guard(struct session *s, struct err *err);

/* The directory of all services' state: --state-dir, else /var/lib/changeover (root) or
 * ~/.local/state/changeover. */
char *session_state_root(const struct cmd_call *call);

/* What came of a command, on stdout: the words, or with -o json one object {service, live, upgrade,
 * state, message, next}. next: the command to type now (NULL: none), on stderr in text form unless
 * -q. Ends the progress line first. */
void session_result(struct session *s, const char *next, const char *fmt, ...) printf_like(3, 4);

/* Writes --reason beside the open upgrade in the journal: "promote: TEXT". Nothing without one. */
must_check int session_reason(struct session *s, struct err *err);

/* The command that leads on from the state it is in. */
const char *session_next(const struct session *s);
const char *session_next_of(enum colour live, enum upgrade_state state);

/* "next: ..." on stderr, unless -q or -o json. */
void session_say_next(const struct session *s, const char *next);

/* -n: prints the steps that the phases would run now, and changes nothing. phases ends with
 * PHASE_MAX. */
must_check int session_dry_run(struct session *s, const enum plan_phase *phases, struct err *err);
