/* Running a command of the spec: the common part of driver_command and of what runs as the instance
 * would. */
#pragma once

#include "driver/context.h"

/* As whom and where. NULL members: as we are. */
struct command_as {
    const struct strv *env;
    const char *cwd;
    uid_t uid;
    gid_t gid;
    bool set_ids;
};

/* driver_command's contract; `as` may be NULL. both (may be NULL) gets standard output and then
 * standard error. */
must_check int command_run(const struct driver_ctx *d, const struct spec_command *cmd,
                           const char *what, enum colour colour, const struct command_as *as,
                           struct str *out, struct str *both, struct err *err);

/* The part of a program's output that says what was wrong: from the first line with "error" in it
 * (or "panicked", "invalid", "unable", ...) to the next empty line, else its last lines; at most
 * 400 bytes, joined by blanks. */
void command_complaint(const char *output, struct str *ret);
