/* The loop: sends what is due, waits for what comes, gives up on what is late. */
#include "probe/internal.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STALL NSEC_MS /* a wake-up later than this is a stall of the probe */
#define ASK_STOP (50 * NSEC_MS)
#define WAIT_MAX (200 * NSEC_MS)
#define SOCKETS_GRACE (2 * NSEC_S)

enum { EVENTS = 256, BURST = 256 };

static void assert_sum(const struct probe *p)
{
    uint64_t sum = p->r.in_flight;
    for (int i = 0; i < PROBE_OUTCOMES; i++)
        sum += p->r.outcome[i];
    if (sum != p->r.sent || p->numbers != p->r.sent)
        abort(); /* the probe's figures would be a lie */
}

/* From the number, not from the last time: rounding does not add up. */
static nsec_t intended_time(const struct probe *p, uint64_t number)
{
    double rate = p->o.rate;
    if (p->o.ramp_to == 0)
        return p->start + (nsec_t)((double)number * 1e9 / rate);
    /* number = rate * t + growth / 2 * t^2, solved for t in a form that growth 0 does not upset */
    double growth = (p->o.ramp_to - rate) / ((double)p->o.duration / 1e9);
    double root = rate * rate + 2 * growth * (double)number;
    if (root < 0)
        return p->end; /* a falling ramp never gets there */
    return p->start + (nsec_t)(2e9 * (double)number / (rate + sqrt(root)));
}

/* Called when the probe wakes up, before it looks at what came: how long it slept past its time. */
static nsec_t stall_note(struct probe *p)
{
    nsec_t now = sys_clock_mono();
    nsec_t due = p->next_intended > p->acted ? p->next_intended : p->acted;
    if (p->sending_over || hold_lasts(p) || due >= p->end || now <= due + STALL)
        return 0;
    p->r.stalls += now - due;
    p->excused += now - due;
    return now - due;
}

/* Called after it: if requests were waiting and still nothing good had come when the probe woke up,
 * then the server did not answer in that time either, and the stall excuses nothing. */
static void stall_judge(struct probe *p, nsec_t stall, uint64_t in_flight, nsec_t last_good)
{
    if (stall && in_flight && p->last_good == last_good)
        p->excused -= stall;
}

static void send_due(struct probe *p)
{
    nsec_t now = sys_clock_mono();
    for (int i = 0; i < BURST && !p->sending_over; i++) {
        if (p->next_intended >= p->end || atomic_load(&p->stopping)) {
            p->sending_over = true;
            p->over_at = now;
            break;
        }
        if (p->next_intended > (now = sys_clock_mono()))
            break;
        if (hold_skips(p, p->next_intended)) {
            p->next_intended = intended_time(p, p->numbers + p->r.hold.not_sent);
            continue;
        }
        struct request *rq = request_new(p, p->next_intended);
        hist_add(&p->r.lateness, now - p->next_intended);
        p->last_intended = p->next_intended;
        p->next_intended = intended_time(p, p->numbers + p->r.hold.not_sent);
        p->transport->submit(p, rq);
    }
    p->acted = now;
}

static struct request *open_first(struct probe *p, int slow)
{
    struct link *l = p->open[slow].next;
    return l == &p->open[slow] ? NULL : (struct request *)l;
}

static void end_late(struct probe *p)
{
    nsec_t now = sys_clock_mono();
    for (int slow = 0; slow < 2; slow++) {
        struct request *rq;
        while ((rq = open_first(p, slow)) && (hold_deadline(p, rq) <= now || hold_left(p)))
            p->transport->timeout(p, rq);
    }
}

static nsec_t wait_time(struct probe *p)
{
    nsec_t now = sys_clock_mono(), until = now + WAIT_MAX;
    if (!p->sending_over && p->next_intended < until)
        until = p->next_intended;
    for (int slow = 0; slow < 2; slow++) {
        const struct request *rq = open_first(p, slow);
        if (rq && hold_deadline(p, rq) < until)
            until = hold_deadline(p, rq);
    }
    for (int i = 0; i < LOOPS; i++)
        if (p->loops[i].multi && p->loops[i].due < until)
            until = p->loops[i].due;
    if (p->socks_due < until)
        until = p->socks_due;
    return until > now ? until - now : 0;
}

