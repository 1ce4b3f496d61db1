/* Connections of all kinds: bytes in, bytes out, and what is served on them. */
#ifndef RPCNODE_CONN_H
#define RPCNODE_CONN_H

#include "node.h"
#include "util.h"

enum conn_kind {
    CONN_RPC,     /* HTTP */
    CONN_WS_PORT, /* on the websocket port, before its upgrade */
    CONN_WS,
    CONN_ADMIN,
};

struct conn {
    struct source source;
    enum conn_kind kind;
    struct conn *previous, *next;
    struct conn *next_pending;
    struct buf in, out;
    struct buf message; /* of a websocket: fragments so far */
    uint64_t subscription;
    uint64_t ws_number; /* of a websocket */
    uint64_t last_slot, slots_sent;
    uint64_t due_ns; /* a request waits in `in` until then; 0: none */
    bool waited;     /* it has waited, serve it now */
    bool continued;  /* 100 Continue is sent */
    bool pending;    /* has something to send at the end of this round */
    bool blocked;    /* waits to be writable */
    bool closing;    /* close when `out` is sent */
    bool closed;
};

struct conn *conn_add(struct node *node, int fd, enum conn_kind kind);
void conn_close(struct node *node, struct conn *c);
/* Something is in c->out or c->closing is set: look at it at the end of the round. */
void conn_mark(struct node *node, struct conn *c);
/* Send what the round has produced; the request log has been written before. */
void conn_send_pending(struct node *node);
void conn_free_dead(struct node *node);
/* Serve what is in c->in as far as possible. */
void conn_serve(struct node *node, struct conn *c);
/* Serve the requests whose delay is over, note when the next one is. */
void conn_serve_delayed(struct node *node, uint64_t now);
/* New slots for those who subscribed. */
void conn_notify_slots(struct node *node, uint64_t from, uint64_t to);

/* serve_http.c, serve_ws.c, admin.c: use up bytes of c->in, add to c->out. */
void http_serve(struct node *node, struct conn *c);
void ws_serve(struct node *node, struct conn *c);
void admin_serve(struct node *node, struct conn *c);

/* wsclose.c. ws_close_over: close all websockets that are open now, evenly over that time; again
 * while it is under way: nothing. ws_close_due: its timer. ws_go_away: close one, with 1001. */
void ws_close_over(struct node *node, uint64_t ms);
void ws_close_due(struct node *node);
void ws_go_away(struct node *node, struct conn *c);

/* `<what> <websocket> <slot> <slots sent> <ns>`: what is `first` (slot), `closing` (the frame is
 * sent), `last` (slot, when it is gone). */
int wslog_open(struct node *node);
void wslog_add(const struct node *node, const struct conn *c, const char *what);

/* reqlog.c: the log of executed requests. A line is added when a request is executed; the round
 * writes them out before it sends any answer, so each answered request is in the file. */
int reqlog_open(struct node *node);
void reqlog_add(struct node *node, const char *method, const char *id, int status);
void reqlog_flush(struct node *node);

#endif
