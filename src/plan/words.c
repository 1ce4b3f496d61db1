#include "plan/words.h"

#include "plan/plan.h"

#include <inttypes.h>
#include <string.h>

#define BODIES_SHOWN 3 /* of the probe */

void plan_probe_words(struct str *out, const struct spec_probe *p)
{
    str_addf(out, "probe: as a client would, %d %s a second to %s", p->rate,
             p->bodies.n ? "POST" : "GET", p->url);
    for (size_t i = 0; i < p->bodies.n && i < BODIES_SHOWN; i++)
        str_addf(out, "%s%.80s", i ? ", " : " (", p->bodies.v[i]);
    if (p->bodies.n > BODIES_SHOWN)
        str_addf(out, " and %zu more", p->bodies.n - BODIES_SHOWN);
    if (p->bodies.n)
        str_add_c(out, ')');
    if (p->websockets)
        str_addf(out, " and %d websockets to %s", p->websockets, p->ws_url);
}

void plan_limits_words(struct str *out, const struct spec_probe *p)
{
    str_addf(out, "more than %" PRIu64 " lost", p->max_lost);
    if (p->executed.n)
        str_addf(out, ", more than %" PRIu64 " executed twice", p->max_twice);
    if (p->p99_ratio > 0)
        str_addf(out, ", a p99 over %g x the baseline's (and over %d ms)", p->p99_ratio,
                 p->p99_floor_ms);
    if (p->max_gap_ms)
        str_addf(out, ", more than %d ms without a good answer", p->max_gap_ms);
}

bool plan_flip_loses(const struct spec *s)
{
    return str_eq(s->traffic.driver, "service") || str_eq(s->traffic.driver, "ingress");
}

void plan_flip_loss_words(struct str *out, const struct spec *s, enum colour from)
{
    const char *c = colour_name(from);
    if (str_eq(s->traffic.driver, "ingress"))
        str_addf(out,
                 "the ingress controller loads the change in its own time, and what its reload "
                 "cuts has not been measured; what it still sends to %s then is cut by %s's stop",
                 c, c);
    else
        str_addf(out,
                 "connections that are open to %s stay there until their clients close them "
                 "(keep-alive clients: until they connect anew), and %s's stop cuts what is left",
                 c, c);
    str_add(out, "; only driver caddy loses nothing");
}

const char *plan_flip_words(const struct spec *s, enum colour to, struct arena *arena)
{
    const struct spec_route *r = &s->traffic.route;
    enum colour from = colour_other(to);
    if (!plan_flip_loses(s))
        return arena_printf(arena,
                            "flip: create active-%s, sync, remove active-%s, sync (one commit, no "
                            "reload, open requests stay)",
                            colour_name(to), colour_name(from));
    cleanup_str struct str loss = {0};
    plan_flip_loss_words(&loss, s, from);
    if (str_eq(s->traffic.driver, "ingress"))
        return arena_printf(arena,
                            "flip: one write to the API server, path '%s'%s%s of Ingress '%s' to "
                            "Service '%s'; %s",
                            r->path, r->host ? " of host " : "", r->host ? r->host : "", r->ingress,
                            r->backend, str_cstr(&loss));
    return arena_printf(arena,
                        "flip: one write to the API server, the %s of Service '%s' to %s; new "
                        "connections follow as soon as each node has seen it; %s",
                        r->by == ROUTE_SELECTOR ? "selector" : "EndpointSlice", r->service,
                        colour_name(to), str_cstr(&loss));
}

const char *plan_preview_words(const struct spec *s, struct arena *arena)
{
    return plan_flip_loses(s)
               ? arena_printf(arena, "ask both colours at their ports, and the front: each "
                                     "answers, and tells itself apart")
               : "ask both colours through the proxy's previews: each answers, and tells itself "
                 "apart";
}

static const char *how(const struct spec_stop_websockets *w, enum colour c, struct arena *arena)
{
    cleanup_str struct str argv = {0};
    if (w->signal)
        return arena_printf(arena, "SIG%s to %s", sigabbrev_np(w->signal), colour_name(c));
    for (size_t i = 0; i < w->command.argv.n; i++)
        str_addf(&argv, "%s%s", i ? " " : "", w->command.argv.v[i]);
    return arena_printf(arena, "run %s", str_cstr(&argv));
}

const char *plan_websockets_words(const struct spec *s, struct arena *arena)
{
    const struct spec_stop_websockets *w = &s->stop.websockets;
    const char *c = colour_name(s->colour);
    char spread[24], most[24];
    if (!w->spread)
        return "";
    clock_words(spread, sizeof(spread), w->spread);
    clock_words(most, sizeof(most), w->spread + PLAN_SPREAD_MORE);
    return arena_printf(arena,
                        "tell %s to close its websockets one after the other over %s (%s); wait "
                        "until none is open, at most %s; those left are closed by the stop",
                        c, spread, how(w, s->colour, arena), most);
}
