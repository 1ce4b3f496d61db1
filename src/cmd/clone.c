/* changeover clone SRC DST: the cloner by itself. */
#include "clone/measure.h"
#include "clone/remove.h"
#include "clone/tree.h"
#include "cmd/cmd.h"
#include "observe/jsonlines.h"
#include "observe/terminal.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/term.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cmd_option options[] = {
    {"reflink", 0, NULL, "share the blocks (XFS, btrfs); an error where that cannot be"},
    {"copy", 0, NULL, "copy the bytes; default: reflink where it can be, else copy"},
    {"exclude", 0, "PATTERN", "leave out paths that match ('*' matches '/' too)"},
    {"verify", 0, NULL, "compare the contents of every file afterwards, and print their XXH3"},
    {"resume", 0, NULL, "go on with an interrupted clone of a source that has not changed since"},
    {"live", 0, NULL, "the source is being written to: what vanishes meanwhile is no error"},
    {"threads", 0, "N", "default: one a processor, at most 8"},
    {"rate-limit", 0, "SIZE", "most bytes a second, as 200MB"},
    {"max-pressure", 0, "PERCENT",
     "wait while more of the time than that something stands still for disk or memory"},
    {0},
};

struct clone_run {
    struct sink sink;
    const char *text;
};

static void progress(void *ctx, const struct tree_progress *p)
{
    struct clone_run *run = ctx;
    char text[128];
    if (p->files_total)
        snprintf(text, sizeof(text), "%s: %llu of %llu files,", run->text,
                 (unsigned long long)p->files_done, (unsigned long long)p->files_total);
    else
        snprintf(text, sizeof(text), "%s: %llu files,", run->text,
                 (unsigned long long)p->files_done);
    struct event ev = {
        .kind = EVENT_PROGRESS,
        .step = run->text,
        .text = text,
        .done = (double)p->bytes_done,
        .total = (double)p->bytes_total,
        .unit = "bytes",
        .rate = p->bytes_rate,
        .eta_ns = p->left,
    };
    event_emit(&run->sink, &ev);
}

static bool cancel(void *ctx)
{
    (void)ctx;
    return sys_interrupted() > 0;
}

static int take_mode(const struct cmd_call *call, enum tree_mode *ret, struct err *err)
{
    bool reflink = cmd_option(call, "reflink"), copy = cmd_option(call, "copy");
    if (reflink && copy)
        return err_set(err, ERR_USAGE, "--reflink and --copy exclude each other");
    *ret = TREE_COPY;
    if (copy)
        return 0;
    struct err why = {0};
    if (tree_can_reflink(call->argv[0], call->argv[1], &why) == 0)
        *ret = TREE_REFLINK;
    else if (reflink) {
        *err = why;
        return *err->hint ? -1 : err_hint(err, "--copy copies the bytes");
    }
    return 0;
}

/* A number from 1 to max; not given: 0. */
static int take_number(const struct cmd_call *call, const char *name, unsigned max, unsigned *ret,
                       struct err *err)
{
    const char *text = cmd_option(call, name);
    char *end = NULL;
    unsigned long n = text ? strtoul(text, &end, 10) : 0;
    if (text && (end == text || *end || n < 1 || n > max))
        return err_set(err, ERR_USAGE, "--%s %s: a number from 1 to %u is needed", name, text, max);
    *ret = (unsigned)n;
    return 0;
}

static int take_limits(const struct cmd_call *call, struct tree_options *o, struct err *err)
{
    const char *rate = cmd_option(call, "rate-limit");
    if (rate && (!str_parse_bytes(rate, &o->rate_limit) || !o->rate_limit))
        return err_set(err, ERR_USAGE, "--rate-limit %s: a size such as 200MB is needed", rate);
    return take_number(call, "threads", 64, &o->threads, err) < 0
               ? -1
               : take_number(call, "max-pressure", 100, &o->pressure, err);
}

/* Our own mark while the clone is incomplete, so that only what we began is gone on with or
 * removed. The source is part of it: another one's clone is not resumed. */
static int take_owner(const char *src, struct sentinel *ret, struct err *err)
{
    char *real = NULL;
    if (sys_path_real(src, &real, err) < 0)
        return -1;
    size_t n = strlen(real);
    *ret = (struct sentinel){.service = "changeover-clone", .colour = "none", .upgrade = "clone"};
    snprintf(ret->volume, sizeof(ret->volume), "%s",
             n >= sizeof(ret->volume) ? real + n - 127 : real);
    free(real);
    return 0;
}

