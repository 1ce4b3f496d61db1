/* libcurl's multi interface in the probe's own loop: its sockets in our epoll, its timer among our
 * deadlines. */
#include "probe/internal.h"
#include "sys/clock.h"
#include "sys/loop.h"

#include <stdlib.h>
#include <string.h>

struct curl_watch {
    struct watch watch; /* first */
    struct curl_loop *loop;
    struct curl_watch *prev, *next;
    bool gone;
};

static void on_socket(struct probe *p, struct watch *w, uint32_t events)
{
    (void)p;
    const struct curl_watch *cw = (struct curl_watch *)w;
    int mask = (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP) ? CURL_CSELECT_IN : 0) |
               (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & EPOLLERR ? CURL_CSELECT_ERR : 0);
    int running;
    if (!cw->gone)
        curl_multi_socket_action(cw->loop->multi, w->fd, mask, &running);
}

static int socket_cb(CURL *easy, curl_socket_t fd, int what, void *ctx, void *sock_ctx)
{
    (void)easy;
    struct curl_loop *l = ctx;
    struct curl_watch *w = sock_ctx;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            sys_poll_remove(l->p->poll_fd, fd);
            w->gone = true; /* freed after this round of events */
        }
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                      (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    if (w) {
        sys_poll_change(l->p->poll_fd, fd, events, w);
        return 0;
    }
    w = x_alloc(sizeof(*w));
    w->watch = (struct watch){.ready = on_socket, .fd = fd};
    w->loop = l;
    w->next = l->watches;
    if (w->next)
        w->next->prev = w;
    l->watches = w;
    sys_poll_add(l->p->poll_fd, fd, events, w);
    curl_multi_assign(l->multi, fd, w);
    return 0;
}

static int timer_cb(CURLM *multi, long timeout_ms, void *ctx)
{
    (void)multi;
    struct curl_loop *l = ctx;
    l->due = timeout_ms < 0 ? INT64_MAX : sys_clock_mono() + timeout_ms * NSEC_MS;
    return 0;
}

int curl_loop_start(struct curl_loop *l, struct probe *p, const struct target *t, struct err *err)
{
    char address[80];
    *l = (struct curl_loop){.p = p, .due = INT64_MAX, .ended = l->ended};
    curl_global_init(CURL_GLOBAL_DEFAULT);
    l->multi = curl_multi_init();
    if (!l->multi)
        return err_set(err, ERR_FAILED, "probe: libcurl does not start");
    curl_multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, socket_cb);
    curl_multi_setopt(l->multi, CURLMOPT_SOCKETDATA, l);
    curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, timer_cb);
    curl_multi_setopt(l->multi, CURLMOPT_TIMERDATA, l);
    sys_addr_text(address, sizeof(address), &t->addr);
    char *port = strrchr(address, ':');
    *port = '\0';
    cleanup_free char *entry = x_asprintf("%s:%s:%s", t->host, port + 1, address);
    l->resolve = curl_slist_append(NULL, entry);
    return 0;
}

CURL *curl_loop_easy(struct curl_loop *l, void *owner)
{
    const struct probe_options *o = &l->p->o;
    CURL *e = curl_easy_init();
    if (!e)
        abort();
    curl_easy_setopt(e, CURLOPT_PRIVATE, owner);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_RESOLVE, l->resolve);
    /* without a directory libcurl keeps the certificates it has read: else 30 ms of work a
     * connection */
    curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    if (o->ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file);
    if (o->insecure) {
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return e;
}

/* libcurl counts in whole milliseconds: a timer may have rung before it was due in its own eyes,
 * and then it does not set it again by itself. */
static void timer_ask(struct curl_loop *l)
{
    long timeout_ms = -1;
    if (l->due == INT64_MAX && curl_multi_timeout(l->multi, &timeout_ms) == CURLM_OK &&
        timeout_ms >= 0)
        timer_cb(l->multi, timeout_ms ? timeout_ms : 1, l);
}

static void free_gone(struct curl_loop *l, bool all)
{
    for (struct curl_watch *w = l->watches, *next; w; w = next) {
        next = w->next;
        if (!w->gone && !all)
            continue;
        if (w->prev)
            w->prev->next = next;
        else
            l->watches = next;
        if (next)
            next->prev = w->prev;
        free(w);
    }
}

void curl_loop_turn(struct curl_loop *l)
{
    int running, left;
    if (!l->multi)
        return;
    if (sys_clock_mono() >= l->due) {
        l->due = INT64_MAX;
        curl_multi_socket_action(l->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    timer_ask(l);
    for (CURLMsg *m; (m = curl_multi_info_read(l->multi, &left));) {
        void *owner = NULL;
        CURLcode code = m->data.result;
        if (m->msg == CURLMSG_DONE &&
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&owner) == CURLE_OK &&
            owner)
            l->ended(l->p, owner, code);
    }
    free_gone(l, false);
}

void curl_loop_done(struct curl_loop *l)
{
    if (l->multi)
        curl_multi_cleanup(l->multi);
    free_gone(l, true);
    curl_slist_free_all(l->resolve);
    *l = (struct curl_loop){0};
}
