/* The names that `${...}` knows, and the expansion itself. Read before all other keys, in this
 * order, and each may use what is before it: service, ports of both colours, config (the common
 * one, then the colour's over it), identity, volume paths. */
#include "spec/loader.h"

#include <stdlib.h>
#include <string.h>

#define EXPANDED_MAX ((size_t)64 << 10)    /* one value */
#define EXPANDED_ALL_MAX ((size_t)4 << 20) /* all values of one load */

static const struct yaml_node *node_at(const struct yaml_node *map, const char *a, const char *b,
                                       const char *c)
{
    const char *const path[] = {a, b, c};
    for (size_t i = 0; i < ARRAY_LEN(path) && map && path[i]; i++) {
        const struct yaml_pair *p = yaml_get(map, path[i]);
        map = p ? p->value : NULL;
    }
    return map;
}

/* Expansion */

static const struct spec_port *find_port(const struct colour_side *s, const char *name, size_t n)
{
    for (size_t i = 0; i < s->ports_n; i++)
        if (strlen(s->ports[i].name) == n && memcmp(s->ports[i].name, name, n) == 0)
            return &s->ports[i];
    return NULL;
}

static bool port_value(const struct colour_side *s, const char *name, struct str *out)
{
    size_t n = strcspn(name, ".");
    const struct spec_port *p = find_port(s, name, n);
    if (!p)
        return false;
    if (str_eq(name + n, ".first"))
        str_addf(out, "%u", p->first);
    else if (str_eq(name + n, ".last"))
        str_addf(out, "%u", p->last);
    else if (name[n])
        return false;
    else if (p->first == p->last)
        str_addf(out, "%u", p->first);
    else
        str_addf(out, "%u-%u", p->first, p->last);
    return true;
}

static bool volume_value(const struct colour_side *s, const char *name, struct str *out)
{
    for (size_t i = 0; i < s->volumes_n; i++)
        if (str_eq(s->volumes[i].name, name)) {
            str_add(out, s->volumes[i].path ? s->volumes[i].path : "/");
            return true;
        }
    return false;
}

static bool config_value(const struct colour_side *s, const char *name, struct str *out)
{
    for (size_t i = 0; i < s->config_n; i++)
        if (str_eq(s->config[i].name, name)) {
            str_add(out, s->config[i].value);
            return true;
        }
    return false;
}

static bool identity_value(const struct colour_side *s, const char *index, struct str *out)
{
    char *end;
    unsigned long i = *index ? strtoul(index, &end, 10) : 0;
    if ((*index && (*end || *index < '0' || *index > '9')) || i >= s->identities.n)
        return false;
    str_add(out, s->identities.v[i]);
    return true;
}

/* The time of stop.websockets in this unit; a fraction where it is no whole number of them. */
static bool spread_value(struct loader *l, enum colour c, nsec_t unit, struct str *out)
{
    static const char shown[] = "stop.websockets.spread";
    const struct yaml_node *n = node_at(l->root, "stop", "websockets", "spread");
    nsec_t spread;
    if (!n || n->kind != YAML_SCALAR || strstr(n->text, "${spread") ||
        clock_parse(loader_expand(l, c, n->mark, shown, n->text), &spread) < 0)
        return false;
    str_addf(out, "%.15g", (double)spread / (double)unit);
    return true;
}

static const char *after(const char *name, const char *prefix)
{
    return str_starts(name, prefix) ? name + strlen(prefix) : NULL;
}

static bool name_value(struct loader *l, enum colour c, const char *name, struct str *out)
{
    const struct colour_side *own = &l->side[c], *other = &l->side[colour_other(c)];
    const char *rest;
    if (str_eq(name, "colour"))
        return str_add(out, colour_name(c)), true;
    if (str_eq(name, "other"))
        return str_add(out, colour_name(colour_other(c))), true;
    if (str_eq(name, "service"))
        return str_add(out, l->spec->service ? l->spec->service : "service"), true;
    if (str_eq(name, "version"))
        return str_add(out, l->version ? l->version : "${version}"), true;
    if (str_eq(name, "identity"))
        return identity_value(own, "", out);
    if ((rest = after(name, "identity.")))
        return *rest && identity_value(own, rest, out);
    if ((rest = after(name, "port.")))
        return port_value(own, rest, out);
    if ((rest = after(name, "other.port.")))
        return port_value(other, rest, out);
    if ((rest = after(name, "volume.")))
        return volume_value(own, rest, out);
    if ((rest = after(name, "other.volume.")))
        return volume_value(other, rest, out);
    if ((rest = after(name, "config.")))
        return config_value(own, rest, out);
    if (str_eq(name, "spread"))
        return spread_value(l, c, NSEC_S, out);
    if (str_eq(name, "spread_ms"))
        return spread_value(l, c, NSEC_MS, out);
    return false;
}

