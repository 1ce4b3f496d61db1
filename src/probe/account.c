/* Where requests are born, judged and buried: the only place that touches the counts. */
#include "format/json.h"
#include "probe/internal.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *const probe_outcome_words[PROBE_OUTCOMES] = {
    [PROBE_OK] = "ok",
    [PROBE_BAD] = "bad",
    [PROBE_REFUSED] = "refused",
    [PROBE_RESET] = "reset",
    [PROBE_TIMEOUT] = "timed out",
    [PROBE_UNSENT] = "unsent",
    [PROBE_LEFT] = "left waiting",
};

const char *const probe_bad_words[PROBE_BADS] = {
    [PROBE_BAD_HTTP] = "not HTTP",
    [PROBE_BAD_STATUS] = "status",
    [PROBE_BAD_BODY] = "body",
    [PROBE_BAD_RPC] = "JSON-RPC error",
    [PROBE_BAD_NUMBER] = "other's answer",
    [PROBE_BAD_STALE] = "stale slot",
};

struct request *request_new(struct probe *p, nsec_t intended)
{
    struct request *rq = p->free_requests;
    if (rq)
        p->free_requests = (struct request *)rq->by_deadline.next;
    else
        rq = x_alloc(sizeof(*rq));
    uint64_t n = ++p->numbers;
    const struct probe_options *o = &p->o;
    memset(rq, 0, sizeof(*rq));
    rq->number = n + o->numbers_from;
    rq->intended = intended;
    rq->slow = o->slow_every && n % o->slow_every == 0;
    rq->fresh = n * o->fresh_percent / 100 != (n - 1) * o->fresh_percent / 100;
    rq->deadline = intended + (rq->slow ? o->slow_timeout : o->timeout);
    rq->body = rq->slow && o->slow_body ? &p->slow_body
               : p->n_bodies            ? &p->bodies[n % p->n_bodies]
                                        : &p->bodies[0];
    rq->slot_floor = p->r.slot_last;
    link_add_tail(&p->open[rq->slow], &rq->by_deadline);
    p->r.sent++;
    p->r.in_flight++;
    p->r.slow += rq->slow;
    return rq;
}

static void log_write(struct probe *p)
{
    if (p->log.len && sys_write_all(p->log_fd, p->log.buf, p->log.len) < 0)
        p->r.log_failed = true;
    str_clear(&p->log);
}

void log_flush(struct probe *p)
{
    if (p->log_fd < 0 || p->now < p->log_due)
        return;
    log_write(p);
    p->log_due = p->now + NSEC_S;
}

static void log_line(struct probe *p, const struct request *rq, enum probe_outcome outcome,
                     int status, const char *detail)
{
    if (p->log_fd < 0)
        return;
    if (outcome == PROBE_OK) {
        str_addf(&p->log, "%d %.4f\n", status, (double)(p->now - rq->intended) / 1e9);
    } else {
        time_t t = (time_t)(sys_clock_wall() / NSEC_S);
        struct tm tm;
        char date[64];
        strftime(date, sizeof(date), "%a %b %e %H:%M:%S %Z %Y", localtime_r(&t, &tm));
        str_addf(&p->log, "FAIL %s #%llu %s: %s\n", date, (unsigned long long)rq->number,
                 probe_outcome_words[outcome], detail);
    }
    if (p->log.len > SCRATCH_SIZE)
        log_write(p);
}

/* A gap runs from one good answer to the next. What the probe itself slept through is not the
 * server's: it is taken off, and so is a planned pause; and after the last request nothing is owed
 * any more. */
static void gap_close(struct probe *p, nsec_t until)
{
    if (p->sending_over && until > p->last_intended)
        until = p->last_intended > p->last_good ? p->last_intended : p->last_good;
    nsec_t whole = until - p->last_good, planned = hold_overlap(p, p->last_good, until);
    nsec_t gap = whole - planned - (p->excused - p->excused_at_good);
    if (planned && whole > p->r.hold.pause)
        p->r.hold.pause = whole;
    if (gap > p->r.longest_gap) {
        p->r.longest_gap = gap;
        p->r.longest_gap_at = p->last_good - p->start;
    }
    p->last_good = until;
    p->excused_at_good = p->excused;
}

