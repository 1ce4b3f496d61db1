/* Who still uses a colour: Caddy's count, and the kernel's sockets. */
#include "driver/traffic/caddy_internal.h"

#include "translate/caddyfile.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define UPSTREAMS_MAX 1024
#define STATES_OPEN                                                                               \
    (1u << SOCK_ESTABLISHED | 1u << SOCK_SYN_RECV | 1u << SOCK_FIN_WAIT1 | 1u << SOCK_FIN_WAIT2 | \
     1u << SOCK_CLOSE_WAIT)

static int by_ends(const void *a, const void *b)
{
    const struct sock_info *x = a, *y = b;
    int r = sock_end_order(&x->local, &y->local);
    return r ? r : sock_end_order(&x->peer, &y->peer);
}

/* The other end of a connection, if it is on this machine. all: in the order of by_ends(); a busy
 * port has thousands of them. */
static const struct sock_info *client_of(const struct sock_list *all,
                                         const struct sock_info *server)
{
    struct sock_info key = {.local = server->peer, .peer = server->local};
    return all->n ? bsearch(&key, all->items, all->n, sizeof(*all->items), by_ends) : NULL;
}

static bool is_loopback(const struct sock_end *e)
{
    static const uint8_t six[16] = {[15] = 1};
    return memcmp(e->addr, six, 16) == 0 || (e->addr[10] == 0xff && e->addr[12] == 127);
}

/* "10.0.0.7:4123 (curl, pid 812)"; false if the spec says to ignore it. */
static bool name_peer(const struct spec *s, const struct sock_info *server,
                      const struct sock_info *client, char *buf, size_t size)
{
    char at[80], comm[32] = "";
    sock_end_text(at, sizeof(at), &server->peer);
    if (!size && !s->traffic.ignore_peers.n)
        return true; /* counted, not named: to find a socket's owner takes a walk through /proc */
    pid_t pid = client ? sys_sock_owner(client->inode) : 0;
    if (pid > 0)
        sys_proc_comm(pid, comm, sizeof(comm));
    cleanup_free char *host = x_strndup(at, (size_t)(strrchr(at, ':') - at));
    if (strv_has(&s->traffic.ignore_peers, host) ||
        (*comm && strv_has(&s->traffic.ignore_peers, comm)))
        return false;
    if (pid > 0)
        snprintf(buf, size, "%s (%s, pid %d)", at, comm, (int)pid);
    else
        snprintf(buf, size, "%s", at);
    return true;
}

struct count {
    const struct spec *s;
    const struct traffic_proxy *proxy;
    const struct sock_inodes *own; /* this process's: its gates and probes do not count */
    struct traffic_load *to;
};

static void add_foreign(const struct count *c, const struct sock_info *server,
                        const struct sock_info *client)
{
    char peer[160];
    size_t used = strlen(c->to->peers);
    bool named = used + 5 < sizeof(c->to->peers) && !str_ends(c->to->peers, "...");
    if (!name_peer(c->s, server, client, peer, named ? sizeof(peer) : 0))
        return;
    c->to->foreign++;
    if (!named)
        return;
    if (used + strlen(peer) + 8 < sizeof(c->to->peers))
        snprintf(c->to->peers + used, sizeof(c->to->peers) - used, "%s%s", used ? ", " : "", peer);
    else
        snprintf(c->to->peers + used, sizeof(c->to->peers) - used, "...");
}

static void count_port(const struct count *c, const struct sock_list *all, uint16_t port, bool http)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct sock_info *server = &all->items[i];
        if (server->local.port != port)
            continue;
        const struct sock_info *client = client_of(all, server);
        if (!client && is_loopback(&server->peer))
            continue; /* closed while the kernel listed them */
        if (client && (client->inode == 0 || sock_inodes_have(c->own, client->inode)))
            continue;
        if (client && traffic_proxy_owns(c->proxy, client)) {
            if (http && sock_waits(client))
                c->to->waiting++;
            continue;
        }
        add_foreign(c, server, client);
    }
}

/* What both colours are counted from. */
struct look {
    struct caddy_upstream *up;
    size_t up_n;
    struct traffic_proxy proxy;
    struct sock_inodes own;
    struct sock_list sockets;
};

static void look_done(struct look *l)
{
    free(l->up);
    traffic_proxy_done(&l->proxy);
    sock_inodes_done(&l->own);
    sock_list_done(&l->sockets);
}

/* The colour's ports: HTTP, and that of the websockets if it is another, else 0. */
static void ports_of(const struct spec *s, uint16_t ret[2])
{
    const struct spec_traffic *t = &s->traffic;
    ret[0] = spec_port_number(s, t->port);
    ret[1] = t->websockets == WS_OWN_PORT ? spec_port_number(s, t->ws_port) : 0;
}

static void add_ports(const struct spec *s, uint16_t *to)
{
    uint16_t ports[2];
    ports_of(s, ports);
    for (size_t i = 0; i < ARRAY_LEN(ports); i++)
        if (ports[i])
            to[to[0] ? to[1] ? to[2] ? 3 : 2 : 1 : 0] = ports[i];
}

/* only: COLOUR_NONE for both. */
static int look_at(const struct driver_ctx *ctx, enum colour only, struct look *l, struct err *err)
{
    struct caddy c = {.admin = traffic_spec(ctx)->traffic.admin};
    struct sock_filter_by by = {.protocol = IPPROTO_TCP, .states = STATES_OPEN, .tcp_info = true};
    for (int i = GREEN; i < COLOURS; i++)
        if (only == COLOUR_NONE || only == (enum colour)i)
            add_ports(ctx->side[i], by.either);
    l->up = x_alloc(UPSTREAMS_MAX * sizeof(*l->up));
    if (caddy_upstreams(&c, l->up, UPSTREAMS_MAX, &l->up_n, err) < 0 ||
        traffic_proxy_find(ctx, &l->proxy, err) < 0)
        return -1;
    sys_proc_sockets(sys_proc_self().pid, &l->own);
    if (sys_sockets(&by, &l->sockets, err) < 0)
        return -1;
    if (l->sockets.n)
        qsort(l->sockets.items, l->sockets.n, sizeof(*l->sockets.items), by_ends);
    return 0;
}

