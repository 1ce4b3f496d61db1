#include "driver/portset.h"

const struct spec_port *portset_find(const struct spec *s, uint16_t port)
{
    for (size_t i = 0; i < s->ports_n; i++)
        if (port >= s->ports[i].first && port <= s->ports[i].last)
            return &s->ports[i];
    return NULL;
}

static bool allows(const char *rule, bool udp, uint16_t port)
{
    char *end;
    if (str_starts(rule, "udp:") || str_starts(rule, "tcp:")) {
        if (udp != (rule[0] == 'u'))
            return false;
        rule += 4;
    }
    unsigned long first = strtoul(rule, &end, 10), last = first;
    if (end == rule)
        return false;
    if (*end == '-')
        last = strtoul(end + 1, &end, 10);
    return !*end && port >= first && port <= last;
}

bool portset_may_bind(const struct spec *s, bool udp, uint16_t port)
{
    for (size_t i = 0; i < s->runtime.ports_may_also_bind.n; i++)
        if (allows(s->runtime.ports_may_also_bind.v[i], udp, port))
            return true;
    return false;
}

uint16_t portset_overlap(const struct spec *a, const struct spec *b, const struct spec_port **ret_a,
                         const struct spec_port **ret_b)
{
    for (size_t i = 0; i < a->ports_n; i++)
        for (size_t k = 0; k < b->ports_n; k++) {
            const struct spec_port *p = &a->ports[i], *q = &b->ports[k];
            if (p->first > q->last || q->first > p->last)
                continue;
            *ret_a = p;
            *ret_b = q;
            return p->first > q->first ? p->first : q->first;
        }
    return 0;
}
