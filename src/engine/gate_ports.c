/* The gates that look at the instance itself: the sockets it has bound, and programs of the spec.
 */
#include "engine/gate_internal.h"

#include "driver/portset.h"
#include "sys/portmap.h"

#include <string.h>

#define PIDS_MAX 4096

struct complaints {
    char text[200];
    int n;
};

static void complain(struct complaints *c, const char *fmt, ...) printf_like(2, 3);
static void complain(struct complaints *c, const char *fmt, ...)
{
    size_t at = strlen(c->text);
    va_list ap;
    c->n++;
    if (at)
        at += (size_t)snprintf(c->text + at, sizeof(c->text) - at, "; ");
    if (at >= sizeof(c->text))
        return;
    va_start(ap, fmt);
    (void)vsnprintf(c->text + at, sizeof(c->text) - at, fmt, ap);
    va_end(ap);
}

static bool serves(const struct sys_port *p)
{
    return p->udp || p->listening;
}

/* Each port that has a name of its own must be bound by the instance; of a range, as many as it
 * likes. */
static void look_for_missing(const struct spec *s, const struct sys_port *ports, size_t n,
                             struct complaints *c)
{
    for (size_t i = 0; i < s->ports_n; i++) {
        const struct spec_port *p = &s->ports[i];
        char owner[96];
        bool bound = p->first != p->last;
        for (size_t k = 0; k < n && !bound; k++)
            bound = ports[k].port == p->first && serves(&ports[k]);
        if (bound)
            continue;
        if (!*sys_port_owner(owner, sizeof(owner), false, p->first))
            sys_port_owner(owner, sizeof(owner), true, p->first);
        complain(c, "%s (%u) is not bound by the instance%s%s", p->name, p->first,
                 *owner ? ", but by " : "", owner);
    }
}

static void look_at_socket(const struct gate_watch *w, const struct sys_port *p,
                           struct complaints *c)
{
    const struct spec *other = w->ctx->side[colour_other(w->rq.colour)];
    const struct spec_port *theirs = other ? portset_find(other, p->port) : NULL;
    uint16_t first, last;

    sys_port_ephemeral(&first, &last);
    if (theirs)
        complain(c, "%s %u is %s's (%s)", p->udp ? "udp" : "tcp", p->port,
                 colour_name(other->colour), theirs->name);
    else if (portset_find(w->spec, p->port) || portset_may_bind(w->spec, p->udp, p->port))
        return;
    /* a client's UDP socket gets its port from the kernel */
    else if (!p->udp || (!p->connected && (p->port < first || p->port > last)))
        complain(c, "%s %s port %u is in no declared range", p->udp ? "udp" : "tcp", p->addr,
                 p->port);
}

void gate_judge_ports(struct gate_watch *w, const struct spec_gate *g, struct gate_result *r)
{
    cleanup_free pid_t *pids = x_alloc(PIDS_MAX * sizeof(*pids));
    cleanup_free struct sys_port *ports = NULL;
    struct complaints c = {0};
    struct err e = {0};
    size_t pids_n = 0, n = 0, seen = 0;
    (void)g;

    if (!w->runtime || !w->runtime->pids) {
        gate_say(r, false, "no runtime that could say which processes the instance has");
        return;
    }
    if (w->runtime->pids(w->ctx, w->rq.colour, pids, PIDS_MAX, &pids_n, &e) < 0 ||
        sys_portmap(pids, pids_n, &ports, &n, &e) < 0) {
        gate_say(r, false, "%.250s", e.msg);
        return;
    }
    if (!pids_n) {
        gate_say(r, false, "no process of the instance runs");
        return;
    }
    look_for_missing(w->spec, ports, n, &c);
    for (size_t i = 0; i < n; i++) {
        if (!serves(&ports[i]))
            continue;
        seen++;
        look_at_socket(w, &ports[i], &c);
    }
    if (c.n)
        gate_say(r, false, "%s%s", c.text, strlen(c.text) + 1 >= sizeof(c.text) ? "..." : "");
    else
        gate_say(r, true, "%zu sockets, all where they belong", seen);
}

void gate_judge_command(struct gate_watch *w, const struct spec_gate *g, struct gate_result *r)
{
    struct err e = {0};
    if (driver_command(w->ctx, &g->command, g->name, w->rq.colour, NULL, &e) < 0)
        gate_say(r, false, "%.250s", e.msg);
    else
        gate_say(r, true, "status %d", g->command.status);
}
