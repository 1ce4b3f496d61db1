#include "sys/portmap.h"

#include "base/str.h"
#include "sys/file.h"
#include "sys/sockdiag.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TABLE_MAX ((size_t)64 << 20)
#define STATE_LISTEN 10U

/* A socket's inode and who holds it. */
struct held {
    uint64_t inode;
    pid_t pid;
};

struct holders {
    struct held *v;
    size_t n, cap;
};

static int by_inode(const void *a, const void *b)
{
    const struct held *x = a, *y = b;
    return x->inode < y->inode ? -1 : x->inode > y->inode;
}

/* Adds the sockets of one process. -1 with errno. */
static int collect_pid(pid_t pid, struct holders *h)
{
    char path[64], link[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        return -1;
    for (struct dirent *e; (e = readdir(dir));) {
        char *end;
        ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);
        if (n <= 0)
            continue;
        link[n] = '\0';
        if (!str_starts(link, "socket:["))
            continue;
        uint64_t inode = strtoull(link + 8, &end, 10);
        if (*end != ']')
            continue;
        if (h->n == h->cap) {
            h->cap = h->cap ? h->cap * 2 : 64;
            h->v = x_realloc(h->v, h->cap, sizeof(*h->v));
        }
        h->v[h->n++] = (struct held){.inode = inode, .pid = pid};
    }
    closedir(dir);
    return 0;
}

static const struct held *find(const struct holders *h, uint64_t inode)
{
    struct held key = {.inode = inode};
    return h->n ? bsearch(&key, h->v, h->n, sizeof(*h->v), by_inode) : NULL;
}

static void address_text(const char *hex, char *buf, socklen_t size)
{
    unsigned char raw[16] = {0};
    size_t words = strlen(hex) / 8;
    /* the kernel prints each 32-bit word of the address as a number of this machine's byte order */
    for (size_t w = 0; w < words && w < 4; w++) {
        char part[9];
        memcpy(part, hex + w * 8, 8);
        part[8] = '\0';
        uint32_t v = (uint32_t)strtoul(part, NULL, 16);
        memcpy(raw + w * 4, &v, 4);
    }
    if (!inet_ntop(words == 1 ? AF_INET : AF_INET6, raw, buf, size))
        buf[0] = '\0';
}

struct line {
    char addr[33];
    unsigned port, peer_port, state;
    uint64_t inode;
};

/* A row of /proc/net/tcp and its like (proc(5)). */
static bool parse_line(const char *text, size_t len, struct line *l)
{
    char row[256]; /* sscanf measures the whole text first: of a long table for each row of it */
    snprintf(row, sizeof(row), "%.*s", (int)len, text);
    return sscanf(
               row,
               " %*u: %32[0-9A-F]:%4X %*32[0-9A-F]:%4X %2X %*8X:%*8X %*X:%*X %*X %*u %*u %" SCNu64,
               l->addr, &l->port, &l->peer_port, &l->state, &l->inode) == 5;
}

struct table {
    struct sys_port *v;
    size_t n, cap;
};

static struct sys_port *add_port(struct table *t)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 32;
        t->v = x_realloc(t->v, t->cap, sizeof(*t->v));
    }
    return &t->v[t->n++];
}

static void take_socket(const struct sock_info *s, pid_t pid, struct table *t)
{
    struct sys_port *p = add_port(t);
    bool udp = s->protocol == IPPROTO_UDP;
    *p = (struct sys_port){.udp = udp,
                           .port = s->local.port,
                           .listening = !udp && s->state == SOCK_LISTEN,
                           .connected = s->peer.port != 0,
                           .pid = pid};
    sock_end_host(p->addr, sizeof(p->addr), &s->local);
}

static void take_line(const struct line *l, bool udp, pid_t pid, struct table *t)
{
    struct sys_port *p = add_port(t);
    *p = (struct sys_port){.udp = udp,
                           .port = (uint16_t)l->port,
                           .listening = !udp && l->state == STATE_LISTEN,
                           .connected = l->peer_port != 0,
                           .pid = pid};
    address_text(l->addr, p->addr, sizeof(p->addr));
}

