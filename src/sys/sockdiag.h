/* The kernel's TCP and UDP sockets (sock_diag(7) over netlink) and whose they are. Read-only, needs
 * no rights; to tell whose a socket is, /proc/PID/fd must be readable (root, or the same user). */
#pragma once

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* TCP states of the kernel (include/net/tcp_states.h) */
enum {
    SOCK_ESTABLISHED = 1,
    SOCK_SYN_SENT,
    SOCK_SYN_RECV,
    SOCK_FIN_WAIT1,
    SOCK_FIN_WAIT2,
    SOCK_TIME_WAIT,
    SOCK_CLOSED,
    SOCK_CLOSE_WAIT,
    SOCK_LAST_ACK,
    SOCK_LISTEN
};

struct sock_end {
    uint8_t addr[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint16_t port;
};

struct sock_info {
    struct sock_end local, peer;
    uint32_t inode; /* 0: nobody has it open any more */
    uint32_t uid;
    uint8_t state;
    uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP */
    bool has_tcp_info;
    uint32_t sent_ms_ago, recv_ms_ago; /* since data went out / came in */
    uint64_t bytes_sent;
    uint32_t segments_sent; /* with data in them */
};

struct sock_list {
    struct sock_info *items;
    size_t n;
};
void sock_list_done(struct sock_list *l);
#define cleanup_sock_list cleanup(sock_list_done)

struct sock_filter_by {
    uint8_t protocol;     /* IPPROTO_TCP or IPPROTO_UDP */
    uint32_t states;      /* bits 1u << SOCK_...; 0: all */
    uint16_t local, peer; /* ports; 0: any */
    bool tcp_info;        /* fill the tcp_info fields */
    uint16_t
        either[4]; /* the local or the peer's port is one of these, up to the first 0; none: any */
};

/* Appends the sockets (IPv4 and IPv6) that match. At most 262144. */
must_check int sys_sockets(const struct sock_filter_by *by, struct sock_list *ret, struct err *err);

/* Whether data went out and none has come since. A connection that was dialled and never used (Go's
 * http.Transport leaves such behind) does not wait, though its "sent" may be a tick younger than
 * its "received": the kernel sets one after the other when it is established (68 of 631,819 on
 * Linux 6.18). */
bool sock_waits(const struct sock_info *s);

int sock_end_order(const struct sock_end *a, const struct sock_end *b);      /* as memcmp(3) */
const char *sock_end_host(char *buf, size_t size, const struct sock_end *e); /* "127.0.0.1" */
const char *sock_end_text(char *buf, size_t size, const struct sock_end *e); /* "127.0.0.1:80" */

/* The inodes of the sockets that a process has open, sorted. n stays 0 if it may not be looked at.
 */
struct sock_inodes {
    uint32_t *v;
    size_t n;
};
void sys_proc_sockets(pid_t pid, struct sock_inodes *ret);
bool sock_inodes_have(const struct sock_inodes *s, uint32_t inode);
void sock_inodes_done(struct sock_inodes *s);
#define cleanup_sock_inodes cleanup(sock_inodes_done)

/* The process that has a socket open: the first one found in /proc, 0 if none is (or may not be
 * seen). */
pid_t sys_sock_owner(uint32_t inode);

/* The kernel's name of a process ("curl"); "" if it is gone. */
const char *sys_proc_comm(pid_t pid, char *buf, size_t size);

/* The effective user and group of a process. */
must_check int sys_proc_ids(pid_t pid, uid_t *ret_uid, gid_t *ret_gid, struct err *err);
