/* changeover.yml as one colour sees it.
 *
 * A spec text is bound to a colour and a version: every `${...}` in it is expanded then, so that
 * whoever holds a struct spec reads plain values. Code that needs both colours takes two of them
 * (struct spec_pair). The text itself (unexpanded) is what the journal stores with a generation.
 *
 * Everything points into the spec's arena; it is immutable after spec_load and freed as a whole.
 * Keys, types and defaults: docs/spec.md, and the one table in spec/schema_*.c that loader and
 * document share. */
#pragma once

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#include <stdint.h>

enum colour { COLOUR_NONE = -1, GREEN = 0, BLUE = 1 };
#define COLOURS 2
const char *colour_name(enum colour c);     /* "green", "blue", "none" */
enum colour colour_other(enum colour c);    /* NONE stays NONE */
enum colour colour_parse(const char *text); /* NONE if it is neither */

enum spec_writes { WRITES_REPLAYED, WRITES_BOTH, WRITES_CLIENT };
enum spec_consistency { CONSISTENCY_FREEZE, CONSISTENCY_NONE };
enum spec_restart { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };
enum spec_when_unhealthy { UNHEALTHY_SERVE, UNHEALTHY_FAIL };
enum spec_retry { RETRY_NONE, RETRY_SAFE, RETRY_LISTED };
enum spec_route_by { ROUTE_ENDPOINTS, ROUTE_SELECTOR };
enum spec_websockets { WS_NONE, WS_OWN_PORT, WS_SAME_PORT };
enum spec_downgrade { DOWNGRADE_NONE, DOWNGRADE_PATCH, DOWNGRADE_MINOR, DOWNGRADE_ANY };
enum spec_space_after_flip { SPACE_WARN, SPACE_GIVE_UP_ROLLBACK };

enum spec_gate_kind {
    GATE_HTTP,      /* GET path: status and exact body */
    GATE_JSONRPC,   /* a method's field compared with a value */
    GATE_VERSION,   /* what the running instance says its version is */
    GATE_LAG,       /* slots behind live and every reference, and closing */
    GATE_MOVING,    /* a number that must grow between two looks */
    GATE_WEBSOCKET, /* an upgrade answered with 101 */
    GATE_PORTS,     /* the sockets that the instance has really bound */
    GATE_COMMAND,   /* exit status (and output) of a program */
    GATE_TCP,       /* a connection is accepted */
    GATE_KIND_MAX
};
enum spec_compare { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_MATCHES };

struct spec_port {
    const char *name;
    uint16_t first, last; /* equal for a single port */
    int line;
};

struct spec_var {
    const char *name, *value;
    int line;
};

struct spec_command {
    struct strv argv; /* n == 0: not given */
    nsec_t timeout;
    int status;         /* the exit status it must have */
    const char *output; /* extended regular expression that its output must match, or NULL */
    int line;
};

struct spec_volume {
    const char *name;
    const char *driver;  /* "reflink", "btrfs", "copy", "zfs", "empty"; "auto" */
    const char *path;    /* this colour's directory */
    const char *dataset; /* zfs: this colour's dataset, mounted there; else NULL */
    struct strv exclude;
    enum spec_consistency consistency;
    struct spec_command before_snapshot, after_snapshot;
    bool fsfreeze;            /* zfs: freeze its file system around the snapshot */
    uint64_t quota, refquota; /* zfs: of the clone; 0: as live's */
    bool verify;              /* compare checksums after the clone */
    uint64_t rate_limit;      /* bytes a second, 0: none */
    int max_pressure;         /* per cent, 0: any */
    int line;
};

/* How a value is asked for: by JSON-RPC method, plain GET, or a response header. */
struct spec_query {
    const char *port;   /* port name; NULL: traffic.port */
    const char *method; /* JSON-RPC method, or NULL for a GET */
    const char *params; /* JSON text of its params, "[]" */
    const char *path;   /* request path */
    const char
        *field; /* dotted path into the JSON answer ("result.solana-core"), or NULL: the body */
    const char *header; /* name of a response header instead */
    int line;
};

struct spec_gate {
    enum spec_gate_kind kind;
    const char *name;        /* unique; default "kind" or "kind-2" */
    struct spec_query query; /* http, jsonrpc, version, lag, moving */
    int status;              /* http */
    const char *body;        /* http: exact body, NULL: any */
    enum spec_compare compare;
    const char *value;      /* jsonrpc; version: NULL = the target version */
    uint64_t max;           /* lag: most slots behind; ports: unused */
    struct strv references; /* lag: more URLs to compare with, beside live */
    nsec_t within;          /* moving: it must have grown within this time */
    struct spec_command command;
    nsec_t timeout; /* of one try */
    int line;
};

struct spec_gate_set {
    struct spec_gate *gates;
    size_t n;
    int passes; /* in a row */
    nsec_t interval, deadline;
};

