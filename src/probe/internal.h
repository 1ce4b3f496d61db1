/* What the files of this folder share. One thread runs it all; `lock` is held whenever that thread
 * is not waiting, so that a snapshot from another thread sees a consistent state. */
#pragma once

#include "probe/http1.h"
#include "probe/probe.h"
#include "sys/sock.h"

#include <curl/curl.h>
#include <pthread.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdint.h>

/* First member of whatever is registered with epoll. */
struct watch {
    void (*ready)(struct probe *p, struct watch *w, uint32_t events);
    int fd;
};

struct target {
    char *host, *host_header, *path;
    struct sys_addr addr;
};

/* A request body split where its number goes; no number: all of it is the prefix. */
struct body {
    char *prefix, *suffix;
    size_t prefix_len, suffix_len;
    bool rpc;  /* the answer has to be JSON-RPC with the same id and a result */
    bool slot; /* getSlot: its result is a slot */
};

struct link {
    struct link *prev, *next;
};

struct request {
    struct link by_deadline; /* first: in p->open[slow] */
    struct link in_queue;    /* in p->queue while it waits for a connection */
    uint64_t number;
    nsec_t intended, deadline;
    const struct body *body;
    void *carrier;      /* what carries it now, of the transport; NULL: nothing */
    int64_t slot_floor; /* the highest slot seen when it was sent */
    bool slow, fresh;
};

enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_BUSY, CONN_IDLE };

struct conn {
    struct watch watch; /* first */
    enum conn_state state;
    struct request *request;
    struct conn *next; /* among the idle, the dead or the free */
    struct http1 answer;
    struct str unsent;
    size_t unsent_at;
};

/* How requests travel. Each one submitted ends in request_end() or request_judge(), at once or
 * later. */
struct transport {
    int (*start)(struct probe *p, struct err *err);
    void (*submit)(struct probe *p, struct request *rq);
    void (*timeout)(struct probe *p, struct request *rq); /* its deadline has passed: end it */
    void (*reap)(struct probe *p); /* after each round of events; what was closed may go now */
    void (*done)(struct probe *p); /* also when start() failed */
};

/* libcurl's sockets and timer in our loop. */
struct curl_loop {
    struct probe *p;
    CURLM *multi; /* NULL: not in use */
    nsec_t due;   /* curl_loop_turn() has to run at the latest then */
    struct curl_watch *watches;
    struct curl_slist *resolve;
    void (*ended)(struct probe *p, void *owner, CURLcode code); /* a transfer is over */
};

/* hold.c; monotonic, 0: not yet */
struct hold {
    nsec_t from, opens, told_over, until;
    nsec_t next;   /* no request before */
    uint64_t last; /* the number given last when it was told to be over */
};

enum { LOOP_REQUESTS, LOOP_SOCKETS, LOOPS };

enum sock_state { SOCK_AWAY, SOCK_DIALLING, SOCK_UPGRADING, SOCK_OPEN };

struct wsock {
    struct watch watch; /* first */
    CURL *easy;         /* wss: whose connection it is; NULL: plain */
    enum sock_state state;
    unsigned attempts; /* since it was last open */
    bool was_open, dropped, close_frame, first_event_due;
    nsec_t due;        /* away: when to dial; dialling, upgrading: when to give up */
    nsec_t dropped_at; /* the first drop since its last event */
    int64_t last_slot; /* -1: none yet */
    char key[32];
    struct str in, message, out;
    size_t out_at;
};

struct probe {
    struct probe_options o;
    pthread_t thread;
    pthread_mutex_t lock;
    int poll_fd, wake_fd, log_fd;
    struct watch wake;
    atomic_bool stopping, finished;
    bool sending_over, joined;

    const struct transport *transport;
    struct curl_loop loops[LOOPS];
    struct secure *secure;
    bool secure_url;
    struct target target, ws_target;
    char *ws_https_url; /* NULL: ws:// */
    struct body *bodies, slow_body;
    size_t n_bodies;
    struct str head, slow_head; /* a request up to its number; each request adds the rest */
    regex_t regex;
    bool has_regex;

    nsec_t start, now, end, next_intended, last_intended, acted, over_at, stop_asked;
    uint64_t numbers;    /* given so far */
    struct link open[2]; /* by deadline: quick, slow */
    struct link queue;
    struct request *free_requests;
    struct conn *idle, *dead, *free_conns;
    struct conn **conns; /* all that were ever made */
    unsigned n_conns, live_conns;
    struct str out, log;
    nsec_t log_due;
    char *scratch;

