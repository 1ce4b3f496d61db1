#include "cmd/gather.h"

#include "driver/storage/ops.h"
#include "engine/flow.h"
#include "engine/gate.h"
#include "engine/guard.h"
#include "engine/hole.h"
#include "engine/prober.h"
#include "engine/sockets.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ANSWER_MAX (500 * NSEC_MS)
#define LATE_MAX (2 * NSEC_S)
#define GATES_MAX 32

/* One source of answers, asked by a thread of its own. It owns copies of what it reads, so that one
 * that hangs may go on in peace after we have given it up (the process ends, or the next round of
 * --watch starts a new one). */
struct source {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool started, answered;
    const struct driver_ctx *ctx;
    const struct traffic_ops *traffic;
    const struct runtime_ops *runtime;
    enum colour colour, reference;
    char version[64];
    /* answers */
    struct traffic_facts facts;
    struct traffic_load load[COLOURS];
    struct gate_result gates[GATES_MAX];
    size_t gates_n;
    int result;
    struct err err;
};

/* Everything that is asked over a network. */
struct sources {
    struct source traffic, load, gates[COLOURS];
};

static void answer(struct source *src)
{
    pthread_mutex_lock(&src->mutex);
    src->answered = true;
    pthread_cond_signal(&src->cond);
    pthread_mutex_unlock(&src->mutex);
}

static void *ask_traffic(void *p)
{
    struct source *src = p;
    src->result = src->traffic->inspect(src->ctx, TRAFFIC_GLANCE, &src->facts, &src->err);
    answer(src);
    return NULL;
}

static void *ask_load(void *p)
{
    struct source *src = p;
    src->result = src->traffic->loads(src->ctx, src->load, &src->err);
    answer(src);
    return NULL;
}

static void *ask_gates(void *p)
{
    struct source *src = p;
    struct gate_request rq = {.colour = src->colour,
                              .reference = src->reference,
                              .reference_runs = src->reference != COLOUR_NONE,
                              .target_version = *src->version ? src->version : NULL,
                              .try_timeout = ANSWER_MAX - 50 * NSEC_MS};
    src->result = gate_look(src->ctx, &rq, src->gates, GATES_MAX, &src->gates_n, &src->err);
    answer(src);
    return NULL;
}

static void start_source(struct source *src, void *(*fn)(void *))
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&src->mutex, NULL);
    pthread_cond_init(&src->cond, &attr);
    pthread_condattr_destroy(&attr);
    src->started = pthread_create(&src->thread, NULL, fn, src) == 0;
}

/* True if it answered in time; only then may its answers be read. */
static bool wait_source(struct source *src, nsec_t deadline)
{
    struct timespec until = {.tv_sec = deadline / NSEC_S, .tv_nsec = deadline % NSEC_S};
    if (!src->started)
        return false;
    pthread_mutex_lock(&src->mutex);
    int r = 0;
    while (!src->answered && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&src->cond, &src->mutex, &until);
    bool answered = src->answered;
    pthread_mutex_unlock(&src->mutex);
    return answered;
}

/* Sources bound their own calls, so a late one ends soon; one that hangs in the kernel is left
 * alone, with all that it reads. True if all have ended. */
static bool end_sources(struct sources *all)
{
    struct source *list[] = {&all->traffic, &all->load, &all->gates[GREEN], &all->gates[BLUE]};
    nsec_t deadline = sys_clock_mono() + LATE_MAX;
    bool ended = true;
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        if (!list[i]->started)
            continue;
        if (wait_source(list[i], deadline))
            pthread_join(list[i]->thread, NULL);
        else
            ended = false;
    }
    if (ended)
        free(all);
    return ended;
}

static void describe_instance(const struct instance_facts *f, struct status_colour *k)
{
    static const char *const words[] = {
        [INSTANCE_STOPPED] = "stopped",
        [INSTANCE_RUNNING] = "runs",
        [INSTANCE_EXITED] = "ended by itself",
        [INSTANCE_UNKNOWN] = "unknown",
    };
    char since[24], words_of[160];
    if (f->state == INSTANCE_RUNNING)
        str_format(k->instance, sizeof(k->instance), "%s, for %s%s%s",
                   instance_words(words_of, sizeof(words_of), f),
                   clock_words(since, sizeof(since), sys_clock_wall() - f->started_wall_ns),
                   f->restarts ? ", restarted " : "", f->adopted ? ", adopted" : "");
    else
        str_format(k->instance, sizeof(k->instance), "%s%s%s", words[f->state],
                   *f->text && !str_eq(f->text, words[f->state]) ? ": " : "",
                   str_eq(f->text, words[f->state]) ? "" : f->text);
    k->pid = f->state == INSTANCE_RUNNING ? f->pid.pid : 0;
}

