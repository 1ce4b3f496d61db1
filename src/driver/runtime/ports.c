#include "driver/runtime/ports.h"

#include "sys/clock.h"
#include "sys/sockdiag.h"

#include <netinet/in.h>
#include <string.h>

/* A socket that keeps others from binding the port: a listener, or UDP without a peer. */
static bool holds(const struct sock_info *i)
{
    return i->protocol == IPPROTO_TCP ? i->state == SOCK_LISTEN : i->peer.port == 0;
}

static const char *port_of(const struct spec *s, uint16_t number)
{
    for (size_t i = 0; i < s->ports_n; i++)
        if (number >= s->ports[i].first && number <= s->ports[i].last)
            return s->ports[i].name;
    return NULL;
}

static void holders_of(const struct spec *s, struct sock_list *ret)
{
    static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
    struct sock_list all = {0};
    for (size_t p = 0; p < ARRAY_LEN(protocols); p++) {
        struct sock_filter_by by = {.protocol = protocols[p]};
        by.states = protocols[p] == IPPROTO_TCP ? 1u << SOCK_LISTEN : 0;
        (void)!sys_sockets(&by, &all, NULL); /* without it the bind test alone speaks */
    }
    *ret = (struct sock_list){0};
    ret->items = x_alloc((all.n + 1) * sizeof(*ret->items));
    for (size_t i = 0; i < all.n; i++)
        if (holds(&all.items[i]) && port_of(s, all.items[i].local.port))
            ret->items[ret->n++] = all.items[i];
    sock_list_done(&all);
}

void ports_held(const struct spec *s, const struct proc_id *ids, size_t n, struct port_holders *ret)
{
    cleanup_sock_list struct sock_list list;
    holders_of(s, &list);
    bool *ours = x_alloc((list.n + 1) * sizeof(*ours));
    for (size_t p = 0; p < n; p++) {
        cleanup_sock_inodes struct sock_inodes inodes = {0};
        sys_proc_sockets(ids[p].pid, &inodes);
        for (size_t i = 0; i < list.n; i++)
            ours[i] = ours[i] || sock_inodes_have(&inodes, list.items[i].inode);
    }
    for (size_t i = 0; i < list.n && ret->n < PORT_HOLDERS; i++)
        if (!ours[i]) {
            ret->v[ret->n].port = list.items[i].local.port;
            ret->v[ret->n++].udp = list.items[i].protocol == IPPROTO_UDP;
        }
    free(ours);
}

static bool was_foreign(const struct port_holders *before, const struct sock_info *i)
{
    for (size_t k = 0; k < before->n; k++)
        if (before->v[k].port == i->local.port && before->v[k].udp == (i->protocol == IPPROTO_UDP))
            return true;
    return false;
}

/* The first holder that is not explained; NULL: none. */
static const struct sock_info *unexplained(const struct sock_list *list,
                                           const struct port_holders *before)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].inode && !was_foreign(before, &list->items[i]))
            return &list->items[i];
    return NULL;
}

static void holder_words(const struct spec *s, const struct sock_info *i, char *buf, size_t size)
{
    char comm[32] = "";
    pid_t pid = sys_sock_owner(i->inode);
    sys_proc_comm(pid, comm, sizeof(comm));
    snprintf(buf, size, "port %u/%s (%s) is taken by process %d (%s)", i->local.port,
             i->protocol == IPPROTO_UDP ? "udp" : "tcp", port_of(s, i->local.port), (int)pid, comm);
}

int ports_proof(const struct driver_ctx *ctx, enum colour c, const struct port_holders *before,
                struct err *err)
{
    const struct spec *s = ctx->side[c];
    char words[160];
    for (nsec_t until = sys_clock_mono() + NSEC_S;;) {
        cleanup_sock_list struct sock_list list;
        holders_of(s, &list);
        const struct sock_info *bad = unexplained(&list, before);
        if (!bad) {
            for (size_t i = 0; i < list.n; i++) {
                holder_words(s, &list.items[i], words, sizeof(words));
                event_warn(ctx->sink, "%s is stopped, but %s, as it was before", colour_name(c),
                           words);
            }
            return 0;
        }
        holder_words(s, bad, words, sizeof(words));
        if (sys_clock_mono() >= until) {
            err_set(err, ERR_FAILED, "%s has ended, but %s", colour_name(c), words);
            return err_hint(err, "end that process if it is of the service, then the same again");
        }
        sys_sleep(20 * NSEC_MS);
    }
}
