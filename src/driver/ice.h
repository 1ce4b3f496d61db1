/* Something that stands still for a moment, held by a helper process of ours: it lets it go when
 * our end of its socket closes, however we die, or at the ceiling. */
#pragma once

#include "driver/context.h"

struct ice {
    const char *what; /* for messages: "green", "the file system at '/srv/ledger'" */
    void *ctx;
    /* Run in the helper. freeze: all of it stands still, by `until` (monotonic); -1 with errno
     * (ETIMEDOUT: not in time), thaw is called then, too. thaw: -1 with errno: it is tried again
     * every ms. Only async-signal-safe work if we have threads. */
    int (*freeze)(void *ctx, nsec_t until);
    int (*thaw)(void *ctx);
};

/* Post: frozen, *ret_fd is what ice_thaw() takes. On -1 the helper has thawed it, unless it was
 * killed, or is still in the middle of freezing (then it thaws as soon as that is over): the caller
 * thaws again what it can. ERR_TIMEOUT: it did not stand still within the ceiling. */
must_check int ice_freeze(const struct driver_ctx *ctx, const struct ice *ice, nsec_t ceiling,
                          int *ret_fd, struct err *err);

/* Takes fd over. How it ended, and how long it was held. ICE_LOST: the helper was killed, so the
 * caller thaws by itself. */
enum ice_end { ICE_ASKED, ICE_CEILING, ICE_LOST };
enum ice_end ice_thaw(const struct driver_ctx *ctx, int fd, nsec_t *ret_held);

/* 0: it was held until it was asked for. Else ERR_TIMEOUT, with what came first. */
must_check int ice_ended(enum ice_end end, const char *what, struct err *err);
