/* Events for a person: phases as headlines, steps as lines with a mark, progress in place on one
 * line of a terminal, and as a line now and then (every 10 s, every tenth) where there is none.
 *
 *     == prepare ==
 *       ✓ clone-ledger        1.0 GB in 10,000 files (2.1 s)
 *       ↷ clone-accounts      already done
 *       ✗ start-standby       exited with status 1: unknown flag --foo
 *       warning: 12.0 GB free on /srv, the first floor is 10 GB
 *       … blue catches up  1,234 of 50,000 slots (2%)  88 slots/s  9 m 13 s left
 *
 * Text is printed with its control characters replaced: what a program of the spec said cannot
 * steer the terminal. One thread at a time. Never fails: what cannot be written is lost, the run
 * goes on. */
#pragma once

#include "model/event.h"

#include <stdbool.h>
#include <stdio.h>

struct terminal {
    FILE *to;
    bool quiet;   /* warnings and failures only */
    bool verbose; /* a step's beginning is a line too, where there is no terminal */
    bool tty;     /* progress in place */
    bool colour;
    bool utf8;
    int width;           /* columns */
    nsec_t (*now)(void); /* monotonic */
    /* private */
    bool line_open;    /* a progress line stands there, without a newline */
    nsec_t printed_at; /* last progress output */
    int printed_tenth;
    char progress_of[128]; /* whose progress that was */
    char step_text[256];   /* what the open step will do */
};

/* Looks at the descriptor, NO_COLOR, TERM and the locale's variables. A test overrides fields after
 * it. */
void terminal_init(struct terminal *t, FILE *to, bool quiet, bool verbose);

/* Where producers send to; valid as long as t. */
struct sink terminal_sink(struct terminal *t);

/* Ends a progress line that stands there, so that whoever prints next begins at column 0. */
void terminal_done(struct terminal *t);

/* One progress event as a text without mark and newline: "blue catches up  3 of 5 passes". Returns
 * buf. */
const char *terminal_progress_words(char *buf, size_t size, const struct event *ev);
