/* The steps that clone the data, and the pause that they need. */
#include "plan/build.h"
#include "plan/plan.h"

#include <inttypes.h>
#include <string.h>

bool plan_needs_freeze(const struct spec_volume *v, const struct plan_volume *pv)
{
    if (v->consistency == CONSISTENCY_NONE || v->before_snapshot.argv.n)
        return false;
    if (pv)
        return !pv->instant && !pv->no_data;
    return strcmp(v->driver, "empty") != 0;
}

nsec_t plan_pause(const struct plan_goal *goal, nsec_t *ret_first)
{
    nsec_t pause = 0, first = 0;
    bool freeze = false;
    const struct spec *src = goal->side[goal->from];
    for (size_t i = 0; goal->volumes && i < src->volumes_n; i++) {
        freeze |= plan_needs_freeze(&src->volumes[i], &goal->volumes[i]);
        pause += goal->volumes[i].pause_ns;
        first += goal->volumes[i].estimate_ns;
    }
    if (ret_first)
        *ret_first = freeze ? first : 0;
    return freeze ? pause : 0;
}

static void describe_volume(struct str *out, const struct plan_goal *g, size_t i)
{
    const struct spec_volume *src = &g->side[g->from]->volumes[i];
    const struct spec_volume *dst = spec_volume(g->side[g->to], src->name);
    const struct plan_volume *pv = g->volumes ? &g->volumes[i] : NULL;
    const char *driver = pv ? pv->driver : src->driver;
    char size[16], most[24];
    if ((pv && pv->no_data) || strcmp(driver, "empty") == 0) {
        str_addf(out, "%s: make %s empty", src->name, dst ? dst->path : "?");
        return;
    }
    str_addf(out, "%s: %s -> %s (%s", src->name, src->path, dst ? dst->path : "?", driver);
    if (pv && pv->bytes)
        str_addf(out, ", %s in %" PRIu64 " files", str_bytes(size, sizeof(size), pv->bytes),
                 pv->files);
    if (dst && dst->fsfreeze)
        str_addf(out, ", its file system frozen around the snapshot, at most %s",
                 clock_words(most, sizeof(most), g->side[g->to]->freeze_max));
    str_add(out, ")");
}

/* Whether a pause is for acts of milliseconds only: nothing is passed over ahead of it. */
static bool pause_at_once(const struct plan_goal *g)
{
    const struct spec *src = g->side[g->from];
    for (size_t i = 0; i < src->volumes_n; i++)
        if (!g->volumes ||
            !(g->volumes[i].at_once || g->volumes[i].instant || g->volumes[i].no_data))
            return false;
    return true;
}

void plan_add_clone(struct builder *b)
{
    const struct plan_goal *g = b->goal;
    const struct spec *src = g->side[g->from], *dst = g->side[g->to];
    struct plan_step *s = plan_add(b, ACT_CLONE, g->to, "clone");
    cleanup_str struct str effect = {0}, undo = {0};
    bool freeze = false;
    str_add(&effect, "clone at one point in time: ");
    str_add(&undo, "remove");
    for (size_t i = 0; i < src->volumes_n; i++) {
        if (i)
            str_add(&effect, "; ");
        describe_volume(&effect, g, i);
        if (i < dst->volumes_n)
            str_addf(&undo, " %s", dst->volumes[i].path);
        freeze |= plan_needs_freeze(&src->volumes[i], g->volumes ? &g->volumes[i] : NULL);
    }
    if (src->volumes_n == 0)
        str_add(&effect, "there are no volumes");
    char ahead[24], about[24], most[24];
    const char *from = colour_name(g->from);
    nsec_t first = 0, pause = plan_pause(g, &first);
    clock_words(most, sizeof(most), src->freeze_max);
    if (b->plan->phase == PHASE_HOLD)
        str_addf(&effect, "; %s is stopped; of what was cloned ahead, only what changed", from);
    else if (freeze && pause && pause_at_once(g))
        str_addf(&effect, "; %s is paused for the snapshots: about %s, at most %s", from,
                 clock_words(about, sizeof(about), pause), most);
    else if (freeze && pause)
        str_addf(&effect,
                 "; a first pass of about %s while %s runs, and more over what changed, then %s is "
                 "paused for the last one: about %s and what changed meanwhile, at most %s",
                 clock_words(ahead, sizeof(ahead), first), from, from,
                 clock_words(about, sizeof(about), pause), most);
    else if (freeze)
        str_addf(&effect,
                 "; passes over the data while %s runs, then %s is paused for the last one, at "
                 "most %s",
                 from, from, most);
    else
        str_addf(&effect, "; %s is not paused", colour_name(g->from));
    str_add(&undo, " (only what carries our mark)");
    s->effect = TEXT(b, "%s", str_cstr(&effect));
    s->undo = src->volumes_n ? TEXT(b, "%s", str_cstr(&undo)) : "";
}

void plan_add_ahead(struct builder *b)
{
    if (pause_at_once(b->goal))
        return;
    struct plan_step *s = plan_add(b, ACT_AHEAD, b->goal->to, "ahead");
    s->effect = TEXT(b,
                     "clone while %s serves on: a pass over all of its data, and more over what "
                     "changed, so that only the rest is left for the time in which requests wait",
                     colour_name(b->goal->from));
    s->always = true; /* what the passes know is not kept on disk */
}
