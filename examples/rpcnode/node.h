/* One running node: what the parts share. Made in main.c; the event loop (server.c) owns all of it
 * but the store's slots, which the chain thread writes. */
#ifndef RPCNODE_NODE_H
#define RPCNODE_NODE_H

#include "identity.h"
#include "options.h"
#include "store.h"
#include "txlog.h"
#include "version.h"

#include <sys/types.h>

struct conn;
struct node;

/* Whatever epoll may report; the first member of what it belongs to. */
struct source {
    void (*on_event)(struct node *node, struct source *source, uint32_t events);
    int fd;
};

enum timer {
    TIMER_OPEN_RPC,
    TIMER_CRASH,
    TIMER_HANG,
    TIMER_CUT,
    TIMER_END,
    TIMER_GOSSIP,
    TIMER_CLOSE_WS,
    TIMER_COUNT,
};

/* What is made to go wrong while the node runs (`rpcnode --ledger DIR fault NAME`). */
enum fault {
    FAULT_NONE,
    FAULT_BEHIND, /* health says so */
    FAULT_ERRORS, /* JSON-RPC answers are HTTP 500, nothing is executed */
    FAULT_STALL,  /* the slot stands still */
    FAULT_HANG,   /* no answer any more, for good */
    FAULT_COUNT,
};

/* Websockets that are being closed one after the other. */
struct ws_closing {
    uint64_t from_ns, over_ns;
    uint64_t total, done;
    uint64_t before; /* those that came later stay */
};

struct node {
    const struct options *options;
    const struct version *version;
    char pubkey[IDENTITY_MAX];
    uint64_t start_real_ns;
    uint64_t outset_ns; /* since when this identity: the older of two ends */
    struct store store;
    struct txlog txlog;

    /* written by the chain thread */
    _Atomic uint64_t heard;
    int slot_event_fd;

    /* the event loop */
    int epoll_fd;
    uint64_t due_ns[TIMER_COUNT]; /* 0: not set */
    struct source rpc_listener;
    struct source ws_listener;
    struct source admin_listener;
    struct source slot_event;
    struct source signals;
    struct conn *conns;   /* all of them */
    struct conn *pending; /* with something to send at the end of this round */
    struct conn *dead;    /* closed in this round, freed at its end */
    uint64_t next_delayed_ns;
    uint64_t notified_slot;
    uint64_t next_subscription;
    uint64_t open_real_ns; /* when RPC opened; 0: not yet */
    uint64_t verified_ns;  /* health is `unknown` before */
    bool hanging;
    _Atomic int fault; /* enum fault */
    bool draining;     /* --graceful-term, after SIGTERM */
    bool finished;     /* the loop ends, status 0 */

    struct ws_closing ws_closing;
    uint64_t next_ws;
    int ws_log_fd;
    int request_log_fd;
    struct buf request_log;
};

/* chain.c: start the thread that makes or follows slots. 0, or -1. */
int chain_start(struct node *node);

/* server.c: accept, never answer, from now on. */
void server_hang(struct node *node);

/* health.c: what /health says, and by how many slots it is behind. */
enum health { HEALTH_OK, HEALTH_BEHIND, HEALTH_UNKNOWN };
enum health health_of(const struct node *node, uint64_t *ret_behind);
const char *health_text(enum health health);

/* gossip.c */
/* Bind gossip, dynamic and extra ports. 0, or the exit status, printed. */
int gossip_bind_ports(const struct node *node);
/* Say who we are in --gossip-dir; later, end the process if a newer node says the same. */
void gossip_announce(struct node *node);
void gossip_check(const struct node *node);
void gossip_leave(const struct node *node);

/* What X-Backend says. */
static inline const char *node_name(const struct node *node)
{
    return node->options->name != NULL ? node->options->name : node->pubkey;
}

#endif
