#include <libmnl/libmnl.h> /* kernel headers first: they have fields named `unused` */
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "sys/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 5 /* of a dump that a change of the table broke off */

struct reading {
    const char *name;
    uint32_t index; /* 0: there is no such link */
    struct strv *to;
};

/* The attribute of that type, among those between two places; NULL: none. */
static const struct nlattr *find(const void *from, const void *end, uint16_t type)
{
    const struct nlattr *a = from;
    for (; mnl_attr_ok(a, (int)((const char *)end - (const char *)a)); a = mnl_attr_next(a))
        if (mnl_attr_get_type(a) == type)
            return a;
    return NULL;
}

/* In a message whose own header has that size. */
static const struct nlattr *attr_of(const struct nlmsghdr *h, size_t header, uint16_t type)
{
    return find(mnl_nlmsg_get_payload_offset(h, header), mnl_nlmsg_get_payload_tail(h), type);
}

static uint32_t u32_of(const struct nlattr *a)
{
    return a && mnl_attr_get_payload_len(a) >= sizeof(uint32_t) ? mnl_attr_get_u32(a) : 0;
}

/* "192.0.2.1"; false if the attribute holds no address of the family. */
static bool host_of(const struct nlattr *a, uint8_t family, char buf[INET6_ADDRSTRLEN])
{
    size_t want = family == AF_INET ? 4 : 16;
    return a && mnl_attr_get_payload_len(a) == want &&
           inet_ntop(family, mnl_attr_get_payload(a), buf, INET6_ADDRSTRLEN);
}

/* fe80::/10 and ff00::/8: the kernel's own for every link. */
static bool of_every_link(const struct nlattr *a, uint8_t family)
{
    if (family != AF_INET6 || !a || mnl_attr_get_payload_len(a) != 16)
        return false;
    const uint8_t *b = mnl_attr_get_payload(a);
    return b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}

/* --- the link -------------------------------------------------------------------------------- */

static int on_link(const struct nlmsghdr *h, void *arg)
{
    struct reading *r = arg;
    const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
    const struct nlattr *name = attr_of(h, sizeof(*m), IFLA_IFNAME), *kind = NULL;
    const struct nlattr *info = attr_of(h, sizeof(*m), IFLA_LINKINFO);
    char local[INET6_ADDRSTRLEN], peer[INET6_ADDRSTRLEN];
    if (!name || !str_eq(mnl_attr_get_str(name), r->name))
        return MNL_CB_OK;
    r->index = (uint32_t)m->ifi_index;
    if (info)
        kind = find(mnl_attr_get_payload(info),
                    (const char *)mnl_attr_get_payload(info) + mnl_attr_get_payload_len(info),
                    IFLA_INFO_KIND);
    struct str line = {0};
    str_addf(&line, "link %s", kind ? mnl_attr_get_str(kind) : "device");
    /* of a tunnel they are its ends; of all others a number that means nothing when made anew */
    if ((m->ifi_type == ARPHRD_IPGRE || m->ifi_type == ARPHRD_TUNNEL) &&
        host_of(attr_of(h, sizeof(*m), IFLA_ADDRESS), AF_INET, local) &&
        host_of(attr_of(h, sizeof(*m), IFLA_BROADCAST), AF_INET, peer))
        str_addf(&line, " %s peer %s", local, peer);
    str_addf(&line, ", mtu %u, %s", u32_of(attr_of(h, sizeof(*m), IFLA_MTU)),
             !(m->ifi_flags & IFF_UP)        ? "down"
             : !(m->ifi_flags & IFF_RUNNING) ? "up without a carrier"
                                             : "up");
    strv_take(r->to, str_take(&line));
    return MNL_CB_OK;
}

/* --- addresses ------------------------------------------------------------------------------- */

static int on_address(const struct nlmsghdr *h, void *arg)
{
    struct reading *r = arg;
    const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
    const struct nlattr *peer = attr_of(h, sizeof(*m), IFA_ADDRESS);
    const struct nlattr *local = attr_of(h, sizeof(*m), IFA_LOCAL);
    char a[INET6_ADDRSTRLEN], b[INET6_ADDRSTRLEN];
    local = local ? local : peer;
    if (m->ifa_index != r->index || of_every_link(local, m->ifa_family) ||
        !host_of(local, m->ifa_family, a))
        return MNL_CB_OK;
    struct str line = {0};
    str_addf(&line, "address %s", a);
    if (host_of(peer, m->ifa_family, b) && !str_eq(a, b))
        str_addf(&line, " peer %s", b);
    str_addf(&line, "/%u", m->ifa_prefixlen);
    strv_take(r->to, str_take(&line));
    return MNL_CB_OK;
}

/* --- routes ---------------------------------------------------------------------------------- */

/* Of several ways: the gateway of the one by this link, or NULL; *ret_found whether there is one.
 */
