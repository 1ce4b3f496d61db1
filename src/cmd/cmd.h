/* Subcommands: one file each, one row each. A new one is a file, a line in COMMANDS below, a line
 * in meson.build, and its man page. Help, completion and the argument check come from the rows. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

enum cmd_flag {
    CMD_RAW = 1,     /* gets argv as it is (hidden helpers: shim, guard) */
    CMD_HIDDEN = 2,  /* not in the help */
    CMD_JSON = 4,    /* knows -o json */
    CMD_DRY_RUN = 8, /* knows -n */
};

struct cmd_option {
    const char *name; /* long name */
    char letter;      /* or 0 */
    const char *arg;  /* what the value is called in the help, NULL: a switch */
    const char *help;
};

#define CMD_OPTIONS_MAX 32

struct cmd_call {
    const struct cmd_row *row;
    /* global options */
    const char *spec_path; /* -f, default changeover.yml */
    const char *state_dir; /* --state-dir, or NULL */
    const char *reason;
    bool json, dry_run, yes, quiet;
    int verbose;
    /* the row's own options: value[i] belongs to row->options[i]; "" for a switch that is set */
    const char *value[CMD_OPTIONS_MAX];
    int argc; /* positional arguments */
    char **argv;
};

/* Returns the exit status (>= 0), or -1 with err, whose code then gives it. */
typedef int cmd_run_fn(const struct cmd_call *call, struct err *err);

struct cmd_row {
    const char *name;
    const char *args;       /* "[COLOUR]" for the usage line */
    const char *summary;    /* one line */
    int min_args, max_args; /* max -1: any */
    unsigned flags;
    const struct cmd_option *options; /* ends with a NULL name; may be NULL */
    const char *help;                 /* more text for `help NAME`, or NULL */
    cmd_run_fn *run;
};

/* NULL if not given; "" for a switch. The name must be in the row (else it aborts). */
const char *cmd_option(const struct cmd_call *call, const char *name);

extern const struct cmd_row *const cmd_rows[]; /* NULL-terminated, in the order of the help */
const struct cmd_row *cmd_find(const char *name);

/* Parses argv and runs the command; prints errors and hints. Returns the exit status. */
int cmd_main(int argc, char **argv);

/* Asks a yes/no question on the terminal. -y: yes. No terminal: -1, ERR_USAGE ("nobody to ask"). 0:
 * yes, 1: no. */
must_check int cmd_ask(const struct cmd_call *call, const char *question, struct err *err);
