/* What must hold between keys: first within one colour's spec, then between the two. Also fills the
 * defaults that depend on other keys. */
#include "spec/loader.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

static bool given(const struct loader *l, const char *section, const char *key)
{
    const struct yaml_pair *p = yaml_get(l->root, section);
    return p && yaml_get(p->value, key);
}

static const char *own_port_named(const struct loader *l, const char *name)
{
    const struct colour_side *s = &l->side[l->colour];
    for (size_t i = 0; i < s->ports_n; i++)
        if (str_eq(s->ports[i].name, name))
            return s->ports[i].name;
    return NULL;
}

/* Traffic */

static void default_ports(struct loader *l)
{
    struct spec_traffic *t = &l->spec->traffic;
    const struct colour_side *s = &l->side[l->colour];
    if (!t->port && s->ports_n == 1)
        t->port = s->ports[0].name;
    if (!t->port)
        t->port = own_port_named(l, "http");
    if (!t->port && s->ports_n > 0)
        loader_wrong(l, loader_mark(l, "traffic"),
                     "traffic.port is missing, and there is no port named http; write the name of "
                     "the port that "
                     "takes HTTP, for example `port: %s`",
                     s->ports[0].name);
    if (!given(l, "traffic", "websockets"))
        t->websockets = own_port_named(l, "ws") ? WS_OWN_PORT : WS_NONE;
    if (t->websockets == WS_OWN_PORT && !t->ws_port)
        t->ws_port = own_port_named(l, "ws");
    if (t->websockets == WS_OWN_PORT && !t->ws_port && s->ports_n > 0)
        loader_wrong(l, loader_mark(l, "traffic.websockets"),
                     "traffic.ws_port is missing, and there is no port named ws; write `ws_port:` "
                     "and the name "
                     "of the port that takes websockets");
    if (t->websockets != WS_OWN_PORT && given(l, "traffic", "ws_port"))
        loader_wrong(
            l, loader_mark(l, "traffic.ws_port"),
            "traffic.ws_port is given, but websockets do not have a port of their own; write "
            "`websockets: own_port`, or remove ws_port");
}

void loader_query_rule(struct loader *l, struct yaml_mark at, const char *shown,
                       struct spec_query *q, const struct yaml_node *map)
{
    bool asked = q->method || q->header || (map && yaml_get(map, "path"));
    if (!asked)
        loader_wrong(l, at,
                     "%s: does not say what is asked; write `method: getSlot` (JSON-RPC), `path: "
                     "/version` or `header: X-Version`",
                     shown);
    if (q->header && q->field)
        loader_wrong(l, at, "%s: has both `field` and `header`; write one of them", shown);
    if (q->method && !q->header && !q->field)
        loader_wrong(l, at,
                     "%s: does not say which part of the answer counts; write for example `field: "
                     "result`",
                     shown);
    if (!q->port)
        q->port = l->spec->traffic.port;
}

/* The names stand in an expression of the proxy. */
static void retry_rules(struct loader *l)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const struct spec_traffic *t = &l->spec->traffic;
    if (t->retry == RETRY_LISTED && t->retry_methods.n == 0)
        loader_wrong(l, loader_mark(l, "traffic.retry"),
                     "traffic.retry: `listed` without `retry_methods`; write for example "
                     "`retry_methods: [getSlot]`");
    if (t->retry != RETRY_LISTED && t->retry_methods.n)
        loader_wrong(l, loader_mark(l, "traffic.retry_methods"),
                     "traffic.retry_methods: nothing looks at it; write `retry: listed`");
    for (size_t i = 0; i < t->retry_methods.n; i++)
        if (!t->retry_methods.v[i][0] ||
            t->retry_methods.v[i][strspn(t->retry_methods.v[i], plain)])
            loader_wrong(l, loader_mark(l, "traffic.retry_methods"),
                         "traffic.retry_methods: '%s' is no method name (letters, digits, - and "
                         "_); write for example `retry_methods: [getSlot]`",
                         t->retry_methods.v[i]);
}

