/* Keys: who sends requests, and how they move. */
#include "spec/schema_rows.h"

static const struct schema_word traffic_words[] = {
    {"caddy", 0}, {"service", 0}, {"ingress", 0}, {"none", 0}, {0}};
static const struct schema_word route_words[] = {
    {"endpoints", ROUTE_ENDPOINTS}, {"selector", ROUTE_SELECTOR}, {0}};
static const struct schema_word websocket_words[] = {
    {"none", WS_NONE}, {"own_port", WS_OWN_PORT}, {"same_port", WS_SAME_PORT}, {0}};
static const struct schema_word unhealthy_words[] = {
    {"serve", UNHEALTHY_SERVE}, {"fail", UNHEALTHY_FAIL}, {0}};
static const struct schema_word retry_words[] = {
    {"none", RETRY_NONE}, {"safe-methods", RETRY_SAFE}, {"listed", RETRY_LISTED}, {0}};

#define KEY(leaf, type_, field, ...) \
    ROW("traffic.kubernetes." leaf, type_, traffic.route.field, __VA_ARGS__)

static const struct schema_key keys[] = {
    SECTION("traffic", .required = true, .doc = "who sends requests to the live colour"),
    ROW("traffic.driver", T_WORD, traffic.driver, .fallback = "caddy", .words = traffic_words,
        .doc = "what moves the traffic: Caddy by flags (the only one that loses nothing), a "
               "Service or "
               "an Ingress of Kubernetes (docs/kubernetes.md says what those lose); none = nothing "
               "does, there is no flip",
        .example = "caddy"),
    ROW("traffic.site", T_TEXTS, traffic.sites, .fallback_doc = "required, but with none",
        .doc = "Caddy site address that clients use; with service and ingress an http:// or "
               "https:// address that reaches it from here",
        .example = "\":8080\""),
    ROW("traffic.sites", T_TEXTS, traffic.sites, .doc = "the same, for more than one",
        .example = "[\"http://:8080\", \"https://rpc.example.org\"]"),
    ROW("traffic.tls", T_TLS, traffic.tls_internal, .type_doc = "`internal`, or a map",
        .fallback_doc = "Caddy's own choice by the site address",
        .doc = "certificate of the sites; internal = Caddy's own CA", .example = "internal"),
    ROW("traffic.tls.cert", T_PATH, traffic.tls_cert, .doc = "certificate file that Caddy reads",
        .example = "/etc/caddy/rpc.crt"),
    ROW("traffic.tls.key", T_PATH, traffic.tls_key, .doc = "its key file",
        .example = "/etc/caddy/rpc.key"),
    ROW("traffic.flag_dir", T_PATH, traffic.flag_dir,
        .fallback = "/var/lib/changeover-flags/${service}",
        .doc = "directory of the flags; Caddy's user must be able to read it",
        .example = "/var/lib/changeover-flags/agave"),
    ROW("traffic.caddyfile", T_PATH, traffic.caddyfile, .fallback = "/etc/caddy/Caddyfile",
        .doc = "the file that Caddy runs with; `traffic install` writes its block there",
        .example = "/etc/caddy/Caddyfile"),
    ROW("traffic.admin", T_ADDRESS, traffic.admin, .fallback = "127.0.0.1:2019",
        .doc = "Caddy's admin address", .example = "127.0.0.1:2019"),
    ROW("traffic.access_log", T_PATH, traffic.access_log, .fallback_doc = "no access log",
        .doc = "JSON access log that names the colour of each request",
        .example = "/var/log/caddy/agave.log"),
    ROW("traffic.port", T_PORT_NAME, traffic.port, .fallback_doc = "the only port, else `http`",
        .doc = "name of the port that takes HTTP", .example = "rpc"),
    ROW("traffic.websockets", T_WORD, traffic.websockets, .words = websocket_words,
        .fallback_doc = "own_port if there is a port `ws`, else none", .doc = "where websockets go",
        .example = "own_port"),
    ROW("traffic.ws_port", T_PORT_NAME, traffic.ws_port,
        .fallback_doc = "`ws`, with websockets: own_port",
        .doc = "name of the port that takes websockets", .example = "ws"),
    ROW("traffic.which_port", T_PORT, traffic.which_port, .fallback = "8090",
        .doc = "loopback port on which Caddy says which colour it would choose", .example = "8190"),
    SECTION("traffic.preview_ports",
            .doc = "loopback ports that reach a colour whatever the flags say"),
    ROW("traffic.preview_ports.green", T_PORT, traffic.preview_port[GREEN], .fallback = "8091",
        .doc = "green through Caddy", .example = "8191"),
    ROW("traffic.preview_ports.blue", T_PORT, traffic.preview_port[BLUE], .fallback = "8092",
        .doc = "blue through Caddy", .example = "8192"),
    SECTION("traffic.health", .doc = "what Caddy's own health check asks, where there is one"),
    ROW("traffic.health.path", T_TEXT, traffic.health_path, .fallback = "/health",
        .doc = "request path", .example = "/-/ready"),
    ROW("traffic.health.body", T_TEXT, traffic.health_body, .fallback = "^ok$",
        .doc = "regular expression for the body (Caddy's dialect)", .example = "ready"),
    ROW("traffic.when_unhealthy", T_WORD, traffic.when_unhealthy, .fallback = "serve",
        .words = unhealthy_words, .doc = "while live is unhealthy: go on serving, or answer 503",
        .example = "fail"),
    ROW("traffic.failover", T_BOOL, traffic.failover, .fallback = "false",
        .doc = "send to the other colour while live fails and both pass the gate; not with writes: "
               "client",
        .example = "true"),
    ROW("traffic.retry", T_WORD, traffic.retry, .fallback = "none", .words = retry_words,
        .doc =
            "what the proxy tries again for 5 s when a colour breaks off: nothing; GET, HEAD and "
            "OPTIONS; or those and `retry_methods`. What was tried again may have run twice",
        .example = "safe-methods"),
    ROW("traffic.retry_methods", T_TEXTS, traffic.retry_methods,
        .fallback_doc = "required with retry: listed",
        .doc =
            "JSON-RPC methods that may run twice: reads, never what writes; not in batches; Caddy "
            "2.11.2 or later",
        .example = "[getSlot, getBlock]"),
    SECTION("traffic.identify",
            .doc = "what only the backend itself says and what differs by colour; required, but "
                   "with none"),
    QUERY("traffic.identify.", ROW, traffic.identify),
    ROW("traffic.verify_requests", T_INT, traffic.verify_requests, .fallback = "20",
        RANGE(1, 10000), .doc = "requests that prove that the traffic moved", .example = "50"),
    SECTION("traffic.drain", .doc = "the old colour's last requests"),
    ROW("traffic.drain.deadline", T_DURATION, traffic.drain_deadline, .fallback = "10m",
        .doc = "how long requests in flight and direct clients may take; then the old colour keeps "
               "running",
        .example = "2m"),
    ROW("traffic.drain.websockets", T_DURATION, traffic.drain_websockets, .fallback = "10m",
        .doc = "how long open websockets may stay on the old colour before its stop closes them",
        .example = "30s"),
    ROW("traffic.ignore_peers", T_TEXTS, traffic.ignore_peers,
        .doc = "direct clients (address or process name) that a drain does not wait for",
        .example = "[telegraf, 192.0.2.7]"),
    SECTION("traffic.kubernetes", .doc = "with driver service and ingress (docs/kubernetes.md)"),
    KEY("kubeconfig", T_PATH, kubeconfig, .fallback_doc = "`runtime.kubernetes.kubeconfig`",
        .doc = "where the cluster is", .example = "/etc/changeover/kubeconfig"),
    KEY("context", T_TEXT, context, .fallback_doc = "`runtime.kubernetes.context`",
        .doc = "context of the kubeconfig", .example = "kind-laconic"),
    KEY("namespace", T_TEXT, ns, .fallback_doc = "`runtime.kubernetes.namespace`",
        .doc = "where the Service or the Ingress is", .example = "agave"),
    KEY("service", T_TEXT, service, .fallback = "${service}",
        .doc = "driver service: name of the Service that clients use", .example = "agave"),
    KEY("by", T_WORD, by, .fallback = "endpoints", .words = route_words,
        .doc = "driver service: `endpoints` = the Service has no selector, and changeover keeps "
               "its EndpointSlice; `selector` = changeover sets the colour in its selector",
        .example = "selector"),
    KEY("address", T_TEXT, address, .fallback_doc = "required with by: endpoints",
        .doc = "address of the colour as the cluster's nodes reach it: the node's",
        .example = "192.0.2.10"),
    KEY("ingress", T_TEXT, ingress, .fallback = "${service}",
        .doc = "driver ingress: name of the Ingress", .example = "agave"),
    KEY("host", T_TEXT, host, .fallback_doc = "the rule without a host",
        .doc = "driver ingress: host of its rule", .example = "rpc.example.org"),
    KEY("path", T_TEXT, path, .fallback = "/", .doc = "driver ingress: path in that rule",
        .example = "/rpc"),
    KEY("backend", T_TEXT, backend, .fallback = "${service}-${colour}",
        .doc = "driver ingress: the colour's own Service", .example = "agave-${colour}"),
    SECTION("traffic.hold", .doc = "holding requests while nobody may answer (writes: client)"),
    ROW("traffic.hold.max", T_DURATION, traffic.hold_max, .fallback = "30s",
        RANGE(NSEC_S, 10 * NSEC_MIN),
        .doc = "longest hold; then it goes back, for which requests wait as long again",
        .example = "10s"),
};
const struct schema_part schema_traffic = {keys, ARRAY_LEN(keys)};
