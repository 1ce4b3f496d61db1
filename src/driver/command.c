#include "driver/command.h"

#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define COMPLAINT_MAX 400

static bool complains(const char *line, size_t n)
{
    static const char *const words[] = {"error",  "panicked",  "invalid", "unable",
                                        "cannot", "could not", "failed",  "fatal"};
    for (size_t w = 0; w < ARRAY_LEN(words); w++)
        for (size_t i = 0; i + strlen(words[w]) <= n; i++)
            if (strncasecmp(line + i, words[w], strlen(words[w])) == 0)
                return true;
    return false;
}

/* Bytes of a line to text in one line: no control characters, single blanks. */
static void add_line(struct str *ret, const char *line, size_t n)
{
    if (ret->len)
        str_add_c(ret, ' ');
    for (size_t i = 0; i < n && ret->len < COMPLAINT_MAX; i++) {
        char b = isspace((unsigned char)line[i]) || (unsigned char)line[i] < 0x20 ? ' ' : line[i];
        if (b != ' ' || (ret->len && ret->buf[ret->len - 1] != ' '))
            str_add_c(ret, b);
    }
    while (ret->len && ret->buf[ret->len - 1] == ' ')
        ret->buf[--ret->len] = '\0';
}

void command_complaint(const char *output, struct str *ret)
{
    bool in = false;
    const char *last[3] = {NULL, NULL, NULL};
    for (const char *p = output; *p;) {
        size_t n = strcspn(p, "\n");
        bool empty = strspn(p, " \t\r") >= n;
        if (in && empty)
            return;
        in = in || complains(p, n);
        if (in)
            add_line(ret, p, n);
        if (!empty) {
            last[0] = last[1];
            last[1] = last[2];
            last[2] = p;
        }
        p += n + (p[n] == '\n');
    }
    for (size_t i = 0; i < 3 && !in; i++)
        if (last[i])
            add_line(ret, last[i], strcspn(last[i], "\n"));
}

static void env_make(const struct driver_ctx *d, enum colour colour, const struct strv *base,
                     struct strv *env)
{
    static const char own[] = "CHANGEOVER_";
    for (char **e = base ? base->v : environ; e && *e; e++)
        if (strncmp(*e, own, sizeof(own) - 1) != 0)
            strv_add(env, *e);
    strv_take(env, x_asprintf("CHANGEOVER_SERVICE=%s", d->service));
    strv_take(env, x_asprintf("CHANGEOVER_COLOUR=%s", colour_name(colour)));
    strv_take(env, x_asprintf("CHANGEOVER_UPGRADE=%s", d->upgrade_id ? d->upgrade_id : ""));
    strv_take(env, x_asprintf("CHANGEOVER_STEP=%s", d->step_name ? d->step_name : ""));
    strv_take(env, x_asprintf("CHANGEOVER_ATTEMPT=%d", d->step_attempt));
}

static int where(const struct driver_ctx *d, enum colour colour, const struct spec_command *cmd,
                 const char *what, struct err *err)
{
    const struct spec *s = colour == COLOUR_NONE ? NULL : d->side[colour];
    if (s && s->path && cmd->line > 0)
        return err_ctx(err, "%s:%d: %s", s->path, cmd->line, what);
    return err_ctx(err, "%s", what);
}

static bool output_matches(const char *pattern, const char *text, bool *ret_bad)
{
    regex_t re;
    *ret_bad = regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE) != 0;
    if (*ret_bad)
        return false;
    bool hit = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    return hit;
}

static int judge(const struct spec_command *cmd, const struct proc_result *r, const char *both,
                 struct err *err)
{
    char words[24];
    bool bad = false;
    cleanup_str struct str complaint = {0};
    command_complaint(both, &complaint);
    const char *said = complaint.len ? str_cstr(&complaint) : "(it printed nothing)";
    if (r->interrupted)
        return err_set(err, ERR_INTERRUPTED, "'%s' was ended, as asked", cmd->argv.v[0]);
    if (r->timed_out)
        return err_set(err, ERR_FAILED, "'%s' did not end within %s and was ended: %s",
                       cmd->argv.v[0], clock_words(words, sizeof(words), cmd->timeout), said);
    if (r->status != cmd->status)
        return err_set(err, ERR_FAILED, "'%s' ended with status %d (it must be %d): %s",
                       cmd->argv.v[0], r->status, cmd->status, said);
    if (cmd->output && !output_matches(cmd->output, both, &bad))
        return bad ? err_set(err, ERR_USAGE, "'%s' is no regular expression", cmd->output)
                   : err_set(err, ERR_FAILED, "'%s' did not print what it must (%s), but: %s",
                             cmd->argv.v[0], cmd->output, said);
    return 0;
}

int command_run(const struct driver_ctx *d, const struct spec_command *cmd, const char *what,
                enum colour colour, const struct command_as *as, struct str *out, struct str *both,
                struct err *err)
{
    cleanup_strv struct strv env = {0};
    cleanup_proc_result struct proc_result r = {0};
    cleanup_str struct str all = {0};
    env_make(d, colour, as ? as->env : NULL, &env);
    struct proc_spec p = {
        .argv = (const char *const *)cmd->argv.v,
        .envp = (const char *const *)env.v,
        .cwd = as ? as->cwd : NULL,
        .timeout = cmd->timeout,
        .uid = as ? as->uid : 0,
        .gid = as ? as->gid : 0,
        .set_ids = as && as->set_ids,
        .started = d->note_child,
        .ctx = d->note_ctx,
        .tick = d->poll,
        .tick_ctx = d->poll_ctx,
    };
    if (sys_proc_run(&p, &r, err) < 0)
        return where(d, colour, cmd, what, err);
    str_add_n(&all, str_cstr(&r.out), r.out.len);
    str_add_n(&all, str_cstr(&r.err), r.err.len);
    if (judge(cmd, &r, str_cstr(&all), err) < 0)
        return where(d, colour, cmd, what, err);
    if (out)
        str_add_n(out, str_cstr(&r.out), r.out.len);
    if (both)
        str_add_n(both, str_cstr(&all), all.len);
    return 0;
}

int driver_command(const struct driver_ctx *d, const struct spec_command *cmd, const char *what,
                   enum colour colour, struct str *out, struct err *err)
{
    return command_run(d, cmd, what, colour, NULL, out, NULL, err);
}
