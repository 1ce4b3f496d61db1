/* Traffic drivers: who gets the requests.
 *
 * All operations may be called again after a crash at any point. */
#pragma once

#include "driver/context.h"

struct traffic_facts {
    bool reachable;   /* the proxy's admin API answers */
    char version[32]; /* the proxy's */
    bool installed; /* our block is in its running configuration, and is the one we would render */
    enum colour flag; /* what the flags say; NONE: no readable flag */
    enum colour
        seen;      /* what the proxy says that it would choose; NONE: it says none, or no answer */
    bool failover; /* flag */
    bool held[COLOURS]; /* flags: requests for this colour wait */
    bool open[COLOURS]; /* flags: those that waited have been let go to it */
    char text[512];     /* what is wrong, for people; "" if nothing */
    char source[300];   /* what `flag` was read from, with its verb: "the flags in '/x' say" */
};

/* Without a proxy of its own (service, ingress) a driver counts the kernel's sockets: requests and
 * websockets are those of the colour's ports, and every open connection is a foreign one. */
struct traffic_load {
    bool listed;    /* the colour's upstream is configured (absent is not drained); without a proxy:
                       its listener is on this machine, so that its connections can be seen */
    int requests;   /* HTTP in flight through the proxy */
    int websockets; /* open through the proxy */
    int foreign;    /* connections to the colour's ports that are not the proxy's own */
    int waiting;    /* the proxy's sockets that wait for an answer (a hint) */
    char peers[1024]; /* "10.0.0.7:4123 (curl, pid 812), ..." of the foreign ones */
};

/* Read-only. within: all its network calls together; what does not answer in time counts as not
 * reachable, never as something else than expected. */
#define TRAFFIC_GLANCE (500 * NSEC_MS) /* somebody looks at a screen, or it is asked again soon */
#define TRAFFIC_PATIENT (5 * NSEC_S)   /* something is decided by it */
typedef int traffic_inspect_fn(const struct driver_ctx *ctx, nsec_t within,
                               struct traffic_facts *ret, struct err *err);

/* Writes what would be installed (Caddy: the block for the running version). Pure but for the
 * version. */
typedef int traffic_render_fn(const struct driver_ctx *ctx, struct str *ret, struct err *err);

/* Puts it in: validate, one reload, read back; undo puts the old text back. live: the colour whose
 * flag must exist before the block is loaded. ret_diff: unified diff of the change ("" if none).
 * dry: only the diff. */
typedef int traffic_install_fn(const struct driver_ctx *ctx, enum colour live, bool dry,
                               struct str *ret_diff, struct err *err);
typedef int traffic_uninstall_fn(const struct driver_ctx *ctx, struct err *err);

/* The flip: afterwards new requests go to `to`. One atomic act; synced to disk. Already so: done.
 */
typedef int traffic_point_fn(const struct driver_ctx *ctx, enum colour to, struct err *err);

/* Before a flip to `to`: the preview of each colour answers, and traffic.identify shows them to
 * differ; the proxy sees the flags (which-colour route = the flags' colour). */
typedef int traffic_preview_fn(const struct driver_ctx *ctx, enum colour to, struct err *err);

/* After it: the proxy says `to`, and traffic.verify_requests requests through the front are each
 * answered with what only `to`'s backend says of itself; no more than health checks on the proxy's
 * sockets to the other. */
typedef int traffic_verify_fn(const struct driver_ctx *ctx, enum colour to, struct err *err);

typedef int traffic_load_fn(const struct driver_ctx *ctx, enum colour c, struct traffic_load *ret,
                            struct err *err);

/* Of both colours, looked at once. ret: COLOURS of them. */
typedef int traffic_loads_fn(const struct driver_ctx *ctx, struct traffic_load *ret,
                             struct err *err);

/* The README in the flag directory: what serves now, the two commands that flip, what not to
 * destroy. */
typedef int traffic_readme_fn(const struct driver_ctx *ctx, const char *state_line,
                              struct err *err);

/* Removes the `failover` flag (before either colour is stopped, cloned or frozen). */
typedef int traffic_failover_fn(const struct driver_ctx *ctx, bool on, struct err *err);

/* Holding requests for a colour that is down (`writes: client`).
 * HOLD_ON: from now on a request for c waits, and c is not dialled. The traffic need not be at c
 *     yet. Proven: on 0 the proxy has said that it sees it.
 * HOLD_OPEN: c may be dialled: new requests go to it at once, those that wait within HOLD_SEEN.
 * HOLD_NONE: neither: what still waits would wait in vain, so not before HOLD_SEEN after
 *     HOLD_OPEN. */
enum traffic_hold { HOLD_NONE, HOLD_ON, HOLD_OPEN };
/* Two of Caddy's check intervals and a check's own time, also on a machine that is too busy. */
#define HOLD_SEEN (4 * NSEC_S)
typedef int traffic_hold_fn(const struct driver_ctx *ctx, enum colour c, enum traffic_hold to,
                            struct err *err);

/* Hands every request that waits for c to the other colour, which has the traffic again.
 * Pre: c's instance is gone (its ports are free). Post: none waits any more, HOLD_NONE. The ports
 * are forwarded meanwhile by a process of ours that outlives us until nothing is under way. */
typedef int traffic_give_back_fn(const struct driver_ctx *ctx, enum colour c, struct err *err);

/* What a flip away from `from` loses, as things are now, in one sentence for people. */
typedef void traffic_loses_fn(const struct driver_ctx *ctx, enum colour from, char *buf,
                              size_t size);

struct traffic_ops {
    const char *name;
    traffic_loses_fn *loses; /* NULL: nothing, and a proxy of ours tells ours from others' */
    traffic_inspect_fn *inspect;
    traffic_render_fn *render;
    traffic_install_fn *install;
    traffic_uninstall_fn *uninstall;
    traffic_point_fn *point;
    traffic_preview_fn *preview;
    traffic_verify_fn *verify;
    traffic_load_fn *load;
    traffic_loads_fn *loads;
    traffic_readme_fn *readme;
    traffic_failover_fn *failover;
    traffic_hold_fn *hold;
    traffic_give_back_fn *give_back;
};

extern const struct traffic_ops traffic_caddy, traffic_service, traffic_ingress;
const struct traffic_ops *traffic_find(const struct spec *s, struct err *err);