static void ask_stop(struct probe *p)
{
    nsec_t now = sys_clock_mono();
    p->r.elapsed = now - p->start;
    if (!p->o.stop || p->sending_over || now < p->stop_asked + ASK_STOP)
        return;
    p->stop_asked = now;
    if (p->o.stop(p->o.stop_ctx))
        atomic_store(&p->stopping, true);
}

static void wake_ready(struct probe *p, struct watch *w, uint32_t events)
{
    (void)p;
    (void)events;
    sys_event_clear(w->fd);
}

/* A websocket that is just coming back gets the time for it. */
static bool all_over(const struct probe *p)
{
    return p->sending_over && !p->r.in_flight &&
           ((p->r.ws.open == p->r.ws.wanted && !p->r.ws.silent) ||
            p->now > p->over_at + SOCKETS_GRACE);
}

static void *probe_main(void *ctx)
{
    struct probe *p = ctx;
    struct epoll_event events[EVENTS];
    int n = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        if (n < EVENTS) /* else answers are waiting that we only have not read yet */
            end_late(p);
        send_due(p);
        sockets_tick(p);
        p->transport->reap(p);
        ask_stop(p);
        p->now = sys_clock_mono();
        hold_tick(p);
        if (p->windows)
            windows_tick(p);
        log_flush(p);
        if (all_over(p))
            break;
        nsec_t timeout = n == EVENTS ? 0 : wait_time(p);
        pthread_mutex_unlock(&p->lock);
        n = sys_poll_wait(p->poll_fd, events, EVENTS, timeout);
        pthread_mutex_lock(&p->lock);
        nsec_t stall = stall_note(p), last_good = p->last_good;
        uint64_t in_flight = p->r.in_flight;
        for (int i = 0; i < n; i++) {
            struct watch *w = events[i].data.ptr;
            w->ready(p, w, events[i].events);
        }
        stall_judge(p, stall, in_flight, last_good);
    }
    p->r.elapsed = sys_clock_mono() - p->start;
    assert_sum(p);
    atomic_store(&p->finished, true);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static int check_times(const struct probe_options *o, struct err *err)
{
    if (o->ramp_to != 0 && !o->duration)
        return err_set(err, ERR_USAGE, "a ramp to %g needs a duration: when it is reached",
                       o->ramp_to);
    if (o->ramp_to != 0 && !(o->ramp_to >= 0.01 && o->ramp_to <= 1e6))
        return err_set(err, ERR_USAGE, "ramp to %g: has to be from 0.01 to 1000000 a second",
                       o->ramp_to);
    if (o->series && o->series < 10 * NSEC_MS)
        return err_set(err, ERR_USAGE, "a series needs stretches of 10 ms at least");
    return 0;
}

static int defaults(struct probe_options *o, struct err *err)
{
    if (!o->url)
        return err_set(err, ERR_USAGE, "the probe needs a URL");
    o->rate = o->rate == 0 ? 500 : o->rate;
    if (!isfinite(o->rate) || o->rate < 0.01 || o->rate > 1e6)
        return err_set(err, ERR_USAGE, "rate %g: has to be from 0.01 to 1000000 a second", o->rate);
    if (o->fresh_percent > 100)
        return err_set(err, ERR_USAGE, "%u %% fresh connections: at most 100", o->fresh_percent);
    o->connections = o->connections ? o->connections : 1024;
    o->timeout = o->timeout ? o->timeout : 5 * NSEC_S;
    o->slow_timeout = o->slow_timeout ? o->slow_timeout : 60 * NSEC_S;
    o->expect_status = o->expect_status ? o->expect_status : 200;
    o->colour_header = o->colour_header ? o->colour_header : "X-Changeover-Colour";
    if (!o->slow_body && !o->slow_path)
        o->slow_every = 0;
    return check_times(o, err);
}

