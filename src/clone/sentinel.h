/* The mark in each volume: a file `.changeover` at its top that says whose data this is.
 *
 * Nothing is cloned onto, removed or started on without looking at it first. It is written whole or
 * not at all, never copied by a clone, and the last file that a removal takes away. */
#pragma once

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define SENTINEL_FILE ".changeover"
#define SENTINEL_NAMED ".changeover-" /* and service-colour: a mark by its name (deployment.h) */

enum sentinel_state {
    SENTINEL_CLONING = 1, /* a clone is being made, or was interrupted: incomplete */
    SENTINEL_COPIED, /* complete, but not known to be on disk: worth something in this boot only */
    SENTINEL_READY,  /* a complete clone, or prepared empty: an instance may start on it */
    SENTINEL_LIVE,   /* the live colour's data: never cloned onto, never removed */
};

struct sentinel {
    char service[128];
    char colour[16];
    char volume[128];
    char upgrade[128]; /* the upgrade that made it; "" for data that was adopted */
    enum sentinel_state state;
    nsec_t created;        /* wall clock */
    uint64_t files, bytes; /* cloning: expected; later: found. For people and progress only */
    char boot[40];         /* the boot in which it was written */
};

/* Replaces DIR's mark (created and boot are filled in when empty). Synced, but for the
 * state "copied", which is not worth the wait: it counts in this boot only. */
must_check int sentinel_write(const char *dir, const struct sentinel *s, struct err *err);

/* ERR_NOT_FOUND: there is none, or no DIR. ERR_FOREIGN: there is one that is not ours to
 * understand. */
must_check int sentinel_read(const char *dir, struct sentinel *ret, struct err *err);

/* Removes the mark (`forget`, or the end of a removal). One that is not there is fine. */
must_check int sentinel_remove(const char *dir, struct err *err);

/* True if `found` is what `want` asks for; empty strings and state 0 in `want` match anything. */
bool sentinel_matches(const struct sentinel *found, const struct sentinel *want);

enum sentinel_place {
    SENTINEL_ABSENT, /* there is no such directory */
    SENTINEL_EMPTY,  /* a directory without a single entry (but for lost+found) */
    SENTINEL_OURS,   /* carries a mark that matches; *ret_found (may be NULL) gets it */
    SENTINEL_FOREIGN /* anything else; err says what was found and what was expected */
};
enum sentinel_place sentinel_look(const char *dir, const struct sentinel *want,
                                  struct sentinel *ret_found, struct err *err);

/* 0 only if DIR carries a mark that matches `want`. Otherwise ERR_NOT_FOUND (no such directory, as
 * behind a mount that is missing, or an empty one) or ERR_FOREIGN, saying what is found there.
 * Read-only. */
must_check int sentinel_check(const char *dir, const struct sentinel *want, struct err *err);

/* True if it was written since this machine started. */
bool sentinel_this_boot(const struct sentinel *s);

const char *sentinel_state_name(enum sentinel_state state);
