#include <libmnl/libmnl.h> /* kernel headers first: they have fields named `unused` */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include "sys/sockdiag.h"

#include "base/str.h"
#include "sys/file.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#define SOCKETS_MAX ((size_t)262144)

void sock_list_done(struct sock_list *l)
{
    free(l->items);
    *l = (struct sock_list){0};
}

static void end_fill(struct sock_end *e, uint8_t family, const __be32 addr[4], __be16 port)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    e->port = ntohs(port);
    if (family == AF_INET) {
        memcpy(e->addr, mapped, 12);
        memcpy(e->addr + 12, addr, 4);
    } else {
        memcpy(e->addr, addr, 16);
    }
}

/* The kernel's tcp_info may be shorter than the header's: an older one lacks the last fields. */
static void tcp_info_fill(struct sock_info *s, const struct nlattr *attr)
{
    struct tcp_info info = {0};
    size_t n = mnl_attr_get_payload_len(attr);
    memcpy(&info, mnl_attr_get_payload(attr), n < sizeof(info) ? n : sizeof(info));
    s->has_tcp_info = true;
    s->sent_ms_ago = info.tcpi_last_data_sent;
    s->recv_ms_ago = info.tcpi_last_data_recv;
    s->bytes_sent = info.tcpi_bytes_sent;
    s->segments_sent = info.tcpi_data_segs_out;
}

struct collect {
    struct sock_list *to;
    size_t cap;
    uint8_t protocol;
};

static int on_socket(const struct nlmsghdr *h, void *arg)
{
    struct collect *c = arg;
    const struct inet_diag_msg *m = mnl_nlmsg_get_payload(h);
    if (c->to->n == SOCKETS_MAX)
        return MNL_CB_OK;
    if (c->to->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 64;
        c->to->items = x_realloc(c->to->items, c->cap, sizeof(*c->to->items));
    }
    struct sock_info *s = &c->to->items[c->to->n++];
    *s = (struct sock_info){.inode = m->idiag_inode,
                            .uid = m->idiag_uid,
                            .state = m->idiag_state,
                            .protocol = c->protocol};
    end_fill(&s->local, m->idiag_family, m->id.idiag_src, m->id.idiag_sport);
    end_fill(&s->peer, m->idiag_family, m->id.idiag_dst, m->id.idiag_dport);
    const char *tail = mnl_nlmsg_get_payload_tail(h);
    const struct nlattr *a = mnl_nlmsg_get_payload_offset(h, sizeof(*m));
    for (; mnl_attr_ok(a, (int)(tail - (const char *)a)); a = mnl_attr_next(a))
        if (mnl_attr_get_type(a) == INET_DIAG_INFO)
            tcp_info_fill(s, a);
    return MNL_CB_OK;
}

/* For the kernel's small machine (inet_diag_bc_run): each comparison that holds goes on to a jump
 * to the end, which means yes; the last that does not jumps past it, which means no. */
static void put_either(struct nlmsghdr *h, const uint16_t ports[4])
{
    enum { CONDITIONS = 8, EACH = 3 };
    static const uint8_t code[2] = {INET_DIAG_BC_S_EQ, INET_DIAG_BC_D_EQ};
    struct inet_diag_bc_op ops[CONDITIONS * EACH] = {0};
    size_t n = 0;
    while (n < CONDITIONS && ports[n / 2])
        n += 2;
    size_t size = (n * EACH - 1) * sizeof(ops[0]); /* nothing to jump over after the last one */
    for (size_t i = 0; i < n; i++) {
        struct inet_diag_bc_op *op = &ops[i * EACH];
        size_t left = size - i * EACH * sizeof(*op);
        bool last = i == n - 1;
        op[0] = (struct inet_diag_bc_op){.code = code[i % 2],
                                         .yes = 2 * sizeof(*op),
                                         .no = (uint16_t)(last ? left + 4 : EACH * sizeof(*op))};
        op[1].no = ports[i / 2];
        if (!last)
            op[2] = (struct inet_diag_bc_op){.code = INET_DIAG_BC_JMP,
                                             .yes = sizeof(*op),
                                             .no = (uint16_t)(left - 2 * sizeof(*op))};
    }
    mnl_attr_put(h, INET_DIAG_REQ_BYTECODE, size, ops);
}

