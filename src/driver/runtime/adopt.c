/* adopt: first contact with a process that somebody started by hand. It is recorded, not touched.
 */
#include "driver/runtime/keeper.h"
#include "driver/runtime/process.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/sockdiag.h"

#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static int find_listener(const struct driver_ctx *ctx, enum colour c, pid_t *ret, struct err *err)
{
    const struct spec *s = ctx->side[c];
    uint16_t port = 0;
    for (size_t i = 0; i < s->ports_n; i++)
        if (s->traffic.port && strcmp(s->ports[i].name, s->traffic.port) == 0)
            port = s->ports[i].first;
    if (!port)
        return err_set(err, ERR_USAGE, "traffic.port names no port of %s: give --pid",
                       colour_name(c));
    cleanup_sock_list struct sock_list list = {0};
    struct sock_filter_by by = {
        .protocol = IPPROTO_TCP, .states = 1u << SOCK_LISTEN, .local = port};
    if (sys_sockets(&by, &list, err) < 0)
        return -1;
    for (size_t i = 0; i < list.n; i++)
        if ((*ret = sys_sock_owner(list.items[i].inode)) > 0)
            return 0;
    if (list.n) {
        err_set(err, ERR_FAILED, "port %u has a listener, but whose it is may only root see", port);
        return err_hint(err, "run it as root, or as the user of the service");
    }
    err_set(err, ERR_NOT_FOUND, "nobody listens on port %u (traffic.port '%s' of %s)", port,
            s->traffic.port, colour_name(c));
    return err_hint(err, "start the service, or give --pid");
}

static int look(pid_t pid, struct adopted *a, struct err *err)
{
    if (sys_task_argv(pid, &a->argv, err) < 0 || sys_task_env(pid, &a->env, err) < 0 ||
        sys_task_ids(pid, &a->uid, &a->gid, &a->umask, err) < 0) {
        err_ctx(err, "look at process %d", (int)pid);
        return err_hint(err, "run it as root, or as the user of the service");
    }
    if (a->argv.n == 0)
        return err_set(err, ERR_FAILED, "process %d has no arguments: it is no service", (int)pid);
    sys_task_link(pid, "cwd", a->cwd, sizeof(a->cwd));
    a->limits_n = sys_task_limits(pid, a->limits);
    return 0;
}

static int store(const char *dir, pid_t pid, const struct adopted *a, struct err *err)
{
    char exe[1024];
    cleanup_json json_t *j = json_object();
    struct strv one = {0};
    strv_add(&one, a->cwd);
    (void)json_object_set_new(j, "cwd", run_strings_json(&one));
    strv_done(&one);
    strv_add(&one, sys_task_link(pid, "exe", exe, sizeof(exe)));
    (void)json_object_set_new(j, "exe", run_strings_json(&one));
    strv_done(&one);
    (void)json_object_set_new(j, "argv", run_strings_json(&a->argv));
    (void)json_object_set_new(j, "env", run_strings_json(&a->env));
    (void)json_object_set_new(j, "uid", json_integer(a->uid));
    (void)json_object_set_new(j, "gid", json_integer(a->gid));
    (void)json_object_set_new(j, "umask", json_integer(a->umask));
    (void)json_object_set_new(j, "limits", run_limits_json(a->limits, a->limits_n));
    return run_record_write(dir, "adopted.json", j, err);
}

/* A word as a shell would need it. */
static void quote(struct str *s, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "@%+=:,./_-";
    if (*word && strspn(word, plain) == strlen(word)) {
        str_add(s, word);
        return;
    }
    str_add_c(s, '\'');
    for (const char *p = word; *p; p++)
        if (*p == '\'')
            str_add(s, "'\\''");
        else
            str_add_c(s, *p);
    str_add_c(s, '\'');
}

