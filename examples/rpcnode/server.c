/* The event loop: listeners, timers, signals, rounds. */
#include "server.h"

#include "admin.h"
#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 128
#define GOSSIP_POLL_MS 200

static void watch(const struct node *node, struct source *source)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = source};
    epoll_ctl(node->epoll_fd, EPOLL_CTL_ADD, source->fd, &e);
}

static void accept_all(struct node *node, const struct source *listener, enum conn_kind kind)
{
    for (;;) {
        int on = 1;
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (kind != CONN_ADMIN)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        conn_add(node, fd, kind);
    }
}

static void on_rpc(struct node *node, struct source *source, uint32_t events)
{
    (void)events;
    accept_all(node, source, CONN_RPC);
}

static void on_ws(struct node *node, struct source *source, uint32_t events)
{
    (void)events;
    accept_all(node, source, CONN_WS_PORT);
}

static void on_admin(struct node *node, struct source *source, uint32_t events)
{
    (void)events;
    accept_all(node, source, CONN_ADMIN);
}

static void on_slot(struct node *node, struct source *source, uint32_t events)
{
    uint64_t count = 0, tip = atomic_load(&node->store.tip);
    (void)events;
    if (read(source->fd, &count, sizeof(count)) < 0 || tip <= node->notified_slot)
        return;
    if (!node->hanging)
        conn_notify_slots(node, node->notified_slot + 1, tip);
    node->notified_slot = tip;
}

