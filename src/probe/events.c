/* What becomes of a websocket subscription: dropped, opened again, by whom, how long until the
 * first event, and which events never came. */
#include "probe/internal.h"

#include <stdlib.h>
#include <string.h>

void events_dropped(struct probe *p, struct wsock *s, nsec_t now)
{
    struct probe_sockets *r = &p->r.ws;
    r->open--;
    r->drops++;
    r->closed += s->close_frame;
    if (!s->dropped)
        r->stayed--;
    s->dropped = true;
    if (s->first_event_due)
        return; /* dropped again before anything came: it is away since the first time */
    s->first_event_due = true;
    s->dropped_at = now;
    r->silent++;
}

/* "NAME: value" of the head, or "". */
static void header(const char *head, const char *name, char *buf, size_t size)
{
    size_t n = strlen(name);
    buf[0] = '\0';
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, n) != 0 || line[n] != ':')
            continue;
        const char *value = line + n + 1 + strspn(line + n + 1, " \t");
        str_format(buf, size, "%.*s", (int)strcspn(value, "\r\n"), value);
        return;
    }
}

static void count_colour(struct probe *p, const char *head)
{
    struct probe_sockets *r = &p->r.ws;
    char name[sizeof(r->by[0].name)];
    header(head, p->o.colour_header, name, sizeof(name));
    unsigned i = 0;
    while (i < r->n_by && !str_eq(r->by[i].name, name))
        i++;
    if (!*name || i == ARRAY_LEN(r->by))
        return;
    if (i == r->n_by)
        memcpy(r->by[r->n_by++].name, name, sizeof(name));
    r->by[i].reconnects++;
}

void events_opened(struct probe *p, struct wsock *s, const char *head)
{
    struct probe_sockets *r = &p->r.ws;
    r->open++;
    if (s->was_open) {
        r->reconnects++;
        r->first_try += s->attempts == 1;
        count_colour(p, head);
    } else {
        r->ever_open++;
        r->stayed++;
    }
    s->was_open = true;
}

/* Slots come one by one: a step over some means that those never came. One that the chain itself
 * has left out cannot be told from that. */
static void count_slot(struct probe_sockets *r, struct wsock *s, int64_t slot)
{
    int64_t skipped = s->last_slot >= 0 ? slot - s->last_slot - 1 : 0;
    if (s->first_event_due && skipped > 0) {
        r->missed_away += (uint64_t)skipped;
    } else if (s->first_event_due) {
        r->again += (uint64_t)-skipped;
    } else if (skipped > 0) {
        r->gaps++;
        r->missed += (uint64_t)skipped;
    } else if (skipped < 0) {
        r->backward++;
    }
    s->last_slot = slot;
}

void events_take(struct probe *p, struct wsock *s, const json_t *params, nsec_t now)
{
    struct probe_sockets *r = &p->r.ws;
    const json_t *slot = json_object_get(json_object_get(params, "result"), "slot");
    r->events++;
    if (json_is_integer(slot))
        count_slot(r, s, json_integer_value(slot));
    if (!s->first_event_due)
        return;
    hist_add(&r->away, now - s->dropped_at);
    s->first_event_due = false;
    r->silent--;
}