static void keep_failure(struct probe *p, const struct request *rq, enum probe_outcome outcome,
                         enum probe_bad bad, const char *detail)
{
    if (p->r.n_failures++ >= PROBE_FAILURES)
        return;
    struct probe_failure *f = &p->r.failures[p->r.n_failures - 1];
    *f = (struct probe_failure){.number = rq->number,
                                .intended = rq->intended - p->start,
                                .ended = p->now - p->start,
                                .outcome = outcome,
                                .bad = bad};
    snprintf(f->detail, sizeof(f->detail), "%s", detail);
}

void request_end(struct probe *p, struct request *rq, enum probe_outcome outcome,
                 enum probe_bad bad, int status, const char *detail)
{
    p->now = sys_clock_mono();
    p->r.in_flight--;
    bool held = hold_touches(p, rq), timed = outcome <= PROBE_BAD || p->now >= rq->deadline;
    if (held && hold_left(p) && outcome > PROBE_RESET)
        outcome = PROBE_LEFT;
    if (outcome == PROBE_OK || sys_fault_point("probe/count-loss") == 0)
        p->r.outcome[outcome]++;
    if (outcome == PROBE_BAD)
        p->r.bad[bad]++;
    if (held)
        hold_count(p, rq, outcome);
    else if (timed)
        hist_add(&p->r.latency, p->now - rq->intended);
    if (p->windows && timed)
        windows_add(p, p->now - rq->intended, held);
    if (outcome == PROBE_OK)
        gap_close(p, p->now);
    else if (outcome != PROBE_LEFT)
        keep_failure(p, rq, outcome, bad, detail);
    log_line(p, rq, outcome, status, detail);
    link_remove(&rq->by_deadline);
    link_remove(&rq->in_queue);
    rq->by_deadline.next = (struct link *)p->free_requests;
    p->free_requests = rq;
}

static void name_colour(const struct probe *p, const struct http1 *h, json_t *j, char *name,
                        size_t size)
{
    cleanup_str struct str text = {.max = JSON_MAX_BYTES};
    if (p->o.colour_field && json_text(json_at(j, p->o.colour_field), &text))
        str_format(name, size, "%s", str_cstr(&text));
    else if (!http1_header(h, p->o.colour_header, name, size))
        str_format(name, size, "-");
}

static void count_colour(struct probe *p, const struct request *rq, const struct http1 *h,
                         json_t *j, bool ok)
{
    char name[sizeof(p->r.colours[0].name)];
    name_colour(p, h, j, name, sizeof(name));
    unsigned i = 0;
    while (i < p->r.n_colours && strcmp(p->r.colours[i].name, name) != 0)
        i++;
    if (i == PROBE_COLOURS)
        i--;
    struct probe_colour *c = &p->r.colours[i];
    if (i == p->r.n_colours) {
        p->r.n_colours++;
        memcpy(c->name, name, sizeof(name));
        c->first = p->now - p->start;
    }
    c->last = p->now - p->start;
    c->ok += ok;
    c->bad += !ok;
    if (p->windows)
        windows_colour(p, i, rq->intended);
}

struct verdict {
    bool good;
    enum probe_bad bad;
    char detail[104];
};

static void judge_slot(struct probe *p, const struct request *rq, const json_t *result,
                       struct verdict *v)
{
    if (!rq->body->slot || !json_is_integer(result))
        return;
    int64_t slot = json_integer_value(result);
    if (!p->r.slots_seen)
        p->r.slot_first = slot;
    int64_t back = p->r.slots_seen ? rq->slot_floor - slot : 0;
    p->r.slots_seen = true;
    if (slot > p->r.slot_last)
        p->r.slot_last = slot;
    if (back > p->r.slot_step_back)
        p->r.slot_step_back = back;
    if (!p->o.limit_step_back || back <= p->o.max_step_back)
        return;
    v->good = false;
    v->bad = PROBE_BAD_STALE;
    snprintf(v->detail, sizeof(v->detail), "slot %lld is %lld behind what was already seen",
             (long long)slot, (long long)back);
}