/* The user's directory from here on: without our mark, and with the times it had in the source. */
static int hand_over(const char *dst, struct err *err)
{
    struct sys_node node;
    if (sys_node_at(AT_FDCWD, dst, &node) < 0)
        return err_sys(err, ERR_FAILED, "look at '%s'", dst);
    if (sentinel_remove(dst, err) < 0)
        return -1;
    if (sys_tree_set_times(AT_FDCWD, dst, node.atime, node.mtime) < 0)
        return err_sys(err, ERR_FAILED, "set the times of '%s'", dst);
    return 0;
}

static int clone(const struct cmd_call *call, struct tree_options *o, const struct sentinel *owner,
                 struct tree_result *res, struct tree_digest *digest, struct err *err)
{
    struct clone_run *run = o->ctx;
    const char *src = call->argv[0], *dst = call->argv[1];
    struct tree_size size = {0};
    bool shown = call->json || !call->quiet; /* how far it is */
    if (shown && tree_measure(src, o, &size, err) < 0)
        return -1;
    o->files_total = shown ? size.files : 0;
    o->bytes_total = shown ? size.data : 0;
    o->owner = owner;
    o->keep_mark = true; /* until it is verified, too */
    if (tree_clone(src, dst, o, res, err) < 0) {
        if (err->code == ERR_INTERRUPTED)
            err_hint(err, "the same command again begins anew; with --resume it goes on");
        return -1;
    }
    run->text = "verify";
    if (cmd_option(call, "verify") && tree_verify(src, dst, o, digest, err) < 0)
        return -1;
    return hand_over(dst, err);
}

static void print(const struct cmd_call *call, enum tree_mode mode, const struct tree_result *r,
                  const struct tree_digest *digest)
{
    const char *how = mode == TREE_REFLINK ? "reflink" : "copy";
    char bytes[24], took[24], xxh3[40] = "", verified[64] = "";
    if (cmd_option(call, "verify")) {
        str_format(xxh3, sizeof(xxh3), "%016llx%016llx", (unsigned long long)digest->high,
                   (unsigned long long)digest->low);
        str_format(verified, sizeof(verified), ", verified, xxh3 %s", xxh3);
    }
    if (!call->json) {
        printf("%s: %llu files, %llu directories, %llu links, %s in %s (%s)%s\n", call->argv[1],
               (unsigned long long)r->files, (unsigned long long)r->dirs,
               (unsigned long long)(r->links + r->symlinks),
               str_bytes(bytes, sizeof(bytes), r->bytes), clock_words(took, sizeof(took), r->took),
               how, verified);
        return;
    }
    json_t *j = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:b}",
                          "mode", how, "files", (json_int_t)r->files, "dirs", (json_int_t)r->dirs,
                          "links", (json_int_t)r->links, "symlinks", (json_int_t)r->symlinks,
                          "others", (json_int_t)r->others, "sockets", (json_int_t)r->sockets,
                          "excluded", (json_int_t)r->excluded, "vanished", (json_int_t)r->vanished,
                          "reused", (json_int_t)r->reused, "bytes", (json_int_t)r->bytes, "seconds",
                          (double)r->took / 1e9, "verified", cmd_option(call, "verify") != NULL);
    if (*xxh3)
        json_object_set_new(j, "xxh3", json_string(xxh3));
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(j);
}

static int run(const struct cmd_call *call, struct err *err)
{
    const char *exclude[] = {cmd_option(call, "exclude"), NULL};
    struct clone_run ctx = {.text = "clone"};
    struct tree_options o = {
        .exclude = exclude,
        .live_source = cmd_option(call, "live"),
        .resume = cmd_option(call, "resume"),
        .progress = progress,
        .cancel = cancel,
        .ctx = &ctx,
    };
    struct sentinel owner;
    struct tree_result res;
    struct tree_digest digest = {0};
    struct terminal term;
    if (take_mode(call, &o.mode, err) < 0 || take_limits(call, &o, err) < 0 ||
        take_owner(call->argv[0], &owner, err) < 0)
        return -1;
    sys_signals_init();
    terminal_init(&term, stderr, call->quiet, call->verbose > 0);
    ctx.sink = call->json ? jsonlines_sink(stderr) : terminal_sink(&term);
    int ok = clone(call, &o, &owner, &res, &digest, err);
    terminal_done(&term);
    if (ok == 0)
        print(call, o.mode, &res, &digest);
    return ok;
}

const struct cmd_row cmd_clone = {
    .name = "clone",
    .args = "SRC DST",
    .summary = "clone a directory tree, in parallel, with everything that belongs to its files",
    .min_args = 2,
    .max_args = 2,
    .flags = CMD_JSON,
    .options = options,
    .help = "DST must be absent or empty. Owners, modes, times, attributes, ACLs, links of both "
            "kinds and holes\n"
            "are kept, and what chattr has made immutable or append-only (but for DST itself); "
            "sockets are left\n"
            "out; a mount point inside SRC is an error. On disk when it ends.",
    .run = run,
};