static void known_names(const struct loader *l, enum colour c, struct strv *ret)
{
    static const char *const fixed[] = {"colour", "other", "service", "version"};
    const struct colour_side *own = &l->side[c];
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        strv_add(ret, fixed[i]);
    for (size_t i = 0; i < own->ports_n; i++)
        strv_take(ret, x_asprintf("port.%s", own->ports[i].name));
    for (size_t i = 0; i < own->volumes_n; i++)
        strv_take(ret, x_asprintf("volume.%s", own->volumes[i].name));
    for (size_t i = 0; i < own->config_n; i++)
        strv_take(ret, x_asprintf("config.%s", own->config[i].name));
    if (own->identities.n)
        strv_add(ret, "identity");
    if (node_at(l->root, "stop", "websockets", "spread"))
        strv_add(ret, "spread");
}

static void unknown_name(struct loader *l, enum colour c, struct yaml_mark at, const char *shown,
                         const char *name)
{
    cleanup_strv struct strv known = {0};
    cleanup_str struct str list = {.max = 600};
    known_names(l, c, &known);
    const char *near = NULL;
    size_t best = (strlen(name) + 1) / 3 + 1;
    for (size_t i = 0; i < known.n; i++) {
        size_t d = schema_distance(known.v[i], name);
        if (d < best)
            best = d, near = known.v[i];
        str_addf(&list, "%s${%s}", i ? ", " : "", known.v[i]);
    }
    if (near)
        loader_wrong(l, at,
                     "%s: unknown name ${%.60s}; did you mean ${%s}? (known here: %s, "
                     "${environment.NAME}; $$ is a dollar sign)",
                     shown, name, near, str_cstr(&list));
    else
        loader_wrong(l, at,
                     "%s: unknown name ${%.60s}; write one of: %s, ${environment.NAME} ($$ is a "
                     "dollar sign)",
                     shown, name, str_cstr(&list));
}

static void add_name(struct loader *l, enum colour c, struct yaml_mark at, const char *shown,
                     const char *name, struct str *out)
{
    const char *variable = after(name, "environment.");
    if (variable && loader_is_env_name(variable)) {
        const char *value = l->env(l->env_ctx, variable);
        if (value)
            str_add(out, value);
        else
            loader_wrong(l, at,
                         "%s: the environment has no variable %s; write `export %s=...` before "
                         "the command, or name a file in runtime.env_file",
                         shown, variable, variable);
        return;
    }
    if (name_value(l, c, name, out))
        return;
    if (l->later && str_eq(name, l->later)) {
        str_addf(out, "${%s}", name);
        return;
    }
    unknown_name(l, c, at, shown, name);
    str_addf(out, "unknown-%s",
             colour_name(c)); /* nothing that is reported again, as empty or equal */
}

const char *loader_expand(struct loader *l, enum colour c, struct yaml_mark at, const char *shown,
                          const char *text)
{
    if (!strchr(text, '$'))
        return arena_strdup(l->arena, text);
    cleanup_str struct str out = {.max = EXPANDED_MAX};
    while (*text) {
        if (text[0] != '$' || (text[1] != '$' && text[1] != '{')) {
            str_add_c(&out, *text++);
        } else if (text[1] == '$') {
            str_add_c(&out, '$');
            text += 2;
        } else {
            char name[160];
            size_t n = strcspn(text + 2, "}");
            if (!text[2 + n] || n == 0 || n >= sizeof(name)) {
                loader_wrong(l, at,
                             "%s: `${` without a name and `}`; write ${NAME}, or $${ for the two "
                             "signs themselves",
                             shown);
                break;
            }
            memcpy(name, text + 2, n);
            name[n] = '\0';
            add_name(l, c, at, shown, name, &out);
            text += n + 3;
        }
    }
    l->expanded_bytes += out.len;
    if (out.cut || l->expanded_bytes > EXPANDED_ALL_MAX) {
        loader_wrong(l, at,
                     "%s: longer than 64 KiB (or 4 MiB in all) once expanded; write it shorter",
                     shown);
        return "";
    }
    return arena_strdup(l->arena, str_cstr(&out));
}

/* Ports */

