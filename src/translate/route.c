#include "translate/route.h"

#include "format/json.h"
#include "translate/deployment.h"

#include <string.h>

#define SLICE_SERVICE "kubernetes.io/service-name"
#define SLICE_MANAGER "endpointslice.kubernetes.io/managed-by"
#define MANAGER "changeover"

enum route_form route_form(const struct spec *s)
{
    if (str_eq(s->traffic.driver, "ingress"))
        return ROUTE_BACKEND;
    return s->traffic.route.by == ROUTE_SELECTOR ? ROUTE_SELECT : ROUTE_SLICE;
}

const struct kube_kind *route_kind(const struct spec *s)
{
    static const struct kube_kind *const kinds[] = {[ROUTE_SLICE] = &kube_endpointslice,
                                                    [ROUTE_SELECT] = &kube_service,
                                                    [ROUTE_BACKEND] = &kube_ingress};
    return kinds[route_form(s)];
}

char *route_name(const struct spec *s)
{
    const struct spec_route *r = &s->traffic.route;
    enum route_form form = route_form(s);
    return form == ROUTE_SLICE ? x_asprintf("%s-" MANAGER, r->service)
                               : x_strdup(form == ROUTE_SELECT ? r->service : r->ingress);
}

static const char *text_at(json_t *j, const char *path)
{
    const char *s = json_string_value(json_at(j, path));
    return s ? s : "";
}

/* --- ports ----------------------------------------------------------------------------------- */

/* Which of the colour's ports a port of the Service stands for: the one of its name, or that its
 * target names; the only one is that of HTTP. 0: none. */
static uint16_t port_for(const struct spec *side, json_t *port, size_t of)
{
    const char *name = text_at(port, "name"), *target = text_at(port, "targetPort");
    uint16_t n = *name ? spec_port_number(side, name) : 0;
    if (!n && *target)
        n = spec_port_number(side, target);
    return n || of > 1 ? n : spec_port_number(side, side->traffic.port);
}

static bool same_text(json_t *a, json_t *b, const char *key, const char *fallback)
{
    const char *x = text_at(a, key), *y = text_at(b, key);
    return str_eq(*x ? x : fallback, *y ? y : fallback);
}

/* --- the EndpointSlice ----------------------------------------------------------------------- */

static json_t *slice_ports(const struct spec *side, json_t *service, struct err *err)
{
    json_t *list = json_array(), *ports = json_at(service, "spec.ports"), *p;
    size_t i;
    json_array_foreach(ports, i, p)
    {
        uint16_t n = port_for(side, p, json_array_size(ports));
        const char *protocol = text_at(p, "protocol");
        if (!n) {
            err_set(err, ERR_USAGE, "port '%.60s' of Service '%s' is none of %s's ports",
                    text_at(p, "name"), text_at(service, "metadata.name"),
                    colour_name(side->colour));
            err_hint(err, "give the port of the Service the name of one of colours.%s.ports",
                     colour_name(side->colour));
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, json_pack("{s:s, s:i, s:s}", "name", text_at(p, "name"), "port",
                                              (int)n, "protocol", *protocol ? protocol : "TCP"));
    }
    return list;
}

int route_slice(const struct spec *side, json_t *service, json_t **ret, struct err *err)
{
    const struct spec_route *r = &side->traffic.route;
    cleanup_free char *name = route_name(side);
    json_t *ports = slice_ports(side, service, err);
    if (!ports)
        return -1;
    *ret =
        json_pack("{s:s, s:s, s:{s:s, s:{s:s, s:s, s:s, s:s}}, s:s, s:o, s:[{s:[s], s:{s:b}}]}",
                  "apiVersion", kube_endpointslice.api, "kind", kube_endpointslice.kind, "metadata",
                  "name", name, "labels", SLICE_SERVICE, r->service, SLICE_MANAGER, MANAGER,
                  DEPLOYMENT_SERVICE, side->service, DEPLOYMENT_COLOUR, colour_name(side->colour),
                  "addressType", strchr(r->address, ':') ? "IPv6" : "IPv4", "ports", ports,
                  "endpoints", "addresses", r->address, "conditions", "ready", 1);
    return 0;
}

static json_t *port_named(json_t *ports, json_t *like)
{
    size_t i;
    json_t *p;
    json_array_foreach(ports, i, p)
    {
        if (same_text(p, like, "name", "") && same_text(p, like, "protocol", "TCP"))
            return p;
    }
    return NULL;
}