static void add_command(struct str *s, const struct launch *l)
{
    char user[64];
    str_add(s, "it can be started again by: cd ");
    quote(s, l->cwd);
    str_add(s, " &&");
    for (size_t i = 0; i < l->argv.n; i++) {
        str_add_c(s, ' ');
        quote(s, l->argv.v[i]);
    }
    str_addf(s, "\n  as user %s, with %zu variables and %zu limits\n",
             sys_user_name(l->set_ids ? l->uid : (uid_t)sys_uid(), user, sizeof(user)), l->env.n,
             l->limits_n);
}

static void differ_argv(struct str *s, const struct strv *its, const struct strv *specs)
{
    size_t most = its->n > specs->n ? its->n : specs->n;
    for (size_t i = 0; i < most; i++) {
        const char *a = i < its->n ? its->v[i] : NULL, *b = i < specs->n ? specs->v[i] : NULL;
        if (str_eq(a, b))
            continue;
        str_addf(s, "  argument %zu: it runs with %s%s%s, the spec says %s%s%s\n", i, a ? "'" : "",
                 a ? a : "none", a ? "'" : "", b ? "'" : "", b ? b : "none", b ? "'" : "");
    }
}

static const char *env_of(const struct strv *env, const char *entry)
{
    size_t n = strcspn(entry, "=") + 1;
    for (size_t i = 0; i < env->n; i++)
        if (strncmp(env->v[i], entry, n) == 0)
            return env->v[i];
    return NULL;
}

/* Values may be secrets: only names are printed. */
static void differ_env(struct str *s, const struct adopted *a, const struct launch *l)
{
    for (size_t i = 0; i < l->env.n; i++) {
        const char *its = env_of(&a->env, l->env.v[i]);
        if (!str_eq(its, l->env.v[i]))
            str_addf(s, "  variable %.*s: %s\n", (int)strcspn(l->env.v[i], "="), l->env.v[i],
                     its ? "the spec has another value" : "only the spec has it");
    }
    for (size_t i = 0; i < a->env.n; i++)
        if (!env_of(&l->env, a->env.v[i]))
            str_addf(s, "  variable %.*s: only the running process has it\n",
                     (int)strcspn(a->env.v[i], "="), a->env.v[i]);
}

static void differences(struct str *s, const struct adopted *a, const struct launch *l)
{
    cleanup_str struct str d = {0};
    differ_argv(&d, &a->argv, &l->argv);
    if (strcmp(a->cwd, l->cwd) != 0)
        str_addf(&d, "  directory: it runs in '%s', the spec says '%s'\n", a->cwd, l->cwd);
    uid_t uid = l->set_ids ? l->uid : (uid_t)sys_uid();
    gid_t gid = l->set_ids ? l->gid : a->gid;
    if (a->uid != uid || a->gid != gid)
        str_addf(&d, "  user: it runs as %u:%u, the spec says %u:%u\n", (unsigned)a->uid,
                 (unsigned)a->gid, (unsigned)uid, (unsigned)gid);
    differ_env(&d, a, l);
    if (d.len)
        str_addf(s, "the spec differs from what runs; its next start is by the spec:\n%s",
                 str_cstr(&d));
}

/* The wall clock at which it started, from its ticks since boot. */
static nsec_t started_at(struct proc_id id)
{
    nsec_t per_tick = NSEC_S / sysconf(_SC_CLK_TCK);
    return sys_clock_wall() - (sys_clock_boottime() - (nsec_t)id.start_ticks * per_tick);
}

static int record(const struct driver_ctx *ctx, enum colour c, const char *dir, struct proc_id id,
                  const struct launch *l, struct str *ret_text, struct err *err)
{
    struct run r = {.phase = RUN_RUNNING, .pid = id, .adopted = true, .last_status = -1};
    char exe[1024];
    struct err why = {0};
    sys_boot_id(r.boot_id);
    r.started_wall_ns = started_at(id);
    memcpy(r.spec_hash, l->spec_hash, sizeof(r.spec_hash));
    sys_task_link(id.pid, "exe", exe, sizeof(exe));
    if (str_ends(exe, " (deleted)"))
        str_addf(ret_text, "its program was replaced on disk since it started: its version is not "
                           "known, and the next start is another one\n");
    else if (ctx->side[c]->runtime.version.argv.n == 0)
        memcpy(r.version, l->version, sizeof(r.version));
    else if (process_version(ctx, c, l, r.version, sizeof(r.version), &why) < 0)
        str_addf(ret_text, "its version is not known: %s\n", why.msg);
    return run_write(dir, &r, err);
}

