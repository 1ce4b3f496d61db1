/* The states of an upgrade, and which command may do what in which. The words are the output's. */
#pragma once

#include "base/err.h"
#include "spec/spec.h"

enum upgrade_state {
    STATE_STEADY, /* no upgrade open */
    STATE_PREPARING,
    STATE_PREPARED,
    STATE_PROMOTING,
    STATE_AWAITING_CONFIRM,
    STATE_PROMOTED,
    STATE_ROLLING_BACK,
    STATE_ROLLED_BACK,
    STATE_CLEANING,
    STATE_MAX
};

const char *state_name(enum upgrade_state s);     /* "awaiting-confirm" */
enum upgrade_state state_parse(const char *name); /* STATE_MAX if unknown */

/* One upgrade, as the journal has it. Strings belong to whoever loaded it. */
struct upgrade {
    char id[32]; /* "20261123-141503-7f3a" */
    enum upgrade_state state;
    enum colour from, to; /* live when it began / the colour that it brings up */
    char version_from[64], version_to[64];
    bool flipped; /* the flip to `to` has been committed and not taken back */
    int64_t created_wall_ns;
};
