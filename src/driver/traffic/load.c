/* Who still uses a colour: Caddy's count, and the kernel's sockets. */
#include "driver/traffic/caddy_internal.h"

#include "translate/caddyfile.h"

#include <netinet/in.h>
#include <string.h>

#define UPSTREAMS_MAX 1024
#define STATES_OPEN                                                                               \
    (1u << SOCK_ESTABLISHED | 1u << SOCK_SYN_RECV | 1u << SOCK_FIN_WAIT1 | 1u << SOCK_FIN_WAIT2 | \
     1u << SOCK_CLOSE_WAIT)

/* The other end of a connection, if it is on this machine. */
static const struct sock_info *client_of(const struct sock_list *clients,
                                         const struct sock_info *server)
{
    for (size_t i = 0; i < clients->n; i++)
        if (sock_end_same(&clients->items[i].local, &server->peer) &&
            sock_end_same(&clients->items[i].peer, &server->local))
            return &clients->items[i];
    return NULL;
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
    if (!name_peer(c->s, server, client, peer, sizeof(peer)))
        return;
    c->to->foreign++;
    if (used + strlen(peer) + 8 < sizeof(c->to->peers))
        snprintf(c->to->peers + used, sizeof(c->to->peers) - used, "%s%s", used ? ", " : "", peer);
    else if (used + 5 < sizeof(c->to->peers) && !str_ends(c->to->peers, "..."))
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
            if (http && client->has_tcp_info && client->sent_ms_ago < client->recv_ms_ago)
                c->to->waiting++;
            continue;
        }
        add_foreign(c, server, client);
    }
}

static int count_upstreams(const struct spec *s, struct traffic_load *ret, struct err *err)
{
    char http[64], ws[64];
    cleanup_free struct caddy_upstream *up = x_alloc(UPSTREAMS_MAX * sizeof(*up));
    size_t n = 0;
    struct caddy c = {.admin = s->traffic.admin};
    if (caddy_upstreams(&c, up, UPSTREAMS_MAX, &n, err) < 0)
        return -1;
    caddyfile_dial(http, sizeof(http), s, false);
    caddyfile_dial(ws, sizeof(ws), s, true);
    for (size_t i = 0; i < n; i++) {
        if (str_eq(up[i].dial, http)) {
            ret->listed = true;
            ret->requests = up[i].requests;
        } else if (*ws && str_eq(up[i].dial, ws)) {
            ret->websockets = up[i].requests;
        }
    }
    return 0;
}

int traffic_caddy_load(const struct driver_ctx *ctx, enum colour c, struct traffic_load *ret,
                       struct err *err)
{
    const struct spec *s = ctx->side[c];
    const struct spec_traffic *t = &s->traffic;
    struct traffic_load l = {0};
    cleanup(traffic_proxy_done) struct traffic_proxy proxy = {0};
    cleanup_sock_inodes struct sock_inodes own = {0};
    if (count_upstreams(s, &l, err) < 0 || traffic_proxy_find(ctx, &proxy, err) < 0)
        return -1;
    sys_proc_sockets(sys_proc_self().pid, &own);
    struct count count = {.s = s, .proxy = &proxy, .own = &own, .to = &l};
    uint16_t http = spec_port_number(s, t->port);
    uint16_t ws = t->websockets == WS_OWN_PORT ? spec_port_number(s, t->ws_port) : 0;
    cleanup_sock_list struct sock_list all = {0};
    struct sock_filter_by by = {
        .protocol = IPPROTO_TCP, .states = STATES_OPEN, .tcp_info = true, .either = {http, ws}};
    if (sys_sockets(&by, &all, err) < 0)
        return -1;
    count_port(&count, &all, http, true);
    if (ws)
        count_port(&count, &all, ws, false);
    if (t->websockets == WS_SAME_PORT && l.websockets)
        l.waiting = 0; /* an open websocket looks like one that waits */
    *ret = l;
    return 0;
}
