#include "model/state.h"

#include <string.h>

static const char *const names[STATE_MAX] = {
    [STATE_STEADY] = "steady",
    [STATE_PREPARING] = "preparing",
    [STATE_PREPARED] = "prepared",
    [STATE_PROMOTING] = "promoting",
    [STATE_AWAITING_CONFIRM] = "awaiting-confirm",
    [STATE_PROMOTED] = "promoted",
    [STATE_ROLLING_BACK] = "rolling-back",
    [STATE_ROLLED_BACK] = "rolled-back",
    [STATE_CLEANING] = "cleaning",
};

const char *state_name(enum upgrade_state s)
{
    return s < STATE_MAX ? names[s] : "unknown";
}

enum upgrade_state state_parse(const char *name)
{
    for (int s = 0; s < STATE_MAX; s++)
        if (strcmp(names[s], name) == 0)
            return (enum upgrade_state)s;
    return STATE_MAX;
}
