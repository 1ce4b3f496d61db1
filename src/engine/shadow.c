#include "engine/shadow.h"

#include "driver/ask.h"
#include "format/json.h"
#include "sys/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOOK (100 * NSEC_MS) /* between two rounds of questions */
#define AT_ONCE 16           /* requests in flight to each side */
#define KEPT 8               /* answers that wait for the other side's of that slot */
#define DIFFERENCES_SAID 5

/* One side's answer. root NULL: none, or an error. */
struct answer {
    json_t *root;
    uint64_t slot; /* by slot_field */
    char error[160];
};

/* One request on its way through its samples. */
struct track {
    const struct spec_shadow_request *q;
    bool at_slot; /* it asks for a slot */
    int sample, good;
    uint64_t slot; /* that this sample asks for */
    bool slot_known;
    struct str params, path; /* with the slot in it */
    struct answer kept[COLOURS][KEPT];
    size_t next; /* of the ring */
    char why[360];
};

struct shadow {
    const struct driver_ctx *ctx;
    const struct shadow_request *rq;
    const struct spec *spec;
    int samples;
    struct track *tracks;
    size_t n;
    nsec_t deadline;
    struct shadow_result *ret;
    struct track *track; /* whose answers are compared */
    char at[32];         /* " at slot 7" */
};

bool shadow_wanted(const struct spec *s)
{
    return s->shadow.requests_n > 0;
}

void shadow_fill(const char *text, uint64_t slot, struct str *out)
{
    static const char name[] = SPEC_SHADOW_SLOT, alone[] = "\"" SPEC_SHADOW_SLOT "\"";
    for (const char *p; (p = strstr(text, name)); text = p) {
        bool whole = p > text && strncmp(p - 1, alone, sizeof(alone) - 1) == 0;
        str_add_n(out, text, (size_t)(p - whole - text));
        str_addf(out, "%" PRIu64, slot);
        p += sizeof(name) - 1 + whole;
    }
    str_add(out, text);
}

/* --- answers ------------------------------------------------------------------------------- */

static void forget(struct track *t)
{
    for (size_t k = 0; k < KEPT; k++)
        for (int c = GREEN; c < COLOURS; c++) {
            json_decref(t->kept[c][k].root);
            t->kept[c][k] = (struct answer){0};
        }
    t->next = 0;
}

static void take_json(const struct track *t, const struct query *q, struct answer *a)
{
    struct err none = {0};
    if (json_read(str_cstr(&q->value), q->value.len, &a->root, &none) < 0 && !t->q->query.method)
        a->root = json_stringn_nocheck(str_cstr(&q->value), q->value.len); /* a page is a text */
    json_t *error = t->q->query.method ? json_object_get(a->root, "error") : NULL;
    const char *message = json_string_value(json_object_get(error, "message"));
    if (!a->root)
        str_format(a->error, sizeof(a->error), "no JSON: '%.80s'", str_cstr(&q->value));
    else if (error && !json_is_null(error))
        str_format(a->error, sizeof(a->error), "error %lld: %.120s",
                   (long long)json_integer_value(json_object_get(error, "code")),
                   message ? message : "");
    else if (t->q->slot_field && !json_u64_at(a->root, t->q->slot_field, &a->slot))
        str_format(a->error, sizeof(a->error), "no number at '%.80s' (slot_field)",
                   t->q->slot_field);
}

static void take(const struct track *t, const struct query *q, struct answer *a)
{
    if (!q->answered)
        str_format(a->error, sizeof(a->error), "no answer: %.130s", q->why);
    else if (q->status != 200)
        str_format(a->error, sizeof(a->error), "status %d", q->status);
    else
        take_json(t, q, a);
    if (!a->error[0])
        return;
    json_decref(a->root);
    a->root = NULL;
}

/* Two errors are the same answer if their beginning is: the words may change with the version. */
static bool same_error(const struct answer *a, const struct answer *b)
{
    return (str_starts(a->error, "error ") || str_starts(a->error, "status ")) &&
           strcspn(a->error, ":") == strcspn(b->error, ":") &&
           strncmp(a->error, b->error, strcspn(a->error, ":")) == 0;
}

