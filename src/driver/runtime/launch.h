/* How an instance is started, made from its spec; and what adopt recorded of the process it found.
 */
#pragma once

#include "driver/runtime/run.h"

struct adopted {
    struct strv argv, env;
    char cwd[1024];
    uid_t uid;
    gid_t gid;
    mode_t umask;
    struct sys_limit limits[SYS_LIMITS];
    size_t limits_n;
};
must_check int adopted_read(const char *dir, struct adopted *ret, struct err *err);
void adopted_done(struct adopted *a);
#define cleanup_adopted cleanup(adopted_done)

/* Fills an empty *l for colour c. What the spec leaves open comes from adopted.json, else from us.
 * The directory runtime/COLOUR must exist. Errors name the key of the spec. On failure *l is to be
 * ended all the same. */
must_check int launch_build(const struct driver_ctx *ctx, enum colour c, bool standby,
                            struct launch *l, struct err *err);

/* Niceness, io class, cpu and io weight of a standby or of live. */
void launch_priorities(const struct spec_runtime *r, bool standby, struct launch *l);