/* Nothing else of this colour may run, unless it is that process. 1: it is adopted already. */
static int in_the_way(const char *dir, enum colour c, struct proc_id id, struct err *err)
{
    cleanup_free struct process_view *v = x_alloc(sizeof(*v));
    if (process_view(dir, v, err) < 0)
        return -1;
    if (v->alive && v->run.pid.pid == id.pid)
        return 1;
    if (v->alive || v->shim_alive)
        return err_set(err, ERR_EXISTS, "process %d runs as %s already, process %d cannot be it",
                       (int)v->run.pid.pid, colour_name(c), (int)id.pid);
    return 0;
}

static int adopt_into(const struct driver_ctx *ctx, enum colour c, const char *dir,
                      struct proc_id id, struct str *ret_text, struct err *err)
{
    cleanup_adopted struct adopted a = {0};
    cleanup_launch struct launch l = {0};
    cleanup_free char *file = run_path(dir, "adopted.json"), *stop = run_path(dir, "stop");
    if (look(id.pid, &a, err) < 0 || store(dir, id.pid, &a, err) < 0)
        return -1;
    int r = launch_build(ctx, c, false, &l, err);
    if (r == 0 && sys_path_kind(l.cwd) != SYS_DIR && !sys_path_exists(l.cwd))
        r = err_set(err, ERR_NOT_FOUND, "its directory '%s' is gone", l.cwd);
    if (r < 0)
        err_ctx(err, "process %d could not be started again", (int)id.pid);
    if (r == 0 && !sys_proc_alive(id))
        r = err_set(err, ERR_NOT_FOUND, "process %d ended meanwhile", (int)id.pid);
    if (r == 0) {
        str_addf(ret_text, "process %d is %s's instance now; nothing about it was changed\n",
                 (int)id.pid, colour_name(c));
        add_command(ret_text, &l);
        differences(ret_text, &a, &l);
        r = sys_file_remove(stop, err) < 0 ? -1 : record(ctx, c, dir, id, &l, ret_text, err);
    }
    if (r < 0)
        (void)!sys_file_remove(file, NULL);
    return r;
}

int process_adopt(const struct driver_ctx *ctx, enum colour c, pid_t pid, struct str *ret_text,
                  struct err *err)
{
    bool shared = false;
    if (pid <= 0 && find_listener(ctx, c, &pid, err) < 0)
        return -1;
    struct proc_id id = {.pid = pid, .start_ticks = sys_proc_start_ticks(pid)};
    if (!id.start_ticks)
        return err_set(err, ERR_NOT_FOUND, "there is no process %d", (int)pid);
    cleanup_free char *dir = run_dir(ctx, c);
    if (sys_dir_make(dir, 0700, err) < 0)
        return -1;
    int there = in_the_way(dir, c, id, err);
    if (there < 0)
        return -1;
    if (there) {
        str_addf(ret_text, "process %d is %s's instance already\n", (int)pid, colour_name(c));
        return 0;
    }
    if (keeper_none(pid, &shared, err) < 0) {
        err_ctx(err, "adopt");
        return err_hint(err,
                        "stop it there, take it out of that supervisor, then `changeover "
                        "start --live %s`; or keep it there until a runtime for it exists",
                        colour_name(c));
    }
    if (shared)
        str_add(ret_text, "it shares the unit that this command runs in: stopping that unit may "
                          "end it\n");
    return adopt_into(ctx, c, dir, id, ret_text, err);
}