static void traffic_rules(struct loader *l)
{
    struct spec_traffic *t = &l->spec->traffic;
    const struct yaml_pair *section = yaml_get(l->root, "traffic");
    struct yaml_mark at = loader_mark(l, "traffic");
    t->line = at.line;
    default_ports(l);
    loader_route_rules(l);
    if (!section || str_eq(t->driver, "none"))
        return;
    if (given(l, "traffic", "site") && given(l, "traffic", "sites"))
        loader_wrong(l, loader_mark(l, "traffic.sites"),
                     "traffic: has both `site` and `sites`; write all of them into `sites`");
    else if (!given(l, "traffic", "site") && !given(l, "traffic", "sites"))
        loader_wrong(
            l, at,
            "key 'traffic.site' is missing (the address that clients use); write for example "
            "`site: \":8080\"`");
    const struct yaml_pair *identify = yaml_get(section->value, "identify");
    if (!identify)
        loader_wrong(
            l, at,
            "key 'traffic.identify' is missing (it proves who answers: what only the backend "
            "itself says, and what differs by colour); write for example `identify: {method: "
            "getIdentity, field: result.identity}` or `identify: {header: X-Instance, path: /}`");
    else
        loader_query_rule(l, identify->mark, "traffic.identify", &t->identify, identify->value);
    t->identify.line = identify ? identify->mark.line : at.line;
    if (t->failover && l->spec->writes == WRITES_CLIENT && given(l, "traffic", "failover"))
        loader_wrong(l, loader_mark(l, "traffic.failover"),
                     "traffic.failover: would send writes to a colour that then loses them "
                     "(writes: client); "
                     "write `failover: false`");
    retry_rules(l);
}

/* Gates */

static void compare_rule(struct loader *l, const struct spec_gate *g, struct yaml_mark at)
{
    char *end;
    if (g->kind != GATE_JSONRPC || !g->value)
        return;
    regex_t re;
    if (g->compare == CMP_MATCHES && !strstr(g->value, "${version}")) {
        if (regcomp(&re, g->value, REG_EXTENDED | REG_NOSUB))
            loader_wrong(
                l, at,
                "check '%s': its value is no extended regular expression; write one, or `op: eq`",
                g->name);
        else
            regfree(&re);
    }
    if (g->compare >= CMP_LT && g->compare <= CMP_GE) {
        strtod(g->value, &end);
        if (end == g->value || *end)
            loader_wrong(
                l, at,
                "check '%s': only numbers are less or greater; write a number as its value, or "
                "`op: eq`",
                g->name);
    }
}

/* The node of the check that was read from this line; the search goes on from *item. */
static const struct yaml_node *check_node(const struct yaml_pair *list, int line, size_t *item)
{
    while (list && *item < list->value->n) {
        const struct yaml_node *node = list->value->items[(*item)++];
        if (node->mark.line == line && (node->kind == YAML_SCALAR || node->n == 1))
            return node;
    }
    return NULL;
}

static void gate_rule(struct loader *l, struct spec_gate *g, const struct yaml_node *node)
{
    const struct spec_traffic *t = &l->spec->traffic;
    const struct yaml_node *map = node && node->kind == YAML_MAP ? node->pairs[0].value : NULL;
    struct yaml_mark at = node ? node->mark : loader_mark(l, "gate.checks");
    if (g->kind == GATE_HTTP && !(map && yaml_get(map, "path")))
        g->query.path = t->health_path;
    if (g->kind == GATE_WEBSOCKET && !g->query.port && t->websockets == WS_OWN_PORT)
        g->query.port = t->ws_port;
    if (g->kind == GATE_VERSION || g->kind == GATE_LAG || g->kind == GATE_MOVING)
        loader_query_rule(l, at, arena_printf(l->arena, "check '%s'", g->name), &g->query, map);
    if (!g->query.port)
        g->query.port = t->port;
    compare_rule(l, g, at);
}

static void gate_rules(struct loader *l)
{
    struct spec_gate_set *set = &l->spec->gate;
    const struct yaml_pair *section = yaml_get(l->root, "gate");
    const struct yaml_pair *list = section ? yaml_get(section->value, "checks") : NULL;
    size_t item = 0;
    for (size_t i = 0; i < set->n; i++)
        gate_rule(l, &set->gates[i], check_node(list, set->gates[i].line, &item));
    if (set->interval > set->deadline)
        loader_wrong(l, loader_mark(l, "gate.interval"),
                     "gate.interval: is longer than gate.deadline; write a shorter one");
}

/* The rest */