static bool slice_means(const struct spec *side, json_t *service, json_t *slice)
{
    cleanup_json json_t *want = NULL;
    struct err ignored = {0};
    json_t *ports = json_object_get(slice, "ports"),
           *endpoints = json_object_get(slice, "endpoints");
    size_t i;
    json_t *p;
    if (route_slice(side, service, &want, &ignored) < 0 || json_array_size(endpoints) != 1 ||
        json_array_size(json_at(slice, "endpoints.0.addresses")) != 1 ||
        json_is_false(json_at(slice, "endpoints.0.conditions.ready")) ||
        !str_eq(text_at(slice, "endpoints.0.addresses.0"), side->traffic.route.address) ||
        json_array_size(ports) != json_array_size(json_object_get(want, "ports")))
        return false;
    json_array_foreach(json_object_get(want, "ports"), i, p)
    {
        json_t *have = port_named(ports, p);
        if (!have || json_integer_value(json_object_get(have, "port")) !=
                         json_integer_value(json_object_get(p, "port")))
            return false;
    }
    return true;
}

/* --- the selector ---------------------------------------------------------------------------- */

/* With hostNetwork the colours' ports differ: a target that is a number moves along. */
static bool moves_along(json_t *port)
{
    return !json_is_string(json_object_get(port, "targetPort"));
}

static json_t *selector_for(json_t *service, const struct spec *side)
{
    json_t *sel = json_deep_copy(json_at(service, "spec.selector"));
    sel = sel ? sel : json_object();
    json_object_set_new(sel, DEPLOYMENT_SERVICE, json_string(side->service));
    json_object_set_new(sel, DEPLOYMENT_COLOUR, json_string(colour_name(side->colour)));
    return sel;
}

static bool selector_means(const struct spec *side, json_t *service)
{
    cleanup_json json_t *want = selector_for(service, side);
    json_t *ports = json_at(service, "spec.ports"), *p;
    size_t i;
    if (!json_equal(want, json_at(service, "spec.selector")))
        return false;
    json_array_foreach(ports, i, p)
    {
        if (moves_along(p) && json_integer_value(json_object_get(p, "targetPort")) !=
                                  port_for(side, p, json_array_size(ports)))
            return false;
    }
    return true;
}

static int selector_patch(const struct spec *side, json_t *service, json_t *ops, struct err *err)
{
    json_t *ports = json_at(service, "spec.ports"), *p;
    json_t *old = json_at(service, "spec.selector");
    char path[64];
    size_t i;
    kube_op(ops, "test", "/metadata/resourceVersion",
            json_string(text_at(service, "metadata.resourceVersion")));
    if (old)
        kube_op(ops, "test", "/spec/selector", json_incref(old));
    kube_op(ops, old ? "replace" : "add", "/spec/selector", selector_for(service, side));
    json_array_foreach(ports, i, p)
    {
        uint16_t n = port_for(side, p, json_array_size(ports));
        if (!moves_along(p))
            continue;
        if (!n)
            return err_set(err, ERR_USAGE, "port '%.60s' of Service '%s' is none of %s's ports",
                           text_at(p, "name"), text_at(service, "metadata.name"),
                           colour_name(side->colour));
        str_format(path, sizeof(path), "/spec/ports/%zu/targetPort", i);
        kube_op(ops, "test", path, json_incref(json_object_get(p, "targetPort")));
        kube_op(ops, "replace", path, json_integer(n));
    }
    return 0;
}

void route_selector(json_t *service, const struct spec *side, struct str *ret)
{
    cleanup_json json_t *sel =
        side ? selector_for(service, side) : json_incref(json_at(service, "spec.selector"));
    const char *key;
    json_t *value;
    json_object_foreach(sel, key, value)
    {
        str_addf(ret, "%s%s=%s", ret->len ? "," : "", key, json_string_value(value));
    }
}

/* --- the Ingress ----------------------------------------------------------------------------- */

/* The path of the spec in the rule of the spec; where: its JSON pointer. */
static json_t *path_of(const struct spec *s, json_t *ingress, char where[80])
{
    const struct spec_route *r = &s->traffic.route;
    json_t *rule, *path;
    size_t i, j;
    json_array_foreach(json_at(ingress, "spec.rules"), i, rule)
    {
        if (!str_eq(text_at(rule, "host"), r->host ? r->host : ""))
            continue;
        json_array_foreach(json_at(rule, "http.paths"), j, path)
        {
            const char *at = text_at(path, "path");
            str_format(where, 80, "/spec/rules/%zu/http/paths/%zu", i, j);
            if (str_eq(*at ? at : "/", r->path) && json_at(path, "backend.service.name"))
                return path;
        }
    }
    return NULL;
}

