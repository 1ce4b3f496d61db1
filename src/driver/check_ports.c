/* Ports: the colours' apart from each other and from Caddy's, the standby's free. */
#include "driver/check.h"

#include "driver/portset.h"
#include "sys/portmap.h"

#include <errno.h>
#include <string.h>

#define MEND_PORTS "give each colour ports of its own under 'ports' in the spec"

static const char *range_text(char *buf, size_t size, const struct spec_port *p)
{
    if (p->first == p->last)
        (void)snprintf(buf, size, "%s %u", p->name, p->first);
    else
        (void)snprintf(buf, size, "%s %u-%u", p->name, p->first, p->last);
    return buf;
}

static void check_apart(struct check *c)
{
    const struct spec_port *p, *q;
    char a[64], b[64];

    if (portset_overlap(c->from, c->to, &p, &q))
        findings_add(c->f, FINDING_ERROR, "ports", MEND_PORTS,
                     "%s of %s and %s of %s overlap: two instances cannot share a port",
                     range_text(a, sizeof(a), p), colour_name(c->live), range_text(b, sizeof(b), q),
                     colour_name(c->standby));
    else
        findings_add(c->f, FINDING_OK, "ports", NULL, "the colours' ports are apart");
}

/* What an instance may also bind must not be the other's: whoever comes first has it. */
static void check_also(struct check *c, const struct spec *s, const struct spec *other)
{
    char text[64];
    for (size_t i = 0; i < other->ports_n; i++)
        for (unsigned p = other->ports[i].first; p <= other->ports[i].last; p++) {
            if (!portset_may_bind(s, true, (uint16_t)p) && !portset_may_bind(s, false, (uint16_t)p))
                continue;
            findings_add(
                c->f, FINDING_WARNING, "ports", MEND_PORTS ", outside of ports.may_also_bind",
                "%s may also bind %u, which is %s of %s: if it comes first, the other cannot start",
                colour_name(s->colour), p, range_text(text, sizeof(text), &other->ports[i]),
                colour_name(other->colour));
            break;
        }
}

static void check_proxy(struct check *c, const struct spec *s)
{
    const struct {
        const char *what;
        uint16_t port;
    } own[] = {{"traffic.which_port", s->traffic.which_port},
               {"traffic.preview_ports.green", s->traffic.preview_port[GREEN]},
               {"traffic.preview_ports.blue", s->traffic.preview_port[BLUE]}};
    char text[64];

    if (!str_eq(s->traffic.driver, "caddy"))
        return;
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        const struct spec_port *p = own[i].port ? portset_find(s, own[i].port) : NULL;
        if (p)
            findings_add(c->f, FINDING_ERROR, "ports", "give it another number in the spec",
                         "%s is %u, which is %s of %s", own[i].what, own[i].port,
                         range_text(text, sizeof(text), p), colour_name(s->colour));
    }
}

/* The kernel may hand a port of its ephemeral range to any client at any time. */
static void check_ephemeral(struct check *c, const struct spec *s)
{
    uint16_t first, last;
    char text[64], mend[128];

    sys_port_ephemeral(&first, &last);
    for (size_t i = 0; i < s->ports_n; i++) {
        const struct spec_port *p = &s->ports[i];
        if (p->last < first || p->first > last ||
            (sys_port_reserved(p->first) && sys_port_reserved(p->last)))
            continue;
        (void)snprintf(mend, sizeof(mend), "sysctl -w net.ipv4.ip_local_reserved_ports=%u-%u",
                       p->first, p->last);
        findings_add(
            c->f, FINDING_WARNING, "ports", mend,
            "%s of %s lies in the kernel's ephemeral range (%u-%u): any client may be given it",
            range_text(text, sizeof(text), p), colour_name(s->colour), first, last);
    }
}

/* A name says nothing about the protocol. What is taken under UDP only stands in the way if the
 * service uses UDP there: a range, or a port that the live instance has bound under UDP. */
static bool uses_udp(const struct check *c, const struct spec_port *p)
{
    char owner[96];
    uint16_t lives = spec_port_number(c->from, p->name);
    return p->first != p->last || (lives && *sys_port_owner(owner, sizeof(owner), true, lives));
}

struct taken {
    int n;
    char text[400];
};

static void add_taken(struct taken *t, bool udp, uint16_t port, int why)
{
    char owner[96] = "";
    size_t at = strlen(t->text);
    if (t->n++ >= 4)
        return;
    if (why == EADDRINUSE)
        sys_port_owner(owner, sizeof(owner), udp, port);
    (void)snprintf(t->text + at, sizeof(t->text) - at, "%s%s %u: %s%s", at ? "; " : "",
                   udp ? "udp" : "tcp", port, *owner ? "taken by " : strerror(why), owner);
}

static void check_free(struct check *c, const struct spec *s)
{
    enum finding_level worst = FINDING_OK;
    struct taken t = {0};
    unsigned total = 0;

    for (size_t i = 0; i < s->ports_n; i++)
        for (unsigned p = s->ports[i].first; p <= s->ports[i].last; p++) {
            total++;
            for (int udp = 0; udp < 2; udp++) {
                if (sys_port_free(udp, (uint16_t)p) == 0)
                    continue;
                enum finding_level l =
                    udp && !uses_udp(c, &s->ports[i]) ? FINDING_WARNING : check_level(c);
                add_taken(&t, udp, (uint16_t)p, errno);
                worst = l > worst ? l : worst;
            }
        }
    if (t.n)
        findings_add(c->f, worst, "ports", "end what has it, or choose another port in the spec",
                     "%s cannot bind %d of its ports: %s%s", colour_name(s->colour), t.n, t.text,
                     t.n > 4 ? "; ..." : "");
    else
        findings_add(c->f, FINDING_OK, "ports", NULL, "all %u ports of %s are free (tcp and udp)",
                     total, colour_name(s->colour));
}

void check_ports(struct check *c)
{
    check_apart(c);
    check_also(c, c->from, c->to);
    check_also(c, c->to, c->from);
    check_proxy(c, c->from);
    check_proxy(c, c->to);
    check_ephemeral(c, c->from);
    check_ephemeral(c, c->to);
    if (!c->rq->standby_runs)
        check_free(c, c->to);
}
