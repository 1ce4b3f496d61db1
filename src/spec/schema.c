/* Adding a key: a row here, a field in spec.h, then docs/spec.md from the document test. */
#include "spec/schema.h"

#include "spec/spec.h"

#define ROW(path_, type_, field, ...)                                                     \
    {                                                                                     \
        .path = path_, .type = type_, .offset = offsetof(struct spec, field), __VA_ARGS__ \
    }
#define VOLUME(leaf, type_, field, ...)                                                          \
    {                                                                                            \
        .path = "volumes.*." leaf, .type = type_, .offset = offsetof(struct spec_volume, field), \
        __VA_ARGS__                                                                              \
    }
#define CHECK(leaf, type_, field, ...)                                                             \
    {                                                                                              \
        .path = "gate.checks[]." leaf, .type = type_, .offset = offsetof(struct spec_gate, field), \
        __VA_ARGS__                                                                                \
    }
#define SHADOW(leaf, type_, field, ...)                                    \
    {                                                                      \
        .path = "shadow.requests[]." leaf, .type = type_,                  \
        .offset = offsetof(struct spec_shadow_request, field), __VA_ARGS__ \
    }
#define COMMAND_IN(path_, type_, field, ...)                                                      \
    {                                                                                             \
        .path = path_, .type = type_, .offset = offsetof(struct spec_command, field), __VA_ARGS__ \
    }
#define COMMAND(leaf, type_, field, ...) COMMAND_IN("COMMAND." leaf, type_, field, __VA_ARGS__)
#define SECTION(path_, ...)                           \
    {                                                 \
        .path = path_, .type = T_SECTION, __VA_ARGS__ \
    }
#define EARLY(path_, ...)                           \
    {                                               \
        .path = path_, .type = T_NAMES, __VA_ARGS__ \
    }
#define KIND(leaf, kind, ...)                                                    \
    {                                                                            \
        .path = "gate.checks[]." leaf, .type = T_CHECK, .min = kind, __VA_ARGS__ \
    }
#define RANGE(a, b) .min = (a), .max = (b)

static const struct schema_word writes_words[] = {
    {"replayed", WRITES_REPLAYED}, {"both", WRITES_BOTH}, {"client", WRITES_CLIENT}, {0}};
static const struct schema_word volume_words[] = {{"auto", 0}, {"reflink", 0}, {"copy", 0},
                                                  {"zfs", 0},  {"empty", 0},   {0}};
static const struct schema_word consistency_words[] = {
    {"freeze", CONSISTENCY_FREEZE}, {"none", CONSISTENCY_NONE}, {0}};
static const struct schema_word runtime_words[] = {{"process", 0}, {0}};
static const struct schema_word ionice_words[] = {
    {"none", 0}, {"realtime", 1}, {"best-effort", 2}, {"idle", 3}, {0}};
static const struct schema_word restart_words[] = {
    {"always", RESTART_ALWAYS}, {"on-failure", RESTART_ON_FAILURE}, {"never", RESTART_NEVER}, {0}};
static const struct schema_word traffic_words[] = {{"caddy", 0}, {"none", 0}, {0}};
static const struct schema_word websocket_words[] = {
    {"none", WS_NONE}, {"own_port", WS_OWN_PORT}, {"same_port", WS_SAME_PORT}, {0}};
static const struct schema_word unhealthy_words[] = {
    {"serve", UNHEALTHY_SERVE}, {"fail", UNHEALTHY_FAIL}, {0}};
static const struct schema_word retry_words[] = {
    {"none", RETRY_NONE}, {"safe-methods", RETRY_SAFE}, {"listed", RETRY_LISTED}, {0}};
static const struct schema_word compare_words[] = {
    {"eq", CMP_EQ}, {"ne", CMP_NE}, {"lt", CMP_LT},           {"le", CMP_LE},
    {"gt", CMP_GT}, {"ge", CMP_GE}, {"matches", CMP_MATCHES}, {0}};
static const struct schema_word downgrade_words[] = {{"none", DOWNGRADE_NONE},
                                                     {"patch", DOWNGRADE_PATCH},
                                                     {"minor", DOWNGRADE_MINOR},
                                                     {"any", DOWNGRADE_ANY},
                                                     {0}};
static const struct schema_word after_flip_words[] = {
    {"warn", SPACE_WARN}, {"give-up-rollback", SPACE_GIVE_UP_ROLLBACK}, {0}};