static int listen_tcp(const struct options *o, uint64_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (inet_pton(AF_INET, o->host, &addr.sin_addr) != 1)
        errno = EADDRNOTAVAIL;
    else if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(fd, 1024) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static void close_listener(struct source *listener)
{
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
}

/* Returns -1, or the exit status. */
static int open_rpc(struct node *node)
{
    const struct options *o = node->options;
    int fd = listen_tcp(o, o->rpc_port);
    if (fd < 0) {
        fprintf(stderr, "Failed to start validator: %s (os error %d)\n", strerror(errno), errno);
        return 1;
    }
    node->rpc_listener = (struct source){.on_event = on_rpc, .fd = fd};
    watch(node, &node->rpc_listener);
    if (!o->no_ws && !o->ws_on_rpc_port) {
        fd = listen_tcp(o, o->ws_port);
        node->ws_listener = (struct source){.on_event = on_ws, .fd = fd};
        if (fd < 0)
            log_line("WARN", "failed to bind rpc_pubsub listener: %s (os error %d)",
                     strerror(errno), errno);
        else
            watch(node, &node->ws_listener);
    }
    node->open_real_ns = now_real_ns();
    node->verified_ns = now_mono_ns() + o->verify_ms * NS_PER_MS;
    log_line("INFO", "rpc listening on %s:%llu", o->host, (unsigned long long)o->rpc_port);
    return chain_start(node) < 0 ? 1 : -1;
}

/* As agave's exit: nothing is drained. */
static void cut_connections(struct node *node)
{
    struct conn *next = NULL;
    close_listener(&node->rpc_listener);
    close_listener(&node->ws_listener);
    for (struct conn *c = node->conns; c != NULL; c = next) {
        next = c->next;
        if (c->kind != CONN_ADMIN)
            conn_close(node, c);
    }
}

void server_hang(struct node *node)
{
    log_line("WARN", "hanging from now on");
    node->hanging = true;
    for (struct conn *c = node->conns; c != NULL; c = c->next) {
        if (c->kind == CONN_ADMIN)
            continue;
        epoll_ctl(node->epoll_fd, EPOLL_CTL_DEL, c->source.fd, NULL);
        c->due_ns = 0;
    }
}

/* --graceful-term: what is under way is finished, what is idle is closed. */
static void end_gracefully(struct node *node)
{
    struct conn *next = NULL;
    log_line("INFO", "SIGTERM: finishing what is under way");
    node->draining = true;
    close_listener(&node->rpc_listener);
    close_listener(&node->ws_listener);
    for (struct conn *c = node->conns; c != NULL; c = next) {
        next = c->next;
        if (c->kind == CONN_WS)
            ws_go_away(node, c);
        else if (c->in.n == 0 && c->out.n == 0)
            conn_close(node, c);
    }
}

static void on_signal(struct node *node, struct source *source, uint32_t events)
{
    struct signalfd_siginfo info;
    (void)events;
    if (read(source->fd, &info, sizeof(info)) < 0)
        return;
    if (info.ssi_signo == SIGTERM)
        end_gracefully(node);
    else
        ws_close_over(node, node->options->ws_close_over_ms);
}

static bool still_serving(const struct node *node)
{
    for (const struct conn *c = node->conns; c != NULL; c = c->next) {
        if (c->kind != CONN_ADMIN)
            return true;
    }
    return false;
}

/* Returns -1, or the exit status. */
static int run_timer(struct node *node, enum timer timer)
{
    switch (timer) {
    case TIMER_OPEN_RPC:
        return open_rpc(node);
    case TIMER_CRASH:
        fprintf(stderr, "thread 'solReplayStage' panicked at rpcnode: --crash-after-ms\n");
        return 101;
    case TIMER_HANG:
        server_hang(node);
        break;
    case TIMER_CUT:
        cut_connections(node);
        break;
    case TIMER_END:
        return 0;
    case TIMER_GOSSIP:
        gossip_check(node);
        node->due_ns[TIMER_GOSSIP] = now_mono_ns() + GOSSIP_POLL_MS * NS_PER_MS;
        break;
    case TIMER_CLOSE_WS:
        ws_close_due(node);
        break;
    case TIMER_COUNT:
        break;
    }
    return -1;
}

static int run_timers(struct node *node, uint64_t now)
{
    for (unsigned i = 0; i < TIMER_COUNT; i++) {
        if (node->due_ns[i] == 0 || node->due_ns[i] > now)
            continue;
        node->due_ns[i] = 0;
        int status = run_timer(node, (enum timer)i);
        if (status >= 0)
            return status;
    }
    if (node->next_delayed_ns != 0 && node->next_delayed_ns <= now)
        conn_serve_delayed(node, now);
    return -1;
}

static int wait_ms(const struct node *node, uint64_t now)
{
    uint64_t due = node->next_delayed_ns;
    for (unsigned i = 0; i < TIMER_COUNT; i++) {
        if (node->due_ns[i] != 0 && (due == 0 || node->due_ns[i] < due))
            due = node->due_ns[i];
    }
    if (due == 0)
        return -1;
    return due <= now ? 0 : (int)((due - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void set_timers(struct node *node)
{
    const struct options *o = node->options;
    uint64_t now = now_mono_ns();
    node->due_ns[TIMER_OPEN_RPC] = now + o->load_ms * NS_PER_MS;
    if (o->crash_after_ms > 0)
        node->due_ns[TIMER_CRASH] = now + o->crash_after_ms * NS_PER_MS;
    if (o->hang || o->hang_after_ms > 0)
        node->due_ns[TIMER_HANG] = now + (o->hang ? 0 : o->hang_after_ms) * NS_PER_MS;
    if (o->gossip_dir != NULL)
        node->due_ns[TIMER_GOSSIP] = now;
}

static int open_sources(struct node *node)
{
    node->rpc_listener.fd = node->ws_listener.fd = -1;
    node->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    node->slot_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    node->admin_listener =
        (struct source){.on_event = on_admin, .fd = admin_listen(node->store.ledger_fd)};
    if (node->epoll_fd < 0 || node->slot_event_fd < 0 || node->admin_listener.fd < 0) {
        log_line("ERROR", "cannot listen on the admin socket: %s", strerror(errno));
        return -1;
    }
    watch(node, &node->admin_listener);
    node->slot_event = (struct source){.on_event = on_slot, .fd = node->slot_event_fd};
    watch(node, &node->slot_event);
    sigset_t set;
    if (!options_signals(node->options, &set)) /* blocked in main, before any thread */
        return 0;
    node->signals = (struct source){.on_event = on_signal,
                                    .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    watch(node, &node->signals);
    return 0;
}

int server_run(struct node *node)
{
    if (open_sources(node) < 0)
        return 1;
    node->notified_slot = atomic_load(&node->store.tip);
    node->next_subscription = 1;
    set_timers(node);
    for (int status = -1;;) {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(node->epoll_fd, events, EVENTS_MAX, wait_ms(node, now_mono_ns()));
        for (int i = 0; i < n; i++) {
            struct source *source = events[i].data.ptr;
            source->on_event(node, source, events[i].events);
        }
        status = run_timers(node, now_mono_ns());
        reqlog_flush(node);
        conn_send_pending(node);
        conn_free_dead(node);
        if (status < 0 && node->draining && !still_serving(node))
            status = 0;
        if (status < 0)
            continue;
        gossip_leave(node);
        unlinkat(node->store.ledger_fd, "admin.rpc", 0);
        return status;
    }
}
