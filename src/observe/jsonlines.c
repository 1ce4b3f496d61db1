#include "observe/jsonlines.h"

#include "base/str.h"
#include "format/json.h"
#include "sys/clock.h"

#include <time.h>

static const char *const kinds[] = {
    [EVENT_PHASE] = "phase",         [EVENT_STEP_START] = "step-start",
    [EVENT_STEP_DONE] = "step-done", [EVENT_STEP_SKIP] = "step-skip",
    [EVENT_STEP_FAIL] = "step-fail", [EVENT_PROGRESS] = "progress",
    [EVENT_NOTE] = "note",           [EVENT_WARNING] = "warning",
};

/* A text that is not UTF-8 keeps its ASCII; every other byte becomes a question mark. */
static json_t *any_text(const char *text)
{
    json_t *j = json_string(text);
    if (j)
        return j;
    cleanup_free char *ascii = x_strdup(text);
    for (char *p = ascii; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    return json_string(ascii);
}

static void set_text(json_t *o, const char *key, const char *text)
{
    if (text)
        (void)json_object_set_new(o, key, any_text(text));
}

/* Counts stay whole numbers. */
static void set_number(json_t *o, const char *key, double v)
{
    bool whole = v > -9e15 && v < 9e15 && v == (double)(json_int_t)v;
    (void)json_object_set_new(o, key, whole ? json_integer((json_int_t)v) : json_real(v));
}

static void set_time(json_t *o, nsec_t wall)
{
    char day[32], text[48];
    time_t s = (time_t)(wall / NSEC_S);
    struct tm tm;
    if (!gmtime_r(&s, &tm))
        return;
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(wall % NSEC_S / NSEC_MS));
    set_text(o, "time", text);
}

static void set_progress(json_t *o, const struct event *ev)
{
    set_text(o, "detail", ev->detail);
    set_number(o, "done", ev->done);
    if (ev->total > 0)
        set_number(o, "total", ev->total);
    set_text(o, "unit", ev->unit);
    if (ev->rate > 0)
        set_number(o, "rate", ev->rate);
    if (ev->eta_ns >= 0)
        (void)json_object_set_new(o, "left_s", json_real((double)ev->eta_ns / (double)NSEC_S));
    if (ev->eta_ns == -2)
        (void)json_object_set_new(o, "converges", json_false());
}

static void on_event(void *ctx, const struct event *ev)
{
    FILE *to = ctx;
    cleanup_json json_t *o = json_object();
    set_time(o, ev->wall_ns ? ev->wall_ns : sys_clock_wall());
    set_text(o, "event", kinds[ev->kind]);
    set_text(o, "step", ev->step);
    set_text(o, "text", ev->text);
    if (ev->kind == EVENT_PROGRESS)
        set_progress(o, ev);
    if (ev->took_ns > 0)
        (void)json_object_set_new(o, "took_s", json_real((double)ev->took_ns / (double)NSEC_S));
    cleanup_str struct str line = {0};
    json_print(o, 0, &line);
    fprintf(to, "%s\n", str_cstr(&line));
    fflush(to);
}

struct sink jsonlines_sink(FILE *to)
{
    return (struct sink){.fn = on_event, .ctx = to};
}
