/* From a colour's spec (and what adopt once found) to all that a start needs: struct launch. */
#include "driver/runtime/launch.h"

#include "sys/file.h"

#include <string.h>
#include <unistd.h>

int adopted_read(const char *dir, struct adopted *ret, struct err *err)
{
    cleanup_json json_t *j = NULL;
    if (run_record_read(dir, "adopted.json", &j, err) < 0)
        return -1;
    *ret = (struct adopted){0};
    run_strings_read(json_object_get(j, "argv"), &ret->argv);
    run_strings_read(json_object_get(j, "env"), &ret->env);
    struct strv cwd = {0};
    run_strings_read(json_object_get(j, "cwd"), &cwd);
    snprintf(ret->cwd, sizeof(ret->cwd), "%s", cwd.n ? cwd.v[0] : "/");
    strv_done(&cwd);
    ret->uid = (uid_t)json_integer_value(json_object_get(j, "uid"));
    ret->gid = (gid_t)json_integer_value(json_object_get(j, "gid"));
    ret->umask = (mode_t)json_integer_value(json_object_get(j, "umask"));
    ret->limits_n = run_limits_read(json_object_get(j, "limits"), ret->limits);
    return 0;
}

void adopted_done(struct adopted *a)
{
    strv_done(&a->argv);
    strv_done(&a->env);
}

/* NAME=VALUE, in place of an earlier one. */
static void env_set(struct strv *env, const char *name, size_t name_n, const char *value)
{
    char *entry = x_asprintf("%.*s=%s", (int)name_n, name, value);
    for (size_t i = 0; i < env->n; i++)
        if (strncmp(env->v[i], entry, name_n + 1) == 0) {
            free(env->v[i]);
            env->v[i] = entry;
            return;
        }
    strv_take(env, entry);
}

static const char *env_get(const struct strv *env, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < env->n; i++)
        if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=')
            return env->v[i] + n + 1;
    return NULL;
}

/* Ours, without what is about us. */
static void env_ours(struct strv *env)
{
    static const char *const not [] = {"CHANGEOVER_",    "NOTIFY_SOCKET=",  "LISTEN_", "WATCHDOG_",
                                       "INVOCATION_ID=", "JOURNAL_STREAM=", "MAINPID="};
    for (char **e = environ; e && *e; e++) {
        bool take = true;
        for (size_t i = 0; i < ARRAY_LEN(not ); i++)
            take = take && !str_starts(*e, not [i]);
        if (take)
            strv_add(env, *e);
    }
}

/* Lines NAME=VALUE; empty ones and # comments are skipped, quotes around a value are taken off. */
static int env_file(struct strv *env, const char *path, struct err *err)
{
    cleanup_str struct str text = {0};
    if (sys_file_read(path, 1u << 20, &text, err) < 0)
        return err_ctx(err, "runtime.env_file");
    char *save = NULL;
    int line = 0;
    text.max = 0;
    for (char *l = text.len ? strtok_r(text.buf, "\n", &save) : NULL; l;
         l = strtok_r(NULL, "\n", &save)) {
        line++;
        l += strspn(l, " \t");
        if (str_starts(l, "export "))
            l += 7;
        char *eq = strchr(l, '=');
        if (*l == '#' || *l == '\0' || *l == '\r')
            continue;
        if (!eq || eq == l)
            return err_set(err, ERR_USAGE, "runtime.env_file '%s': '%s' is not NAME=VALUE", path,
                           l);
        char *value = eq + 1;
        size_t n = strcspn(value, "\r");
        value[n] = '\0';
        if (n >= 2 && (*value == '"' || *value == '\'') && value[n - 1] == *value) {
            value[n - 1] = '\0';
            value++;
        }
        env_set(env, l, (size_t)(eq - l), value);
    }
    return 0;
}

static int build_user(const struct spec_runtime *r, const struct adopted *a, struct launch *l,
                      char *home, size_t home_size, char *name, size_t name_size, struct err *err)
{
    uid_t us = (uid_t)sys_uid();
    home[0] = name[0] = '\0';
    if (r->user) {
        if (!sys_user_find(r->user, &l->uid, &l->gid, home, home_size))
            return err_set(err, ERR_USAGE, "runtime.user: there is no user '%s' here", r->user);
        l->set_ids = true;
        snprintf(name, name_size, "%s", r->user);
    } else if (a) {
        l->uid = a->uid;
        l->gid = a->gid;
        l->set_ids = a->uid != us;
        sys_user_name(a->uid, name, name_size);
    }
    if (r->group) {
        if (!sys_group_find(r->group, &l->gid))
            return err_set(err, ERR_USAGE, "runtime.group: there is no group '%s' here", r->group);
        if (!l->set_ids)
            l->uid = us;
        l->set_ids = true;
    }
    if (l->set_ids && us != 0 && l->uid == us && !r->group)
        l->set_ids = false; /* it is us already */
    if (l->set_ids && us != 0) {
        err_set(err, ERR_FAILED, "the instance runs as user %u, group %u: only root may start it",
                (unsigned)l->uid, (unsigned)l->gid);
        return err_hint(err, "run changeover as root, or take runtime.user out of the spec");
    }
    if (l->set_ids && name[0])
        l->groups_n = sys_user_groups(name, l->gid, l->groups, ARRAY_LEN(l->groups));
    return 0;
}

static int build_env(const struct spec_runtime *r, const struct adopted *a, const char *home,
                     const char *name, struct launch *l, struct err *err)
{
    if (!r->env_clear && a)
        strv_copy(&l->env, &a->env);
    else if (!r->env_clear)
        env_ours(&l->env);
    if (r->user && !a && home[0]) {
        env_set(&l->env, "HOME", 4, home);
        env_set(&l->env, "USER", 4, name);
        env_set(&l->env, "LOGNAME", 7, name);
    }
    if (r->env_file && env_file(&l->env, r->env_file, err) < 0)
        return -1;
    for (size_t i = 0; i < r->env_n; i++)
        env_set(&l->env, r->env[i].name, strlen(r->env[i].name), r->env[i].value);
    return 0;
}