static void count_upstreams(const struct spec *s, const struct look *l, struct traffic_load *ret)
{
    char http[64], ws[64];
    caddyfile_dial(http, sizeof(http), s, false);
    caddyfile_dial(ws, sizeof(ws), s, true);
    for (size_t i = 0; i < l->up_n; i++) {
        if (str_eq(l->up[i].dial, http)) {
            ret->listed = true;
            ret->requests = l->up[i].requests;
        } else if (*ws && str_eq(l->up[i].dial, ws)) {
            ret->websockets = l->up[i].requests;
        }
    }
}

static void load_of(const struct spec *s, const struct look *l, struct traffic_load *ret)
{
    uint16_t ports[2];
    struct count count = {.s = s, .proxy = &l->proxy, .own = &l->own, .to = ret};
    *ret = (struct traffic_load){0};
    ports_of(s, ports);
    count_upstreams(s, l, ret);
    count_port(&count, &l->sockets, ports[0], true);
    if (ports[1])
        count_port(&count, &l->sockets, ports[1], false);
    if (s->traffic.websockets == WS_SAME_PORT && ret->websockets)
        ret->waiting = 0; /* an open websocket looks like one that waits */
}

int traffic_caddy_load(const struct driver_ctx *ctx, enum colour c, struct traffic_load *ret,
                       struct err *err)
{
    cleanup(look_done) struct look l = {0};
    if (look_at(ctx, c, &l, err) < 0)
        return -1;
    load_of(ctx->side[c], &l, ret);
    return 0;
}

int traffic_caddy_loads(const struct driver_ctx *ctx, struct traffic_load *ret, struct err *err)
{
    cleanup(look_done) struct look l = {0};
    if (look_at(ctx, COLOUR_NONE, &l, err) < 0)
        return -1;
    for (int c = GREEN; c < COLOURS; c++)
        load_of(ctx->side[c], &l, &ret[c]);
    return 0;
}

/* --- without a proxy ------------------------------------------------------------------------- */

static uint16_t site_port(const struct spec *s)
{
    const char *site = s->traffic.sites.n ? s->traffic.sites.v[0] : "";
    const char *host = strstr(site, "://");
    const char *at = host ? strrchr(host + 3, ':') : NULL;
    if (at && strspn(at + 1, "0123456789"))
        return (uint16_t)strtoul(at + 1, NULL, 10);
    return str_starts(site, "https:") ? 443 : 80;
}

static int by_local(const void *a, const void *b)
{
    const struct sock_info *x = a, *y = b;
    return sock_end_order(&x->local, &y->local);
}

/* The client's end as the kernel has it here: it has dialled the Service's address, so that its
 * peer is not the server's own end. */
static const struct sock_info *dialler(const struct sock_list *all, const struct sock_info *server)
{
    struct sock_info key = {.local = server->peer};
    return all->n ? bsearch(&key, all->items, all->n, sizeof(*all->items), by_local) : NULL;
}

/* A request has come and its answer has not gone out yet. */
static bool answers(const struct sock_info *server)
{
    return server->has_tcp_info && server->recv_ms_ago < server->sent_ms_ago;
}

static void count_direct(const struct count *c, const struct sock_list *all, const uint16_t port[2])
{
    for (size_t i = 0; i < all->n; i++) {
        const struct sock_info *server = &all->items[i];
        bool http = server->local.port == port[0], ws = port[1] && server->local.port == port[1];
        if (!http && !ws)
            continue;
        if (server->state == SOCK_LISTEN) {
            c->to->listed = c->to->listed || http;
            continue;
        }
        const struct sock_info *client = dialler(all, server);
        if ((!client && is_loopback(&server->peer)) ||
            (client && (client->inode == 0 || sock_inodes_have(c->own, client->inode))))
            continue;
        if (ws) {
            c->to->websockets++;
            continue;
        }
        c->to->requests += answers(server);
        add_foreign(c, server, client);
    }
}

int traffic_direct_load(const struct driver_ctx *ctx, enum colour c, struct traffic_load *ret,
                        struct err *err)
{
    const struct spec *s = ctx->side[c];
    cleanup(look_done) struct look l = {0};
    struct count count = {.s = s, .own = &l.own, .to = ret};
    uint16_t ports[2];
    struct sock_filter_by by = {
        .protocol = IPPROTO_TCP, .states = STATES_OPEN | 1u << SOCK_LISTEN, .tcp_info = true};
    ports_of(s, ports);
    add_ports(s, by.either);
    by.either[by.either[1] ? 2 : 1] = site_port(s);
    *ret = (struct traffic_load){0};
    sys_proc_sockets(sys_proc_self().pid, &l.own);
    if (sys_sockets(&by, &l.sockets, err) < 0)
        return -1;
    if (l.sockets.n)
        qsort(l.sockets.items, l.sockets.n, sizeof(*l.sockets.items), by_ends);
    count_direct(&count, &l.sockets, ports);
    return 0;
}

int traffic_direct_loads(const struct driver_ctx *ctx, struct traffic_load *ret, struct err *err)
{
    for (int c = GREEN; c < COLOURS; c++)
        if (traffic_direct_load(ctx, (enum colour)c, &ret[c], err) < 0)
            return -1;
    return 0;
}
