#include "observe/terminal.h"

#include "base/str.h"
#include "sys/clock.h"
#include "sys/term.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REDRAW (100 * NSEC_MS)
#define LINE_EVERY (10 * NSEC_S)

enum mark { MARK_OK, MARK_SKIP, MARK_FAIL, MARK_BUSY, MARK_MAX };

static const struct {
    const char *utf8, *ascii, *colour;
} marks[MARK_MAX] = {
    [MARK_OK] = {"✓", "+", "\033[32m"},
    [MARK_SKIP] = {"↷", "-", "\033[2m"},
    [MARK_FAIL] = {"✗", "x", "\033[31m"},
    [MARK_BUSY] = {"…", ".", "\033[36m"},
};

#define BOLD "\033[1m"
#define YELLOW "\033[33m"
#define RESET "\033[0m"

/* The first of the three that is set decides, as in setlocale(3). */
static bool locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *v = getenv(names[i]);
        if (v && *v)
            return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
    }
    return false;
}

void terminal_init(struct terminal *t, FILE *to, bool quiet, bool verbose)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    bool dumb = !term || strcmp(term, "dumb") == 0;
    bool tty = sys_term_output(fileno(to)) && !dumb;
    *t = (struct terminal){
        .to = to,
        .quiet = quiet,
        .verbose = verbose,
        .tty = tty,
        .colour = tty && !(no_color && *no_color),
        .utf8 = locale_is_utf8(),
        .width = sys_term_width(fileno(to)),
        .now = sys_clock_mono,
        .printed_tenth = -1,
    };
}

/* 1234567 -> "1,234,567"; a fraction is kept to one digit below ten. */
static const char *number_words(char *buf, size_t size, double v)
{
    if (fabs(v) < 10 && v != floor(v)) {
        snprintf(buf, size, "%.1f", v);
        return buf;
    }
    char plain[40];
    int len = snprintf(plain, sizeof(plain), "%.0f", v < 0 ? -v : v);
    size_t n = 0;
    if (v < 0 && n + 1 < size)
        buf[n++] = '-';
    for (int i = 0; i < len && n + 2 < size; i++) {
        if (i && (len - i) % 3 == 0)
            buf[n++] = ',';
        buf[n++] = plain[i];
    }
    buf[n] = '\0';
    return buf;
}

static const char *amount_words(char *buf, size_t size, double v, bool bytes)
{
    return bytes ? str_bytes(buf, size, v > 0 ? (uint64_t)v : 0) : number_words(buf, size, v);
}

static void add_amount(struct str *s, const struct event *ev, bool bytes)
{
    char a[48], b[48];
    const char *unit = bytes || !ev->unit ? "" : ev->unit;
    str_addf(s, "  %s", amount_words(a, sizeof(a), ev->done, bytes));
    if (ev->total > 0) {
        str_addf(s, " of %s", amount_words(b, sizeof(b), ev->total, bytes));
        str_addf(s, "%s%s (%d%%)", *unit ? " " : "", unit, (int)(100.0 * ev->done / ev->total));
    } else {
        str_addf(s, "%s%s", *unit ? " " : "", unit);
    }
}

const char *terminal_progress_words(char *buf, size_t size, const struct event *ev)
{
    char words[48];
    bool bytes = str_eq(ev->unit, "bytes");
    cleanup_str struct str s = {.max = size - 1};
    str_add(&s, ev->text ? ev->text : ev->step ? ev->step : "");
    if (ev->total > 0 || ev->done > 0 || ev->unit)
        add_amount(&s, ev, bytes);
    if (ev->rate > 0)
        str_addf(&s, "  %s%s%s/s", amount_words(words, sizeof(words), ev->rate, bytes),
                 bytes || !ev->unit ? "" : " ", bytes || !ev->unit ? "" : ev->unit);
    if (ev->eta_ns > 0)
        str_addf(&s, "  %s left", clock_words(words, sizeof(words), ev->eta_ns));
    else if (ev->eta_ns == -2)
        str_add(&s, "  does not converge");
    if (ev->detail)
        str_addf(&s, "  %s", ev->detail);
    snprintf(buf, size, "%s", str_cstr(&s));
    return buf;
}

/* No byte of a text may steer the terminal; a newline becomes `newline`. */
static void print_clean(FILE *to, const char *text, const char *newline)
{
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '\n')
            fputs(p[1] ? newline : "", to);
        else
            fputc(c == '\t' ? ' ' : c < 0x20 || c == 0x7f ? '?' : c, to);
    }
}

void terminal_done(struct terminal *t)
{
    if (t->line_open)
        fputs("\r\033[K", t->to);
    t->line_open = false;
    fflush(t->to);
}

static void put_colour(const struct terminal *t, const char *code)
{
    if (t->colour)
        fputs(code, t->to);
}

static void put_mark(const struct terminal *t, enum mark m)
{
    fputs("  ", t->to);
    put_colour(t, marks[m].colour);
    fputs(t->utf8 ? marks[m].utf8 : marks[m].ascii, t->to);
    put_colour(t, RESET);
    fputc(' ', t->to);
}