static void no_path(const struct spec *s, char *buf, size_t size)
{
    const struct spec_route *r = &s->traffic.route;
    str_format(buf, size, "Ingress '%s' has no path '%s' %s%s that leads to a Service", r->ingress,
               r->path, r->host ? "of host " : "in a rule without a host", r->host ? r->host : "");
}

/* Neither another rule nor another backend may have come to this place meanwhile. The status, which
 * the controller writes whenever it likes, is no matter: so not by the resourceVersion. */
static int backend_patch(const struct spec *side, json_t *ingress, json_t *ops, struct err *err)
{
    const struct spec_route *r = &side->traffic.route;
    char where[80], at[120], words[300];
    json_t *path = path_of(side, ingress, where);
    if (!path) {
        no_path(side, words, sizeof(words));
        err_set(err, ERR_NOT_FOUND, "%s", words);
        return err_hint(err, "correct traffic.kubernetes.host and path in the spec, or write that "
                             "rule (changeover traffic render shows one)");
    }
    str_format(at, sizeof(at), "%.*s/host", (int)strcspn(where + 12, "/") + 12, where);
    if (r->host)
        kube_op(ops, "test", at, json_string(r->host));
    kube_op(ops, "test", where, json_incref(path));
    str_format(at, sizeof(at), "%s/backend/service/name", where);
    kube_op(ops, "replace", at, json_string(r->backend));
    return 0;
}

/* --- all of them ----------------------------------------------------------------------------- */

int route_patch(const struct spec *side, json_t *object, json_t **ret, struct err *err)
{
    cleanup_json json_t *ops = json_array();
    int r = route_form(side) == ROUTE_BACKEND ? backend_patch(side, object, ops, err)
                                              : selector_patch(side, object, ops, err);
    if (r == 0)
        *ret = TAKE(ops);
    return r;
}

static bool means(const struct spec *side, json_t *service, json_t *object)
{
    char where[80];
    if (!object)
        return false;
    switch (route_form(side)) {
    case ROUTE_SLICE:
        return slice_means(side, service, object);
    case ROUTE_SELECT:
        return selector_means(side, object);
    case ROUTE_BACKEND:
        return str_eq(text_at(path_of(side, object, where), "backend.service.name"),
                      side->traffic.route.backend);
    }
    return false;
}

/* What stands in the way of pointing it; "" if nothing does. */
static void misfit(const struct spec *s, json_t *service, json_t *object, char *buf, size_t size)
{
    const struct spec_route *r = &s->traffic.route;
    enum route_form form = route_form(s);
    char where[80];
    buf[0] = '\0';
    if (form == ROUTE_BACKEND) {
        if (!object)
            str_format(buf, size, "there is no Ingress '%s'", r->ingress);
        else if (!path_of(s, object, where))
            no_path(s, buf, size);
    } else if (!service) {
        str_format(buf, size, "there is no Service '%s'", r->service);
    } else if (form == ROUTE_SLICE && json_object_size(json_at(service, "spec.selector"))) {
        str_format(buf, size,
                   "Service '%s' has a selector, by which Kubernetes keeps endpoints of its own: "
                   "remove the selector, or write `by: selector`",
                   r->service);
    } else if (form == ROUTE_SELECT && !json_object_size(json_at(service, "spec.selector"))) {
        str_format(buf, size, "Service '%s' has no selector: write `by: endpoints`", r->service);
    }
}

void route_see(const struct spec *const side[COLOURS], json_t *service, json_t *object,
               struct route_look *ret)
{
    const struct spec *s = side[GREEN];
    char who[300];
    *ret = (struct route_look){.to = COLOUR_NONE};
    misfit(s, service, object, ret->why, sizeof(ret->why));
    ret->fits = !*ret->why;
    for (int c = GREEN; ret->fits && c < COLOURS; c++)
        if (means(side[c], service, object)) {
            ret->to = (enum colour)c;
            return;
        }
    if (!ret->fits)
        return;
    cleanup_free char *name = route_name(s);
    ret->unset = !object || (route_form(s) == ROUTE_SELECT &&
                             !json_object_get(json_at(object, "spec.selector"), DEPLOYMENT_COLOUR));
    if (ret->unset) {
        str_format(ret->why, sizeof(ret->why), "%s '%s' does not name a colour yet",
                   route_kind(s)->kind, name);
        return;
    }
    route_who(s, object, who, sizeof(who));
    str_format(ret->why, sizeof(ret->why), "%s '%s' sends to neither colour%s%.200s",
               route_kind(s)->kind, name, *who ? "; last changed by " : "", who);
}

