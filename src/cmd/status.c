/* status: who serves, what runs, what is open; a tree for people, JSON for programs. */
#include "cmd/gather.h"
#include "cmd/session.h"
#include "engine/flow.h"
#include "net/http.h"
#include "sys/clock.h"
#include "sys/term.h"

#include <jansson.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define WATCH_EVERY (500 * NSEC_MS)

static const struct cmd_option options[] = {
    {"watch", 'w', NULL, "keep it live, in place, until Ctrl-C"},
    {0},
};

/* What to type next, by state. */
static const char *next_command(const struct status_view *v)
{
    if (v->contradiction)
        return "changeover traffic show; changeover adopt --live COLOUR accepts what the flags say";
    if (v->live == COLOUR_NONE)
        return "changeover adopt (it runs), or changeover start (its first start)";
    if (v->busy)
        return "wait: a command is at work";
    if (str_starts(v->lock, "maintenance"))
        return "changeover lock --release, when the maintenance is over";
    if (v->state == STATE_STEADY && !v->colour[v->live].pid)
        return "changeover start";
    return session_next_of(v->live, v->state);
}

static void print_header(const struct status_view *v, struct str *out)
{
    const char *live = v->live == COLOUR_NONE ? "nothing adopted" : colour_name(v->live);
    str_addf(out, "%-10s %s\n", "Service:", v->service);
    str_addf(out, "%-10s %s%s%s\n", "Live:", live, v->live_version[0] ? " " : "", v->live_version);
    if (v->state == STATE_STEADY)
        str_addf(out, "%-10s steady\n", "Upgrade:");
    else
        str_addf(out, "%-10s %s: %s (%s %s -> %s %s)\n", "Upgrade:", v->upgrade,
                 state_name(v->state), colour_name(v->from), v->version_from, colour_name(v->to),
                 v->version_to);
    if (*v->deadline)
        str_addf(out, "%-10s %s\n", "Deadline:", v->deadline);
    str_addf(out, "%-10s %s\n", "Guard:", v->guard);
    if (*v->lock)
        str_addf(out, "%-10s %s\n", "Lock:", v->lock);
    str_addf(out, "%-10s %s\n", "Traffic:", v->traffic);
    if (*v->probe)
        str_addf(out, "%-10s %s\n", "Probe:", v->probe);
    if (*v->sockets)
        str_addf(out, "%-10s %s\n", "Sockets:", v->sockets);
    if (v->space.known)
        str_addf(out, "%-10s %s\n", "Space:", v->space.words);
    for (size_t i = 0; i < v->notes.n; i++)
        str_addf(out, "%-10s %s\n", "Note:", v->notes.v[i]);
}

static void print_branch(struct str *out, bool last_colour, bool last, const char *name,
                         const char *text)
{
    str_addf(out, "%s   %s %-9s %s\n", last_colour ? " " : "│", last ? "└──" : "├──", name, text);
}

static void print_colour(const struct status_view *v, enum colour c, bool last, struct str *out)
{
    const struct status_colour *k = &v->colour[c];
    str_addf(out, "%s %s %s%s%s\n", last ? "└──" : "├──", k->good ? "●" : "○", colour_name(c),
             k->version[0] ? " " : "", k->version);
    str_addf(out, "%s   ├── %-9s %s\n", last ? " " : "│", "role",
             c == v->live ? "live" : "standby");
    print_branch(out, last, false, "instance", k->instance);
    print_branch(out, last, false, "data", k->data);
    print_branch(out, last, false, "health", k->health);
    if (*k->lag)
        print_branch(out, last, false, "lag", k->lag);
    print_branch(out, last, true, "traffic", k->load);
}

static void print_text(const struct status_view *v, struct str *out)
{
    print_header(v, out);
    str_add_c(out, '\n');
    for (int c = GREEN; c < COLOURS; c++)
        print_colour(v, (enum colour)c, c == COLOURS - 1, out);
    str_addf(out, "\nnext: %s\n", next_command(v));
}

static json_t *colour_json(const struct status_view *v, enum colour c)
{
    const struct status_colour *k = &v->colour[c];
    return json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:s, s:s, s:i, s:i}", "colour",
                     colour_name(c), "role", c == v->live ? "live" : "standby", "version",
                     k->version, "good", k->good, "instance", k->instance, "data", k->data,
                     "health", k->health, "lag", k->lag, "traffic", k->load, "pid", (int)k->pid,
                     "requests", k->requests);
}