static void on_difference(void *ctx, const char *path, const char *a, const char *b)
{
    struct shadow *s = ctx;
    struct shadow_result *r = s->ret;
    r->fields++;
    if (r->shown_n == SHADOW_SHOWN)
        return;
    struct shadow_difference *d = &r->shown[r->shown_n++];
    d->request = s->track->q->name;
    memcpy(d->slot, s->at, sizeof(d->slot));
    str_format(d->path, sizeof(d->path), "%s", *path ? path : "(all of it)");
    str_format(d->value[s->rq->live], sizeof(d->value[0]), "%s", a);
    str_format(d->value[s->rq->standby], sizeof(d->value[0]), "%s", b);
}

static void sampled(struct shadow *s, struct track *t)
{
    s->ret->compared++;
    t->sample++;
    t->slot_known = false;
    forget(t);
}

static void compare(struct shadow *s, struct track *t, const struct answer *live,
                    const struct answer *standby)
{
    s->track = t;
    s->at[0] = '\0';
    if (t->at_slot || t->q->slot_field)
        str_format(s->at, sizeof(s->at), " at slot %" PRIu64, t->at_slot ? t->slot : live->slot);
    if (json_diff(live->root, standby->root, &s->spec->shadow.ignore, on_difference, s) > 0)
        s->ret->differ++;
    t->good++;
    sampled(s, t);
}

/* What both sides said just now: compared, or the reason why it could not be. */
static void judge(struct shadow *s, struct track *t)
{
    size_t now = t->next % KEPT;
    enum colour live = s->rq->live, standby = s->rq->standby;
    struct answer *a = &t->kept[live][now], *b = &t->kept[standby][now];
    t->next++;
    if (!a->root || !b->root) {
        bool same = !a->root && !b->root && same_error(a, b);
        str_format(t->why, sizeof(t->why), "%s: %s; %s: %s", colour_name(live),
                   a->root ? "answers" : a->error, colour_name(standby),
                   b->root ? "answers" : b->error);
        if (same)
            sampled(s, t);
        return;
    }
    if (!t->q->slot_field) {
        compare(s, t, a, b);
        return;
    }
    str_format(t->why, sizeof(t->why),
               "no answers of one slot: %s's is of %" PRIu64 ", %s's of %" PRIu64,
               colour_name(live), a->slot, colour_name(standby), b->slot);
    for (size_t i = 0; i < KEPT; i++)
        for (size_t k = 0; k < KEPT; k++)
            if (t->kept[live][i].root && t->kept[standby][k].root &&
                t->kept[live][i].slot == t->kept[standby][k].slot) {
                compare(s, t, &t->kept[live][i], &t->kept[standby][k]);
                return;
            }
}

/* --- asking -------------------------------------------------------------------------------- */

static int poll_driver(void *ctx)
{
    const struct driver_ctx *d = ctx;
    return driver_poll(d);
}

static int ask(struct shadow *s, struct query *qs, size_t n, struct err *err)
{
    struct driver_ctx d = *s->ctx;
    int rc = query_run(qs, n, poll_driver, &d, err);
    return rc > 0 ? err_set(err, ERR_INTERRUPTED, "asked to end while answers were compared") : rc;
}

static void fill_query(const struct shadow *s, enum colour c, const char *port, struct query *q)
{
    nsec_t left = s->deadline - sys_clock_mono(), most = s->spec->shadow.timeout;
    q->timeout = left < most ? left : most;
    if (q->timeout < NSEC_S && most >= NSEC_S) /* a shorter try says more about the load */
        q->timeout = NSEC_S;
    query_local(q, spec_port_number(s->ctx->side[c], port));
}

/* The newest slot that both have, or false (with the reason in t->why of whoever waits for it). */
static int newest(struct shadow *s, uint64_t *ret, char *why, size_t size, struct err *err)
{
    const struct spec_query *slot = &s->spec->shadow.slot;
    struct query qs[COLOURS] = {0};
    double v[COLOURS];
    for (int c = GREEN; c < COLOURS; c++) {
        qs[c].ask = query_of_spec(slot);
        fill_query(s, (enum colour)c, slot->port, &qs[c]);
    }
    int rc = ask(s, qs, COLOURS, err);
    for (int c = GREEN; c < COLOURS && rc == 0; c++)
        if (!query_number(&qs[c], &v[c]) || v[c] < 0) {
            str_format(why, size, "%s does not say its newest slot: %s", colour_name(c),
                       qs[c].found ? str_cstr(&qs[c].value) : qs[c].why);
            rc = 1;
        }
    if (rc == 0)
        *ret = (uint64_t)(v[GREEN] < v[BLUE] ? v[GREEN] : v[BLUE]);
    query_done(qs, COLOURS);
    return rc;
}

