/* A planned pause in which requests wait, as told by whoever makes it.
 *
 * What was in flight when it began, or was due before it was over, is late by plan: its latency and
 * the time without an answer are figures of their own, and its timeout counts from the end of the
 * pause. Lost is lost all the same. While it lasts ever fewer requests are sent: each one that
 * waits costs the proxy memory, and the hundredth says no more than the tenth. */
#include "probe/internal.h"
#include "sys/clock.h"
#include "sys/loop.h"

#define SETTLE (2 * NSEC_S) /* what waited is answered by then, or it is late by itself */

enum { THIN = 32 }; /* about so many requests for each time that the pause grows by e */

bool hold_lasts(const struct probe *p)
{
    return p->hold.from && !p->hold.until;
}

bool hold_touches(const struct probe *p, const struct request *rq)
{
    const struct hold *h = &p->hold;
    return h->from && (!h->until || rq->intended < h->until);
}

nsec_t hold_deadline(const struct probe *p, const struct request *rq)
{
    const struct hold *h = &p->hold;
    if (!hold_touches(p, rq))
        return rq->deadline;
    if (!h->until)
        return INT64_MAX;
    nsec_t timeout = rq->slow ? p->o.slow_timeout : p->o.timeout;
    return rq->deadline > h->until + timeout ? rq->deadline : h->until + timeout;
}

nsec_t hold_overlap(const struct probe *p, nsec_t from, nsec_t until)
{
    const struct hold *h = &p->hold;
    nsec_t begin = from > h->from ? from : h->from;
    nsec_t end = h->until && h->until < until ? h->until : until;
    return h->from && end > begin ? end - begin : 0;
}

bool hold_skips(struct probe *p, nsec_t intended)
{
    struct hold *h = &p->hold;
    if (!hold_lasts(p) || h->opens)
        return false;
    if (intended < h->next || p->r.in_flight >= p->o.connections / 4 * 3) {
        p->r.hold.not_sent++;
        return true;
    }
    if (intended > h->from)
        h->next = intended + (intended - h->from) / THIN;
    return false;
}

bool hold_left(const struct probe *p)
{
    return p->sending_over && hold_lasts(p) && !p->hold.told_over;
}

void hold_count(struct probe *p, const struct request *rq, enum probe_outcome outcome)
{
    struct probe_hold *r = &p->r.hold;
    nsec_t took = p->now - rq->intended;
    r->lost += outcome != PROBE_OK && outcome != PROBE_LEFT;
    if (outcome != PROBE_OK || !p->hold.opens || p->now < p->hold.opens)
        return;
    r->waited++;
    r->longest = took > r->longest ? took : r->longest;
}

/* Whether anything is still open that was sent before it was over. */
static bool still_waits(const struct probe *p)
{
    for (int slow = 0; slow < 2; slow++) {
        const struct link *l = p->open[slow].next;
        if (l != &p->open[slow] && ((const struct request *)l)->number <= p->hold.last)
            return true;
    }
    return false;
}

void hold_tick(struct probe *p)
{
    struct hold *h = &p->hold;
    if (hold_lasts(p) && h->told_over && (!still_waits(p) || p->now > h->told_over + SETTLE))
        h->until = p->now;
}

void probe_hold(struct probe *p, enum probe_hold_stage stage)
{
    struct hold *h = &p->hold;
    nsec_t now = sys_clock_mono();
    pthread_mutex_lock(&p->lock);
    if (stage == PROBE_HOLD_WAITS && !h->from)
        *h = (struct hold){.from = now};
    else if (stage == PROBE_HOLD_OPENS && hold_lasts(p) && !h->opens)
        h->opens = now;
    else if (stage == PROBE_HOLD_OVER && hold_lasts(p) && !h->told_over) {
        h->told_over = now;
        h->last = p->numbers + p->o.numbers_from;
    }
    p->r.hold.seen = h->from > 0;
    pthread_mutex_unlock(&p->lock);
    sys_event_raise(p->wake_fd);
}
