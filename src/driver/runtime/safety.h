/* What must hold before any instance is started: the data is the colour's own, and the identities
 * differ. */
#pragma once

#include "driver/context.h"

must_check int safety_sentinels(const struct driver_ctx *ctx, enum colour c, struct err *err);
must_check int safety_identities(const struct driver_ctx *ctx, enum colour c, struct err *err);
