/* The section `traffic.kubernetes`, and what the drivers `service` and `ingress` cannot do. */
#include "spec/loader.h"

#include <arpa/inet.h>
#include <string.h>

static bool given(const struct loader *l, const char *key)
{
    const struct yaml_pair *traffic = yaml_get(l->root, "traffic");
    return traffic && traffic->value->kind == YAML_MAP && yaml_get(traffic->value, key);
}

/* What is read by Caddy alone. */
static const char *const of_caddy[] = {"tls",        "caddyfile",     "admin",  "access_log",
                                       "which_port", "preview_ports", "health", "when_unhealthy",
                                       "retry",      "retry_methods", "hold"};

/* An address that a pod of another node could dial: the server refuses loopback, too. */
static bool is_address(const char *text)
{
    unsigned char four[4], six[16];
    static const unsigned char loopback[16] = {[15] = 1};
    if (inet_pton(AF_INET, text, four) == 1)
        return four[0] != 127 && four[0] != 0;
    return inet_pton(AF_INET6, text, six) == 1 && memcmp(six, loopback, sizeof(six)) != 0;
}

static void refuse_what_it_cannot(struct loader *l)
{
    const struct spec *s = l->spec;
    const char *driver = s->traffic.driver;
    for (size_t i = 0; i < ARRAY_LEN(of_caddy); i++) {
        cleanup_free char *key = x_asprintf("traffic.%s", of_caddy[i]);
        if (given(l, of_caddy[i]))
            loader_wrong(l, loader_mark(l, key),
                         "%s: is Caddy's, and nothing looks at it with driver %s; remove it, or "
                         "write `driver: caddy`",
                         key, driver);
    }
    if (s->writes == WRITES_CLIENT)
        loader_wrong(l, loader_mark(l, "writes"),
                     "writes: client: driver %s cannot let requests wait while nobody may write; "
                     "put a Caddy of your own in front and write `driver: caddy` under traffic "
                     "(docs/kubernetes.md)",
                     driver);
    if (s->traffic.failover)
        loader_wrong(l, loader_mark(l, "traffic.failover"),
                     "traffic.failover: driver %s sends requests to one colour only; write "
                     "`failover: false`, or `driver: caddy`",
                     driver);
}

static void sites(struct loader *l)
{
    const struct spec_traffic *t = &l->spec->traffic;
    for (size_t i = 0; i < t->sites.n; i++)
        if (!str_starts(t->sites.v[i], "http://") && !str_starts(t->sites.v[i], "https://"))
            loader_wrong(l, loader_mark(l, given(l, "sites") ? "traffic.sites" : "traffic.site"),
                         "traffic.site: '%.100s' is no http:// or https:// address, and with "
                         "driver %s the proof asks there; write for example `site: "
                         "http://10.96.0.50:8899`",
                         t->sites.v[i], t->driver);
}

void loader_route_rules(struct loader *l)
{
    struct spec_traffic *t = &l->spec->traffic;
    const struct spec_kubernetes *k = &l->spec->runtime.kubernetes;
    struct spec_route *r = &t->route;
    bool service = str_eq(t->driver, "service");
    if (!service && !str_eq(t->driver, "ingress")) {
        if (given(l, "kubernetes"))
            loader_wrong(l, loader_mark(l, "traffic.kubernetes"),
                         "traffic.kubernetes: nothing looks at it with driver %s; write `driver: "
                         "service` or `driver: ingress`, or remove it",
                         t->driver ? t->driver : "caddy");
        return;
    }
    refuse_what_it_cannot(l);
    sites(l);
    /* a kept connection would stay at the old side, and its drain would wait for it */
    const struct yaml_pair *probe = yaml_get(l->root, "probe");
    if (probe && probe->value->kind == YAML_MAP && !yaml_get(probe->value, "fresh"))
        l->spec->probe.fresh = 100;
    r->kubeconfig = r->kubeconfig ? r->kubeconfig : k->kubeconfig;
    r->context = r->context ? r->context : k->context;
    r->ns = r->ns ? r->ns : k->ns;
    if (!service || r->by != ROUTE_ENDPOINTS)
        return;
    if (!r->address)
        loader_wrong(l, loader_mark(l, "traffic.kubernetes"),
                     "key 'traffic.kubernetes.address' is missing (where the nodes of the cluster "
                     "reach the colours); write for example `address: 192.0.2.10`, the node's");
    else if (!is_address(r->address))
        loader_wrong(l, loader_mark(l, "traffic.kubernetes.address"),
                     "traffic.kubernetes.address: '%.60s' is no address that a pod can dial (a "
                     "numeric IPv4 or IPv6 address, not loopback); write for example `address: "
                     "192.0.2.10`",
                     r->address);
}

void loader_route_pair(struct loader *green, struct loader *blue)
{
    const struct spec_route *a = &green->spec->traffic.route, *b = &blue->spec->traffic.route;
    if (str_eq(green->spec->traffic.driver, "ingress") && str_eq(a->backend, b->backend))
        loader_wrong(green, loader_mark(green, "traffic.kubernetes.backend"),
                     "traffic.kubernetes.backend: '%.60s' is both colours' Service; write "
                     "${colour} into it, for example `backend: agave-${colour}`",
                     a->backend ? a->backend : "");
}
