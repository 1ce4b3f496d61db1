/* Readers of values that have a shape of their own: commands, limits, volumes, checks. */
#include "format/json.h"
#include "spec/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void read_argv(const struct reading *r)
{
    struct strv *sv = r->at;
    if (r->node->kind == YAML_SCALAR) {
        reading_wrong(
            r, "is one text; a program and its arguments are a list, for nothing is run through a "
               "shell");
        return;
    }
    if (r->node->kind != YAML_LIST || r->node->n == 0) {
        reading_wrong(r, "must be a list of a program and its arguments, and this is %s",
                      r->node->kind == YAML_LIST ? "empty" : yaml_kind_words(r->node));
        return;
    }
    for (size_t i = 0; i < r->node->n; i++) {
        struct reading item = *r;
        item.node = r->node->items[i];
        const char *s = "";
        if (item.node->kind == YAML_SCALAR)
            s = reading_scalar(&item);
        else
            reading_wrong(&item,
                          "argument %zu must be one text, and this is %s (an empty one is \"\")",
                          i + 1, yaml_kind_words(item.node));
        loader_strv_add(r->l, sv, s ? s : "");
    }
    if (sv->n && !sv->v[0][0])
        reading_wrong(r, "the program's name is empty");
}

void read_command(const struct reading *r)
{
    struct spec_command *c = r->at;
    c->line = r->node->mark.line;
    if (r->node->kind == YAML_MAP) {
        loader_map(r->l, r->node, r->node->mark, "COMMAND", r->shown, c);
        return;
    }
    struct reading argv = *r;
    argv.at = &c->argv;
    read_argv(&argv);
    const struct yaml_node none = {.kind = YAML_MAP, .mark = r->node->mark};
    struct spec_command defaults = {0};
    size_t before = r->l->wrongs->n;
    loader_map(r->l, &none, none.mark, "COMMAND", r->shown, &defaults);
    r->l->wrongs->n = before; /* it asked for `command`, which is this list */
    c->timeout = defaults.timeout;
    c->status = defaults.status;
}

/* The argument behind `name`, or the part behind "name=", becomes `value`. */
static bool replace_argument(struct loader *l, struct strv *argv, const char *name,
                             const char *value)
{
    size_t n = strlen(name);
    for (size_t i = 1; i < argv->n; i++) {
        if (str_eq(argv->v[i], name) && i + 1 < argv->n) {
            argv->v[i + 1] = arena_strdup(l->arena, value);
            return true;
        }
        if (strncmp(argv->v[i], name, n) == 0 && argv->v[i][n] == '=') {
            argv->v[i] = arena_printf(l->arena, "%s=%s", name, value);
            return true;
        }
    }
    return false;
}

/* A check with the very arguments of the start, but for a few: written once, so the two cannot
 * drift apart. */
static void read_validate_map(const struct reading *r, struct spec_command *c)
{
    struct loader *l = r->l;
    const struct yaml_pair *replace = yaml_get(r->node, "replace"),
                           *append = yaml_get(r->node, "append");
    c->line = r->node->mark.line;
    loader_map(l, r->node, r->node->mark, "runtime.validate[]", r->shown, c);
    if (c->argv.n == 0)
        for (size_t i = 0; i < l->spec->runtime.command.n; i++)
            loader_strv_add(l, &c->argv, l->spec->runtime.command.v[i]);
    struct reading value = *r;
    for (size_t i = 0; replace && i < replace->value->n && replace->value->kind == YAML_MAP; i++) {
        const struct yaml_pair *p = &replace->value->pairs[i];
        value.node = p->value;
        const char *s = reading_scalar(&value);
        if (s && !replace_argument(l, &c->argv, p->key, s))
            loader_wrong(l, p->mark,
                         "%s.replace: the command has no argument '%.60s' with a value; write one "
                         "that it has",
                         r->shown, p->key);
    }
    if (replace && replace->value->kind != YAML_MAP)
        loader_wrong(l, replace->value->mark,
                     "%s.replace: must be a map; write `replace: {--identity: "
                     "/nonexistent}`",
                     r->shown);
    if (append && append->value->kind != YAML_LIST)
        loader_wrong(l, append->value->mark, "%s.append: must be a list; write `append: [--help]`",
                     r->shown);
    for (size_t i = 0; append && append->value->kind == YAML_LIST && i < append->value->n; i++) {
        value.node = append->value->items[i];
        const char *s = reading_scalar(&value);
        loader_strv_add(l, &c->argv, s ? s : "");
    }
}