bool loader_parse_ports(const char *text, uint16_t *ret_first, uint16_t *ret_last)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long first = strtoul(text, &end, 10), last = first;
    if (*end == '-') {
        const char *second = end + 1;
        if (*second < '0' || *second > '9')
            return false;
        last = strtoul(second, &end, 10);
    }
    if (*end || first < 1 || last > 65535 || first > last)
        return false;
    *ret_first = (uint16_t)first;
    *ret_last = (uint16_t)last;
    return true;
}

static void add_port(struct loader *l, struct colour_side *s, const struct yaml_pair *p,
                     const char *shown)
{
    if (!reading_is_name(p->key)) {
        loader_wrong(l, p->mark, "%s: '%.60s' is no name of a port; write letters, digits, - and _",
                     shown, p->key);
        return;
    }
    struct spec_port *port = arena_grow(l->arena, &s->ports, &s->ports_n, sizeof(*port));
    struct yaml_mark *mark = arena_grow(l->arena, &s->port_marks, &s->port_marks_n, sizeof(*mark));
    *mark = p->value->mark;
    port->name = arena_strdup(l->arena, p->key);
    port->line = p->mark.line;
    const char *text = p->value->kind == YAML_SCALAR ? p->value->text : "";
    if (!loader_parse_ports(text, &port->first, &port->last))
        loader_wrong(
            l, p->value->mark,
            "%s.%s: must be a port (1 to 65535) or a range; write for example `%s: 8899` or "
            "`%s: \"9000-9025\"`",
            shown, p->key, p->key, p->key);
}

static void names_ports(struct loader *l, enum colour c)
{
    const struct yaml_node *n = node_at(l->root, "colours", colour_name(c), "ports");
    const char *shown = arena_printf(l->arena, "colours.%s.ports", colour_name(c));
    if (!n)
        return;
    if (n->kind != YAML_MAP || n->n == 0) {
        loader_wrong(l, n->mark,
                     "%s: must be a map of names and ports; write for example `ports: {http: "
                     "8101}`",
                     shown);
        return;
    }
    if (n->n > LOADER_PORTS_MAX)
        loader_wrong(l, n->mark, "%s: %zu are too many; write at most %d", shown, n->n,
                     LOADER_PORTS_MAX);
    for (size_t i = 0; i < n->n && i < LOADER_PORTS_MAX; i++)
        add_port(l, &l->side[c], &n->pairs[i], shown);
}

/* Config and environment: maps of name: text */

bool loader_is_env_name(const char *s)
{
    if (!*s || (*s >= '0' && *s <= '9'))
        return false;
    return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
           strlen(s);
}

static void set_var(struct loader *l, struct spec_var **vars, size_t *n, const char *name,
                    const char *value, int line)
{
    struct spec_var *v = NULL;
    for (size_t i = 0; i < *n; i++)
        if (str_eq((*vars)[i].name, name))
            v = &(*vars)[i];
    if (!v)
        v = arena_grow(l->arena, vars, n, sizeof(*v));
    *v = (struct spec_var){.name = arena_strdup(l->arena, name), .value = value, .line = line};
}

static void names_vars(struct loader *l, enum colour c, const struct yaml_node *map,
                       const char *shown, bool environment, struct spec_var **vars, size_t *n)
{
    if (!map || map->kind == YAML_NULL)
        return;
    if (map->kind != YAML_MAP) {
        loader_wrong(l, map->mark,
                     "%s: must be a map, and this is %s; write `NAME: text`, one a line", shown,
                     yaml_kind_words(map));
        return;
    }
    for (size_t i = 0; i < map->n; i++) {
        const struct yaml_pair *p = &map->pairs[i];
        const char *full = arena_printf(l->arena, "%s.%s", shown, p->key);
        if (environment ? !loader_is_env_name(p->key) : !reading_is_name(p->key))
            loader_wrong(l, p->mark, "%s: '%.60s' is no name; write letters, digits and _%s", shown,
                         p->key, environment ? ", no digit first" : " or -");
        if (p->value->kind != YAML_SCALAR)
            loader_wrong(l, p->value->mark,
                         "%s: must be one text or number, and this is %s; write "
                         "`%s: \"\"` for an empty one",
                         full, yaml_kind_words(p->value), p->key);
        else
            set_var(l, vars, n, p->key, loader_expand(l, c, p->value->mark, full, p->value->text),
                    p->mark.line);
    }
}

static void names_config(struct loader *l, enum colour c)
{
    struct colour_side *s = &l->side[c];
    names_vars(l, c, node_at(l->root, "config", NULL, NULL), "config", false, &s->config,
               &s->config_n);
    names_vars(l, c, node_at(l->root, "colours", colour_name(c), "config"),
               arena_printf(l->arena, "colours.%s.config", colour_name(c)), false, &s->config,
               &s->config_n);
}

