/* The space floors: stopping the standby frees nothing by itself, so below the last floor its clone
 * goes; live never. After the flip the old side is the way back, and goes only if the spec says so.
 */
#include "engine/space.h"
#include "base/str.h"
#include "engine/flow.h"

#include <stdio.h>
#include <string.h>

static bool before_flip(const struct engine *e)
{
    return e->up->state == STATE_PREPARING || e->up->state == STATE_PREPARED;
}

/* The loser of a rollback is not needed, unless it alone has what was written since the flip. */
static bool loser_is_idle(struct engine *e)
{
    cleanup_str struct str after = {0};
    struct err ignored = {0};
    if (e->up->state != STATE_ROLLED_BACK)
        return false;
    return e->ctx.side[e->up->to]->writes == WRITES_REPLAYED ||
           (journal_meta_get(e->j, "rollback.after_flip", &after, &ignored) > 0 &&
            !str_eq(str_cstr(&after), "yes"));
}

/* The side that goes where room must be made. */
static enum colour spare(const struct engine *e)
{
    return e->up->flipped ? e->up->from : e->up->to;
}

/* The store with the least left of those that the spare side's end would widen; or (limits) of
 * those that it would not. */
static const struct space_store *least(const struct engine *e, const struct space_view *v,
                                       bool widened, const struct space_rate **ret)
{
    const struct space_store *found = NULL;
    for (size_t i = 0; i < v->n; i++)
        if (v->store[i].holds[spare(e)] == widened && (!found || v->store[i].left < found->left)) {
            found = &v->store[i];
            *ret = &v->rate[i];
        }
    return found;
}

static const char *path_of(const struct engine *e, const struct space_store *s)
{
    const struct spec_volume *v = spec_volume(e->ctx.side[s->side], s->volume);
    return v ? v->path : "?";
}

void flow_space_view(struct engine *e, struct space_status *ret)
{
    struct err ignored = {0};
    struct space_view v;
    const struct space_rate *rate = NULL;
    *ret = (struct space_status){0};
    if (space_now(e, &v, &ignored) < 0)
        return;
    const struct space_store *s = space_tightest(&v, &rate);
    if (!s)
        return;
    ret->known = true;
    ret->store = *s;
    ret->rate = *rate;
    str_format(ret->path, sizeof(ret->path), "%s", path_of(e, s));
    space_words(s, rate, ret->path, ret->words, sizeof(ret->words));
}

/* With what the guard's samples say of the time that is left. */
static void describe(struct engine *e, const struct space_store *s, char *buf, size_t size)
{
    struct err ignored = {0};
    struct space_view past;
    const struct space_rate *rate = NULL;
    char words[320];
    if (space_now(e, &past, &ignored) == 0)
        for (size_t i = 0; i < past.n; i++)
            if (str_eq(past.store[i].name, s->name))
                rate = &past.rate[i];
    space_words(s, rate, path_of(e, s), words, sizeof(words));
    str_format(buf, size, "only %s", words);
}

int engine_space_low(struct engine *e)
{
    struct err ignored = {0};
    return flow_space(e, false, &ignored) > 0;
}

void flow_space_words(struct engine *e, char *buf, size_t size)
{
    const struct spec_space *sp = &e->ctx.side[e->up->from]->space;
    const struct space_rate *rate = NULL;
    struct space_view v;
    struct err ignored = {0};
    char what[320];
    buf[0] = '\0';
    if (space_now(e, &v, &ignored) < 0)
        return;
    const struct space_store *s = least(e, &v, true, &rate);
    bool widened = s && s->left < sp->floor_bytes;
    if (!widened)
        s = least(e, &v, false, &rate);
    if (!s || s->left >= sp->floor_bytes)
        return;
    space_words(s, rate, path_of(e, s), what, sizeof(what));
    str_format(
        buf, size, "only %s, below the %s floor: %s", what,
        s->left < sp->last_floor_bytes ? "last" : "first",
        !widened         ? "nothing that the other side gives back would help; make room there"
        : before_flip(e) ? "the guard stops the standby"
        : sp->after_flip == SPACE_GIVE_UP_ROLLBACK
            ? "the way back is given up if it goes on"
            : "nothing is destroyed by itself after the flip; changeover cleanup makes room");
}

int flow_space(struct engine *e, bool act, struct err *err)
{
    const struct spec_space *sp = &e->ctx.side[e->up->from]->space;
    const struct space_rate *rate = NULL;
    struct space_view v;
    if (!sp->floor_bytes && !sp->last_floor_bytes)
        return 0;
    if (space_look(e, sp->floor_bytes, &v, err) < 0)
        return -1;
    const struct space_store *s = least(e, &v, true, &rate);
    bool low = s && s->left < sp->floor_bytes, lowest = s && s->left < sp->last_floor_bytes;
    if (!low && !lowest)
        return 0;
    bool may = before_flip(e) || loser_is_idle(e) ||
               (sp->after_flip == SPACE_GIVE_UP_ROLLBACK && e->up->state == STATE_PROMOTED);
    struct instance_facts standby = {0};
    if (e->runtime->inspect(&e->ctx, e->up->to, &standby, err) < 0)
        return -1;
    bool stop = before_flip(e) && standby.state == INSTANCE_RUNNING;
    if (!act)
        return stop || (lowest && may);
    char why[400];
    describe(e, s, why, sizeof(why));
    if (before_flip(e)) {
        event_warn(e->ctx.sink, "%s: stopping the standby", why);
        if (flow_rollback(e, why, err) < 0)
            return -1;
    }
    if (lowest && may) {
        event_warn(e->ctx.sink, "%s, below the last floor: destroying the data of %s", why,
                   colour_name(spare(e)));
        return flow_cleanup(e, err);
    }
    return 0;
}
