/* Waiting until nobody is served by a side any more. */
#pragma once

#include "driver/traffic/ops.h"
#include "engine/engine.h"

/* Until the colour has no request in flight and no direct client, looked at several times in a row.
 * websockets: and until those are gone, or have had their time. ERR_GATE: not in time, it keeps
 * running; the message names who is left. *ret: the last look. */
must_check int drain_wait(struct engine *e, const struct plan_step *s, bool websockets,
                          struct traffic_load *ret, struct err *err);
