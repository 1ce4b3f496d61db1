/* The one error object: what went wrong, where, why it matters, what to type next.
 *
 * The caller owns it (on the stack, fixed size, never allocates: it works when memory or disk is
 * gone). A function that can fail takes it last and returns 0, or -1 with it filled; on success it
 * is left untouched, so calls chain with `||`. Library code never prints: cmd/ prints it once. */
#pragma once

#include "base/clean.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum err_code {
    ERR_NONE = 0,
    ERR_FAILED,      /* failed; nothing changed, or all of it undone: exit status 1 */
    ERR_USAGE,       /* command line, spec, or a question nobody could answer: 2 */
    ERR_HALFWAY,     /* stopped half way; resume or rollback is needed: 3 */
    ERR_GATE,        /* a gate or drain did not pass in time: 4 */
    ERR_LOCKED,      /* somebody else holds the lock: 5 */
    ERR_NOT_FOUND,   /* the object asked for does not exist: 1 */
    ERR_EXISTS,      /* something is there already: 1 */
    ERR_FOREIGN,     /* it is there and does not carry our mark: 1 */
    ERR_TIMEOUT,     /* a deadline passed, where no gate is meant: 1 */
    ERR_INTERRUPTED, /* SIGINT or SIGTERM asked us to end: 3 */
    ERR_UNSUPPORTED, /* kernel, file system or driver cannot do it: 1 */
    ERR_CODE_MAX
};

struct err {
    enum err_code code;
    int sys;        /* errno of the failing call, or 0 */
    char msg[8192]; /* "context: what: why"; of a spec: all its errors, a line each */
    char hint[512]; /* the next command to type, or what to write instead; may be "" */
};

/* Fills err with a message; returns -1 so that `return err_set(...)` reads well. err may be NULL.
 */
int err_set(struct err *err, enum err_code code, const char *fmt, ...) printf_like(3, 4);

/* The same with errno's text at the end: "open '/x': No such file or directory". */
int err_sys(struct err *err, enum err_code code, const char *fmt, ...) printf_like(3, 4);

/* Puts context before the message on the way up: "step clone-volumes: " + message. Returns -1. */
int err_ctx(struct err *err, const char *fmt, ...) printf_like(2, 3);

/* Sets the hint (replaces one that is there). Returns -1. */
int err_hint(struct err *err, const char *fmt, ...) printf_like(2, 3);

/* Empties it, for a second try. */
void err_clear(struct err *err);

/* The exit status that stands for a code: one table, the same in the man page. */
int err_exit_status(enum err_code code);
