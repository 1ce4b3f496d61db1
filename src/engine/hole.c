#include "engine/hole.h"

#include "sys/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HOLE "hole" /* "UPGRADE FROM TO", times in ns of the wall clock; TO 0: it goes on */

struct hole {
    int64_t from, to;
};

/* 1 found, 0 none of this upgrade. */
static int load(struct journal *j, const struct upgrade *up, struct hole *ret, struct err *err)
{
    cleanup_str struct str text = {0};
    int r = journal_meta_get(j, HOLE, &text, err);
    size_t n = strlen(up->id);
    const char *p = str_cstr(&text);
    if (r <= 0 || n == 0 || strncmp(p, up->id, n) != 0 || p[n] != ' ')
        return r < 0 ? -1 : 0;
    char *end = NULL;
    ret->from = strtoll(p + n, &end, 10);
    ret->to = strtoll(end, NULL, 10);
    return 1;
}

static int save(struct engine *e, const struct hole *h, struct err *err)
{
    char text[96];
    str_format(text, sizeof(text), "%s %" PRId64 " %" PRId64, e->up->id, h->from, h->to);
    return journal_meta_set(e->j, HOLE, text, err);
}

int hole_begin(struct engine *e, struct err *err)
{
    if (e->ctx.side[e->up->to]->writes != WRITES_BOTH || e->ctx.side[e->up->to]->volumes_n == 0)
        return 0;
    return save(e, &(struct hole){.from = sys_clock_wall()}, err);
}

int hole_end(struct engine *e, struct err *err)
{
    struct hole h;
    struct step_row gate;
    int r = load(e->j, e->up, &h, err);
    if (r <= 0 || h.to)
        return r < 0 ? -1 : 0;
    if (journal_step(e->j, e->up->id, "prepare/gate", &gate, err) < 0)
        return -1;
    h.to = gate.ended_wall_ns ? gate.ended_wall_ns : sys_clock_wall();
    return save(e, &h, err);
}

/* "14:02:01.2" */
static const char *at(char *buf, size_t size, int64_t wall_ns)
{
    time_t seconds = (time_t)(wall_ns / NSEC_S);
    struct tm tm;
    char time[16];
    localtime_r(&seconds, &tm);
    strftime(time, sizeof(time), "%H:%M:%S", &tm);
    str_format(buf, size, "%s.%d", time, (int)(wall_ns % NSEC_S / (NSEC_S / 10)));
    return buf;
}

void hole_words(struct journal *j, const struct upgrade *up, char *buf, size_t size)
{
    struct hole h;
    struct err ignored = {0};
    char words[24], from[24], to[24];
    buf[0] = '\0';
    if (!j || load(j, up, &h, &ignored) <= 0 || !h.to)
        return;
    str_format(buf, size,
               "%s has a hole of %s in its data: %s (the clone) to %s (it passed its gate); only "
               "%s has what came then",
               colour_name(up->to), clock_words(words, sizeof(words), h.to - h.from),
               at(from, sizeof(from), h.from), at(to, sizeof(to), h.to), colour_name(up->from));
}