    nsec_t last_good, excused, excused_at_good; /* stalls taken off the gap */
    struct wsock *socks;
    nsec_t socks_due;
    uint64_t random;

    struct windows *windows; /* NULL: not asked for */
    struct hold hold;
    struct executed *executed;
    struct probe_result r;
};

enum { SCRATCH_SIZE = 65536 };

static inline void link_init(struct link *head)
{
    head->prev = head->next = head;
}

static inline void link_add_tail(struct link *head, struct link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

static inline void link_remove(struct link *l)
{
    if (!l->next)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

/* setup.c */
int target_parse(struct target *t, const char *url, const char *scheme, struct err *err);
void target_done(struct target *t);
int body_parse(struct body *b, const char *text, bool plain, struct err *err);
void body_done(struct body *b);
int setup_requests(struct probe *p, struct err *err);
void setup_done(struct probe *p);

/* account.c: each request goes in once and comes out once */
struct request *request_new(struct probe *p, nsec_t intended);
void request_end(struct probe *p, struct request *rq, enum probe_outcome outcome,
                 enum probe_bad bad, int status, const char *detail);
void request_judge(struct probe *p, struct request *rq, const struct http1 *h);
void log_flush(struct probe *p);

/* hold.c. touches: the pause was a part of it, if it ends now. overlap: how much of a stretch of
 * time. skips: the request due then is not to be sent. left: nobody will be there for the answers.
 */
bool hold_lasts(const struct probe *p);
bool hold_touches(const struct probe *p, const struct request *rq);
nsec_t hold_deadline(const struct probe *p, const struct request *rq);
nsec_t hold_overlap(const struct probe *p, nsec_t from, nsec_t until);
bool hold_skips(struct probe *p, nsec_t intended);
void hold_count(struct probe *p, const struct request *rq, enum probe_outcome outcome);
bool hold_left(const struct probe *p);
void hold_tick(struct probe *p);

/* executed.c */
int executed_start(struct probe *p, struct err *err);
void executed_done(struct probe *p);

/* windows.c */
void windows_start(struct probe *p);
/* Before windows_add(): who answered a request that was due at `intended`. */
void windows_colour(struct probe *p, unsigned colour, nsec_t intended);
/* One that counts as a latency ended now. held: a planned pause was part of it; then it is in the
 * series only. */
void windows_add(struct probe *p, nsec_t latency, bool held);
void windows_tick(struct probe *p);
void windows_text(struct probe *p, struct str *out);
void windows_done(struct probe *p);

/* result.c */
void result_hist_text(const struct hist *h, const char *label, struct str *out);
json_t *result_hist_json(const struct hist *h);

extern const struct transport transport_plain;  /* conn.c: HTTP/1.1 */
extern const struct transport transport_secure; /* secure.c: TLS, HTTP/2, by libcurl */

/* curl_loop.c. start: `ended` is set before. easy: a handle with the options of all; its owner is
 * what ended() gets. turn: after each round of events; nothing if it is not in use. */
int curl_loop_start(struct curl_loop *l, struct probe *p, const struct target *t, struct err *err);
CURL *curl_loop_easy(struct curl_loop *l, void *owner);
void curl_loop_turn(struct curl_loop *l);
void curl_loop_done(struct curl_loop *l); /* after the easy handles are gone */

/* channel.c: send and recv as sys_sock_send and sys_sock_recv. dial: plain ones turn writable when
 * they are connected; secure ones are channel_take()n when their transfer has ended well. */
int channel_dial(struct probe *p, struct wsock *s);
int channel_take(struct probe *p, struct wsock *s);
ssize_t channel_send(struct wsock *s, const char *bytes, size_t n);
ssize_t channel_recv(struct wsock *s, char *buf, size_t n);
void channel_close(struct probe *p, struct wsock *s);

/* events.c: what the figures of a websocket are made of. dropped: one that was open. opened: head
 * is the answer to the upgrade. take: the params of a notification. */
void events_dropped(struct probe *p, struct wsock *s, nsec_t now);
void events_opened(struct probe *p, struct wsock *s, const char *head);
void events_take(struct probe *p, struct wsock *s, const json_t *params, nsec_t now);

/* sockets.c */
int sockets_start(struct probe *p, struct err *err);
void sockets_tick(struct probe *p);
void sockets_done(struct probe *p);