/* Calls fn for each row of one table of the network namespace of `who` ("self" or a pid). */
typedef void row_fn(void *ctx, const struct line *l, bool udp);
static int each_row(const char *who, const char *name, row_fn *fn, void *ctx, struct err *err)
{
    char path[64];
    cleanup_str struct str text = {.max = TABLE_MAX};
    (void)snprintf(path, sizeof(path), "/proc/%s/net/%s", who, name);
    if (!sys_path_exists(path))
        return 0; /* no IPv6 */
    if (sys_file_read(path, TABLE_MAX, &text, err) < 0)
        return -1;
    const char *p = str_cstr(&text), *end = p + text.len, *next;
    for (; (next = memchr(p, '\n', (size_t)(end - p))); p = next + 1) {
        struct line l;
        if (parse_line(p, (size_t)(next - p), &l)) /* the heading is none */
            fn(ctx, &l, name[0] == 'u');
    }
    return 0;
}

static const char *const tables[] = {"tcp", "tcp6", "udp", "udp6"};

struct pick {
    const struct holders *holders;
    struct table *out;
};

static void pick_row(void *ctx, const struct line *l, bool udp)
{
    struct pick *p = ctx;
    const struct held *h = find(p->holders, l->inode);
    if (h && (udp || l->state == STATE_LISTEN))
        take_line(l, udp, h->pid, p->out);
}

static const struct sock_filter_by servers[] = {
    {.protocol = IPPROTO_TCP, .states = 1u << SOCK_LISTEN}, {.protocol = IPPROTO_UDP}};

/* The kernel's own list is the faster by far, but only of our network namespace. */
static bool in_our_network(const char *who)
{
    char path[64], ours[64], theirs[64];
    (void)snprintf(path, sizeof(path), "/proc/%s/ns/net", who);
    ssize_t n = readlink("/proc/self/ns/net", ours, sizeof(ours));
    return n > 0 && readlink(path, theirs, sizeof(theirs)) == n &&
           memcmp(ours, theirs, (size_t)n) == 0;
}

static int pick_from_kernel(const struct pick *p, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        cleanup_sock_list struct sock_list l = {0};
        if (sys_sockets(&servers[i], &l, err) < 0)
            return -1;
        for (size_t k = 0; k < l.n; k++) {
            const struct held *h = find(p->holders, l.items[k].inode);
            if (h && l.items[k].inode)
                take_socket(&l.items[k], h->pid, p->out);
        }
    }
    return 0;
}

static int pick_all(const char *who, struct pick *p, struct err *err)
{
    if (in_our_network(who) && pick_from_kernel(p, NULL) == 0)
        return 0;
    p->out->n = 0;
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        if (each_row(who, tables[i], pick_row, p, err) < 0)
            return -1;
    return 0;
}

int sys_portmap(const pid_t *pids, size_t n, struct sys_port **ret, size_t *ret_n, struct err *err)
{
    struct holders h = {0};
    struct table t = {0};
    char who[16] = "";
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        if (collect_pid(pids[i], &h) == 0) {
            if (!who[0])
                (void)snprintf(who, sizeof(who), "%d", (int)pids[i]);
        } else if (errno != ENOENT && errno != ESRCH) {
            rc = err_sys(err, ERR_FAILED, "read the descriptors of pid %d", (int)pids[i]);
        }
    }
    if (h.n)
        qsort(h.v, h.n, sizeof(*h.v), by_inode);
    struct pick p = {.holders = &h, .out = &t};
    if (rc == 0 && who[0])
        rc = pick_all(who, &p, err);
    free(h.v);
    if (rc < 0) {
        free(t.v);
        return -1;
    }
    *ret = t.v;
    *ret_n = t.n;
    return 0;
}

struct search {
    bool udp;
    uint16_t port;
    uint64_t inode[8];
    size_t n;
};

static void search_take(struct search *s, uint16_t port, uint64_t inode)
{
    if (port == s->port && s->n < ARRAY_LEN(s->inode))
        s->inode[s->n++] = inode;
}