static const struct nlattr *gateway_of(const struct nlattr *ways, uint32_t index, bool *ret_found)
{
    const struct rtnexthop *n = mnl_attr_get_payload(ways);
    int left = mnl_attr_get_payload_len(ways);
    *ret_found = false;
    for (; left >= (int)sizeof(*n) && RTNH_OK(n, left);
         left -= (int)RTNH_ALIGN(n->rtnh_len), n = RTNH_NEXT(n)) {
        if ((uint32_t)n->rtnh_ifindex != index)
            continue;
        *ret_found = true;
        return find(n + 1, (const char *)n + n->rtnh_len, RTA_GATEWAY);
    }
    return NULL;
}

static int on_route(const struct nlmsghdr *h, void *arg)
{
    struct reading *r = arg;
    const struct rtmsg *m = mnl_nlmsg_get_payload(h);
    const struct nlattr *to = attr_of(h, sizeof(*m), RTA_DST);
    const struct nlattr *ways = attr_of(h, sizeof(*m), RTA_MULTIPATH);
    const struct nlattr *gateway = attr_of(h, sizeof(*m), RTA_GATEWAY);
    uint32_t table = u32_of(attr_of(h, sizeof(*m), RTA_TABLE)), metric;
    char text[INET6_ADDRSTRLEN];
    bool ours = u32_of(attr_of(h, sizeof(*m), RTA_OIF)) == r->index;
    table = table ? table : m->rtm_table;
    if (!ours && ways)
        gateway = gateway_of(ways, r->index, &ours);
    if (!ours || table == RT_TABLE_LOCAL || (m->rtm_flags & RTM_F_CLONED) ||
        of_every_link(to, m->rtm_family))
        return MNL_CB_OK;
    struct str line = {0};
    if (host_of(to, m->rtm_family, text))
        str_addf(&line, "route %s/%u", text, m->rtm_dst_len);
    else
        str_addf(&line, "route default%s", m->rtm_family == AF_INET6 ? " of IPv6" : "");
    if (host_of(gateway, m->rtm_family, text))
        str_addf(&line, " via %s", text);
    if (host_of(attr_of(h, sizeof(*m), RTA_PREFSRC), m->rtm_family, text))
        str_addf(&line, " src %s", text);
    str_addf(&line, " proto %u", m->rtm_protocol);
    if ((metric = u32_of(attr_of(h, sizeof(*m), RTA_PRIORITY))) != 0)
        str_addf(&line, " metric %u", metric);
    if (table != RT_TABLE_MAIN)
        str_addf(&line, " table %u", table);
    strv_take(r->to, str_take(&line));
    return MNL_CB_OK;
}

/* --- asking ---------------------------------------------------------------------------------- */

static const struct question {
    uint16_t type;
    uint8_t family;
    mnl_cb_t on;
} questions[] = {
    {RTM_GETLINK, AF_UNSPEC, on_link},   {RTM_GETADDR, AF_INET, on_address},
    {RTM_GETADDR, AF_INET6, on_address}, {RTM_GETROUTE, AF_INET, on_route},
    {RTM_GETROUTE, AF_INET6, on_route},
};

static int dump(struct mnl_socket *nl, const struct question *q, unsigned seq, struct reading *r)
{
    char buf[32768];
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = q->type;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    h->nlmsg_seq = seq;
    /* the headers of all three begin with the family, and are 0 else; the longest one will do */
    struct ifinfomsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->ifi_family = q->family;
    if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
        return -1;
    for (;;) {
        ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
        if (n < 0)
            return -1;
        int got = mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(nl), q->on, r);
        if (got <= MNL_CB_STOP)
            return got;
    }
}

static int order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Everything once. -1 with EINTR: a table changed meanwhile. */
static int ask(struct reading *r)
{
    struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    int done = nl ? mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) : -1;
    for (size_t i = 0; done == 0 && i < ARRAY_LEN(questions) && (i == 0 || r->index); i++) {
        bool last = questions[i].type != RTM_GETLINK;
        done = dump(nl, &questions[i], (unsigned)i + 1, r);
        /* a kernel without IPv6 */
        if (done < 0 && last && questions[i].family == AF_INET6 && errno == EOPNOTSUPP)
            done = 0;
    }
    int why = errno;
    if (nl)
        mnl_socket_close(nl);
    errno = why;
    return done;
}

int sys_link_read(const char *name, struct strv *ret, struct err *err)
{
    for (int tries = 1;; tries++) {
        cleanup_strv struct strv lines = {0};
        struct reading r = {.name = name, .to = &lines};
        if (ask(&r) == 0) {
            if (lines.n)
                qsort(lines.v, lines.n, sizeof(*lines.v), order);
            strv_copy(ret, &lines);
            return 0;
        }
        if (errno != EINTR || tries == TRIES)
            return err_sys(err, ERR_FAILED, "ask the kernel (rtnetlink) for the link '%s'", name);
    }
}
