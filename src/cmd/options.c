/* argv -> row -> run -> exit status. The only place that prints an error. */
#include "cmd/cmd.h"

#include "sys/term.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cmd_option globals[] = {
    {"file", 'f', "FILE", "the spec (default: changeover.yml)"},
    {"state-dir", 0, "DIR",
     "where the journal lives (default: $CHANGEOVER_STATE_DIR, /var/lib/changeover, or "
     "~/.local/state/changeover)"},
    {"output", 'o', "text|json", "how results are printed"},
    {"dry-run", 'n', NULL, "show what would be done, change nothing"},
    {"yes", 'y', NULL, "answer yes to every question"},
    {"quiet", 'q', NULL, "no progress; errors only"},
    {"verbose", 'v', NULL, "more words"},
    {"reason", 0, "TEXT", "written to the journal beside what is done"},
    {"help", 'h', NULL, "this text"},
};
#define GLOBALS ARRAY_LEN(globals)

static size_t count_options(const struct cmd_row *row)
{
    size_t n = 0;
    while (row->options && row->options[n].name)
        n++;
    return n;
}

const char *cmd_option(const struct cmd_call *call, const char *name)
{
    size_t n = count_options(call->row);
    for (size_t i = 0; i < n; i++)
        if (strcmp(call->row->options[i].name, name) == 0)
            return call->value[i];
    abort();
}

static void print_option(FILE *to, const struct cmd_option *o)
{
    char left[64];
    snprintf(left, sizeof(left), "%s%c%s--%s%s%s", o->letter ? "-" : " ",
             o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name, o->arg ? " " : "",
             o->arg ? o->arg : "");
    fprintf(to, "  %-30s %s\n", left, o->help);
}

static void print_row_help(FILE *to, const struct cmd_row *row)
{
    fprintf(to, "usage: changeover %s%s%s [options]\n\n%s\n", row->name, *row->args ? " " : "",
            row->args, row->summary);
    if (row->help)
        fprintf(to, "\n%s\n", row->help);
    size_t n = count_options(row);
    if (n)
        fputs("\noptions:\n", to);
    for (size_t i = 0; i < n; i++)
        print_option(to, &row->options[i]);
    fputs("\nglobal options:\n", to);
    for (size_t i = 0; i < GLOBALS; i++)
        print_option(to, &globals[i]);
}

static int run_help(const struct cmd_call *call, struct err *err)
{
    if (call->argc == 1) {
        const struct cmd_row *row = cmd_find(call->argv[0]);
        if (!row)
            return err_set(err, ERR_USAGE, "there is no command '%s'", call->argv[0]);
        print_row_help(stdout, row);
        return 0;
    }
    puts("usage: changeover COMMAND [options]\n\n"
         "Upgrades a stateful service without a dropped request.\n");
    for (size_t i = 0; cmd_rows[i]; i++)
        if (!(cmd_rows[i]->flags & CMD_HIDDEN))
            printf("  %-12s %s\n", cmd_rows[i]->name, cmd_rows[i]->summary);
    puts("\nchangeover help COMMAND tells the rest. Exit status: 0 done; 1 failed, nothing changed "
         "or all undone;\n"
         "2 usage or spec error; 3 stopped half way: resume or rollback; 4 a gate did not pass in "
         "time; 5 locked.");
    return 0;
}

const struct cmd_row cmd_help = {
    .name = "help",
    .args = "[COMMAND]",
    .summary = "list the commands, or explain one",
    .max_args = 1,
    .run = run_help,
};

static int run_version(const struct cmd_call *call, struct err *err)
{
    (void)call;
    (void)err;
    puts("changeover " CHANGEOVER_VERSION);
    return 0;
}

const struct cmd_row cmd_version = {
    .name = "version",
    .args = "",
    .summary = "print the version",
    .run = run_version,
};

/* What getopt_long needs: our ids are 256 + index, globals first, then the row's. */
struct parser {
    const struct cmd_row *row;
    size_t n;
    struct option longs[CMD_OPTIONS_MAX + GLOBALS + 1];
    char shorts[2 * (CMD_OPTIONS_MAX + GLOBALS) + 1];
};

static const struct cmd_option *parser_option(const struct parser *p, size_t i)
{
    return i < GLOBALS ? &globals[i] : &p->row->options[i - GLOBALS];
}

static void parser_init(struct parser *p, const struct cmd_row *row)
{
    p->row = row;
    p->n = GLOBALS + count_options(row);
    size_t s = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct cmd_option *o = parser_option(p, i);
        p->longs[i] = (struct option){.name = o->name,
                                      .has_arg = o->arg ? required_argument : no_argument,
                                      .val = 256 + (int)i};
        if (!o->letter)
            continue;
        p->shorts[s++] = o->letter;
        if (o->arg)
            p->shorts[s++] = ':';
    }
}

static size_t parser_index(const struct parser *p, int c)
{
    if (c >= 256)
        return (size_t)c - 256;
    for (size_t i = 0; i < p->n; i++)
        if (parser_option(p, i)->letter == c)
            return i;
    return p->n;
}

static int set_global(struct cmd_call *call, size_t i, const char *value, struct err *err)
{
    switch (globals[i].name[0] == 'v' ? 'v' : globals[i].letter) {
    case 'f':
        call->spec_path = value;
        return 0;
    case 'o':
        call->json = strcmp(value, "json") == 0;
        if (!call->json && strcmp(value, "text") != 0)
            return err_set(err, ERR_USAGE, "-o takes text or json, not '%s'", value);
        return 0;
    case 'n':
        call->dry_run = true;
        return 0;
    case 'y':
        call->yes = true;
        return 0;
    case 'q':
        call->quiet = true;
        return 0;
    case 'v':
        call->verbose++;
        return 0;
    default:
        if (strcmp(globals[i].name, "state-dir") == 0)
            call->state_dir = value;
        else
            call->reason = value;
        return 0;
    }
}