static void judge_rpc(struct probe *p, const struct request *rq, const struct http1 *h,
                      const json_t *j, struct verdict *v)
{
    const json_t *id = json_object_get(j, "id"), *error = json_object_get(j, "error");
    v->good = false;
    if (!json_is_object(j) || (!error && !json_object_get(j, "result"))) {
        v->bad = PROBE_BAD_BODY;
        snprintf(v->detail, sizeof(v->detail), "no JSON-RPC answer: '%.60s'", str_cstr(&h->body));
    } else if (!json_is_integer(id) || (uint64_t)json_integer_value(id) != rq->number) {
        v->bad = PROBE_BAD_NUMBER;
        snprintf(v->detail, sizeof(v->detail), "the answer has the id %lld",
                 json_is_integer(id) ? (long long)json_integer_value(id) : -1LL);
    } else if (error) {
        const char *text = json_string_value(json_object_get(error, "message"));
        v->bad = PROBE_BAD_RPC;
        snprintf(v->detail, sizeof(v->detail), "JSON-RPC error %lld: %.60s",
                 (long long)json_integer_value(json_object_get(error, "code")), text ? text : "");
    } else {
        v->good = true;
        judge_slot(p, rq, json_object_get(j, "result"), v);
    }
}

/* A backend that echoes our header tells whose answer this is, also where the body is no JSON-RPC.
 */
static bool number_matches(const struct request *rq, const struct http1 *h, struct verdict *v)
{
    char echo[32];
    if (!http1_header(h, "X-Changeover-Probe", echo, sizeof(echo)) ||
        strtoull(echo, NULL, 10) == rq->number)
        return true;
    v->bad = PROBE_BAD_NUMBER;
    snprintf(v->detail, sizeof(v->detail), "the answer has the number %s", echo);
    return false;
}

static void judge(struct probe *p, const struct request *rq, const struct http1 *h, const json_t *j,
                  struct verdict *v)
{
    if (h->status != p->o.expect_status) {
        v->bad = PROBE_BAD_STATUS;
        snprintf(v->detail, sizeof(v->detail), "status %d: '%.60s'", h->status, str_cstr(&h->body));
        v->detail[strcspn(v->detail, "\r\n")] = '\0';
        return;
    }
    if (!number_matches(rq, h, v))
        return;
    if (p->has_regex && regexec(&p->regex, str_cstr(&h->body), 0, NULL, 0) != 0) {
        v->bad = PROBE_BAD_BODY;
        snprintf(v->detail, sizeof(v->detail), "the body is not as expected: '%.60s'",
                 str_cstr(&h->body));
        return;
    }
    v->good = true;
    if (rq->body->rpc)
        judge_rpc(p, rq, h, j, v);
}

void request_judge(struct probe *p, struct request *rq, const struct http1 *h)
{
    struct verdict v = {0};
    cleanup_json json_t *j = rq->body->rpc || p->o.colour_field
                                 ? json_loadb(str_cstr(&h->body), h->body.len, 0, NULL)
                                 : NULL;
    judge(p, rq, h, j, &v);
    count_colour(p, rq, h, j, v.good);
    request_end(p, rq, v.good ? PROBE_OK : PROBE_BAD, v.bad, h->status, v.detail);
}

uint64_t probe_lost(const struct probe_result *r)
{
    uint64_t lost = 0;
    for (int i = PROBE_OK + 1; i < PROBE_LEFT; i++)
        lost += r->outcome[i];
    return lost;
}

bool probe_clean(const struct probe_result *r)
{
    return !probe_lost(r) && !r->duplicate_answers && !r->executed.twice && !r->executed.failed &&
           r->ws.open == r->ws.wanted;
}

void probe_result_done(struct probe_result *r)
{
    hist_done(&r->latency);
    hist_done(&r->lateness);
    hist_done(&r->ws.away);
}
