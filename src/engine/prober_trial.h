/* A trial of the section `probe` before any upgrade: does live answer what promote will ask? */
#pragma once

#include "driver/context.h"
#include "driver/facts.h"

/* Sends each body of the standby's spec once (at most TRIAL_BODIES) to where the probe will send
 * them, and opens one websocket if it is to have any: one finding for each kind of thing that is
 * wrong. Live serves there; nothing is asked where `f` says already that it does not. Changes
 * nothing. Blocks at most for the probe's timeout and 5 s.
 * ERR_INTERRUPTED. */
enum { TRIAL_BODIES = 8 };
must_check int prober_trial(const struct driver_ctx *ctx, enum colour live, enum colour standby,
                            struct findings *f, struct err *err);