static void describe_data(struct session *s, enum colour c, struct status_colour *k,
                          struct strv *notes)
{
    cleanup_str struct str text = {.max = sizeof(k->data) - 1};
    const struct spec *mine = s->side[c], *other = s->side[colour_other(c)];
    for (size_t i = 0; i < mine->volumes_n; i++) {
        const struct spec_volume *v = &mine->volumes[i], *o = spec_volume(other, v->name);
        struct storage_facts f = {0};
        struct err ignored = {0};
        const struct storage_ops *ops = storage_find(o ? o : v, v, &ignored);
        if (!ops || ops->inspect(&s->engine.ctx, o ? o : v, v, c, false, &f, &ignored) < 0)
            str_addf(&text, "%s%s: %s", i ? "; " : "", v->name, ignored.msg);
        else if (!f.exists || (f.empty && f.owner == OWNER_NONE))
            str_addf(&text, "%s%s: none", i ? "; " : "", v->name);
        else if (f.owner == OWNER_FOREIGN)
            str_addf(&text, "%s%s: NOT OURS (%s)", i ? "; " : "", v->name, f.owner_text);
        else
            str_addf(&text, "%s%s: %s%s", i ? "; " : "", v->name, v->path,
                     f.owner == OWNER_NONE ? " (not marked)"
                     : f.complete          ? ""
                                           : " (incomplete)");
        if (*f.lacks)
            strv_add(notes, f.lacks);
    }
    str_format(k->data, sizeof(k->data), "%s", mine->volumes_n ? str_cstr(&text) : "no volumes");
}

static void describe_gates(const struct source *src, struct status_colour *k)
{
    if (src->result < 0) {
        str_format(k->health, sizeof(k->health), "%s", src->err.msg);
        return;
    }
    size_t good = 0;
    for (size_t i = 0; i < src->gates_n; i++) {
        const struct gate_result *g = &src->gates[i];
        good += g->pass;
        if (g->has_number && str_starts(g->gate, "lag"))
            str_format(k->lag, sizeof(k->lag), "%.0f slots", g->number);
        if (!g->pass && !*k->health)
            str_format(k->health, sizeof(k->health), "%s: %s", g->gate, g->said);
    }
    k->good = good == src->gates_n;
    if (k->good)
        str_format(k->health, sizeof(k->health), "%zu of %zu gates pass", good, src->gates_n);
}

static void describe_load(const struct source *src, enum colour c, bool answered,
                          struct status_colour *k)
{
    const struct traffic_load *l = &src->load[c];
    k->requests = -1;
    if (!answered)
        str_format(k->load, sizeof(k->load), "no answer");
    else if (src->result < 0)
        str_format(k->load, sizeof(k->load), "unknown: %s", src->err.msg);
    else {
        k->requests = l->requests;
        str_format(k->load, sizeof(k->load), "%d requests in flight, %d websockets, %d direct",
                   l->requests, l->websockets, l->foreign);
    }
}

static void start_traffic(struct session *s, struct sources *all)
{
    const struct engine *e = &s->engine;
    struct source proto = {.ctx = &e->ctx, .traffic = e->traffic, .runtime = e->runtime};
    all->traffic = all->load = all->gates[GREEN] = all->gates[BLUE] = proto;
    if (e->traffic)
        start_source(&all->traffic, ask_traffic);
}

