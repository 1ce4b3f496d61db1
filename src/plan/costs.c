/* What a way back costs, and whether it may be taken without asking. */
#include "plan/plan.h"

bool plan_may_flip_back(enum spec_writes writes, bool loss_accepted)
{
    return writes == WRITES_REPLAYED || loss_accepted;
}

static const char *loss_after_flip(const struct plan_goal *g, struct arena *a, const char *until)
{
    const char *to = colour_name(g->to), *from = colour_name(g->from);
    switch (g->side[g->to]->writes) {
    case WRITES_REPLAYED:
        return "nothing: what happened since is fetched again";
    case WRITES_BOTH:
        return arena_printf(a, "what %s alone collected %s; needs --accept-loss", to, until);
    case WRITES_CLIENT:
        return arena_printf(
            a, "every write that %s took since the %s; %s never sees them; needs --accept-loss", to,
            g->hold ? "release" : "flip", from);
    }
    return "";
}

void plan_costs(const struct plan_goal *g, struct arena *a, struct plan_cost ret[PLAN_COSTS])
{
    const char *to = colour_name(g->to), *from = colour_name(g->from);
    char words[24];
    clock_words(words, sizeof(words), g->side[g->to]->stop.grace);
    const char *stop = arena_printf(a, "its stop (at most %s)", words);
    ret[0] = (struct plan_cost){"preparing, prepared", arena_printf(a, "stop %s", to), stop,
                                "nothing: live was not changed"};
    ret[1] = (struct plan_cost){"promoting, before the flip", arena_printf(a, "stop %s", to), stop,
                                "nothing"};
    if (g->hold)
        ret[1] = (struct plan_cost){
            "promoting, while requests wait",
            arena_printf(a, "start %s, gate it, flip back, stop %s, hand it what waits", from, to),
            "its start, and the gate's passes", arena_printf(a, "nothing: %s took no write", to)};
    ret[2] = (struct plan_cost){
        g->hold ? "after the release" : "after the flip, awaiting-confirm",
        g->hold ? arena_printf(a, "start %s on its own data, gate it, flip back", from)
                : arena_printf(a, "gate %s, flip back, drain and stop %s", from, to),
        g->hold ? "its start and its catch-up" : "under 1 s and the gate's passes",
        loss_after_flip(g, a, "since the flip")};
    ret[3] = (struct plan_cost){
        "promoted", arena_printf(a, "start %s on its own data, gate it, flip back", from),
        "its start and its catch-up", loss_after_flip(g, a, "since the old side stopped")};
    ret[4] = (struct plan_cost){
        "after cleanup",
        arena_printf(a, "a new upgrade to %s",
                     g->version_from && *g->version_from ? g->version_from : "the old version"),
        "a whole upgrade", "the way back: the old data is gone, and version policy decides"};
}
