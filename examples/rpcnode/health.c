/* Health as agave computes it: own slot against what this node itself has heard. So a node that
 * hears nobody is `ok`. */
#include "node.h"

#include "util.h"

enum health health_of(const struct node *node, uint64_t *ret_behind)
{
    const struct options *o = node->options;
    uint64_t tip = atomic_load(&node->store.tip);
    uint64_t heard = atomic_load(&node->heard);
    *ret_behind = 0;
    if (now_mono_ns() < node->verified_ns)
        return HEALTH_UNKNOWN;
    if (node->fault == FAULT_BEHIND)
        *ret_behind = o->health_slot_distance + 1;
    else if (o->always_behind > 0)
        *ret_behind = o->always_behind;
    else if (heard > tip + o->health_slot_distance)
        *ret_behind = heard - tip;
    return *ret_behind > 0 ? HEALTH_BEHIND : HEALTH_OK;
}

const char *health_text(enum health health)
{
    static const char *const texts[] = {
        [HEALTH_OK] = "ok",
        [HEALTH_BEHIND] = "behind",
        [HEALTH_UNKNOWN] = "unknown",
    };
    return texts[health];
}
