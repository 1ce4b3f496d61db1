/* validate: the new version's own check of its arguments, and its version, before anything is
 * touched. */
#include "driver/command.h"
#include "driver/runtime/process.h"
#include "sys/file.h"

#include <regex.h>
#include <string.h>

/* "agave-validator 3.1.11 (src:...)" without a pattern of the spec: the first thing that looks like
 * one. */
#define VERSION_PATTERN "([0-9]+\\.[0-9]+[0-9A-Za-z.+~-]*)"

static struct command_as as_instance(const struct launch *l)
{
    return (struct command_as){.env = &l->env,
                               .cwd = l->cwd[0] ? l->cwd : NULL,
                               .uid = l->uid,
                               .gid = l->gid,
                               .set_ids = l->set_ids};
}

static int pick_version(const struct spec_command *cmd, const char *text, char *buf, size_t size,
                        struct err *err)
{
    regex_t re;
    regmatch_t m[2];
    const char *pattern = cmd->output ? cmd->output : VERSION_PATTERN;
    if (regcomp(&re, pattern, REG_EXTENDED | REG_NEWLINE) != 0)
        return err_set(err, ERR_USAGE, "runtime.version: '%s' is no regular expression", pattern);
    bool hit = regexec(&re, text, 2, m, 0) == 0;
    bool group = re.re_nsub > 0;
    regfree(&re);
    if (!hit)
        return err_set(err, ERR_FAILED, "runtime.version: no version in its output '%.200s'", text);
    const regmatch_t *at = group && m[1].rm_so >= 0 ? &m[1] : &m[0];
    snprintf(buf, size, "%.*s", (int)(at->rm_eo - at->rm_so), text + at->rm_so);
    return 0;
}

int process_version(const struct driver_ctx *ctx, enum colour c, const struct launch *l, char *buf,
                    size_t size, struct err *err)
{
    const struct spec_command *cmd = &ctx->side[c]->runtime.version;
    struct command_as as = as_instance(l);
    cleanup_str struct str both = {0};
    buf[0] = '\0';
    if (cmd->argv.n == 0)
        return 0;
    if (command_run(ctx, cmd, "runtime.version", c, &as, NULL, &both, err) < 0)
        return -1;
    return pick_version(cmd, str_cstr(&both), buf, size, err);
}

int process_validate(const struct driver_ctx *ctx, enum colour c, const char *version,
                     struct err *err)
{
    const struct spec_runtime *r = &ctx->side[c]->runtime;
    cleanup_launch struct launch l = {0};
    cleanup_free char *dir = run_dir(ctx, c);
    char found[64], what[64];
    if (sys_dir_make(dir, 0700, err) < 0 || launch_build(ctx, c, true, &l, err) < 0)
        return -1;
    struct command_as as = as_instance(&l);
    for (size_t i = 0; i < r->validate_n; i++) {
        snprintf(what, sizeof(what), "runtime.validate %zu of %zu", i + 1, r->validate_n);
        if (command_run(ctx, &r->validate[i], what, c, &as, NULL, NULL, err) < 0)
            return -1;
    }
    if (r->version.argv.n == 0)
        return 0;
    if (process_version(ctx, c, &l, found, sizeof(found), err) < 0)
        return -1;
    if (version && strcmp(found, version) != 0) {
        err_set(err, ERR_FAILED, "'%s' is version %s, the target is %s", r->version.argv.v[0],
                found, version);
        return err_hint(err, "install %s there, or give --target-version %s", version, found);
    }
    return 0;
}