/* What is to be asked only of an instance that runs. */
static void start_rest(struct session *s, struct sources *all,
                       const struct instance_facts inst[COLOURS])
{
    const struct engine *e = &s->engine;
    if (e->traffic &&
        (inst[GREEN].state == INSTANCE_RUNNING || inst[BLUE].state == INSTANCE_RUNNING))
        start_source(&all->load, ask_load);
    for (int c = GREEN; c < COLOURS; c++) {
        enum colour other = colour_other((enum colour)c);
        all->gates[c].colour = (enum colour)c;
        bool compare = (enum colour)c != s->live && inst[other].state == INSTANCE_RUNNING;
        all->gates[c].reference = compare ? other : COLOUR_NONE;
        str_format(all->gates[c].version, 64, "%s", s->gen[c].version);
        if (inst[c].state == INSTANCE_RUNNING)
            start_source(&all->gates[c], ask_gates);
    }
}

static void take_colour(struct session *s, struct sources *all, enum colour c, bool running,
                        nsec_t deadline, struct status_colour *k)
{
    if (!running) {
        str_format(k->health, sizeof(k->health), "-");
        str_format(k->load, sizeof(k->load), "-");
        return;
    }
    if (wait_source(&all->gates[c], deadline))
        describe_gates(&all->gates[c], k);
    else
        str_format(k->health, sizeof(k->health), "no answer");
    if (s->engine.traffic)
        describe_load(&all->load, c, wait_source(&all->load, deadline), k);
}

static void take_traffic(struct session *s, struct sources *all, nsec_t deadline,
                         struct status_view *v)
{
    v->flag = COLOUR_NONE;
    if (!s->engine.traffic) {
        str_format(v->traffic, sizeof(v->traffic), "not moved by us (traffic.driver: none)");
        return;
    }
    if (!wait_source(&all->traffic, deadline) || all->traffic.result < 0) {
        str_format(v->traffic, sizeof(v->traffic), "no answer%s%s",
                   all->traffic.result < 0 ? ": " : "",
                   all->traffic.result < 0 ? all->traffic.err.msg : "");
        return;
    }
    const struct traffic_facts *f = &all->traffic.facts;
    v->flag = f->flag;
    if (s->engine.traffic->loses)
        str_format(v->traffic, sizeof(v->traffic), "%s %s%s%s", f->source, colour_name(f->flag),
                   *f->text ? ": " : "", f->text);
    else
        str_format(v->traffic, sizeof(v->traffic), "flag %s, the proxy%s%s chooses %s%s%s%s%s",
                   colour_name(f->flag), *f->version ? " " : "", f->version, colour_name(f->seen),
                   f->held[GREEN] || f->held[BLUE] ? ", HOLD" : "", f->failover ? ", failover" : "",
                   *f->text ? ": " : "", f->text);
    v->contradiction = s->live != COLOUR_NONE && f->flag != s->live && !v->busy &&
                       v->state != STATE_PROMOTING && v->state != STATE_ROLLING_BACK;
}

static int take_journal(struct session *s, struct status_view *v, struct err *err)
{
    str_format(v->service, sizeof(v->service), "%s", s->side[GREEN]->service);
    v->live = s->live;
    if (v->live != COLOUR_NONE)
        str_format(v->live_version, sizeof(v->live_version), "%s", s->gen[v->live].version);
    v->state = s->open ? s->up.state : STATE_STEADY;
    v->from = s->up.from;
    v->to = s->up.to;
    str_format(v->upgrade, sizeof(v->upgrade), "%s", s->up.id);
    str_format(v->version_from, sizeof(v->version_from), "%s", s->up.version_from);
    str_format(v->version_to, sizeof(v->version_to), "%s", s->up.version_to);
    if (s->open) {
        prober_words(s->j, s->up.id, v->probe, sizeof(v->probe));
        sockets_words(s->j, s->up.id, s->up.flipped ? s->up.from : s->up.to, v->sockets,
                      sizeof(v->sockets));
    }
    cleanup_free char *lock = x_asprintf("%s/lock", s->side[GREEN]->traffic.flag_dir);
    v->busy = sys_lock_held(lock, v->lock, sizeof(v->lock));
    if (!s->j)
        return 0;
    cleanup_str struct str reason = {0};
    struct deadline d;
    nsec_t left = 0;
    int r = journal_meta_get(s->j, "lock", &reason, err);
    if (r > 0)
        str_format(v->lock, sizeof(v->lock), "maintenance: %s", str_cstr(&reason));
    int dl = r < 0 ? -1 : journal_deadline(s->j, CONFIRM_DEADLINE, &d, &left, err);
    if (dl == 0)
        dl = journal_deadline(s->j, HOLD_DEADLINE, &d, &left, err);
    char words[24];
    if (dl > 0)
        str_format(v->deadline, sizeof(v->deadline), "%s %s%s", d.why, left > 0 ? "in " : "now",
                   left > 0 ? clock_words(words, sizeof(words), left) : "");
    return dl < 0 ? -1 : 0;
}

