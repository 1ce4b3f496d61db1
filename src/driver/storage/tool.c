#include "driver/storage/tool.h"

#include "sys/fault.h"
#include "sys/task.h"

#include <unistd.h>

#define LONGEST (10 * NSEC_MIN) /* a pool that resilvers, or a long log, may be slow */
#define OUTPUT_MAX (16 << 20)

static bool find(const char *program, char *buf, size_t size)
{
    return sys_path_program(program, NULL, buf, size) ||
           sys_path_program(program, "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", buf, size);
}

bool tool_there(const char *program)
{
    char exe[256];
    return find(program, exe, sizeof(exe));
}

int tool_run(const struct driver_ctx *ctx, const char *program, const char *package,
             const char *const *args, struct proc_result *ret, struct err *err)
{
    char exe[256];
    cleanup_strv struct strv argv = {0}, env = {0};
    if (!find(program, exe, sizeof(exe))) {
        err_set(err, ERR_NOT_FOUND, "there is no program '%s' on this machine", program);
        return err_hint(err, "apt-get install %s; or another driver for the volume", package);
    }
    strv_add(&argv, exe);
    for (; *args; args++)
        strv_add(&argv, *args);
    for (char **e = environ; e && *e; e++)
        if (!str_starts(*e, "LC_") && !str_starts(*e, "LANG"))
            strv_add(&env, *e);
    strv_add(&env, "LC_ALL=C");
    struct proc_spec p = {
        .argv = (const char *const *)argv.v,
        .envp = (const char *const *)env.v,
        .timeout = LONGEST,
        .max_output = OUTPUT_MAX,
        .started = ctx->note_child,
        .ctx = ctx->note_ctx,
        .tick = ctx->poll,
        .tick_ctx = ctx->poll_ctx,
    };
    return sys_proc_run(&p, ret, err);
}

int tool_judge(const char *program, const char *const *args, const struct proc_result *r,
               struct err *err)
{
    cleanup_str struct str words = {0};
    str_add(&words, program);
    for (size_t i = 0; args[i]; i++)
        str_addf(&words, " %s", args[i]);
    if (r->interrupted)
        return err_set(err, ERR_INTERRUPTED, "'%s' was ended, as asked", str_cstr(&words));
    if (r->timed_out)
        return err_set(err, ERR_TIMEOUT, "'%s' did not end within 10 minutes", str_cstr(&words));
    if (r->status)
        return err_set(err, ERR_FAILED, "'%s' ended with status %d: %.1000s", str_cstr(&words),
                       r->status, str_cstr(&r->err));
    return 0;
}

int tool_change(const struct driver_ctx *ctx, const char *point, const char *program,
                const char *package, const char *const *args, struct err *err)
{
    cleanup_proc_result struct proc_result r = {0};
    char name[64];
    if (tool_run(ctx, program, package, args, &r, err) < 0 ||
        tool_judge(program, args, &r, err) < 0)
        return -1;
    str_format(name, sizeof(name), "%s/%s", point, program);
    return sys_fault_point(name) < 0 ? err_sys(err, ERR_FAILED, "fault point %s", name) : 0;
}