static int open_descriptors(struct probe *p, struct err *err)
{
    p->poll_fd = sys_poll_new();
    p->wake_fd = sys_event_new();
    p->wake = (struct watch){.ready = wake_ready, .fd = p->wake_fd};
    if (p->poll_fd < 0 || p->wake_fd < 0 ||
        sys_poll_add(p->poll_fd, p->wake_fd, EPOLLIN, &p->wake) < 0)
        return err_sys(err, ERR_FAILED, "probe: event loop");
    if (!p->o.log_path)
        return 0;
    p->log_fd = sys_open(p->o.log_path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    return p->log_fd < 0 ? err_sys(err, ERR_FAILED, "open log '%s'", p->o.log_path) : 0;
}

int probe_start(const struct probe_options *o, struct probe **ret, struct err *err)
{
    struct probe *p = x_alloc(sizeof(*p));
    p->o = *o;
    p->poll_fd = p->wake_fd = p->log_fd = -1;
    p->joined = true;
    pthread_mutex_init(&p->lock, NULL);
    link_init(&p->open[0]);
    link_init(&p->open[1]);
    link_init(&p->queue);
    p->scratch = x_alloc(SCRATCH_SIZE);
    if (defaults(&p->o, err) < 0 || setup_requests(p, err) < 0 || sockets_start(p, err) < 0 ||
        executed_start(p, err) < 0 || open_descriptors(p, err) < 0)
        goto fail;
    p->transport = p->secure_url ? &transport_secure : &transport_plain;
    if (p->transport->start(p, err) < 0)
        goto fail;
    p->r.interval =
        (nsec_t)(p->o.ramp_to == 0 ? 1e9 / p->o.rate : 2e9 / (p->o.rate + p->o.ramp_to));
    p->r.started_wall = sys_clock_wall();
    p->start = p->next_intended = p->last_good = sys_clock_mono() + NSEC_MS;
    windows_start(p);
    p->end = p->o.duration ? p->start + p->o.duration : INT64_MAX;
    if (sys_thread_start(&p->thread, probe_main, p, err) < 0)
        goto fail;
    p->joined = false;
    *ret = p;
    return 0;
fail:
    probe_free(p);
    return -1;
}

/* While nothing good comes, the gap that is still open counts as well: up to the last request that
 * should have had an answer. */
static void gap_until_now(const struct probe *p, struct probe_result *r)
{
    nsec_t whole = p->last_intended - p->last_good,
           planned = hold_overlap(p, p->last_good, p->last_intended);
    nsec_t gap = whole - planned - (p->excused - p->excused_at_good);
    if (planned && whole > r->hold.pause)
        r->hold.pause = whole;
    if (gap <= r->longest_gap)
        return;
    r->longest_gap = gap;
    r->longest_gap_at = p->last_good - p->start;
}

void probe_snapshot(struct probe *p, struct probe_result *ret)
{
    struct hist latency = ret->latency, lateness = ret->lateness, away = ret->ws.away;
    pthread_mutex_lock(&p->lock);
    assert_sum(p);
    hist_copy(&latency, &p->r.latency);
    hist_copy(&lateness, &p->r.lateness);
    hist_copy(&away, &p->r.ws.away);
    *ret = p->r;
    gap_until_now(p, ret);
    pthread_mutex_unlock(&p->lock);
    ret->latency = latency;
    ret->lateness = lateness;
    ret->ws.away = away;
}

bool probe_finished(struct probe *p)
{
    return atomic_load(&p->finished);
}

void probe_wait(struct probe *p, struct probe_result *ret)
{
    if (!p->joined) {
        sys_thread_join(p->thread);
        probe_look_executed(p);
    }
    p->joined = true;
    p->log_due = 0;
    log_flush(p);
    if (ret)
        probe_snapshot(p, ret);
}

void probe_stop(struct probe *p, struct probe_result *ret)
{
    atomic_store(&p->stopping, true);
    sys_event_raise(p->wake_fd);
    probe_wait(p, ret);
}

void probe_free(struct probe *p)
{
    if (!p)
        return;
    if (!p->joined)
        probe_stop(p, NULL);
    if (p->transport)
        p->transport->done(p);
    sockets_done(p);
    windows_done(p);
    for (struct request *rq; (rq = p->free_requests);) {
        p->free_requests = (struct request *)rq->by_deadline.next;
        free(rq);
    }
    setup_done(p);
    str_done(&p->out);
    str_done(&p->log);
    free(p->scratch);
    executed_done(p);
    sys_close_p(&p->poll_fd);
    sys_close_p(&p->wake_fd);
    sys_close_p(&p->log_fd);
    probe_result_done(&p->r);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

int probe_run(const struct probe_options *o, struct probe_result *ret, struct err *err)
{
    struct probe *p;
    if (probe_start(o, &p, err) < 0)
        return -1;
    probe_wait(p, ret);
    probe_free(p);
    return 0;
}