static void put_step(struct terminal *t, const struct event *ev, enum mark m)
{
    char took[48];
    const char *text = ev->text ? ev->text : t->step_text;
    terminal_done(t);
    put_mark(t, m);
    fprintf(t->to, "%-20s ", ev->step ? ev->step : "");
    print_clean(t->to, text, "\n                         ");
    if (ev->took_ns > 0)
        fprintf(t->to, " (%s)", clock_words(took, sizeof(took), ev->took_ns));
    fputc('\n', t->to);
    t->step_text[0] = '\0';
}

/* Cuts a UTF-8 text to that many characters. */
static void cut_columns(char *text, int columns)
{
    int n = 0;
    for (char *p = text; *p; p++)
        if (((unsigned char)*p & 0xc0) != 0x80 && n++ >= columns) {
            *p = '\0';
            return;
        }
}

static void put_in_place(struct terminal *t, char *words)
{
    cut_columns(words, t->width - 5);
    fputs("\r\033[K", t->to);
    put_mark(t, MARK_BUSY);
    print_clean(t->to, words, " ");
    t->line_open = true;
    fflush(t->to);
}

static int tenth_of(const struct event *ev)
{
    return ev->total > 0 ? (int)(10.0 * ev->done / ev->total) : -1;
}

/* A terminal is redrawn ten times a second at most; a log gets a line at the first sight of
 * something (but one a second at most, if the text itself changes), at each tenth of it, and every
 * ten seconds. */
static bool progress_is_due(struct terminal *t, const struct event *ev)
{
    const char *whose = ev->text ? ev->text : ev->step ? ev->step : "";
    nsec_t now = t->now();
    nsec_t since = now - t->printed_at;
    int tenth = tenth_of(ev);
    bool other = strncmp(whose, t->progress_of, sizeof(t->progress_of) - 1) != 0;
    bool due = since >= (t->tty ? REDRAW : other ? NSEC_S : LINE_EVERY);
    if (!due && (t->tty || other || tenth <= t->printed_tenth))
        return false;
    snprintf(t->progress_of, sizeof(t->progress_of), "%s", whose);
    t->printed_at = now;
    t->printed_tenth = tenth;
    return true;
}

static void put_progress(struct terminal *t, const struct event *ev)
{
    char words[512];
    if (!progress_is_due(t, ev))
        return;
    terminal_progress_words(words, sizeof(words), ev);
    if (t->tty) {
        put_in_place(t, words);
        return;
    }
    put_mark(t, MARK_BUSY);
    print_clean(t->to, words, " ");
    fputc('\n', t->to);
}

static void put_start(struct terminal *t, const struct event *ev)
{
    char words[512];
    snprintf(t->step_text, sizeof(t->step_text), "%s", ev->text ? ev->text : "");
    t->progress_of[0] = '\0';
    if (!t->tty && !t->verbose)
        return;
    snprintf(words, sizeof(words), "%-20s %s", ev->step ? ev->step : "", t->step_text);
    if (t->tty) {
        put_in_place(t, words);
        return;
    }
    put_mark(t, MARK_BUSY);
    print_clean(t->to, words, "\n                         ");
    fputc('\n', t->to);
}

static void put_phase(struct terminal *t, const struct event *ev)
{
    terminal_done(t);
    put_colour(t, BOLD);
    fputs("== ", t->to);
    print_clean(t->to, ev->text ? ev->text : "", " ");
    fputs(" ==", t->to);
    put_colour(t, RESET);
    fputc('\n', t->to);
}

static void put_note(struct terminal *t, const struct event *ev)
{
    terminal_done(t);
    fputs("  ", t->to);
    if (ev->kind == EVENT_WARNING) {
        put_colour(t, YELLOW);
        fputs("warning:", t->to);
        put_colour(t, RESET);
        fputc(' ', t->to);
    }
    print_clean(t->to, ev->text ? ev->text : "", "\n  ");
    fputc('\n', t->to);
}

static void on_event(void *ctx, const struct event *ev)
{
    struct terminal *t = ctx;
    if (t->quiet && ev->kind != EVENT_WARNING && ev->kind != EVENT_STEP_FAIL)
        return;
    switch (ev->kind) {
    case EVENT_PHASE:
        put_phase(t, ev);
        break;
    case EVENT_STEP_START:
        put_start(t, ev);
        break;
    case EVENT_STEP_DONE:
        put_step(t, ev, MARK_OK);
        break;
    case EVENT_STEP_SKIP:
        put_step(t, ev, MARK_SKIP);
        break;
    case EVENT_STEP_FAIL:
        put_step(t, ev, MARK_FAIL);
        break;
    case EVENT_PROGRESS:
        put_progress(t, ev);
        break;
    case EVENT_NOTE:
    case EVENT_WARNING:
        put_note(t, ev);
        break;
    }
    fflush(t->to);
}

struct sink terminal_sink(struct terminal *t)
{
    return (struct sink){.fn = on_event, .ctx = t};
}