/* null: no upgrade is open, or nobody could look. A figure that is not known is null, too. */
static json_t *space_json(const struct space_status *sp)
{
    const struct space_rate *r = &sp->rate;
    if (!sp->known)
        return json_null();
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:o}", "text", sp->words, "path", sp->path,
                  "volume", sp->store.volume, "colour", colour_name(sp->store.side), "free_bytes",
                  (json_int_t)sp->store.left, "bytes_per_second",
                  r->valid ? json_integer((json_int_t)r->shrinks) : json_null(), "full_in_seconds",
                  r->full_in >= 0 ? json_integer((json_int_t)(r->full_in / NSEC_S)) : json_null());
    for (int c = GREEN; c < COLOURS; c++) {
        char key[32];
        str_format(key, sizeof(key), "%s_bytes_per_second", colour_name((enum colour)c));
        json_object_set_new(root, key,
                            r->known[c] ? json_integer((json_int_t)r->grows[c]) : json_null());
    }
    return root;
}

static void print_json(const struct status_view *v)
{
    json_t *colours = json_array(), *notes = json_array();
    for (int c = GREEN; c < COLOURS; c++)
        json_array_append_new(colours, colour_json(v, (enum colour)c));
    for (size_t i = 0; i < v->notes.n; i++)
        json_array_append_new(notes, json_string(v->notes.v[i]));
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s, s:s, s:o, s:o, s:s}",
        "service", v->service, "live", colour_name(v->live), "version", v->live_version, "upgrade",
        v->upgrade, "state", state_name(v->state), "deadline", v->deadline, "guard", v->guard,
        "lock", v->lock, "flags", colour_name(v->flag), "contradiction", v->contradiction,
        "traffic", v->traffic, "probe", v->probe, "websockets", v->sockets, "colours", colours,
        "notes", notes, "next", next_command(v));
    json_object_set_new(root, "space", space_json(&v->space));
    json_dumpf(root, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(root);
}

/* 0: live is good and nothing is half way; 1: live is not good; 3: half way, or flags and journal
 * differ. */
static int exit_status(const struct status_view *v)
{
    if (v->contradiction || ((v->state == STATE_PREPARING || v->state == STATE_PROMOTING ||
                              v->state == STATE_ROLLING_BACK || v->state == STATE_CLEANING) &&
                             !v->busy))
        return 3;
    return v->live != COLOUR_NONE && v->colour[v->live].good ? 0 : 1;
}

/* What the sources need, while the spec is read. */
static void *warm_up(void *nothing)
{
    http_init();
    return nothing;
}

static int open_and_gather(const struct cmd_call *call, struct session *s, struct status_view *v,
                           struct err *err)
{
    pthread_t warm;
    mallopt(M_ARENA_MAX,
            1); /* six threads that allocate little: an arena for each costs more than it saves */
    bool warming = pthread_create(&warm, NULL, warm_up, NULL) == 0;
    int r = session_open(s, call, SESSION_EMPTY, NULL, err);
    if (warming)
        pthread_join(warm, NULL);
    if (r < 0 || gather_status(s, v, err) < 0)
        return -1;
    malloc_trim(0); /* what servers said at length is not needed while somebody reads */
    return 0;
}

static int once(const struct cmd_call *call, struct str *out, struct err *err)
{
    struct session *s = x_alloc(sizeof(*s));
    struct status_view v = {0};
    if (open_and_gather(call, s, &v, err) < 0) {
        session_done(s);
        free(s);
        return -1;
    }
    int status = exit_status(&v);
    if (call->json)
        print_json(&v);
    else if (!call->quiet)
        print_text(&v, out);
    gather_done(&v);
    if (!v.hung) {
        session_done(s);
        free(s);
    }
    return call->quiet ? status : 0;
}

static int run(const struct cmd_call *call, struct err *err)
{
    bool watch = cmd_option(call, "watch") != NULL;
    bool in_place = watch && sys_term_output(1);
    cleanup_str struct str out = {0};
    int r;
    do {
        str_clear(&out);
        r = once(call, &out, err);
        if (r < 0)
            return -1;
        /* Home, then each line cleared to its end, then what was below: no flicker. */
        for (const char *p = str_cstr(&out); in_place && *p; p++)
            if (p == str_cstr(&out))
                fputs("\033[H", stdout);
        for (const char *p = str_cstr(&out); *p; p++) {
            if (in_place && *p == '\n')
                fputs("\033[K", stdout);
            putchar(*p);
        }
        if (in_place)
            fputs("\033[J", stdout);
        fflush(stdout);
        if (watch && !sys_interrupted())
            sys_sleep(WATCH_EVERY);
    } while (watch && !sys_interrupted());
    return r;
}

const struct cmd_row cmd_status = {
    .name = "status",
    .args = "",
    .summary = "who serves, what runs, what is open",
    .flags = CMD_JSON,
    .options = options,
    .help = "With -q nothing is printed and the exit status tells: 0 live is good and nothing is "
            "half way;\n"
            "1 live is not good; 3 an upgrade is half way, or the flags contradict the journal.",
    .run = run,
};