/* --- words ----------------------------------------------------------------------------------- */

void route_text(const struct spec *s, json_t *object, struct str *ret)
{
    char where[80];
    const char *key;
    json_t *value, *list = NULL;
    size_t i;
    switch (route_form(s)) {
    case ROUTE_SLICE:
        list = json_object_get(object, "ports");
        json_array_foreach(json_object_get(object, "endpoints"), i, value)
        {
            str_addf(ret, "endpoint %s\n", text_at(value, "addresses.0"));
        }
        break;
    case ROUTE_SELECT:
        list = json_at(object, "spec.ports");
        json_object_foreach(json_at(object, "spec.selector"), key, value)
        {
            str_addf(ret, "selector %s=%s\n", key, json_string_value(value));
        }
        break;
    case ROUTE_BACKEND:
        str_addf(ret, "host %s path %s -> Service %s\n",
                 s->traffic.route.host ? s->traffic.route.host : "*", s->traffic.route.path,
                 text_at(path_of(s, object, where), "backend.service.name"));
        break;
    }
    json_array_foreach(list, i, value)
    {
        json_t *number = json_object_get(
            value, list == json_object_get(object, "ports") ? "port" : "targetPort");
        str_addf(ret, "port %s -> ", text_at(value, "name"));
        (void)json_text(number, ret);
        str_add_c(ret, '\n');
    }
}

void route_who(const struct spec *s, json_t *object, char *buf, size_t size)
{
    const char *part = route_form(s) == ROUTE_SLICE ? "f:endpoints" : "f:spec", *newest = "";
    bool ours = true;
    size_t i;
    json_t *m;
    buf[0] = '\0';
    json_array_foreach(json_at(object, "metadata.managedFields"), i, m)
    {
        const char *name = text_at(m, "manager"), *at = text_at(m, "time");
        if (!*name || *text_at(m, "subresource") ||
            !json_object_get(json_object_get(m, "fieldsV1"), part) || strcmp(at, newest) < 0)
            continue;
        newest = at;
        ours = str_eq(name, MANAGER);
        str_format(buf, size, "%s at %s", name, at);
    }
    if (ours)
        buf[0] = '\0';
}

/* --- manifests ------------------------------------------------------------------------------- */

static void add_meta(struct str *o, const char *api, const char *kind, const char *name,
                     const char *ns)
{
    str_addf(o, "%sapiVersion: %s\nkind: %s\nmetadata:\n  name: %s\n", o->len ? "---\n" : "", api,
             kind, name);
    if (ns)
        str_addf(o, "  namespace: %s\n", ns);
}

static void add_ports(struct str *o, const struct spec *s, const struct spec *front)
{
    const struct spec_traffic *t = &s->traffic;
    const char *names[] = {t->port, t->websockets == WS_OWN_PORT ? t->ws_port : NULL};
    str_add(o, "  ports:\n");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i])
            str_addf(o, "    - {name: %s, port: %u, targetPort: %u}\n", names[i],
                     spec_port_number(front, names[i]), spec_port_number(s, names[i]));
}

static void add_service(struct str *o, const struct spec *s, const struct spec *front,
                        const char *name, bool selects)
{
    add_meta(o, "v1", "Service", name, s->traffic.route.ns);
    str_add(o, "spec:\n");
    if (selects)
        str_addf(o, "  selector: {%s: %s, %s: %s}\n", DEPLOYMENT_SERVICE, s->service,
                 DEPLOYMENT_COLOUR, colour_name(s->colour));
    add_ports(o, s, front);
}

void route_manifests(const struct spec *const side[COLOURS], struct str *ret)
{
    const struct spec *g = side[GREEN];
    const struct spec_route *r = &g->traffic.route;
    if (route_form(g) != ROUTE_BACKEND) {
        add_service(ret, g, g, r->service, route_form(g) == ROUTE_SELECT);
        return;
    }
    for (int c = GREEN; c < COLOURS; c++)
        add_service(ret, side[c], g, side[c]->traffic.route.backend, true);
    add_meta(ret, kube_ingress.api, kube_ingress.kind, r->ingress, r->ns);
    str_add(ret, "spec:\n  rules:\n    - ");
    if (r->host)
        str_addf(ret, "host: %s\n      ", r->host);
    str_addf(ret,
             "http:\n        paths:\n          - path: %s\n            pathType: Prefix\n"
             "            backend: {service: {name: %s, port: {name: %s}}}\n",
             r->path, r->backend, g->traffic.port);
}