static void put_request(struct nlmsghdr *h, uint8_t family, const struct sock_filter_by *by)
{
    h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    struct inet_diag_req_v2 *rq = mnl_nlmsg_put_extra_header(h, sizeof(*rq));
    rq->sdiag_family = family;
    rq->sdiag_protocol = by->protocol;
    rq->idiag_ext = by->tcp_info ? 1u << (INET_DIAG_INFO - 1) : 0;
    rq->idiag_states = by->states ? by->states : ~0u;
    rq->id.idiag_sport = htons(by->local);
    rq->id.idiag_dport = htons(by->peer);
}

/* The older request, TCP only, has both families in one walk through the kernel's table, which
 * takes a millisecond however few the sockets are. */
static void put_request_of_all(struct nlmsghdr *h, const struct sock_filter_by *by)
{
    h->nlmsg_type = TCPDIAG_GETSOCK;
    struct inet_diag_req *rq = mnl_nlmsg_put_extra_header(h, sizeof(*rq));
    rq->idiag_ext = by->tcp_info ? 1u << (INET_DIAG_INFO - 1) : 0;
    rq->idiag_states = by->states ? by->states : ~0u;
    rq->id.idiag_sport = htons(by->local);
    rq->id.idiag_dport = htons(by->peer);
}

/* family: AF_UNSPEC for both. */
static int dump(struct mnl_socket *nl, uint8_t family, const struct sock_filter_by *by,
                struct collect *c)
{
    char buf[32768];
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    h->nlmsg_seq = family + 1u;
    if (family == AF_UNSPEC)
        put_request_of_all(h, by);
    else
        put_request(h, family, by);
    if (by->either[0])
        put_either(h, by->either);
    if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
        return -1;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
        if (n < 0)
            return -1;
        int r = mnl_cb_run(buf, (size_t)n, family + 1u, mnl_socket_get_portid(nl), on_socket, c);
        if (r <= MNL_CB_STOP)
            return r;
    }
}

int sys_sockets(const struct sock_filter_by *by, struct sock_list *ret, struct err *err)
{
    struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
    struct collect c = {.to = ret, .cap = ret->n, .protocol = by->protocol};
    if (!nl)
        return err_sys(err, ERR_FAILED, "open a netlink socket to list the sockets");
    size_t before = ret->n;
    int r = 0;
    if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) == 0 && by->protocol == IPPROTO_TCP &&
        dump(nl, AF_UNSPEC, by, &c) == 0) {
        mnl_socket_close(nl);
        return 0;
    }
    ret->n = before;
    if (dump(nl, AF_INET, by, &c) < 0 || dump(nl, AF_INET6, by, &c) < 0)
        r = err_sys(err, ERR_FAILED, "ask the kernel (sock_diag) for its sockets");
    mnl_socket_close(nl);
    return r;
}

bool sock_waits(const struct sock_info *s)
{
    return s->has_tcp_info && s->segments_sent > 0 && s->sent_ms_ago < s->recv_ms_ago;
}

int sock_end_order(const struct sock_end *a, const struct sock_end *b)
{
    return a->port != b->port ? (a->port < b->port ? -1 : 1)
                              : memcmp(a->addr, b->addr, sizeof(a->addr));
}

const char *sock_end_host(char *buf, size_t size, const struct sock_end *e)
{
    struct in6_addr a;
    memcpy(&a, e->addr, sizeof(a));
    bool v4 = IN6_IS_ADDR_V4MAPPED(&a);
    if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? e->addr + 12 : e->addr, buf, (socklen_t)size))
        snprintf(buf, size, "?");
    return buf;
}

const char *sock_end_text(char *buf, size_t size, const struct sock_end *e)
{
    char host[INET6_ADDRSTRLEN];
    sock_end_host(host, sizeof(host), e);
    snprintf(buf, size, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, (unsigned)e->port);
    return buf;
}

