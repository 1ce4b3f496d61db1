/* One upgrade as one HTML page that needs nothing else: no network, no script, inline SVG, light
 * and dark, printable.
 *
 * Pure: everything comes in by the struct, text goes out. Whatever a text contains (arguments,
 * error messages, a server's answer) is escaped; bytes that are no UTF-8 show as U+FFFD. */
#pragma once

#include "base/str.h"
#include "journal/journal.h"

#include <jansson.h>

struct report_event {
    int64_t wall_ns;
    int kind;          /* enum event_kind */
    char *step, *text; /* step NULL: of none */
};

struct report_step {
    char *name;
    struct step_row row;
};

struct report {
    const char *service;
    struct upgrade up;
    char outcome[64], reason[256];
    int64_t ended_wall_ns; /* 0: the upgrade is open */
    int64_t now_wall_ns;
    struct report_event *events; /* in order */
    size_t events_n;
    struct report_step *steps; /* in the order of their start */
    size_t steps_n;
    /* What probes saw, a list (NULL: none), the caller's: each as `probe -o json --series` writes
     * it; one of a promote has beside that "part", "baseline" and, if a limit was, "broken". */
    const json_t *probes;
    /* What became of the websockets that were open at a side when the traffic left it; "": none
     * were. */
    char sockets[COLOURS][256];
};

/* Appends to out (at most its ceiling: then out->cut). */
void report_html(const struct report *r, struct str *out);

/* Frees events and steps, nothing else. */
void report_done(struct report *r);
