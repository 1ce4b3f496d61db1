/* Looking things up in a loaded spec. */
#include "spec/spec.h"

#include <stdlib.h>

static const char *const colour_names[COLOURS] = {[GREEN] = "green", [BLUE] = "blue"};

const char *colour_name(enum colour c)
{
    return c == GREEN || c == BLUE ? colour_names[c] : "none";
}

enum colour colour_other(enum colour c)
{
    return c == GREEN ? BLUE : c == BLUE ? GREEN : COLOUR_NONE;
}

enum colour colour_parse(const char *text)
{
    for (enum colour c = GREEN; c <= BLUE; c++)
        if (str_eq(text, colour_names[c]))
            return c;
    return COLOUR_NONE;
}

void spec_free(struct spec *s)
{
    if (!s)
        return;
    arena_done(&s->arena);
    free(s);
}

const struct spec_port *spec_port(const struct spec *s, const char *name)
{
    for (size_t i = 0; i < s->ports_n; i++)
        if (str_eq(s->ports[i].name, name))
            return &s->ports[i];
    return NULL;
}

uint16_t spec_port_number(const struct spec *s, const char *name)
{
    const struct spec_port *p = spec_port(s, name);
    return p ? p->first : 0;
}

const struct spec_volume *spec_volume(const struct spec *s, const char *name)
{
    for (size_t i = 0; i < s->volumes_n; i++)
        if (str_eq(s->volumes[i].name, name))
            return &s->volumes[i];
    return NULL;
}

const struct spec_hook *spec_hook(const struct spec *s, const char *at)
{
    for (size_t i = 0; i < s->hooks_n; i++)
        if (str_eq(s->hooks[i].at, at))
            return &s->hooks[i];
    return NULL;
}

const char *spec_writes_name(enum spec_writes w)
{
    static const char *const names[] = {
        [WRITES_REPLAYED] = "replayed", [WRITES_BOTH] = "both", [WRITES_CLIENT] = "client"};
    return w <= WRITES_CLIENT ? names[w] : "?";
}

const char *spec_gate_kind_name(enum spec_gate_kind k)
{
    static const char *const names[GATE_KIND_MAX] = {
        [GATE_HTTP] = "http",   [GATE_JSONRPC] = "jsonrpc", [GATE_VERSION] = "version",
        [GATE_LAG] = "lag",     [GATE_MOVING] = "moving",   [GATE_WEBSOCKET] = "websocket",
        [GATE_PORTS] = "ports", [GATE_COMMAND] = "command", [GATE_TCP] = "tcp"};
    return k < GATE_KIND_MAX ? names[k] : "?";
}