/* One question of the comparison before the flip. `${slot}` in params and path is still there. */
struct spec_shadow_request {
    const char *name;        /* in messages; default: the method or path */
    struct spec_query query; /* port, method, params, path */
    const char *slot_field;  /* where the answer says which slot it is of, or NULL */
    int line;
};

/* The same questions to both colours before the flip; requests_n 0: none. */
struct spec_shadow {
    struct spec_shadow_request *requests;
    size_t requests_n;
    struct spec_query slot; /* how a colour says its newest slot; method and header NULL: unused */
    struct strv ignore;     /* paths of json_diff() */
    int samples;            /* times that each is asked */
    uint64_t back;          /* slots that they are spread over */
    int max_differences;    /* answers that may differ */
    nsec_t deadline, timeout;
};
#define SPEC_SHADOW_SLOT "${slot}"

struct spec_limit {
    const char *name;    /* "nofile", "memlock", ... as in prlimit(1) */
    uint64_t soft, hard; /* UINT64_MAX: unlimited */
};

/* Pauses the standby while live is slow; p99 0: no brake. */
struct spec_brake {
    nsec_t p99;            /* most of live's */
    struct spec_query ask; /* what live is asked: port, method, params, path */
    int rate;              /* requests a second */
    nsec_t window, max_pause;
};

/* A map as it is written, and a list of commands. */
struct spec_map {
    struct spec_var *items;
    size_t n;
};
struct spec_commands {
    struct spec_command *items;
    size_t n;
};

/* With driver kubernetes: each colour is a Deployment. */
struct spec_kubernetes {
    const char *kubeconfig, *context, *ns; /* NULL: as kubectl would find them */
    const char *template;                  /* a manifest, or the directory of a kustomize base */
    const char *name;                      /* of this colour's Deployment */
    const char *container;                 /* of its pod: the service; NULL: the first one */
    struct spec_map volumes;      /* volume of the spec -> volume of the pod; else the same name */
    struct spec_map node_paths;   /* directory here -> where the node sees it */
    struct strv singleton;        /* containers of which only one may run */
    struct spec_commands prepare; /* make the image available to the node */
    const char *inspect_image;    /* has `cat`: looks at the volumes from inside the node */
    nsec_t start_within;          /* until its containers run */
};

struct spec_runtime {
    const char *driver; /* "process", "kubernetes" */
    struct spec_kubernetes kubernetes;
    struct strv command;
    const char *cwd, *user, *group, *env_file; /* NULL: the adopted process's, else ours */
    struct spec_var *env;                      /* runtime.env, then the colour's env over it */
    size_t env_n;
    bool env_clear; /* start from an empty environment */
    struct spec_limit *limits;
    size_t limits_n;
    int nice;               /* of live */
    int standby_nice;       /* until promoted */
    int standby_ionice;     /* 0 none, 1 realtime, 2 best effort, 3 idle */
    int standby_cpu_weight; /* 1..10000 (cgroup v2 scale), 0: not set */
    int standby_io_weight;  /* the same */
    struct spec_brake brake;
    enum spec_restart restart;
    nsec_t restart_delay;
    int restart_max; /* within 10 minutes; then it stays down */
    uint64_t log_max_bytes;
    int log_keep;
    struct spec_command *validate; /* argument checks of the new version */
    size_t validate_n;
    struct spec_command version;     /* prints the version: output's first group is it */
    struct strv ports_may_also_bind; /* "udp:8000-8020" */
};

/* The object of Kubernetes that sends requests on (traffic.driver: service, ingress). */
struct spec_route {
    const char *kubeconfig, *context, *ns; /* NULL: as runtime.kubernetes; then the environment */
    const char *service;                   /* driver service: its name */
    enum spec_route_by by;                 /* driver service: what of it is changed */
    const char *address;                   /* ROUTE_ENDPOINTS: of the colour, numeric */
    const char *ingress, *host, *path;     /* driver ingress: its name; host NULL: a rule without */
    const char *backend;                   /* driver ingress: the colour's Service */
};

struct spec_traffic {
    const char *driver; /* "caddy", "service", "ingress" or "none" */
    struct spec_route route;
    struct strv sites;              /* Caddy site addresses, ":8080", "https://rpc.example.org" */
    const char *tls_cert, *tls_key; /* or NULL; tls_internal asks Caddy for its own CA */
    bool tls_internal;
    const char *flag_dir;   /* /var/lib/changeover-flags/SERVICE */
    const char *caddyfile;  /* the file that Caddy runs with, where install writes its block */
    const char *admin;      /* host:port */
    const char *access_log; /* path or NULL */
    const char *port;       /* port name for HTTP */
    const char *ws_port;    /* port name for websockets */
    enum spec_websockets websockets;
    uint16_t which_port, preview_port[COLOURS];
    const char *health_path, *health_body; /* body: regular expression */
    enum spec_when_unhealthy when_unhealthy;
    bool failover;
    enum spec_retry retry;
    struct strv retry_methods;  /* RETRY_LISTED: JSON-RPC methods that may run twice */
    struct spec_query identify; /* what only the backend itself says; differs by colour */
    int verify_requests;        /* N of the proof */
    nsec_t drain_deadline;    /* for requests and direct clients: then the old side keeps running */
    nsec_t drain_websockets;  /* for websockets: then the old side's stop closes them */
    struct strv ignore_peers; /* addresses or process names */
    nsec_t hold_max;
    int line;
};

