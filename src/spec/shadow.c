/* The section `shadow`: its list of requests, and what must hold between its keys. */
#include "spec/loader.h"

#include <string.h>

#define REQUESTS_MAX 100
#define REQUESTS "shadow.requests[]"

static void name_request(struct loader *l, struct spec_shadow *s, struct spec_shadow_request *q)
{
    const char *given = q->name, *base = q->query.method ? q->query.method : q->query.path;
    size_t same = 1;
    for (struct spec_shadow_request *o = s->requests; o < q; o++)
        if (str_eq(o->name, given ? given : base) ||
            (!given && str_starts(o->name, base) && o->name[strlen(base)] == '-'))
            same++;
    if (given && same > 1)
        loader_wrong(l, (struct yaml_mark){q->line, 1},
                     REQUESTS ": two are named '%s'; write a name of its own for each", given);
    q->name =
        given || same == 1 ? (given ? given : base) : arena_printf(l->arena, "%s-%zu", base, same);
}

static void read_request(const struct reading *r, struct spec_shadow_request *q)
{
    struct loader *l = r->l;
    q->line = q->query.line = r->node->mark.line;
    loader_map(l, r->node, r->node->mark, REQUESTS, r->shown, q);
    if (r->node->kind == YAML_MAP && !q->query.method && !yaml_get(r->node, "path"))
        loader_wrong(l, r->node->mark,
                     "%s: does not say what is asked; write `method: getBlock` (JSON-RPC) or "
                     "`path: /config`",
                     r->shown);
    name_request(l, &l->spec->shadow, q);
}

void read_shadow(const struct reading *r)
{
    struct spec_shadow *s = &r->l->spec->shadow;
    if (r->node->kind != YAML_LIST || r->node->n == 0 || r->node->n > REQUESTS_MAX) {
        reading_wrong(r, "must be a list of 1 to %d maps", REQUESTS_MAX);
        return;
    }
    r->l->later = "slot";
    for (size_t i = 0; i < r->node->n; i++) {
        struct reading item = *r;
        item.node = r->node->items[i];
        item.shown = arena_printf(r->l->arena, "%s[%zu]", r->shown, i);
        read_request(&item,
                     arena_grow(r->l->arena, &s->requests, &s->requests_n, sizeof(*s->requests)));
    }
    r->l->later = NULL;
}

static bool uses_slot(const struct spec_shadow *s)
{
    for (size_t i = 0; i < s->requests_n; i++)
        if (strstr(s->requests[i].query.params, SPEC_SHADOW_SLOT) ||
            strstr(s->requests[i].query.path, SPEC_SHADOW_SLOT))
            return true;
    return false;
}

void loader_shadow_rules(struct loader *l)
{
    struct spec_shadow *s = &l->spec->shadow;
    const struct yaml_pair *section = yaml_get(l->root, "shadow");
    const struct yaml_pair *slot = section ? yaml_get(section->value, "slot") : NULL;
    const struct spec_gate_set *gates = &l->spec->gate;
    for (size_t i = 0; i < s->requests_n; i++)
        if (!s->requests[i].query.port)
            s->requests[i].query.port = l->spec->traffic.port;
    if (slot) {
        loader_query_rule(l, slot->mark, "shadow.slot", &s->slot, slot->value);
        return;
    }
    for (size_t i = 0; i < gates->n; i++)
        if (gates->gates[i].kind == GATE_LAG) {
            s->slot = gates->gates[i].query;
            return;
        }
    if (section && uses_slot(s))
        loader_wrong(l, section->mark,
                     "shadow: ${slot} is used, and nothing says how a colour is asked for its "
                     "newest slot; write `slot: {method: getSlot, field: result}`");
}
