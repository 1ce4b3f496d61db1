/* What the files of the Caddy driver share. */
#pragma once

#include "driver/traffic/ops.h"
#include "net/caddy.h"
#include "net/query.h"
#include "sys/sockdiag.h"

/* What both colours have in common (sites, flags, admin address) is read from green's. */
static inline const struct spec *traffic_spec(const struct driver_ctx *ctx)
{
    return ctx->side[GREEN];
}

/* front.c: what Caddy, the flags and the backends say */
enum colour traffic_flag(const struct spec *s); /* both: green; none readable by us: NONE */
bool traffic_flag_set(const struct spec *s, const char *name);
char *traffic_flag_path(const struct spec *s, const char *name); /* free it */

/* What Caddy's loopback route says that it would choose. why (may be NULL): if NONE. */
enum colour traffic_which(const struct spec *s, nsec_t timeout, char *why, size_t size);

void traffic_hold_seen(const struct spec *s, enum colour c, char *buf, size_t size);

/* "http://127.0.0.1:8080": the way in by the i-th site. */
void traffic_site_url(const struct spec *s, size_t i, char *buf, size_t size);

enum traffic_via { VIA_PORT, VIA_PREVIEW, VIA_FRONT };
/* A query for traffic.identify; site counts only for VIA_FRONT, c for the others. */
void traffic_identify_query(const struct driver_ctx *ctx, enum traffic_via via, enum colour c,
                            size_t site, struct query *q);
/* Did it answer with status 200 and a value? If not, q->why says what came. */
bool traffic_identified(struct query *q);

/* process.c: the running Caddy's version, remembered in the service's directory as long as that
 * process lives. */
must_check int traffic_version(const struct driver_ctx *ctx, char ret[32], struct err *err);

/* Caddy's process, to tell its sockets from others'. */
struct traffic_proxy {
    struct proc_id id;         /* pid 0: not ours to see */
    uint32_t uid;              /* of its admin listener */
    struct sock_inodes inodes; /* empty: not ours to see, then the user decides */
};
must_check int traffic_proxy_find(const struct driver_ctx *ctx, struct traffic_proxy *ret,
                                  struct err *err);
bool traffic_proxy_owns(const struct traffic_proxy *p, const struct sock_info *s);
static inline void traffic_proxy_done(struct traffic_proxy *p)
{
    sock_inodes_done(&p->inodes);
}

/* install.c */
must_check int traffic_render(const struct driver_ctx *ctx, struct str *ret, struct err *err);
/* Is `block` the one that install wrote last (if from another edition of the spec), with both
 * colours' ports in it? */
bool traffic_block_known(const struct driver_ctx *ctx, const char *block);
must_check int traffic_caddyfile(const struct spec *s, struct str *ret, struct err *err);
traffic_install_fn traffic_caddy_install;
traffic_uninstall_fn traffic_caddy_uninstall;

/* proof.c */
traffic_preview_fn traffic_caddy_preview;
traffic_verify_fn traffic_caddy_verify;

/* hold.c */
bool traffic_held(const struct spec *s, enum colour c); /* by the flags */
bool traffic_open(const struct spec *s, enum colour c);
traffic_hold_fn traffic_caddy_hold;
traffic_give_back_fn traffic_caddy_give_back;

/* load.c */
traffic_load_fn traffic_caddy_load;
traffic_loads_fn traffic_caddy_loads;
/* The same without a proxy: whoever has a connection to the colour's ports. */
traffic_load_fn traffic_direct_load;
traffic_loads_fn traffic_direct_loads;