static void version_rule(struct loader *l)
{
    const struct spec_command *v = &l->spec->runtime.version;
    regex_t re;
    if (v->argv.n == 0)
        return;
    bool ok = v->output && strstr(v->output, "${version}") == NULL &&
              regcomp(&re, v->output, REG_EXTENDED) == 0;
    if (ok && re.re_nsub >= 1) {
        regfree(&re);
        return;
    }
    if (ok)
        regfree(&re);
    loader_wrong(
        l, loader_mark(l, "runtime.version.output"),
        "runtime.version: needs an `output` whose first (...) is the version; write for example "
        "`output: \"version ([0-9.]+)\"`");
}

static void zfs_rules(struct loader *l, const struct spec_volume *v, struct yaml_mark at)
{
    bool zfs = str_eq(v->driver, "zfs");
    if (zfs && !v->dataset)
        loader_wrong(l, at,
                     "volumes.%s: driver zfs needs the name of the dataset; write for example "
                     "`dataset: tank/%s-${colour}`",
                     v->name, v->name);
    if (!zfs && v->dataset)
        loader_wrong(l, at,
                     "volumes.%s: a dataset is for driver zfs only; write `driver: zfs`, or remove "
                     "`dataset`",
                     v->name);
    if (!zfs && v->fsfreeze)
        loader_wrong(l, at,
                     "volumes.%s: fsfreeze is for driver zfs only (a volume with a file system on "
                     "it); remove `fsfreeze`",
                     v->name);
    if (!zfs && (v->quota || v->refquota))
        loader_wrong(l, at, "volumes.%s: quota and refquota are for driver zfs only; remove `%s`",
                     v->name, v->quota ? "quota" : "refquota");
    if (zfs && v->dataset &&
        (strpbrk(v->dataset, "@#% \t") || *v->dataset == '-' || !strchr(v->dataset, '/') ||
         strlen(v->dataset) > 180))
        loader_wrong(l, at,
                     "volumes.%s: '%.60s' is no name of a dataset below a pool; write for example "
                     "`dataset: tank/%s-${colour}`",
                     v->name, v->dataset, v->name);
}

static void snapshot_rules(struct loader *l, const struct spec_volume *v, struct yaml_mark at)
{
    static const struct {
        const char *driver, *what;
    } whole[] = {{"zfs", "ZFS clone is the whole file system"},
                 {"btrfs", "btrfs snapshot is the whole subvolume"}};
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        if (str_eq(v->driver, whole[i].driver) &&
            (v->exclude.n || v->rate_limit || v->max_pressure || v->verify))
            loader_wrong(l, at,
                         "volumes.%s: a %s, and copies nothing; remove `exclude`, `rate_limit`, "
                         "`max_pressure` and `verify`",
                         v->name, whole[i].what);
}

static void volume_rules(struct loader *l)
{
    struct spec *s = l->spec;
    for (size_t i = 0; i < s->volumes_n; i++) {
        const struct spec_volume *v = &s->volumes[i];
        struct yaml_mark at = l->side[l->colour].volumes[i].at;
        if (v->after_snapshot.argv.n && !v->before_snapshot.argv.n)
            loader_wrong(l, at,
                         "volumes.%s: has after_snapshot without before_snapshot; write both, or "
                         "none",
                         v->name);
        if (str_eq(v->driver, "empty") && v->verify)
            loader_wrong(l, at,
                         "volumes.%s: an empty volume has nothing to verify; write `verify: false`",
                         v->name);
        zfs_rules(l, v, at);
        snapshot_rules(l, v, at);
    }
}

#define BRAKE_REQUESTS 50 /* of a window: the p99 of fewer is the slowest one alone */

static void brake_rules(struct loader *l)
{
    struct spec_brake *b = &l->spec->runtime.brake;
    const struct yaml_mark at = loader_mark(l, "runtime.standby.brake");
    const struct yaml_pair *runtime = yaml_get(l->root, "runtime");
    const struct yaml_pair *standby = runtime ? yaml_get(runtime->value, "standby") : NULL;
    if (!b->ask.port)
        b->ask.port = l->spec->traffic.port;
    if (!b->ask.path)
        b->ask.path = b->ask.method ? "/" : l->spec->traffic.health_path;
    if (!standby || !yaml_get(standby->value, "brake"))
        return;
    if (b->p99 == 0)
        loader_wrong(l, at,
                     "key 'runtime.standby.brake.p99' is missing (from what on live is slow); "
                     "write for example `p99: 50ms`");
    if (b->window / NSEC_MS * b->rate / 1000 < BRAKE_REQUESTS)
        loader_wrong(l, at,
                     "runtime.standby.brake: window and rate make less than %d requests, too few "
                     "for a p99; write a longer `window` or a higher `rate`",
                     BRAKE_REQUESTS);
}