struct fd_scan {
    char dir[64];
    struct sock_inodes *to; /* all of them, or */
    size_t cap;
    uint32_t wanted; /* this one */
    bool found;
};

static uint32_t socket_inode(const char *dir, const char *fd)
{
    char path[128], link[64];
    snprintf(path, sizeof(path), "%s/%.16s", dir, fd);
    ssize_t n = readlink(path, link, sizeof(link) - 1);
    if (n <= 9)
        return 0;
    link[n] = '\0';
    return str_starts(link, "socket:[") ? (uint32_t)strtoul(link + 8, NULL, 10) : 0;
}

static int on_fd(void *arg, const char *name)
{
    struct fd_scan *s = arg;
    uint32_t inode = socket_inode(s->dir, name);
    if (inode && s->to) {
        if (s->to->n == s->cap) {
            s->cap = s->cap ? s->cap * 2 : 64;
            s->to->v = x_realloc(s->to->v, s->cap, sizeof(*s->to->v));
        }
        s->to->v[s->to->n++] = inode;
    }
    s->found |= inode && inode == s->wanted;
    return s->found;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void sys_proc_sockets(pid_t pid, struct sock_inodes *ret)
{
    struct fd_scan s = {.to = ret};
    *ret = (struct sock_inodes){0};
    snprintf(s.dir, sizeof(s.dir), "/proc/%d/fd", (int)pid);
    (void)sys_dir_each(s.dir, on_fd, &s, NULL);
    if (ret->n)
        qsort(ret->v, ret->n, sizeof(*ret->v), by_number);
}

bool sock_inodes_have(const struct sock_inodes *s, uint32_t inode)
{
    return inode && s->n && bsearch(&inode, s->v, s->n, sizeof(*s->v), by_number);
}

void sock_inodes_done(struct sock_inodes *s)
{
    free(s->v);
    *s = (struct sock_inodes){0};
}

struct owner_scan {
    uint32_t inode;
    pid_t pid;
};

static int on_process(void *arg, const char *name)
{
    struct owner_scan *o = arg;
    char *end;
    unsigned long pid = strtoul(name, &end, 10);
    if (*end || pid == 0 || pid > INT32_MAX)
        return 0;
    struct fd_scan s = {.wanted = o->inode};
    snprintf(s.dir, sizeof(s.dir), "/proc/%lu/fd", pid);
    (void)sys_dir_each(s.dir, on_fd, &s, NULL);
    if (s.found)
        o->pid = (pid_t)pid;
    return s.found;
}

pid_t sys_sock_owner(uint32_t inode)
{
    struct owner_scan o = {.inode = inode};
    if (inode)
        (void)sys_dir_each("/proc", on_process, &o, NULL);
    return o.pid;
}

const char *sys_proc_comm(pid_t pid, char *buf, size_t size)
{
    char path[64];
    cleanup_str struct str text = {0};
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    buf[0] = '\0';
    if (sys_file_read(path, 256, &text, NULL) == 0)
        snprintf(buf, size, "%.*s", (int)strcspn(str_cstr(&text), "\n"), str_cstr(&text));
    return buf;
}

/* Not the owner of /proc/PID: that is root's for a process that may not be dumped. */
int sys_proc_ids(pid_t pid, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
    char path[64];
    cleanup_str struct str text = {0};
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (sys_file_read(path, 65536, &text, err) < 0)
        return -1;
    const char *uid = strstr(str_cstr(&text), "\nUid:"), *gid = strstr(str_cstr(&text), "\nGid:");
    if (!uid || !gid)
        return err_set(err, ERR_FAILED, "'%s' has no Uid or Gid", path);
    const char *effective = uid + 5 + strspn(uid + 5, "\t");
    effective += strcspn(effective, "\t");
    *ret_uid = (uid_t)strtoul(effective, NULL, 10);
    effective = gid + 5 + strspn(gid + 5, "\t");
    effective += strcspn(effective, "\t");
    *ret_gid = (gid_t)strtoul(effective, NULL, 10);
    return 0;
}