static void search_row(void *ctx, const struct line *l, bool udp)
{
    struct search *s = ctx;
    if (udp == s->udp && (udp || l->state == STATE_LISTEN))
        search_take(s, (uint16_t)l->port, l->inode);
}

/* From the kernel's list; where it gives none, from the tables. */
static int search_all(struct search *s)
{
    cleanup_sock_list struct sock_list l = {0};
    struct sock_filter_by by = servers[s->udp];
    by.local = s->port;
    if (sys_sockets(&by, &l, NULL) == 0) {
        for (size_t i = 0; i < l.n; i++)
            search_take(s, l.items[i].local.port, l.items[i].inode);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        if (each_row("self", tables[i], search_row, s, NULL) < 0)
            return -1;
    return 0;
}

static bool holds_one_of(pid_t pid, const struct search *s)
{
    struct holders h = {0};
    bool yes = false;
    if (collect_pid(pid, &h) == 0)
        for (size_t i = 0; i < h.n && !yes; i++)
            for (size_t k = 0; k < s->n && !yes; k++)
                yes = h.v[i].inode == s->inode[k];
    free(h.v);
    return yes;
}

const char *sys_port_owner(char *buf, size_t size, bool udp, uint16_t port)
{
    struct search s = {.udp = udp, .port = port};
    buf[0] = '\0';
    if (search_all(&s) < 0 || !s.n)
        return buf;
    (void)snprintf(buf, size, "somebody whose descriptors we may not read");
    DIR *dir = opendir("/proc");
    if (!dir)
        return buf;
    for (struct dirent *e; (e = readdir(dir));) {
        long pid = strtol(e->d_name, NULL, 10);
        if (pid <= 0 || !holds_one_of((pid_t)pid, &s))
            continue;
        char path[64];
        cleanup_str struct str name = {0};
        (void)snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
        if (sys_file_read(path, 64, &name, NULL) < 0)
            str_add(&name, "?");
        (void)snprintf(buf, size, "pid %ld (%.*s)", pid, (int)strcspn(str_cstr(&name), "\n"),
                       str_cstr(&name));
        break;
    }
    closedir(dir);
    return buf;
}

static int try_bind(int family, bool udp, uint16_t port)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a = {0};
    int one = 1;
    cleanup_fd int fd = socket(family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : -1;
    a.sa.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        a.in.sin_port = htons(port);
    } else {
        a.in6.sin6_port = htons(port);
        if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
            return -1;
    }
    if (!udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
        return -1;
    return bind(fd, &a.sa, family == AF_INET ? sizeof(a.in) : sizeof(a.in6));
}

int sys_port_free(bool udp, uint16_t port)
{
    if (try_bind(AF_INET, udp, port) < 0)
        return -1;
    /* no IPv6 address on this machine: nothing to collide with */
    return try_bind(AF_INET6, udp, port) < 0 && errno != EADDRNOTAVAIL ? -1 : 0;
}

void sys_port_ephemeral(uint16_t *ret_first, uint16_t *ret_last)
{
    cleanup_str struct str text = {0};
    unsigned first = 0, last = 0;
    if (sys_file_read("/proc/sys/net/ipv4/ip_local_port_range", 64, &text, NULL) < 0 ||
        sscanf(str_cstr(&text), "%u %u", &first, &last) != 2 || first > last || last > 65535) {
        first = 32768;
        last = 60999;
    }
    *ret_first = (uint16_t)first;
    *ret_last = (uint16_t)last;
}

bool sys_port_reserved(uint16_t port)
{
    cleanup_str struct str text = {0};
    if (sys_file_read("/proc/sys/net/ipv4/ip_local_reserved_ports", 1 << 20, &text, NULL) < 0)
        return false;
    for (const char *p = str_cstr(&text); *p >= '0' && *p <= '9'; p += *p == ',') {
        char *end;
        unsigned long first = strtoul(p, &end, 10), last = first;
        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        if (port >= first && port <= last)
            return true;
        p = end;
    }
    return false;
}