static int build_limits(const struct spec_runtime *r, const struct adopted *a, struct launch *l,
                        struct err *err)
{
    if (a) {
        memcpy(l->limits, a->limits, sizeof(l->limits));
        l->limits_n = a->limits_n;
    }
    for (size_t i = 0; i < r->limits_n; i++) {
        int number = sys_limit_number(r->limits[i].name);
        if (number < 0)
            return err_set(err, ERR_USAGE, "runtime.limits: there is no limit '%s'",
                           r->limits[i].name);
        size_t at = 0;
        while (at < l->limits_n && l->limits[at].resource != number)
            at++;
        if (at == SYS_LIMITS)
            return err_set(err, ERR_USAGE, "runtime.limits: too many");
        if (at == l->limits_n)
            l->limits_n++;
        l->limits[at] = (struct sys_limit){number, r->limits[i].soft, r->limits[i].hard};
    }
    return 0;
}

static uint64_t hash_all(const struct spec *s)
{
    uint64_t h = RUN_HASH_SEED;
    for (size_t i = 0; i < s->runtime.command.n; i++)
        h = run_hash(h, s->runtime.command.v[i]);
    h = run_hash(h, s->version);
    h = run_hash(h, s->runtime.cwd);
    h = run_hash(h, s->runtime.user);
    h = run_hash(h, s->runtime.group);
    for (size_t i = 0; i < s->runtime.env_n; i++)
        h = run_hash(run_hash(h, s->runtime.env[i].name), s->runtime.env[i].value);
    return h;
}

void launch_priorities(const struct spec_runtime *r, bool standby, struct launch *l)
{
    l->nice = standby ? r->standby_nice : r->nice;
    l->ioclass = standby ? r->standby_ionice : 0;
    l->weight = standby && r->standby_cpu_weight ? r->standby_cpu_weight : 100;
    l->io_weight = standby || !r->standby_io_weight ? r->standby_io_weight : 100;
}

static int build_program(const struct driver_ctx *ctx, enum colour c, const char *dir,
                         struct launch *l, struct err *err)
{
    const struct spec_runtime *r = &ctx->side[c]->runtime;
    if (r->command.n == 0)
        return err_set(err, ERR_USAGE, "runtime.command: not given for %s", colour_name(c));
    strv_copy(&l->argv, &r->command);
    const char *name = r->command.v[0];
    bool relative = name[0] != '/' && strchr(name, '/');
    cleanup_free char *full = relative ? x_asprintf("%s/%s", l->cwd, name) : x_strdup(name);
    if (!sys_path_program(full, env_get(&l->env, "PATH"), l->exe, sizeof(l->exe)))
        return err_set(err, ERR_NOT_FOUND,
                       "runtime.command: '%s' is not there or is no program that may be executed",
                       full);
    uint64_t dev = 0, ino = 0;
    if (sys_path_identity(dir, &dev, &ino, err) < 0)
        return -1;
    /* Two state directories may keep a service of the same name (tests do). */
    snprintf(l->cgroup, sizeof(l->cgroup), "%.80s-%s-%llx-%llx", ctx->service, colour_name(c),
             (unsigned long long)dev, (unsigned long long)ino);
    for (char *p = l->cgroup; *p; p++)
        if (*p == '/')
            *p = '_';
    return 0;
}

int launch_build(const struct driver_ctx *ctx, enum colour c, bool standby, struct launch *l,
                 struct err *err)
{
    const struct spec *s = ctx->side[c];
    const struct spec_runtime *r = &s->runtime;
    cleanup_free char *dir = run_dir(ctx, c);
    cleanup_adopted struct adopted a = {0};
    char home[512], user[128];
    struct err none = {0};
    bool has = adopted_read(dir, &a, &none) == 0;
    if (!has && none.code == ERR_NOT_FOUND) { /* the service was adopted, as the other colour */
        cleanup_free char *other = run_dir(ctx, colour_other(c));
        err_clear(&none);
        has = adopted_read(other, &a, &none) == 0;
    }
    if (!has && none.code != ERR_NOT_FOUND) {
        *err = none;
        return -1;
    }
    const struct adopted *from = has ? &a : NULL;
    snprintf(l->service, sizeof(l->service), "%s", ctx->service);
    snprintf(l->colour, sizeof(l->colour), "%s", colour_name(c));
    snprintf(l->version, sizeof(l->version), "%s", s->version ? s->version : "");
    snprintf(l->spec_hash, sizeof(l->spec_hash), "%016llx", (unsigned long long)hash_all(s));
    cleanup_free char *here = sys_path_cwd();
    snprintf(l->cwd, sizeof(l->cwd), "%s", r->cwd ? r->cwd : has ? a.cwd : here);
    snprintf(l->log, sizeof(l->log), "%s/log", dir);
    l->umask = has ? a.umask : 022;
    l->restart = r->restart;
    l->restart_delay = r->restart_delay;
    l->restart_max = r->restart_max;
    l->kill = s->stop.kill;
    l->log_max = r->log_max_bytes;
    l->log_keep = r->log_keep;
    launch_priorities(r, standby, l);
    if (build_user(r, from, l, home, sizeof(home), user, sizeof(user), err) < 0 ||
        build_env(r, from, home, user, l, err) < 0 || build_limits(r, from, l, err) < 0)
        return -1;
    return build_program(ctx, c, dir, l, err);
}