static bool open_track(const struct shadow *s, const struct track *t)
{
    return t->sample < s->samples;
}

/* Each sample that asks for a slot gets one: from the newest backwards. */
static int choose_slots(struct shadow *s, struct err *err)
{
    const uint64_t back = s->spec->shadow.back;
    uint64_t tip = 0;
    bool asked = false;
    for (size_t i = 0; i < s->n; i++) {
        struct track *t = &s->tracks[i];
        if (!t->at_slot || t->slot_known || !open_track(s, t))
            continue;
        int rc = asked ? 0 : newest(s, &tip, t->why, sizeof(t->why), err);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
        asked = true;
        uint64_t step = s->samples > 1 ? back / (uint64_t)(s->samples - 1) : 0;
        uint64_t off = step * (uint64_t)t->sample;
        t->slot = tip > off ? tip - off : 0;
        t->slot_known = true;
        str_clear(&t->params);
        str_clear(&t->path);
        shadow_fill(t->q->query.params, t->slot, &t->params);
        shadow_fill(t->q->query.path, t->slot, &t->path);
    }
    return 0;
}

static int ask_some(struct shadow *s, struct track *const *ts, size_t n, struct err *err)
{
    struct query qs[COLOURS * AT_ONCE] = {0};
    for (size_t i = 0; i < n; i++)
        for (int c = GREEN; c < COLOURS; c++) {
            struct query *q = &qs[COLOURS * i + (size_t)c];
            q->ask = query_of_spec(&ts[i]->q->query);
            q->whole = true;
            if (ts[i]->at_slot) {
                q->ask.params = str_cstr(&ts[i]->params);
                q->ask.path = str_cstr(&ts[i]->path);
            }
            fill_query(s, (enum colour)c, ts[i]->q->query.port, q);
        }
    int rc = ask(s, qs, COLOURS * n, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        for (int c = GREEN; c < COLOURS; c++) {
            struct answer *a = &ts[i]->kept[c][ts[i]->next % KEPT];
            json_decref(a->root);
            *a = (struct answer){0};
            take(ts[i], &qs[COLOURS * i + (size_t)c], a);
        }
        judge(s, ts[i]);
    }
    query_done(qs, COLOURS * n);
    return rc;
}

static int ask_round(struct shadow *s, bool *ret_open, struct err *err)
{
    struct track *some[AT_ONCE];
    size_t n = 0;
    if (choose_slots(s, err) < 0)
        return -1;
    for (size_t i = 0; i < s->n; i++) {
        struct track *t = &s->tracks[i];
        if (open_track(s, t) && (!t->at_slot || t->slot_known))
            some[n++] = t;
        if (n > 0 && (n == AT_ONCE || i + 1 == s->n)) {
            if (ask_some(s, some, n, err) < 0)
                return -1;
            n = 0;
        }
    }
    *ret_open = false;
    for (size_t i = 0; i < s->n; i++)
        *ret_open |= open_track(s, &s->tracks[i]);
    return 0;
}

static int ask_all(struct shadow *s, struct err *err)
{
    char text[80];
    bool open = true;
    str_format(text, sizeof(text), "comparing the answers of %s and %s", colour_name(s->rq->live),
               colour_name(s->rq->standby));
    while (open) {
        nsec_t next = sys_clock_mono() + LOOK;
        if (ask_round(s, &open, err) < 0)
            return -1;
        event_progress(s->ctx->sink, text, s->ret->compared, s->ret->wanted, "answers", 0,
                       s->deadline - sys_clock_mono());
        if (sys_clock_mono() >= s->deadline)
            break;
        if (driver_poll(s->ctx))
            return err_set(err, ERR_INTERRUPTED, "asked to end while answers were compared");
        nsec_t left = next - sys_clock_mono();
        if (open && left > 0)
            sys_sleep(left);
    }
    return 0;
}