static void stop_websockets_rules(struct loader *l, const struct yaml_node *map)
{
    const struct spec *s = l->spec;
    struct yaml_mark at = loader_mark(l, "stop.websockets");
    bool command = yaml_get(map, "command"), signal = yaml_get(map, "signal");
    if (!yaml_get(map, "spread"))
        loader_wrong(l, at,
                     "key 'stop.websockets.spread' is missing (the time that the service takes to "
                     "close them all); write for example `spread: 30s`");
    if (command == signal)
        loader_wrong(l, at,
                     "stop.websockets: %s; write a `command` that tells the service to begin, or "
                     "a `signal: USR1` to its main process",
                     command ? "has both `command` and `signal`" : "does not say how it is told");
    if (signal && s->stop.websockets.signal == s->stop.signal)
        loader_wrong(l, loader_mark(l, "stop.websockets.signal"),
                     "stop.websockets.signal: is stop.signal, which ends the service; write "
                     "another one, or remove stop.websockets");
    if (s->traffic.websockets == WS_NONE || str_eq(s->traffic.driver, "none"))
        loader_wrong(l, at,
                     "stop.websockets: nothing counts the websockets (%s); write `websockets: "
                     "own_port` or `same_port` under traffic, or remove stop.websockets",
                     str_eq(s->traffic.driver, "none") ? "traffic.driver: none"
                                                       : "traffic.websockets: none");
}

static void stop_rules(struct loader *l)
{
    struct spec_stop *s = &l->spec->stop;
    const struct yaml_pair *stop = yaml_get(l->root, "stop");
    const struct yaml_pair *command = stop ? yaml_get(stop->value, "command") : NULL;
    const struct yaml_pair *websockets = stop ? yaml_get(stop->value, "websockets") : NULL;
    if (command && !yaml_get(command->value, "timeout"))
        s->command.timeout = s->grace;
    enum yaml_kind kind = websockets ? websockets->value->kind : YAML_SCALAR;
    if (kind == YAML_MAP || kind == YAML_NULL)
        stop_websockets_rules(l, websockets->value);
}

void loader_rules(struct loader *l)
{
    struct spec *s = l->spec;
    traffic_rules(l);
    gate_rules(l);
    loader_shadow_rules(l);
    brake_rules(l);
    version_rule(l);
    loader_runtime_rules(l);
    volume_rules(l);
    loader_probe_rules(l);
    stop_rules(l);
    if (s->space.last_floor_bytes > s->space.floor_bytes)
        loader_wrong(
            l, loader_mark(l, "space.last_floor"),
            "space.last_floor: is above space.floor, and would come first; write a smaller one");
}

/* Between the colours */

static bool overlap(const struct spec_port *a, const struct spec_port *b)
{
    return a->first && b->first && a->first <= b->last && b->first <= a->last;
}

static void port_clash(struct loader *l, enum colour ca, size_t i, enum colour cb, size_t j)
{
    const struct spec_port *a = &l->side[ca].ports[i], *b = &l->side[cb].ports[j];
    struct yaml_mark at = l->side[cb].port_marks[j], first = l->side[ca].port_marks[i];
    if (overlap(a, b))
        loader_wrong(l, at,
                     "colours.%s.ports.%s: overlaps colours.%s.ports.%s (line %d, column %d), and "
                     "both run at once; write ports that nothing else has",
                     colour_name(cb), b->name, colour_name(ca), a->name, first.line, first.column);
}

static void ports_differ(struct loader *l)
{
    for (enum colour c = GREEN; c <= BLUE; c++)
        for (size_t i = 0; i < l->side[c].ports_n; i++) {
            for (size_t j = i + 1; j < l->side[c].ports_n; j++)
                port_clash(l, c, i, c, j);
            for (size_t j = 0; c == GREEN && j < l->side[BLUE].ports_n; j++)
                port_clash(l, GREEN, i, BLUE, j);
        }
}

static void ports_same_names(struct loader *l)
{
    for (enum colour c = GREEN; c <= BLUE; c++) {
        const struct colour_side *a = &l->side[c], *b = &l->side[colour_other(c)];
        for (size_t i = 0; i < a->ports_n; i++) {
            bool found = b->ports_n == 0;
            for (size_t j = 0; j < b->ports_n && !found; j++)
                found = str_eq(a->ports[i].name, b->ports[j].name);
            if (!found)
                loader_wrong(l, a->port_marks[i],
                             "colours.%s.ports.%s: %s has no port of this name; write it "
                             "for both, or for none",
                             colour_name(c), a->ports[i].name, colour_name(colour_other(c)));
        }
    }
}