/* What a value is asked for with; the same five keys wherever something is asked. */
#define QUERY(prefix_, macro, field_prefix)                                                      \
    macro(prefix_ "port", T_PORT_NAME, field_prefix.port, .fallback_doc = "`traffic.port`",      \
          .doc = "name of the port that is asked", .example = "rpc"),                            \
        macro(prefix_ "method", T_TEXT, field_prefix.method,                                     \
              .doc = "JSON-RPC method; without it a plain GET", .example = "getSlot"),           \
        macro(prefix_ "params", T_PARAMS, field_prefix.params, .fallback = "[]",                 \
              .doc = "the method's params", .example = "[{commitment: processed}]"),             \
        macro(prefix_ "path", T_TEXT, field_prefix.path, .fallback = "/", .doc = "request path", \
              .example = "/version"),                                                            \
        macro(prefix_ "field", T_TEXT, field_prefix.field, .fallback_doc = "the whole body",     \
              .doc = "dotted path into the JSON answer", .example = "result.solana-core"),       \
        macro(prefix_ "header", T_TEXT, field_prefix.header,                                     \
              .doc = "take the value of this response header instead", .example = "X-Version")

const struct schema_key schema_keys[] = {
    ROW("service", T_NAME, service, .required = true,
        .doc = "name of the service: of its state, flags and locks", .example = "agave"),
    ROW("writes", T_WORD, writes, .required = true, .words = writes_words,
        .doc = "where writes go; see \"Where writes go\"", .example = "replayed"),
    ROW("accept_loss", T_BOOL, accept_loss, .fallback = "false",
        .doc = "a rollback after the flip may lose writes without asking", .example = "true"),

    SECTION("colours", .required = true, .doc = "what differs between the two"),
    SECTION("colours.green", .required = true, .doc = "the green colour"),
    SECTION("colours.blue", .required = true, .doc = "the blue colour; the same names as green"),
    EARLY("colours.*.ports", .required = true, .type_doc = "map of name: number or \"FIRST-LAST\"",
          .doc = "each port or port range that the instance binds", .example = "{http: 8101}"),
    EARLY("colours.*.identity", .type_doc = "path or list of paths",
          .doc = "key files of this colour; must not be the other's",
          .example = "/etc/agave/green.json"),
    EARLY("colours.*.config", .type_doc = "map of name: text",
          .doc = "values for ${config.NAME}, over the common ones", .example = "{flag: a}"),
    EARLY("colours.*.env", .type_doc = "map of NAME: text",
          .doc = "environment of this colour, over `runtime.env`", .example = "{ROLE: a}"),
    EARLY("config", .type_doc = "map of name: text", .doc = "values for ${config.NAME}",
          .example = "{loglevel: info}"),

    {.path = "volumes",
     .type = T_VOLUMES,
     .type_doc = "map of name: map",
     .doc = "the data, each with its place in either colour; none for a stateless service"},
    VOLUME("driver", T_WORD, driver, .fallback = "auto", .words = volume_words,
           .doc = "how the standby gets its data; auto = reflink where it works, else copy",
           .example = "copy"),
    VOLUME("path", T_NAMES, path, .type_doc = "path",
           .doc = "the colour's directory, with ${colour} in it; or give `green` and `blue`",
           .example = "/srv/agave/${colour}/ledger"),
    VOLUME("green", T_NAMES, path, .type_doc = "path", .doc = "green's directory",
           .example = "/srv/agave/ledger"),
    VOLUME("blue", T_NAMES, path, .type_doc = "path", .doc = "blue's directory",
           .example = "/srv/agave-blue/ledger"),
    VOLUME("dataset", T_TEXT, dataset, .doc = "with zfs: this colour's, mounted at its path",
           .example = "tank/agave-${colour}"),
    VOLUME("exclude", T_TEXTS, exclude, .doc = "patterns of what a clone leaves out",
           .example = "[\"*.sock\", LOCK]"),
    VOLUME("consistency", T_WORD, consistency, .fallback = "freeze", .words = consistency_words,
           .doc = "freeze the instance for the last pass of its clone, or not at all",
           .example = "none"),
    VOLUME("before_snapshot", T_COMMAND, before_snapshot,
           .doc = "run before the clone; the instance is then not frozen",
           .example = "[/usr/local/bin/flush]"),
    VOLUME("after_snapshot", T_COMMAND, after_snapshot, .doc = "run after the clone, failed or not",
           .example = "[/usr/local/bin/unflush]"),
    VOLUME("verify", T_BOOL, verify, .fallback = "false",
           .doc = "compare what was cloned with its source, byte by byte", .example = "true"),
    VOLUME("rate_limit", T_BYTES, rate_limit, .fallback = "0",
           .doc = "most bytes a second while cloning, but in the pause; 0 = no limit",
           .example = "200MB"),

    SECTION("freeze", .doc = "the pause of the live instance for the last pass of its clone"),
    ROW("freeze.max", T_DURATION, freeze_max, .fallback = "2s", RANGE(NSEC_MS, 10 * NSEC_MIN),
        .doc = "longest pause; none begins while a pass takes longer", .example = "5s"),

    SECTION("runtime", .required = true, .doc = "how an instance is run"),
    ROW("runtime.driver", T_WORD, runtime.driver, .fallback = "process", .words = runtime_words,
        .doc = "what runs it", .example = "process"),
    ROW("runtime.command", T_ARGV, runtime.command, .required = true,
        .doc = "program and arguments; no shell",
        .example = "[/usr/bin/prometheus, \"--web.listen-address=:${port.http}\"]"),
    ROW("runtime.cwd", T_PATH, runtime.cwd, .fallback_doc = "the adopted process's, else ours",
        .doc = "working directory", .example = "/srv/agave"),
    ROW("runtime.user", T_TEXT, runtime.user, .fallback_doc = "the adopted process's, else ours",
        .doc = "user to run as", .example = "solana"),
    ROW("runtime.group", T_TEXT, runtime.group, .fallback_doc = "the user's own",
        .doc = "group to run as", .example = "solana"),
    {.path = "runtime.env",
     .type = T_NAMES,
     .type_doc = "map of NAME: text",
     .doc = "environment of both colours",
     .example = "{RUST_LOG: info}"},
    ROW("runtime.env_file", T_PATH, runtime.env_file,
        .doc = "file of NAME=value lines, read at each start; for secrets",
        .example = "/etc/agave/secrets.env"),
    ROW("runtime.env_clear", T_BOOL, runtime.env_clear, .fallback = "false",
        .doc = "start from an empty environment", .example = "true"),
    ROW("runtime.limits", T_LIMITS, runtime.limits,
        .type_doc = "map of name: \"SOFT\" or \"SOFT:HARD\"",
        .doc = "resource limits by their names in prlimit(1)",
        .example = "{nofile: 1000000, memlock: unlimited}"),
    ROW("runtime.nice", T_INT, runtime.nice, .fallback = "0", RANGE(-20, 19),
        .doc = "niceness of the live instance", .example = "-5"),
    SECTION("runtime.standby", .doc = "what is different until it is promoted"),
    ROW("runtime.standby.nice", T_INT, runtime.standby_nice, .fallback = "0", RANGE(-20, 19),
        .doc = "niceness of the standby", .example = "5"),
    ROW("runtime.standby.ionice", T_WORD, runtime.standby_ionice, .fallback = "none",
        .words = ionice_words, .doc = "io class of the standby", .example = "idle"),
    ROW("runtime.standby.cpu_weight", T_INT, runtime.standby_cpu_weight, .fallback = "0",
        RANGE(0, 10000),
        .doc = "share of cpu time of the standby, 100 being everybody's (cgroup v2 cpu.weight, v1 "
               "cpu.shares); 0 = not set",
        .example = "50"),
    ROW("runtime.standby.io_weight", T_INT, runtime.standby_io_weight, .fallback = "0",
        RANGE(0, 10000),
        .doc =
            "the same of io, where the device's scheduler is bfq (`check` says where it is not); "
            "0 = not set",
        .example = "20"),
    SECTION("runtime.standby.brake",
            .doc = "for disks without weights: the standby is paused at its gate while live is "
                   "slow"),
    ROW("runtime.standby.brake.p99", T_DURATION, runtime.brake.p99, .fallback_doc = "no brake",
        RANGE(NSEC_MS, NSEC_MIN), .doc = "most that live's p99 may be", .example = "50ms"),
    ROW("runtime.standby.brake.port", T_PORT_NAME, runtime.brake.ask.port,
        .fallback_doc = "`traffic.port`", .doc = "name of the port at which live is asked",
        .example = "rpc"),
    ROW("runtime.standby.brake.method", T_TEXT, runtime.brake.ask.method,
        .doc = "JSON-RPC method that it is asked; without it a plain GET", .example = "getSlot"),
    ROW("runtime.standby.brake.params", T_PARAMS, runtime.brake.ask.params, .fallback = "[]",
        .doc = "the method's params", .example = "[{commitment: processed}]"),
    ROW("runtime.standby.brake.path", T_TEXT, runtime.brake.ask.path,
        .fallback_doc = "with a method `/`, else `traffic.health.path`", .doc = "request path",
        .example = "/status"),
    ROW("runtime.standby.brake.rate", T_INT, runtime.brake.rate, .fallback = "50", RANGE(2, 1000),
        .doc = "requests a second that it is asked", .example = "100"),
    ROW("runtime.standby.brake.window", T_DURATION, runtime.brake.window, .fallback = "2s",
        RANGE(100 * NSEC_MS, NSEC_MIN), .doc = "stretch of time that each p99 is of",
        .example = "1s"),
    ROW("runtime.standby.brake.max_pause", T_DURATION, runtime.brake.max_pause, .fallback = "10s",
        RANGE(100 * NSEC_MS, 10 * NSEC_MIN),
        .doc = "longest pause; after each the standby runs for as long at least", .example = "5s"),
    SECTION("runtime.restart", .doc = "when an instance ends by itself"),
    ROW("runtime.restart.policy", T_WORD, runtime.restart, .fallback = "on-failure",
        .words = restart_words, .doc = "when it is started again", .example = "always"),
    ROW("runtime.restart.delay", T_DURATION, runtime.restart_delay, .fallback = "5s",
        .doc = "wait before it", .example = "1s"),
    ROW("runtime.restart.max", T_INT, runtime.restart_max, .fallback = "5", RANGE(0, 1000),
        .doc = "most restarts within 10 minutes; then it stays down", .example = "3"),
    SECTION("runtime.log", .doc = "its output"),
    ROW("runtime.log.max", T_BYTES, runtime.log_max_bytes, .fallback = "64MB",
        RANGE(4096, INT64_MAX), .doc = "size at which a log file is rotated", .example = "10MB"),
    ROW("runtime.log.keep", T_INT, runtime.log_keep, .fallback = "5", RANGE(0, 1000),
        .doc = "rotated files that are kept", .example = "10"),
    ROW("runtime.validate", T_COMMANDS, runtime.validate,
        .type_doc = "list of commands, or of the maps below",
        .doc = "argument checks of the new version, run before anything is touched",
        .example = "[{append: [--help]}]"),
    COMMAND_IN("runtime.validate[].command", T_ARGV, argv, .fallback_doc = "`runtime.command`",
               .doc = "program and arguments; no shell",
               .example = "[/usr/bin/promtool, check, config, /etc/prometheus.yml]"),
    {.path = "runtime.validate[].replace",
     .type = T_NAMES,
     .type_doc = "map of argument: text",
     .doc = "in `runtime.command`, the value that follows this argument becomes the text",
     .example = "{--identity: /nonexistent}"},
    {.path = "runtime.validate[].append",
     .type = T_NAMES,
     .type_doc = "list of texts",
     .doc = "put after the last argument of `runtime.command`",
     .example = "[--help]"},
    COMMAND_IN("runtime.validate[].timeout", T_DURATION, timeout, .fallback = "60s",
               RANGE(NSEC_MS, 24 * NSEC_HOUR), .doc = "longest run", .example = "5m"),
    COMMAND_IN("runtime.validate[].status", T_INT, status, .fallback = "0", RANGE(0, 255),
               .doc = "exit status it must have", .example = "1"),
    COMMAND_IN("runtime.validate[].output", T_REGEX, output, .fallback_doc = "any",
               .doc = "extended regular expression that its output (both streams) must match",
               .example = "\"Invalid value for '--identity\""),
    ROW("runtime.version", T_COMMAND, runtime.version,
        .doc = "prints the version of what would be started; the first (...) of `output` is it",
        .example = "{command: [/usr/bin/prometheus, --version], output: \"version ([0-9.]+)\"}"),

    SECTION("ports", .doc = "about all ports"),
    ROW("ports.may_also_bind", T_MAY_BIND, runtime.ports_may_also_bind,
        .type_doc = "list of PROTOCOL:PORT or PROTOCOL:FIRST-LAST",
        .doc = "sockets outside the named ports that an instance may have",
        .example = "[\"udp:8000-8020\"]"),

    SECTION("traffic", .required = true, .doc = "who sends requests to the live colour"),
    ROW("traffic.driver", T_WORD, traffic.driver, .fallback = "caddy", .words = traffic_words,
        .doc = "what moves the traffic; none = nothing does, there is no flip", .example = "caddy"),
    ROW("traffic.site", T_TEXTS, traffic.sites, .fallback_doc = "required with caddy",
        .doc = "Caddy site address that clients use", .example = "\":8080\""),
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
    SECTION(
        "traffic.identify",
        .doc = "what only the backend itself says and what differs by colour; required with caddy"),
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
    SECTION("traffic.hold", .doc = "holding requests while nobody may answer (writes: client)"),
    ROW("traffic.hold.max", T_DURATION, traffic.hold_max, .fallback = "30s",
        RANGE(NSEC_S, 10 * NSEC_MIN),
        .doc = "longest hold; then it goes back, for which requests wait as long again",
        .example = "10s"),

    SECTION("gate", .required = true, .doc = "what must hold before traffic goes to a colour"),
    {.path = "gate.checks",
     .type = T_CHECKS,
     .required = true,
     .type_doc = "list of {KIND: map}",
     .doc = "all of them, each time; every kind takes `name` and `timeout`",
     .example = "[{http: {path: /health, status: 200, body: ok}}, {ports: {}}]"},
    ROW("gate.passes", T_INT, gate.passes, .fallback = "3", RANGE(1, 10000),
        .doc = "times in a row that all must pass", .example = "5"),
    ROW("gate.interval", T_DURATION, gate.interval, .fallback = "1s",
        RANGE(10 * NSEC_MS, NSEC_HOUR), .doc = "between two looks", .example = "500ms"),
    ROW("gate.deadline", T_DURATION, gate.deadline, .fallback = "24h",
        .doc = "not passed by then: exit 4, live untouched", .example = "10m"),
    CHECK("*.name", T_NAME, name, .fallback_doc = "the kind, or kind-2",
          .doc = "what messages call it", .example = "health"),
    CHECK("*.timeout", T_DURATION, timeout, .fallback = "5s", RANGE(NSEC_MS, NSEC_HOUR),
          .doc = "of one try", .example = "2s"),

    KIND("http", GATE_HTTP, .doc = "GET a path: status and exact body"),
    CHECK("http.port", T_PORT_NAME, query.port, .fallback_doc = "`traffic.port`",
          .doc = "name of the port", .example = "rpc"),
    CHECK("http.path", T_TEXT, query.path, .fallback_doc = "`traffic.health.path`",
          .doc = "request path", .example = "/health"),
    CHECK("http.status", T_INT, status, .fallback = "200", RANGE(100, 599),
          .doc = "status it must answer", .example = "200"),
    CHECK("http.body", T_TEXT, body, .fallback_doc = "any",
          .doc = "exact body, apart from a last newline", .example = "ok"),

    KIND("jsonrpc", GATE_JSONRPC, .doc = "call a method and compare a field of the answer"),
    CHECK("jsonrpc.port", T_PORT_NAME, query.port, .fallback_doc = "`traffic.port`",
          .doc = "name of the port", .example = "rpc"),
    CHECK("jsonrpc.method", T_TEXT, query.method, .required = true, .doc = "the method",
          .example = "getHealth"),
    CHECK("jsonrpc.params", T_PARAMS, query.params, .fallback = "[]", .doc = "its params",
          .example = "[{commitment: processed}]"),
    CHECK("jsonrpc.path", T_TEXT, query.path, .fallback = "/", .doc = "request path",
          .example = "/rpc"),
    CHECK("jsonrpc.field", T_TEXT, query.field, .fallback = "result",
          .doc = "dotted path into the answer", .example = "result.identity"),
    CHECK("jsonrpc.op", T_WORD, compare, .fallback = "eq", .words = compare_words,
          .doc = "how it is compared", .example = "ge"),
    CHECK("jsonrpc.value", T_TEXT, value, .required = true, .doc = "what it is compared with",
          .example = "ok"),

    KIND("version", GATE_VERSION, .doc = "what the running instance says its version is"),
    QUERY("version.", CHECK, query),
    CHECK("version.value", T_TEXT, value, .fallback_doc = "the target version",
          .doc = "what it must be", .example = "3.1.11"),

    KIND("lag", GATE_LAG,
         .doc = "a number that must be near the live colour's and every reference's"),
    QUERY("lag.", CHECK, query),
    CHECK("lag.max", T_U64, max, .fallback = "4", RANGE(0, INT64_MAX),
          .doc = "most it may be behind", .example = "10"),
    CHECK("lag.references", T_TEXTS, references,
          .doc = "URLs that are asked the same, beside the live colour",
          .example = "[\"https://api.mainnet-beta.solana.com\"]"),

    KIND("moving", GATE_MOVING, .doc = "a number that must grow"),
    QUERY("moving.", CHECK, query),
    CHECK("moving.within", T_DURATION, within, .fallback = "30s",
          .doc = "it must have grown within this time", .example = "10s"),

    KIND("websocket", GATE_WEBSOCKET, .doc = "an upgrade answered with 101"),
    CHECK("websocket.port", T_PORT_NAME, query.port,
          .fallback_doc = "`traffic.ws_port`, else `traffic.port`", .doc = "name of the port",
          .example = "ws"),
    CHECK("websocket.path", T_TEXT, query.path, .fallback = "/", .doc = "request path",
          .example = "/ws"),

    KIND("ports", GATE_PORTS,
         .doc =
             "each named port bound by the instance itself, and nothing outside what is declared"),

    KIND("command", GATE_COMMAND, .doc = "a program that must end as it should"),
    CHECK("command.command", T_ARGV, command.argv, .required = true,
          .doc = "program and arguments; no shell", .example = "[/usr/local/bin/agave-ready]"),
    CHECK("command.status", T_INT, command.status, .fallback = "0", RANGE(0, 255),
          .doc = "exit status it must have", .example = "0"),
    CHECK("command.output", T_REGEX, command.output, .fallback_doc = "any",
          .doc = "extended regular expression that its output must match", .example = "^ready"),

    KIND("tcp", GATE_TCP, .doc = "a connection is accepted"),
    CHECK("tcp.port", T_PORT_NAME, query.port, .required = true, .doc = "name of the port",
          .example = "gossip"),

    SECTION("shadow", .doc =
                          "the same questions to both colours before the flip: their answers are "
                          "compared field by field"),
    {.path = "shadow.requests",
     .type = T_SHADOW,
     .type_doc = "list of the maps below",
     .fallback_doc = "nothing is compared",
     .doc = "read-only questions; `${slot}` in `params` or `path` is a slot that both have",
     .example = "[{method: getBlock, params: [\"${slot}\"]}]"},
    SHADOW("name", T_NAME, name, .fallback_doc = "the method or path",
           .doc = "what messages call it", .example = "newest-block"),
    SHADOW("port", T_PORT_NAME, query.port, .fallback_doc = "`traffic.port`",
           .doc = "name of the port that is asked", .example = "rpc"),
    SHADOW("method", T_TEXT, query.method, .doc = "JSON-RPC method; without it a plain GET",
           .example = "getAccountInfo"),
    SHADOW("params", T_PARAMS, query.params, .fallback = "[]", .doc = "the method's params",
           .example = "[Vote111111111111111111111111111111111111111]"),
    SHADOW("path", T_TEXT, query.path, .fallback = "/", .doc = "request path",
           .example = "/blocks/${slot}"),
    SHADOW("slot_field", T_TEXT, slot_field, .fallback_doc = "it is not of a slot",
           .doc =
               "where the answer says of which slot it is: only answers of one slot are compared",
           .example = "result.context.slot"),
    SECTION("shadow.slot",
            .doc = "how a colour says its newest slot; needed where `${slot}` is used",
            .fallback_doc = "what the first `lag` check asks"),
    QUERY("shadow.slot.", ROW, shadow.slot),
    ROW("shadow.ignore", T_TEXTS, shadow.ignore,
        .doc = "dotted paths that may differ, with all below them; `*` is any one word",
        .example = "[result.context.apiVersion, \"result.*.time\"]"),
    ROW("shadow.samples", T_INT, shadow.samples, .fallback = "10", RANGE(1, 10000),
        .doc = "times that each request is asked", .example = "50"),
    ROW("shadow.back", T_U64, shadow.back, .fallback = "100", RANGE(0, INT64_MAX),
        .doc = "the samples of `${slot}` are spread from the newest slot that both have over so "
               "many before it",
        .example = "1000"),
    ROW("shadow.max_differences", T_INT, shadow.max_differences, .fallback = "0", RANGE(0, 1000000),
        .doc = "answers that may differ; more: exit 4, live untouched", .example = "2"),
    ROW("shadow.deadline", T_DURATION, shadow.deadline, .fallback = "60s",
        RANGE(100 * NSEC_MS, 24 * NSEC_HOUR),
        .doc = "for all of it; what cannot be compared by then: exit 4, live untouched",
        .example = "5m"),
    ROW("shadow.timeout", T_DURATION, shadow.timeout, .fallback = "5s", RANGE(NSEC_MS, NSEC_HOUR),
        .doc = "of one question", .example = "2s"),

    ROW("bake", T_DURATION, bake, .fallback = "10s",
        .doc = "how long the gate is watched after the flip, before the old is drained",
        .example = "5m"),

    SECTION("probe", .doc = "`promote` sends requests of its own, counts what became of each, and "
                            "flips back over a limit; without the section there is no probe"),
    ROW("probe.url", T_TEXT, probe.url, .fallback_doc = "the site, where it is plain http",
        .doc = "where they go: as clients do, through the proxy",
        .example = "https://rpc.example.org/"),
    ROW("probe.body", T_TEXTS, probe.bodies, .fallback_doc = "a GET without one",
        .doc = "bodies that are POSTed in turn, reads only; the id of a JSON-RPC request becomes "
               "its number",
        .example = "'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"getSlot\"}'"),
    ROW("probe.headers", T_TEXTS, probe.headers, .doc = "sent with every request",
        .example = "\"X-Token: abc\""),
    ROW("probe.expect_status", T_INT, probe.expect_status, .fallback = "200", RANGE(100, 599),
        .doc = "any other is a lost request", .example = "204"),
    ROW("probe.expect_body", T_REGEX, probe.expect_body, .fallback_doc = "any",
        .doc = "a body that does not match is a lost request", .example = "^ok"),
    ROW("probe.rate", T_INT, probe.rate, .fallback = "200", RANGE(1, 100000),
        .doc = "requests a second, at times fixed beforehand", .example = "1000"),
    ROW("probe.fresh", T_INT, probe.fresh, .fallback = "0", RANGE(0, 100),
        .doc = "so many of 100 on a connection of their own", .example = "10"),
    ROW("probe.timeout", T_DURATION, probe.timeout, .fallback = "5s",
        RANGE(10 * NSEC_MS, 10 * NSEC_MIN),
        .doc = "of a request, from its intended time; later is lost", .example = "2s"),
    ROW("probe.baseline", T_DURATION, probe.baseline, .fallback = "10s",
        RANGE(100 * NSEC_MS, NSEC_HOUR),
        .doc = "how long live is measured before the flip; the new colour is judged by stretches "
               "as long as this",
        .example = "30s"),
    ROW("probe.max_step_back", T_U64, probe.max_step_back, RANGE(0, INT64_MAX),
        .fallback_doc = "any", .doc = "a getSlot answer further behind than this is a lost request",
        .example = "8"),
    ROW("probe.colour_header", T_TEXT, probe.colour_header, .fallback = "X-Changeover-Colour",
        .doc = "response header that names who answered", .example = "X-Instance"),
    ROW("probe.colour_field", T_TEXT, probe.colour_field,
        .doc = "dotted path into a JSON answer that names who answered, where there is one",
        .example = "result.identity"),
    ROW("probe.ca_file", T_PATH, probe.ca_file, .fallback_doc = "the system's",
        .doc = "who signs the certificate of https", .example = "/etc/caddy/root.crt"),
    ROW("probe.insecure", T_BOOL, probe.insecure, .fallback = "false",
        .doc = "accept any certificate", .example = "true"),
    ROW("probe.websockets", T_INT, probe.websockets, .fallback = "0", RANGE(0, 30000),
        .doc =
            "subscriptions held open beside; the drain does not wait for them, the stop ends them",
        .example = "50"),
    ROW("probe.ws_url", T_TEXT, probe.ws_url, .fallback_doc = "`probe.url` as ws:// or wss://",
        .doc = "where they go", .example = "ws://rpc.example.org/"),
    ROW("probe.ws_subscribe", T_TEXT, probe.ws_subscribe, .fallback_doc = "slotSubscribe",
        .doc = "their first message",
        .example = "'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rootSubscribe\"}'"),
    SECTION("probe.limits", .doc = "beyond one of them the traffic goes back by itself, where that "
                                   "loses no writes; else the promote stops and asks"),
    ROW("probe.limits.max_lost", T_U64, probe.max_lost, .fallback = "0", RANGE(0, INT64_MAX),
        .doc = "requests not answered well since the baseline", .example = "10"),
    ROW("probe.limits.p99_ratio", T_NUMBER, probe.p99_ratio, .fallback = "2", RANGE(0, 1000000),
        .doc = "p99 of the new colour, as a multiple of the baseline's; 0 = no limit",
        .example = "1.5"),
    ROW("probe.limits.p99_floor_ms", T_INT, probe.p99_floor_ms, .fallback = "5", RANGE(0, 600000),
        .doc = "a p99 up to this is never too high, whatever the ratio", .example = "20"),
    ROW("probe.limits.max_gap_ms", T_INT, probe.max_gap_ms, .fallback = "50", RANGE(0, 600000),
        .doc = "longest time without a good answer, unless live had a longer one; 0 = no limit",
        .example = "250"),

    SECTION("stop", .doc = "how an instance is ended"),
    ROW("stop.command", T_COMMAND, stop.command,
        .doc = "asked first; its timeout is `stop.grace` unless it has its own",
        .example = "[agave-validator, --ledger, \"${volume.ledger}\", exit, --force]"),
    ROW("stop.signal", T_SIGNAL, stop.signal, .fallback = "TERM",
        .doc = "sent if there is no command or it failed", .example = "INT"),
    ROW("stop.grace", T_DURATION, stop.grace, .fallback = "300s",
        .doc = "wait until every process of it is gone", .example = "30s"),
    ROW("stop.kill", T_BOOL, stop.kill, .fallback = "false",
        .doc = "after the grace, SIGKILL; false = stop there and say so", .example = "true"),

    SECTION("hooks", .doc = "programs run at steps of an upgrade; each may run more than once"),
#define HOOK(leaf, doc_)                                    \
    {                                                       \
        .path = "hooks." leaf, .type = T_HOOK, .doc = doc_, \
        .example = "[/usr/local/bin/notify, " leaf "]"      \
    }
    HOOK("before_prepare", "before anything is made; failing ends the prepare"),
    HOOK("after_clone", "after the data is cloned, before the standby starts"),
    HOOK("after_start", "after the standby is started, before the gate"),
    HOOK("before_flip", "after the last gate, before the traffic moves"),
    HOOK("after_flip", "after the traffic has been proven to have moved"),
    HOOK("before_stop", "after the drain, before the old colour is stopped"),
    HOOK("after_promote", "when the promote is done"),
    HOOK("before_rollback", "before a rollback changes anything"),
    HOOK("after_rollback", "when the rollback is done"),
    HOOK("after_cleanup", "when the old side's data is gone"),

    SECTION("version_policy", .doc = "which target versions are taken"),
    ROW("version_policy.downgrade", T_WORD, downgrade, .fallback = "patch",
        .words = downgrade_words,
        .doc = "how far down: not at all, the last part, the middle part, any", .example = "minor"),

    SECTION("space", .doc = "when the disk of the volumes runs full in mid upgrade"),
    ROW("space.floor", T_BYTES, space.floor_bytes, .fallback = "2GB",
        .doc = "less free: the standby is stopped", .example = "50GB"),
    ROW("space.last_floor", T_BYTES, space.last_floor_bytes, .fallback = "1GB",
        .doc = "less free before the flip: the standby's clone is destroyed", .example = "20GB"),
    ROW("space.after_flip", T_WORD, space.after_flip, .fallback = "warn", .words = after_flip_words,
        .doc = "below the last floor after the flip: warn, or destroy the way back",
        .example = "give-up-rollback"),

    SECTION("retention", .doc = "what the journal keeps"),
    ROW("retention.events", T_DURATION, retention_events, .fallback = "90d",
        .doc = "events and probe rows older than this are dropped", .example = "30d"),

    COMMAND("command", T_ARGV, argv, .required = true, .doc = "program and arguments; no shell",
            .example = "[/usr/bin/true]"),
    COMMAND("timeout", T_DURATION, timeout, .fallback = "60s", RANGE(NSEC_MS, 24 * NSEC_HOUR),
            .doc = "longest run; then SIGTERM, 2 s, SIGKILL", .example = "5m"),
    COMMAND("status", T_INT, status, .fallback = "0", RANGE(0, 255),
            .doc = "exit status it must have", .example = "1"),
    COMMAND("output", T_REGEX, output, .fallback_doc = "any",
            .doc = "extended regular expression that its output must match",
            .example = "\"Invalid value for '--identity\""),
};
const size_t schema_keys_n = ARRAY_LEN(schema_keys);