/* The probe that runs through a promote: what it sends, and what decides. */
struct spec_probe {
    bool on; /* the spec has the section */
    const char *url;
    struct strv bodies; /* POSTed in turn; n == 0: a GET */
    struct strv headers;
    int expect_status;
    const char *expect_body; /* extended regular expression, NULL: any */
    int rate;                /* requests a second */
    int fresh;               /* percent of them on a connection of their own */
    nsec_t timeout, baseline;
    bool limit_step_back;
    uint64_t max_step_back;                   /* slots */
    const char *colour_header, *colour_field; /* who answered; field may be NULL */
    const char *ca_file;                      /* https; NULL: the system's */
    bool insecure;
    struct strv executed; /* logs of both colours' backends, each path once */
    int websockets;
    const char *ws_url, *ws_subscribe; /* subscribe NULL: slotSubscribe */
    /* Limits; a ratio or gap of 0 is none. */
    uint64_t max_lost, max_twice;
    double p99_ratio; /* to the baseline's p99 */
    int p99_floor_ms; /* a p99 up to this is never too high */
    int max_gap_ms;
};

/* How the service is told to close its websockets one after the other, before it is stopped. */
struct spec_stop_websockets {
    nsec_t spread; /* the time that it takes for them; 0: its stop closes them, all at once */
    struct spec_command command; /* one of the two */
    int signal;                  /* 0: none */
};

struct spec_stop {
    struct spec_stop_websockets websockets;
    struct spec_command command; /* asked first */
    int signal;                  /* SIGTERM */
    nsec_t grace;
    bool kill; /* SIGKILL after the grace allowed */
};

struct spec_hook {
    const char *at; /* "before_prepare", "after_clone", "after_start", "before_flip", "after_flip",
                       "before_stop", "after_promote", "before_rollback", "after_rollback",
                       "after_cleanup" */
    struct spec_command command;
};

struct spec_space {
    uint64_t floor_bytes, last_floor_bytes; /* first: stop the standby; second: destroy its clone */
    enum spec_space_after_flip after_flip;
};

struct spec {
    struct arena arena;
    const char *path; /* of the file, for messages */
    const char *text; /* the whole file, unexpanded: what the journal stores */
    enum colour colour;
    const char *version; /* bound version, or NULL: `${version}` was left as it is */

    const char *service;
    enum spec_writes writes;
    bool accept_loss;        /* a rollback after the flip may lose writes without asking */
    struct spec_port *ports; /* this colour's */
    size_t ports_n;
    struct strv identities;  /* files; must differ between the colours */
    struct spec_var *config; /* free names for ${config.NAME} */
    size_t config_n;
    struct spec_volume *volumes;
    size_t volumes_n;
    struct spec_runtime runtime;
    struct spec_traffic traffic;
    struct spec_gate_set gate;
    struct spec_shadow shadow;
    struct spec_probe probe;
    struct spec_stop stop;
    struct spec_hook *hooks;
    size_t hooks_n;
    nsec_t freeze_max;
    nsec_t bake; /* how long the gate is watched after the flip before the old is drained */
    enum spec_downgrade downgrade;
    struct spec_space space;
    nsec_t retention_events; /* events older than this are dropped */
};

/* Both colours of one file. */
struct spec_pair {
    struct spec *side[COLOURS];
};

/* Loads the file and binds it. Not valid: ERR_USAGE, whose message is every error of the file, one
 * a line, each "FILE:LINE:COLUMN: what is wrong; write ... instead". version may be NULL. The
 * caller frees with spec_free. Pure apart from reading the file. */
must_check int spec_load(const char *path, enum colour colour, const char *version,
                         struct spec **ret, struct err *err);

/* The same from text; `path` is only for messages. */
must_check int spec_parse(const char *text, const char *path, enum colour colour,
                          const char *version, struct spec **ret, struct err *err);
void spec_free(struct spec *s);
static inline void spec_free_p(struct spec **s)
{
    spec_free(*s);
}
#define cleanup_spec cleanup(spec_free_p)

/* NULL / 0 if there is none of that name. */
const struct spec_port *spec_port(const struct spec *s, const char *name);
uint16_t spec_port_number(const struct spec *s, const char *name);
const struct spec_volume *spec_volume(const struct spec *s, const char *name);
const struct spec_hook *spec_hook(const struct spec *s, const char *at);
const char *spec_writes_name(enum spec_writes w);
const char *spec_gate_kind_name(enum spec_gate_kind k);

/* The commented starter that `init` writes: a valid spec. */
const char *spec_starter(void);