void read_commands(const struct reading *r)
{
    struct spec_runtime *rt = &r->l->spec->runtime;
    if (r->node->kind != YAML_LIST) {
        reading_wrong(r, "must be a list of commands, and this is %s", yaml_kind_words(r->node));
        return;
    }
    for (size_t i = 0; i < r->node->n; i++) {
        struct reading item = *r;
        item.node = r->node->items[i];
        item.at = arena_grow(r->l->arena, &rt->validate, &rt->validate_n, sizeof(*rt->validate));
        item.shown = arena_printf(r->l->arena, "%s[%zu]", r->shown, i);
        if (item.node->kind == YAML_MAP)
            read_validate_map(&item, item.at);
        else
            read_command(&item);
    }
}

void read_hook(const struct reading *r)
{
    struct spec *s = r->l->spec;
    struct spec_hook *h = arena_grow(r->l->arena, &s->hooks, &s->hooks_n, sizeof(*h));
    h->at = schema_leaf(r->key);
    struct reading command = *r;
    command.at = &h->command;
    read_command(&command);
}

/* JSON-RPC params */

static json_t *json_of(const struct reading *r, const struct yaml_node *n)
{
    json_t *j = NULL;
    switch (n->kind) {
    case YAML_NULL:
        return json_null();
    case YAML_LIST:
        j = json_array();
        for (size_t i = 0; i < n->n; i++)
            json_array_append_new(j, json_of(r, n->items[i]));
        return j;
    case YAML_MAP:
        j = json_object();
        for (size_t i = 0; i < n->n; i++)
            json_object_set_new(j, n->pairs[i].key, json_of(r, n->pairs[i].value));
        return j;
    case YAML_SCALAR:
        break;
    }
    struct reading item = *r;
    item.node = n;
    const char *s = reading_scalar(&item);
    if (s && !n->quoted) /* a plain number, true or false is one */
        j = json_loads(s, JSON_DECODE_ANY, NULL);
    return j ? j : json_string(s ? s : "");
}

void read_params(const struct reading *r)
{
    cleanup_json json_t *j = NULL;
    if (r->node->kind == YAML_SCALAR) {
        const char *s = reading_scalar(r);
        j = s ? json_loads(s, 0, NULL) : NULL;
        if (s && !j)
            reading_wrong(r, "'%.100s' is no JSON list or map", r->node->text);
    } else {
        j = json_of(r, r->node);
    }
    cleanup_str struct str text = {0};
    if (j)
        json_print(j, 0, &text);
    *(const char **)r->at = arena_strdup(r->l->arena, j ? str_cstr(&text) : "[]");
}

/* Limits */

static bool parse_limit(const char *s, size_t n, uint64_t *ret)
{
    char buf[32], *end;
    if (n == 0 || n >= sizeof(buf))
        return false;
    memcpy(buf, s, n);
    buf[n] = '\0';
    if (str_eq(buf, "unlimited") || str_eq(buf, "infinity")) {
        *ret = UINT64_MAX;
        return true;
    }
    errno = 0;
    *ret = strtoull(buf, &end, 10);
    return buf[0] >= '0' && buf[0] <= '9' && !*end && !errno;
}