void loader_environment(struct loader *l)
{
    struct spec_runtime *r = &l->spec->runtime;
    names_vars(l, l->colour, node_at(l->root, "runtime", "env", NULL), "runtime.env", true, &r->env,
               &r->env_n);
    names_vars(l, l->colour, node_at(l->root, "colours", colour_name(l->colour), "env"),
               arena_printf(l->arena, "colours.%s.env", colour_name(l->colour)), true, &r->env,
               &r->env_n);
}

/* Paths */

/* Absolute and plain, or NULL (reported). */
static const char *path_value(struct loader *l, enum colour c, const struct yaml_node *n,
                              const char *shown)
{
    if (n->kind != YAML_SCALAR) {
        loader_wrong(l, n->mark,
                     "%s: must be a path, and this is %s; write for example "
                     "/srv/example/${colour}/data",
                     shown, yaml_kind_words(n));
        return NULL;
    }
    const char *path = loader_expand(l, c, n->mark, shown, n->text);
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    path = arena_strndup(l->arena, path, len);
    if (path[0] == '/' && len > 1 && !strstr(path, "/../") && !str_ends(path, "/..") &&
        !strstr(path, "/./") && !strstr(path, "//"))
        return path;
    loader_wrong(l, n->mark,
                 "%s: '%.100s' is no plain absolute path; write one that begins with / and has "
                 "no . or .. in it",
                 shown, n->text);
    return NULL;
}

static void names_identity(struct loader *l, enum colour c)
{
    const struct yaml_node *n = node_at(l->root, "colours", colour_name(c), "identity");
    const char *shown = arena_printf(l->arena, "colours.%s.identity", colour_name(c));
    if (!n || n->kind == YAML_NULL)
        return;
    size_t count = n->kind == YAML_LIST ? n->n : 1;
    for (size_t i = 0; i < count; i++) {
        const char *path = path_value(l, c, n->kind == YAML_LIST ? n->items[i] : n, shown);
        if (path)
            loader_strv_add(l, &l->side[c].identities, path);
    }
}

static void names_volume(struct loader *l, enum colour c, const struct yaml_pair *p)
{
    const struct yaml_node *map = p->value;
    const struct yaml_pair *path = yaml_get(map, "path"), *own = yaml_get(map, colour_name(c)),
                           *other = yaml_get(map, colour_name(colour_other(c)));
    struct colour_side *s = &l->side[c];
    struct volume_path *v = arena_grow(l->arena, &s->volumes, &s->volumes_n, sizeof(*v));
    v->name = arena_strdup(l->arena, p->key);
    v->at = p->mark;
    const char *shown = arena_printf(l->arena, "volumes.%s", p->key);
    if (map->kind != YAML_MAP)
        return; /* reported by the volume's own reader */
    if (path && (own || other))
        loader_wrong(l, path->mark,
                     "%s: has `path` and `%s`; write either `path` (with ${colour} in it), or "
                     "`green` and `blue`",
                     shown, own ? colour_name(c) : colour_name(colour_other(c)));
    else if (!path && !own)
        loader_wrong(l, p->mark,
                     "%s: has no directory for %s; write `path: /srv/%s/${colour}/%s`, or `green` "
                     "and `blue`",
                     shown, colour_name(c), l->spec->service ? l->spec->service : "service",
                     p->key);
    const struct yaml_pair *from = path ? path : own;
    if (!from)
        return;
    v->at = from->value->mark;
    v->path = path_value(l, c, from->value, arena_printf(l->arena, "%s.%s", shown, from->key));
}

void loader_names(struct loader *l)
{
    const struct yaml_node *service = node_at(l->root, "service", NULL, NULL);
    if (service && service->kind == YAML_SCALAR && reading_is_name(service->text))
        l->spec->service = arena_strdup(l->arena, service->text);
    for (enum colour c = GREEN; c <= BLUE; c++)
        names_ports(l, c);
    for (enum colour c = GREEN; c <= BLUE; c++)
        names_config(l, c);
    for (enum colour c = GREEN; c <= BLUE; c++)
        names_identity(l, c);
    const struct yaml_node *volumes = node_at(l->root, "volumes", NULL, NULL);
    for (enum colour c = GREEN; c <= BLUE; c++)
        for (size_t i = 0;
             volumes && volumes->kind == YAML_MAP && i < volumes->n && i < LOADER_VOLUMES_MAX; i++)
            names_volume(l, c, &volumes->pairs[i]);
}
