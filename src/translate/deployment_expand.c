/* `${...}` in a template: the same names as in the spec, for whoever holds the loaded spec. */
#include "translate/deployment.h"

#include <stdlib.h>
#include <string.h>

static bool add_port(const struct spec *s, const char *rest, struct str *ret)
{
    char name[64];
    size_t n = strcspn(rest, ".");
    if (n >= sizeof(name))
        return false;
    memcpy(name, rest, n);
    name[n] = '\0';
    const struct spec_port *p = spec_port(s, name);
    if (!p)
        return false;
    if (str_eq(rest + n, ".first"))
        str_addf(ret, "%u", p->first);
    else if (str_eq(rest + n, ".last"))
        str_addf(ret, "%u", p->last);
    else if (rest[n])
        return false;
    else if (p->first == p->last)
        str_addf(ret, "%u", p->first);
    else
        str_addf(ret, "%u-%u", p->first, p->last);
    return true;
}

static bool add_volume(const struct spec *s, const char *rest, struct str *ret)
{
    const struct spec_volume *v = spec_volume(s, rest);
    str_add(ret, v ? v->path : "");
    return v;
}

static bool add_config(const struct spec *s, const char *rest, struct str *ret)
{
    for (size_t i = 0; i < s->config_n; i++)
        if (str_eq(s->config[i].name, rest)) {
            str_add(ret, s->config[i].value);
            return true;
        }
    return false;
}

static bool add_identity(const struct spec *s, const char *rest, struct str *ret)
{
    size_t i = (size_t)strtoul(rest, NULL, 10);
    str_add(ret, i < s->identities.n ? s->identities.v[i] : "");
    return i < s->identities.n;
}

static const struct {
    const char *prefix;
    bool (*add)(const struct spec *s, const char *rest, struct str *ret);
    bool other;
} families[] = {
    {"port.", add_port, false},      {"volume.", add_volume, false},
    {"config.", add_config, false},  {"identity.", add_identity, false},
    {"other.port.", add_port, true}, {"other.volume.", add_volume, true},
};

/* 1: a name of ours, added; 0: not one of ours; -1: ours, and not known. */
static int add_name(const struct deployment_goal *g, const char *name, struct str *ret)
{
    const struct spec *s = g->spec;
    const struct {
        const char *name, *value;
    } plain[] = {{"colour", colour_name(s->colour)},
                 {"other", colour_name(colour_other(s->colour))},
                 {"service", s->service},
                 {"version", s->version},
                 {"upgrade", g->upgrade},
                 {"identity", s->identities.n ? s->identities.v[0] : NULL}};
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (str_eq(plain[i].name, name)) {
            str_add(ret, plain[i].value ? plain[i].value : "");
            return plain[i].value ? 1 : -1;
        }
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        const struct spec *of = families[i].other ? g->other : s;
        if (str_starts(name, families[i].prefix))
            return of && families[i].add(of, name + strlen(families[i].prefix), ret) ? 1 : -1;
    }
    return 0;
}

int deployment_expand(const struct deployment_goal *g, const char *text, struct str *ret,
                      struct err *err)
{
    while (*text) {
        char name[160];
        size_t n = text[0] == '$' && text[1] == '{' ? strcspn(text + 2, "}") : 0;
        if (!n || n >= sizeof(name) || !text[2 + n]) {
            str_add_c(ret, *text++);
            continue;
        }
        memcpy(name, text + 2, n);
        name[n] = '\0';
        int known = add_name(g, name, ret);
        if (known < 0) {
            err_set(err, ERR_USAGE, "${%.100s}: %s has none", name, colour_name(g->spec->colour));
            return str_eq(name, "version")
                       ? err_hint(err, "give --target-version, or write the image's tag")
                       : err_hint(err, "correct the name, or add it to the spec");
        }
        if (!known)
            str_add_n(ret, text, n + 3);
        text += n + 3;
    }
    return 0;
}