/* 0, 1 if help was asked for, -1. Positional arguments end up in call->argv. */
static int parse(struct cmd_call *call, int argc, char **argv, struct err *err)
{
    struct parser p = {0};
    parser_init(&p, call->row);
    int c;
    optind = 0;
    opterr = 0;
    while ((c = getopt_long(argc, argv, p.shorts, p.longs, NULL)) != -1) {
        if (c == '?') {
            err_set(err, ERR_USAGE, "%s: unknown option, or its value is missing: '%s'",
                    call->row->name, argv[optind - 1]);
            return err_hint(err, "changeover help %s", call->row->name);
        }
        size_t i = parser_index(&p, c);
        if (i < GLOBALS && globals[i].letter == 'h')
            return 1;
        const char *value = optarg ? optarg : "";
        if (i >= GLOBALS)
            call->value[i - GLOBALS] = value;
        else if (set_global(call, i, value, err) < 0)
            return -1;
    }
    call->argc = argc - optind;
    call->argv = argv + optind;
    const struct cmd_row *row = call->row;
    if (call->argc >= row->min_args && (row->max_args < 0 || call->argc <= row->max_args)) {
        if (call->json && !(row->flags & CMD_JSON))
            return err_set(err, ERR_USAGE, "%s has no -o json", row->name);
        if (call->dry_run && !(row->flags & CMD_DRY_RUN))
            return err_set(err, ERR_USAGE, "%s has no dry run (-n)", row->name);
        return 0;
    }
    if (call->argc > row->max_args && row->max_args >= 0)
        err_set(err, ERR_USAGE, "%s: '%s' is one argument too many", row->name,
                call->argv[row->max_args]);
    else
        err_set(err, ERR_USAGE, "usage: changeover %s %s", row->name, row->args);
    return err_hint(err, "changeover help %s", row->name);
}

/* The verb is the first word that is neither an option nor a global option's value; it is taken out
 * of argv. */
static const char *take_verb(int *argc, char **argv)
{
    for (int i = 1; i < *argc; i++) {
        if (argv[i][0] != '-') {
            const char *verb = argv[i];
            memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof(*argv));
            (*argc)--;
            return verb;
        }
        for (size_t g = 0; g < GLOBALS; g++)
            if (globals[g].arg &&
                ((argv[i][1] == globals[g].letter && globals[g].letter && !argv[i][2]) ||
                 strcmp(argv[i] + 1 + (argv[i][1] == '-'), globals[g].name) == 0)) {
                i++;
                break;
            }
    }
    return NULL;
}

/* Every error ends with a command to type; the one who knows best has set it. */
static int report(const struct cmd_row *row, bool json, const struct err *err)
{
    char next[sizeof(err->hint)];
    if (*err->hint)
        str_format(next, sizeof(next), "%s", err->hint);
    else if (row && err->code == ERR_USAGE)
        str_format(next, sizeof(next), "changeover help %s", row->name);
    else
        str_format(next, sizeof(next), "changeover %s",
                   row && strcmp(row->name, "status") == 0 ? "check" : "status");
    if (json) {
        json_t *root = json_pack("{s:s, s:s, s:i}", "error", err->msg, "next", next, "status",
                                 err_exit_status(err->code));
        json_dumpf(root, stderr, JSON_COMPACT);
        fputc('\n', stderr);
        json_decref(root);
    } else {
        fprintf(stderr, "changeover: %s\nnext: %s\n", err->msg, next);
    }
    return err_exit_status(err->code);
}

int cmd_main(int argc, char **argv)
{
    static const char *const version_words[] = {"--version", "-V"};
    struct err err = {0};
    for (size_t i = 0; i < ARRAY_LEN(version_words); i++)
        if (argc == 2 && strcmp(argv[1], version_words[i]) == 0)
            return cmd_version.run(NULL, &err);
    const char *verb = take_verb(&argc, argv);
    const struct cmd_row *row = cmd_find(verb ? verb : "help");
    if (!row) {
        err_set(&err, ERR_USAGE, "there is no command '%s'", verb);
        err_hint(&err, "changeover help");
        return report(row, false, &err);
    }
    struct cmd_call call = {
        .row = row, .spec_path = "changeover.yml", .argc = argc - 1, .argv = argv + 1};
    if (!(row->flags & CMD_RAW)) {
        int r = parse(&call, argc, argv, &err);
        if (r > 0) {
            print_row_help(stdout, row);
            return 0;
        }
        if (r < 0)
            return report(row, call.json, &err);
    }
    int status = row->run(&call, &err);
    if (status < 0)
        status = report(row, call.json, &err);
    if (fflush(stdout) != 0 && status == 0)
        status = 1;
    return status;
}

int cmd_ask(const struct cmd_call *call, const char *question, struct err *err)
{
    if (call->yes)
        return 0;
    if (!sys_term_interactive()) {
        err_set(err, ERR_USAGE, "%s: there is nobody to ask", question);
        return err_hint(err, "the same command with -y");
    }
    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr); /* no line yet, and somebody must read it */
    char line[16] = "";
    if (!fgets(line, sizeof(line), stdin))
        return 1;
    return line[0] == 'y' || line[0] == 'Y' ? 0 : 1;
}