static void read_limit(const struct reading *r, const struct yaml_pair *p)
{
    struct reading item = *r;
    item.node = p->value;
    size_t known = 0;
    while (schema_limits[known] && !str_eq(schema_limits[known], p->key))
        known++;
    if (!schema_limits[known]) {
        loader_wrong(r->l, p->mark,
                     "%s: '%.60s' is no limit of prlimit(1); write for example nofile, "
                     "memlock, nproc, stack or core",
                     r->shown, p->key);
        return;
    }
    const char *s = reading_scalar(&item);
    uint64_t soft = 0, hard;
    if (!s)
        return;
    size_t n = strcspn(s, ":");
    bool ok = parse_limit(s, n, &soft);
    hard = soft;
    if (ok && s[n])
        ok = parse_limit(s + n + 1, strlen(s + n + 1), &hard);
    if (!ok || soft > hard) {
        reading_wrong(&item, "'%.60s' is neither a number, nor SOFT:HARD, nor unlimited%s",
                      p->value->text, ok ? " (SOFT is above HARD)" : "");
        return;
    }
    struct spec_runtime *rt = &r->l->spec->runtime;
    struct spec_limit *l = arena_grow(r->l->arena, &rt->limits, &rt->limits_n, sizeof(*l));
    *l = (struct spec_limit){.name = schema_limits[known], .soft = soft, .hard = hard};
}

void read_limits(const struct reading *r)
{
    if (r->node->kind == YAML_NULL)
        return;
    if (r->node->kind != YAML_MAP) {
        reading_wrong(r, "must be a map of names and values, and this is %s",
                      yaml_kind_words(r->node));
        return;
    }
    for (size_t i = 0; i < r->node->n; i++)
        read_limit(r, &r->node->pairs[i]);
}

void read_may_bind(const struct reading *r)
{
    struct strv *sv = r->at;
    if (r->node->kind != YAML_LIST) {
        reading_wrong(r, "must be a list, and this is %s", yaml_kind_words(r->node));
        return;
    }
    for (size_t i = 0; i < r->node->n; i++) {
        struct reading item = *r;
        item.node = r->node->items[i];
        const char *s = reading_scalar(&item);
        uint16_t first, last;
        if (!s)
            continue;
        if ((!str_starts(s, "udp:") && !str_starts(s, "tcp:")) ||
            !loader_parse_ports(s + 4, &first, &last))
            reading_wrong(&item, "'%.60s' is neither udp: nor tcp: and a port or range",
                          item.node->text);
        else
            loader_strv_add(r->l, sv, s);
    }
}

void read_tls(const struct reading *r)
{
    struct spec_traffic *t = &r->l->spec->traffic;
    if (r->node->kind == YAML_MAP) {
        loader_map(r->l, r->node, r->node->mark, "traffic.tls", r->shown, r->l->spec);
        if (!yaml_get(r->node, "cert") != !yaml_get(r->node, "key"))
            loader_wrong(r->l, r->node->mark,
                         "%s: needs both files; write `tls: {cert: /etc/caddy/rpc.crt, "
                         "key: /etc/caddy/rpc.key}`",
                         r->shown);
        return;
    }
    const char *s = reading_scalar(r);
    if (s && !str_eq(s, "internal"))
        reading_wrong(r, "'%.60s' is neither `internal` nor a map of cert and key", r->node->text);
    t->tls_internal = true;
}

/* Volumes */

void read_volumes(const struct reading *r)
{
    struct loader *l = r->l;
    struct spec *s = l->spec;
    if (r->node->kind == YAML_NULL)
        return;
    if (r->node->kind != YAML_MAP) {
        loader_wrong(l, r->node->mark,
                     "%s: must be a map of names, and this is %s; write `data: {path: "
                     "/srv/example/${colour}/data}`",
                     r->shown, yaml_kind_words(r->node));
        return;
    }
    if (r->node->n > LOADER_VOLUMES_MAX)
        loader_wrong(l, r->node->mark, "%s: %zu are too many; write at most %d", r->shown,
                     r->node->n, LOADER_VOLUMES_MAX);
    for (size_t i = 0; i < r->node->n && i < l->side[l->colour].volumes_n; i++) {
        const struct yaml_pair *p = &r->node->pairs[i];
        struct spec_volume *v = arena_grow(l->arena, &s->volumes, &s->volumes_n, sizeof(*v));
        const struct volume_path *path = &l->side[l->colour].volumes[i];
        if (!reading_is_name(p->key))
            loader_wrong(l, p->mark,
                         "%s: '%.60s' is no name of a volume; write letters, digits, - and _",
                         r->shown, p->key);
        loader_map(l, p->value, p->mark, "volumes.*",
                   arena_printf(l->arena, "%s.%s", r->shown, p->key), v);
        v->name = path->name;
        v->path = path->path;
        v->line = p->mark.line;
    }
}

