/* The space floors: stopping the standby frees nothing by itself, so below the last floor its clone
 * goes; live never. After the flip the old side is the way back, and goes only if the spec says so.
 */
#include "driver/storage/ops.h"
#include "engine/flow.h"
#include "sys/file.h"

#include <stdio.h>
#include <string.h>

static int least_free(struct engine *e, uint64_t *ret, const struct spec_volume **ret_volume,
                      struct err *err)
{
    *ret = UINT64_MAX;
    for (int c = GREEN; c < COLOURS; c++) {
        const struct spec *s = e->ctx.side[c];
        for (size_t i = 0; i < s->volumes_n; i++) {
            struct sys_space space;
            if (!sys_path_exists(s->volumes[i].path))
                continue;
            if (sys_path_space(s->volumes[i].path, &space, err) < 0)
                return -1;
            if (space.free_bytes < *ret) {
                *ret = space.free_bytes;
                *ret_volume = &s->volumes[i];
            }
        }
    }
    return 0;
}

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

int engine_space_low(struct engine *e)
{
    struct err ignored = {0};
    return flow_space(e, false, &ignored) > 0;
}

static void describe(uint64_t left, const struct spec_volume *v, char *buf, size_t size)
{
    char free_words[16];
    str_format(buf, size, "only %s free at '%s' (volume %s)",
               str_bytes(free_words, sizeof(free_words), left), v->path, v->name);
}

void flow_space_words(struct engine *e, char *buf, size_t size)
{
    const struct spec_space *sp = &e->ctx.side[e->up->from]->space;
    const struct spec_volume *v = NULL;
    struct err ignored = {0};
    uint64_t left = 0;
    char what[256];
    buf[0] = '\0';
    if (least_free(e, &left, &v, &ignored) < 0 || !v || left >= sp->floor_bytes)
        return;
    describe(left, v, what, sizeof(what));
    str_format(
        buf, size, "%s, below the %s floor: %s", what,
        left < sp->last_floor_bytes ? "last" : "first",
        before_flip(e) ? "the guard stops the standby"
        : sp->after_flip == SPACE_GIVE_UP_ROLLBACK
            ? "the way back is given up if it goes on"
            : "nothing is destroyed by itself after the flip; changeover cleanup makes room");
}

int flow_space(struct engine *e, bool act, struct err *err)
{
    const struct spec_space *sp = &e->ctx.side[e->up->from]->space;
    const struct spec_volume *v = NULL;
    uint64_t left = 0;
    if (!sp->floor_bytes && !sp->last_floor_bytes)
        return 0;
    if (least_free(e, &left, &v, err) < 0)
        return -1;
    bool low = left < sp->floor_bytes, lowest = left < sp->last_floor_bytes;
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
    char why[256];
    describe(left, v, why, sizeof(why));
    if (before_flip(e)) {
        event_warn(e->ctx.sink, "%s: stopping the standby", why);
        if (flow_rollback(e, why, err) < 0)
            return -1;
    }
    if (lowest && may) {
        event_warn(e->ctx.sink, "%s, below the last floor: destroying the data of %s", why,
                   colour_name(e->up->flipped ? e->up->from : e->up->to));
        return flow_cleanup(e, err);
    }
    return 0;
}
