/* That a colour can take the traffic, and that it has it, where no proxy of ours stands between:
 * each colour is asked at its own port, and the front at its address. */
#include "driver/traffic/route.h"

#include "sys/clock.h"

#define SEEN_WITHIN (30 * NSEC_S) /* kube-proxy, or a controller that loads it */
#define AGAIN (100 * NSEC_MS)
#define BATCH 16

enum { THIS, OTHER, FRONT, ASKED };

static void ask_front(const struct driver_ctx *ctx, size_t site, struct query *q)
{
    traffic_identify_query(ctx, VIA_FRONT, COLOUR_NONE, site, q);
    q->loopback = false;
}

static int run(const struct driver_ctx *ctx, struct query *q, size_t n, struct err *err)
{
    int r = query_run(q, n, ctx->poll, ctx->poll_ctx, err);
    return r > 0 ? err_set(err, ERR_INTERRUPTED, "interrupted while the colours were asked") : r;
}

/* What `to` says of itself, and that the other says something else. */
static int ask_colours(const struct driver_ctx *ctx, enum colour to, struct query q[ASKED],
                       struct err *err)
{
    traffic_identify_query(ctx, VIA_PORT, to, 0, &q[THIS]);
    traffic_identify_query(ctx, VIA_PORT, colour_other(to), 0, &q[OTHER]);
    ask_front(ctx, 0, &q[FRONT]);
    if (run(ctx, q, ASKED, err) < 0)
        return -1;
    if (!traffic_identified(&q[THIS]))
        return err_set(err, ERR_FAILED, "%s does not say who it is (traffic.identify) at %s: %s",
                       colour_name(to), q[THIS].url, q[THIS].why);
    if (traffic_identified(&q[OTHER]) &&
        str_eq(str_cstr(&q[THIS].value), str_cstr(&q[OTHER].value))) {
        err_set(err, ERR_FAILED,
                "both colours answer '%.80s' (traffic.identify), so nothing proves which one "
                "answers",
                str_cstr(&q[THIS].value));
        return err_hint(err, "compare %s with %s", q[THIS].url, q[OTHER].url);
    }
    return 0;
}

/* The front must lead to the colour that the object names, or the proof after the flip means
 * nothing. A side that is down cannot say so. */
static int check_front(const struct traffic_facts *f, enum colour to, struct query q[ASKED],
                       struct err *err)
{
    const struct query *now = &q[f->flag == to ? THIS : OTHER];
    if (!now->found || !now->value.len)
        return 0;
    if (!traffic_identified(&q[FRONT])) {
        err_set(err, ERR_FAILED, "the front (%s) does not lead to %s: %s", q[FRONT].url,
                colour_name(f->flag), q[FRONT].why);
        return err_hint(err, "traffic.site must be an address that reaches it from here");
    }
    /* flipped a moment ago by a run that was killed: verify waits for that */
    if (f->flag == to || str_eq(str_cstr(&q[FRONT].value), str_cstr(&now->value)))
        return 0;
    return err_set(err, ERR_FAILED,
                   "%s %s, and the front (%s) is answered by '%.80s', not by '%.80s'", f->source,
                   colour_name(f->flag), q[FRONT].url, str_cstr(&q[FRONT].value),
                   str_cstr(&now->value));
}

int traffic_route_preview(const struct driver_ctx *ctx, enum colour to, struct err *err)
{
    struct traffic_facts f;
    struct query q[ASKED] = {0};
    const struct traffic_ops *ops = traffic_find(ctx->side[GREEN], err);
    if (!ops || ops->inspect(ctx, TRAFFIC_PATIENT, &f, err) < 0)
        return -1;
    if (!f.installed || f.flag == COLOUR_NONE) {
        err_set(err, ERR_FAILED, "nothing can be flipped: %s", f.text);
        return err_hint(err, "changeover traffic install");
    }
    int r = ask_colours(ctx, to, q, err);
    if (r == 0)
        r = check_front(&f, to, q, err);
    query_done(q, ASKED);
    return r;
}

/* N requests, the sites in turn, each on a connection of its own. 1: all answered as `who`; 0: one
 * was not, err says which. */
static int ask_all(const struct driver_ctx *ctx, const char *who, struct err *err)
{
    const struct spec_traffic *t = &ctx->side[GREEN]->traffic;
    size_t todo = (size_t)(t->verify_requests > 0 ? t->verify_requests : 1);
    int r = 1;
    for (size_t done = 0; done < todo && r > 0;) {
        struct query q[BATCH] = {0};
        size_t n = todo - done < BATCH ? todo - done : BATCH;
        for (size_t i = 0; i < n; i++)
            ask_front(ctx, (done + i) % t->sites.n, &q[i]);
        r = run(ctx, q, n, err) < 0 ? -1 : 1;
        for (size_t i = 0; i < n && r > 0; i++) {
            bool said = traffic_identified(&q[i]);
            if (said && str_eq(str_cstr(&q[i].value), who))
                continue;
            r = 0;
            (void)err_set(err, ERR_FAILED, "request %zu of %zu through %s: %s%.80s%s", done + i + 1,
                          todo, q[i].url, said ? "answered by '" : q[i].why,
                          said ? str_cstr(&q[i].value) : "", said ? "'" : "");
        }
        query_done(q, n);
        done += n;
    }
    return r;
}

int traffic_route_verify(const struct driver_ctx *ctx, enum colour to, struct err *err)
{
    struct query q[ASKED] = {0};
    nsec_t deadline = sys_clock_mono() + SEEN_WITHIN;
    int r = ask_colours(ctx, to, q, err) < 0 ? -1 : 0;
    while (r == 0) {
        r = ask_all(ctx, str_cstr(&q[THIS].value), err);
        if (r != 0)
            break;
        if (sys_clock_mono() > deadline) {
            r = -1;
        } else if (driver_poll(ctx)) {
            r = err_set(err, ERR_INTERRUPTED, "interrupted in the proof");
        } else {
            err_clear(err);
            sys_sleep(AGAIN);
        }
    }
    query_done(q, ASKED);
    return r > 0 ? 0 : err_ctx(err, "the traffic is not proven to be at %s", colour_name(to));
}