static void take_guard(struct session *s, struct status_view *v)
{
    struct guard_place place = {
        .spec_path = s->spec_path, .state_root = s->state_root, .service_dir = s->service_dir};
    int n = guard_alive(&place);
    str_format(v->guard, sizeof(v->guard), "%s",
               n && !s->open && !s->side[GREEN]->traffic.failover ? "not needed (ends in a moment)"
               : n == GUARD_ROLES                                 ? "lives"
               : n                                                ? "lives (one of two)"
               : s->open ? "DEAD: changeover resume starts it"
                         : "not needed");
}

static void take_notes(struct session *s, struct status_view *v)
{
    char hole[256];
    hole_words(s->j, &s->up, hole, sizeof(hole));
    if (s->open && *hole)
        strv_add(&v->notes, hole);
    char space[512];
    if (s->open)
        flow_space_view(&s->engine, &v->space);
    flow_space_words(&s->engine, space, sizeof(space));
    if (s->open && *space)
        strv_add(&v->notes, space);
    if (s->file_problem)
        strv_add(&v->notes, s->file_problem);
    for (int c = GREEN; c < COLOURS; c++)
        if (s->open && s->has_gen[c] && !s->file_problem && (enum colour)c == s->up.to &&
            !str_eq(s->gen[c].spec_text, s->file_text))
            strv_take(
                &v->notes,
                x_asprintf(
                    "%s has changed since this upgrade began: it counts from the next prepare",
                    s->spec_path));
}

struct look {
    struct session *s;
    enum colour c;
    struct instance_facts *facts;
};

static void *look_at_instance(void *p)
{
    const struct look *l = p;
    struct err why = {0};
    if (l->s->engine.runtime->inspect(&l->s->engine.ctx, l->c, l->facts, &why) == 0)
        return NULL;
    /* an API server that is away hides nothing of the rest */
    l->facts->state = INSTANCE_UNKNOWN;
    str_format(l->facts->text, sizeof(l->facts->text), "%s", why.msg);
    return NULL;
}

/* Both at once: each may be a conversation with a server. */
static void take_instances(struct session *s, struct instance_facts inst[COLOURS])
{
    struct look green = {s, GREEN, &inst[GREEN]}, blue = {s, BLUE, &inst[BLUE]};
    pthread_t thread;
    bool beside = pthread_create(&thread, NULL, look_at_instance, &green) == 0;
    look_at_instance(&blue);
    if (beside)
        pthread_join(thread, NULL);
    else
        look_at_instance(&green);
}

int gather_status(struct session *s, struct status_view *ret, struct err *err)
{
    struct status_view *v = ret;
    /* On the heap, and left there if a source hangs. */
    struct sources *all = x_alloc(sizeof(*all));
    struct instance_facts inst[COLOURS] = {0};
    if (take_journal(s, v, err) < 0)
        return -1;
    start_traffic(s, all);
    take_instances(s, inst);
    start_rest(s, all, inst);
    nsec_t deadline = sys_clock_mono() + ANSWER_MAX;
    for (int c = GREEN; c < COLOURS; c++) {
        struct status_colour *k = &v->colour[c];
        str_format(k->version, sizeof(k->version), "%s", s->gen[c].version);
        describe_instance(&inst[c], k);
        describe_data(s, (enum colour)c, k, &v->notes);
    }
    take_traffic(s, all, deadline, v);
    for (int c = GREEN; c < COLOURS; c++)
        take_colour(s, all, (enum colour)c, inst[c].state == INSTANCE_RUNNING, deadline,
                    &v->colour[c]);
    take_guard(s, v);
    take_notes(s, v);
    v->hung = !end_sources(all);
    return 0;
}

void gather_done(struct status_view *v)
{
    strv_done(&v->notes);
}
