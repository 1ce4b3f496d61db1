/* What becomes of the loser's data. */
#include "plan/plan.h"

bool plan_keeps(const struct plan_goal *g, const struct spec_volume *v)
{
    return g->retire && v->dataset;
}

const char *plan_end_words(const struct plan_goal *g, const struct spec_volume *v, struct arena *a)
{
    const char *loser = colour_name(g->loser);
    if (plan_keeps(g, v))
        return arena_printf(a,
                            "retire %s's volume %s: rename %s to %s.retired-%s, not mounted, not "
                            "ours any more (only if it carries our mark)",
                            loser, v->name, v->dataset, v->dataset, g->retire);
    if (!v->dataset)
        return arena_printf(a, "destroy %s's volume %s: %s (only if it carries our mark)", loser,
                            v->name, v->path);
    return arena_printf(a,
                        "destroy %s's volume %s: %s%s, once live does not hang on it (only if it "
                        "carries our mark)",
                        loser, v->name, v->dataset,
                        g->take_snapshots ? " and the snapshots of others on it" : "");
}