static void traffic_ports(struct loader *l)
{
    const struct spec_traffic *t = &l->spec->traffic;
    if (!str_eq(t->driver, "caddy"))
        return;
    const struct {
        const char *key;
        uint16_t port;
    } own[] = {{"traffic.which_port", t->which_port},
               {"traffic.preview_ports.green", t->preview_port[GREEN]},
               {"traffic.preview_ports.blue", t->preview_port[BLUE]}};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        struct spec_port mine = {.first = own[i].port, .last = own[i].port};
        for (size_t j = 0; j < i; j++)
            if (own[j].port && own[j].port == own[i].port)
                loader_wrong(l, loader_mark(l, own[i].key),
                             "%s: is %s's too; write a port of its own", own[i].key, own[j].key);
        for (enum colour c = GREEN; c <= BLUE; c++)
            for (size_t j = 0; j < l->side[c].ports_n; j++)
                if (overlap(&mine, &l->side[c].ports[j]))
                    loader_wrong(l, loader_mark(l, own[i].key),
                                 "%s: %u is in colours.%s.ports.%s (line %d); write a port that "
                                 "nothing else "
                                 "has",
                                 own[i].key, own[i].port, colour_name(c), l->side[c].ports[j].name,
                                 l->side[c].ports[j].line);
    }
}

static bool inside(const char *dir, const char *path)
{
    size_t n = strlen(dir);
    return strncmp(dir, path, n) == 0 && (path[n] == '/' || !path[n]);
}

static void path_clash(struct loader *l, enum colour ca, const struct volume_path *a,
                       enum colour cb, const struct volume_path *b)
{
    if (!a->path || !b->path)
        return;
    if (str_eq(a->path, b->path) && ca != cb && a->name && str_eq(a->name, b->name))
        loader_wrong(
            l, b->at,
            "volumes.%s: both colours would use '%s'; write a path with ${colour} in it, or "
            "`green` and `blue`",
            b->name, b->path);
    else if (inside(a->path, b->path) || inside(b->path, a->path))
        loader_wrong(l, b->at,
                     "volumes.%s: %s's '%s' and '%s' (%s's volume %s, line %d) are the same or one "
                     "inside the other; write directories side by side",
                     b->name, colour_name(cb), b->path, a->path, colour_name(ca), a->name,
                     a->at.line);
}

static void volumes_differ(struct loader *l)
{
    for (enum colour c = GREEN; c <= BLUE; c++)
        for (size_t i = 0; i < l->side[c].volumes_n; i++) {
            bool once =
                c == BLUE && l->side[GREEN].volumes[i].at.line == l->side[BLUE].volumes[i].at.line;
            for (size_t j = i + 1; j < l->side[c].volumes_n && !once; j++)
                path_clash(l, c, &l->side[c].volumes[i], c, &l->side[c].volumes[j]);
            for (size_t j = 0; c == GREEN && j < l->side[BLUE].volumes_n; j++)
                path_clash(l, GREEN, &l->side[GREEN].volumes[i], BLUE, &l->side[BLUE].volumes[j]);
        }
}

static void identities_differ(struct loader *l)
{
    const struct strv *a = &l->side[GREEN].identities, *b = &l->side[BLUE].identities;
    if (a->n != b->n)
        loader_wrong(l, loader_mark(l, b->n ? "colours.blue.identity" : "colours.green.identity"),
                     "colours: green has %zu identity files and blue %zu; write as many for each",
                     a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        for (size_t j = 0; j < b->n; j++)
            if (str_eq(a->v[i], b->v[j]))
                loader_wrong(l, loader_mark(l, "colours.blue.identity"),
                             "colours.blue.identity: '%s' is green's too (line %d), and two "
                             "instances must not "
                             "share one; write a file of its own",
                             b->v[j], loader_mark(l, "colours.green.identity").line);
}

void loader_rules_pair(struct loader *green, struct loader *blue)
{
    loader_runtime_pair(green, blue);
    loader_route_pair(green, blue);
    ports_differ(green);
    ports_same_names(green);
    traffic_ports(green);
    volumes_differ(green);
    identities_differ(green);
}