static void sum_up(struct shadow *s)
{
    struct shadow_result *r = s->ret;
    for (size_t i = 0; i < s->n; i++) {
        const struct track *t = &s->tracks[i];
        char slot[32] = "";
        if (t->slot_known)
            str_format(slot, sizeof(slot), " at slot %" PRIu64, t->slot);
        if (open_track(s, t) && !r->missing[0])
            str_format(r->missing, sizeof(r->missing), "%s%s: %s", t->q->name, slot,
                       t->why[0] ? t->why : "there was no time left to ask");
        else if (!open_track(s, t) && !t->good && !r->silent[0])
            str_format(r->silent, sizeof(r->silent), "%s: %s", t->q->name, t->why);
    }
}

int shadow_run(const struct driver_ctx *ctx, const struct shadow_request *rq,
               struct shadow_result *ret, struct err *err)
{
    const struct spec *spec = ctx->side[rq->standby];
    const struct spec_shadow *w = &spec->shadow;
    struct shadow s = {.ctx = ctx,
                       .rq = rq,
                       .spec = spec,
                       .samples = rq->samples ? rq->samples : w->samples,
                       .n = w->requests_n,
                       .deadline = sys_clock_mono() + (rq->deadline ? rq->deadline : w->deadline),
                       .ret = ret};
    *ret = (struct shadow_result){.wanted = s.samples * (int)s.n};
    s.tracks = x_alloc((s.n + 1) * sizeof(*s.tracks));
    for (size_t i = 0; i < s.n; i++) {
        s.tracks[i].q = &w->requests[i];
        s.tracks[i].at_slot = strstr(w->requests[i].query.params, SPEC_SHADOW_SLOT) ||
                              strstr(w->requests[i].query.path, SPEC_SHADOW_SLOT);
    }
    int rc = ask_all(&s, err);
    if (rc == 0)
        sum_up(&s);
    for (size_t i = 0; i < s.n; i++) {
        forget(&s.tracks[i]);
        str_done(&s.tracks[i].params);
        str_done(&s.tracks[i].path);
    }
    free(s.tracks);
    return rc;
}

/* --- what it means ------------------------------------------------------------------------- */

void shadow_words(const struct shadow_difference *d, struct str *out)
{
    str_addf(out, "%s%s: %s: green %s, blue %s", d->request, d->slot, d->path, d->value[GREEN],
             d->value[BLUE]);
}

static int too_different(const struct spec *s, const struct shadow_request *rq,
                         const struct shadow_result *r, struct err *err)
{
    cleanup_str struct str words = {0};
    size_t n = r->shown_n < DIFFERENCES_SAID ? r->shown_n : DIFFERENCES_SAID;
    for (size_t i = 0; i < n; i++) {
        str_add(&words, i ? "; " : "");
        shadow_words(&r->shown[i], &words);
    }
    if (r->fields > n)
        str_addf(&words, "; and %zu more fields", r->fields - n);
    err_set(err, ERR_GATE, "%d of %d answers of %s and %s differ, at most %d may: %s", r->differ,
            r->compared, colour_name(rq->live), colour_name(rq->standby), s->shadow.max_differences,
            str_cstr(&words));
    return err_hint(err,
                    "ask both for it; where a difference is meant, add its path to shadow.ignore");
}

int shadow_judge(const struct spec *s, const struct shadow_request *rq,
                 const struct shadow_result *r, struct err *err)
{
    if (r->differ > s->shadow.max_differences)
        return too_different(s, rq, r, err);
    if (r->missing[0]) {
        err_set(err, ERR_GATE, "%d of %d answers could not be compared in time: %s",
                r->wanted - r->compared, r->wanted, r->missing);
        return err_hint(err, "see the log of who does not answer; shadow.deadline waits longer");
    }
    if (r->silent[0]) {
        err_set(err, ERR_GATE,
                "shadow.requests: a question that only gets errors proves nothing: "
                "%s",
                r->silent);
        return err_hint(err, "correct that request in the spec, or remove it");
    }
    return 0;
}