/* Checks */

static const struct schema_key *check_kind(struct loader *l, const struct yaml_node *item,
                                           const char *shown)
{
    const char *word = NULL;
    if (item->kind == YAML_SCALAR) /* `- ports` is `- ports: {}` */
        word = item->text;
    else if (item->kind == YAML_MAP && item->n == 1)
        word = item->pairs[0].key;
    cleanup_str struct str all = {0};
    schema_children_words("gate.checks[]", &all);
    if (!word) {
        loader_wrong(l, item->mark,
                     "%s: must be a map of one kind; write `- http: {path: /health}` (kinds: "
                     "%s), each check with a dash of its own",
                     shown, str_cstr(&all));
        return NULL;
    }
    const struct schema_key *k = schema_find("gate.checks[]", word);
    if (k)
        return k;
    const char *near = schema_suggest("gate.checks[]", word);
    loader_wrong(l, item->mark, "%s: unknown kind of check '%.60s'; %s%s%s", shown, word,
                 near ? "did you mean '" : "write one of: ", near ? near : str_cstr(&all),
                 near ? "'?" : "");
    return NULL;
}

static void read_check(struct loader *l, const struct yaml_node *item, const char *shown)
{
    const struct schema_key *k = check_kind(l, item, shown);
    if (!k)
        return;
    struct spec_gate_set *set = &l->spec->gate;
    struct spec_gate *g = arena_grow(l->arena, &set->gates, &set->n, sizeof(*g));
    const struct yaml_node *value = item->kind == YAML_MAP ? item->pairs[0].value : NULL;
    const char *leaf = schema_leaf(k);
    struct yaml_pair alone = {.key = "command", .value = value};
    struct yaml_node around = {.kind = YAML_MAP, .pairs = &alone, .n = 1};
    if (value && value->kind != YAML_MAP && value->kind != YAML_NULL && k->min == GATE_COMMAND) {
        around.mark = alone.mark = value->mark; /* `- command: [a, b]` */
        value = &around;
    }
    g->kind = (enum spec_gate_kind)k->min;
    g->line = g->query.line = g->command.line = item->mark.line;
    loader_map(l, value, item->mark, arena_printf(l->arena, "gate.checks[].%s", leaf),
               arena_printf(l->arena, "%s.%s", shown, leaf), g);
    g->command.timeout = g->timeout;
}

static void name_checks(struct loader *l)
{
    struct spec_gate_set *set = &l->spec->gate;
    for (size_t i = 0; i < set->n; i++) {
        struct spec_gate *g = &set->gates[i];
        const char *given = g->name, *base = given ? given : spec_gate_kind_name(g->kind);
        size_t same = 1;
        for (size_t j = 0; j < i; j++)
            if (given ? str_eq(set->gates[j].name, given) : set->gates[j].kind == g->kind)
                same++;
        if (given && same > 1)
            loader_wrong(l, (struct yaml_mark){g->line, 1},
                         "gate.checks: two checks are named '%s'; write a name of its own for each",
                         given);
        g->name = given || same == 1 ? base : arena_printf(l->arena, "%s-%zu", base, same);
    }
}

void read_checks(const struct reading *r)
{
    if (r->node->kind != YAML_LIST || r->node->n == 0) {
        loader_wrong(r->l, r->node->mark,
                     "%s: must be a list of at least one check, and this is %s; write "
                     "`- http: {path: /health, body: ok}` below it",
                     r->shown, r->node->kind == YAML_LIST ? "empty" : yaml_kind_words(r->node));
        return;
    }
    if (r->node->n > LOADER_CHECKS_MAX)
        loader_wrong(r->l, r->node->mark, "%s: %zu are too many; write at most %d", r->shown,
                     r->node->n, LOADER_CHECKS_MAX);
    for (size_t i = 0; i < r->node->n && i < LOADER_CHECKS_MAX; i++)
        read_check(r->l, r->node->items[i], arena_printf(r->l->arena, "%s[%zu]", r->shown, i));
    name_checks(r->l);
}
