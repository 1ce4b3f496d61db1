#include "driver/runtime/run.h"

#include "format/json.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <string.h>

#define RECORD_MAX ((size_t)4 << 20)

static const char *const phase_name[] = {"stopped", "starting", "running", "waiting", "exited"};

char *run_dir(const struct driver_ctx *ctx, enum colour c)
{
    return x_asprintf("%s/runtime/%s", ctx->service_dir, colour_name(c));
}

char *run_path(const char *dir, const char *name)
{
    return x_asprintf("%s/%s", dir, name);
}

uint64_t run_hash(uint64_t seed, const char *text)
{
    for (const char *p = text ? text : ""; *p; p++)
        seed = (seed ^ (unsigned char)*p) * 1099511628211ULL;
    return (seed ^ 0xff) * 1099511628211ULL; /* so that "a","b" is not "ab" */
}

int run_record_read(const char *dir, const char *name, json_t **ret, struct err *err)
{
    cleanup_free char *path = run_path(dir, name);
    cleanup_str struct str text = {.max = RECORD_MAX};
    if (sys_file_read(path, RECORD_MAX, &text, err) < 0)
        return -1;
    if (json_read(str_cstr(&text), text.len, ret, err) < 0)
        return err_ctx(err, "the record '%s' is damaged", path);
    return 0;
}

int run_record_write(const char *dir, const char *name, const json_t *j, struct err *err)
{
    cleanup_free char *path = run_path(dir, name);
    cleanup_str struct str text = {.max = RECORD_MAX};
    json_print(j, 1, &text);
    str_add_c(&text, '\n');
    return sys_file_write_atomic(path, str_cstr(&text), text.len, 0600, err);
}

/* Bytes that are not UTF-8 (a path in argv may be) are kept as a list of numbers. */
static json_t *bytes_json(const char *value)
{
    json_t *s = json_string(value);
    if (s)
        return s;
    s = json_array();
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        (void)json_array_append_new(s, json_integer(*p));
    return s;
}

static void bytes_text(const json_t *j, struct str *ret)
{
    if (json_is_string(j))
        str_add(ret, json_string_value(j));
    for (size_t i = 0; i < json_array_size(j); i++)
        str_add_c(ret, (char)json_integer_value(json_array_get(j, i)));
}

static void put_text(json_t *j, const char *key, const char *value)
{
    (void)json_object_set_new(j, key, bytes_json(value));
}

static void put_number(json_t *j, const char *key, int64_t value)
{
    (void)json_object_set_new(j, key, json_integer(value));
}

static void put_id(json_t *j, const char *key, struct proc_id id)
{
    json_t *pair = json_array();
    (void)json_array_append_new(pair, json_integer(id.pid));
    (void)json_array_append_new(pair, json_integer((json_int_t)id.start_ticks));
    (void)json_object_set_new(j, key, pair);
}

static void get_text(const json_t *j, const char *key, char *buf, size_t size)
{
    cleanup_str struct str t = {0};
    bytes_text(json_object_get(j, key), &t);
    snprintf(buf, size, "%s", str_cstr(&t));
}

static int64_t get_number(const json_t *j, const char *key)
{
    return json_integer_value(json_object_get(j, key));
}

static struct proc_id get_id(const json_t *j, const char *key)
{
    const json_t *pair = json_object_get(j, key);
    return (struct proc_id){.pid = (pid_t)json_integer_value(json_array_get(pair, 0)),
                            .start_ticks = (uint64_t)json_integer_value(json_array_get(pair, 1))};
}

int run_read(const char *dir, struct run *ret, struct err *err)
{
    cleanup_json json_t *j = NULL;
    struct run r = {0};
    char phase[16], boot[40];
    if (run_record_read(dir, "run.json", &j, err) < 0)
        return -1;
    get_text(j, "phase", phase, sizeof(phase));
    while (r.phase < RUN_EXITED && strcmp(phase, phase_name[r.phase]) != 0)
        r.phase++;
    r.pid = get_id(j, "pid");
    r.shim = get_id(j, "shim");
    get_text(j, "boot_id", r.boot_id, sizeof(r.boot_id));
    r.adopted = json_is_true(json_object_get(j, "adopted"));
    r.started_wall_ns = get_number(j, "started_wall_ns");
    r.exited_wall_ns = get_number(j, "exited_wall_ns");
    r.ran_ns = get_number(j, "ran_ns");
    r.restarts = (int)get_number(j, "restarts");
    r.last_status = (int)get_number(j, "last_status");
    get_text(j, "version", r.version, sizeof(r.version));
    get_text(j, "spec_hash", r.spec_hash, sizeof(r.spec_hash));
    get_text(j, "text", r.text, sizeof(r.text));
    get_text(j, "cgroup", r.cgroup.track, sizeof(r.cgroup.track));
    get_text(j, "cgroup_cpu", r.cgroup.cpu, sizeof(r.cgroup.cpu));
    get_text(j, "cgroup_io", r.cgroup.io, sizeof(r.cgroup.io));
    r.cgroup.v2 = json_is_true(json_object_get(j, "cgroup_v2"));
    r.cgroup.cpu_v2 = json_is_true(json_object_get(j, "cgroup_cpu_v2"));
    r.cgroup.io_v2 = json_is_true(json_object_get(j, "cgroup_io_v2"));
    sys_boot_id(boot);
    if (strcmp(boot, r.boot_id) != 0) { /* these pids are somebody else's by now */
        r.pid = r.shim = (struct proc_id){0};
        r.cgroup = (struct sys_cgroup){0};
    }
    *ret = r;
    return 0;
}

int run_write(const char *dir, const struct run *r, struct err *err)
{
    cleanup_json json_t *j = json_object();
    put_text(j, "phase", phase_name[r->phase]);
    put_id(j, "pid", r->pid);
    put_id(j, "shim", r->shim);
    put_text(j, "boot_id", r->boot_id);
    (void)json_object_set_new(j, "adopted", json_boolean(r->adopted));
    put_number(j, "started_wall_ns", r->started_wall_ns);
    put_number(j, "exited_wall_ns", r->exited_wall_ns);
    put_number(j, "ran_ns", r->ran_ns);
    put_number(j, "restarts", r->restarts);
    put_number(j, "last_status", r->last_status);
    put_text(j, "version", r->version);
    put_text(j, "spec_hash", r->spec_hash);
    put_text(j, "text", r->text);
    put_text(j, "cgroup", r->cgroup.track);
    put_text(j, "cgroup_cpu", r->cgroup.cpu);
    put_text(j, "cgroup_io", r->cgroup.io);
    (void)json_object_set_new(j, "cgroup_v2", json_boolean(r->cgroup.v2));
    (void)json_object_set_new(j, "cgroup_cpu_v2", json_boolean(r->cgroup.cpu_v2));
    (void)json_object_set_new(j, "cgroup_io_v2", json_boolean(r->cgroup.io_v2));
    return run_record_write(dir, "run.json", j, err);
}

void launch_done(struct launch *l)
{
    strv_done(&l->argv);
    strv_done(&l->env);
}

json_t *run_strings_json(const struct strv *v)
{
    json_t *list = json_array();
    for (size_t i = 0; i < v->n; i++)
        (void)json_array_append_new(list, bytes_json(v->v[i]));
    return list;
}

void run_strings_read(const json_t *list, struct strv *ret)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct str t = {0};
        bytes_text(json_array_get(list, i), &t);
        strv_take(ret, str_take(&t));
    }
}

json_t *run_limits_json(const struct sys_limit *limits, size_t n)
{
    json_t *list = json_object();
    for (size_t i = 0; i < n; i++) {
        json_t *pair = json_array(); /* -1: unlimited */
        (void)json_array_append_new(pair, json_integer((json_int_t)limits[i].soft));
        (void)json_array_append_new(pair, json_integer((json_int_t)limits[i].hard));
        (void)json_object_set_new(list, sys_limit_name(limits[i].resource), pair);
    }
    return list;
}

size_t run_limits_read(const json_t *list, struct sys_limit ret[SYS_LIMITS])
{
    size_t n = 0;
    const char *key;
    const json_t *pair;
    for (void *it = json_object_iter((json_t *)(uintptr_t)list); it && n < SYS_LIMITS;
         it = json_object_iter_next((json_t *)(uintptr_t)list, it)) {
        key = json_object_iter_key(it);
        pair = json_object_iter_value(it);
        int number = sys_limit_number(key);
        if (number >= 0)
            ret[n++] =
                (struct sys_limit){.resource = number,
                                   .soft = (uint64_t)json_integer_value(json_array_get(pair, 0)),
                                   .hard = (uint64_t)json_integer_value(json_array_get(pair, 1))};
    }
    return n;
}

static void launch_from(const json_t *j, struct launch *l)
{
    get_text(j, "service", l->service, sizeof(l->service));
    get_text(j, "colour", l->colour, sizeof(l->colour));
    get_text(j, "version", l->version, sizeof(l->version));
    get_text(j, "spec_hash", l->spec_hash, sizeof(l->spec_hash));
    get_text(j, "exe", l->exe, sizeof(l->exe));
    get_text(j, "cwd", l->cwd, sizeof(l->cwd));
    get_text(j, "log", l->log, sizeof(l->log));
    get_text(j, "cgroup", l->cgroup, sizeof(l->cgroup));
    run_strings_read(json_object_get(j, "argv"), &l->argv);
    run_strings_read(json_object_get(j, "env"), &l->env);
    const json_t *groups = json_object_get(j, "groups");
    for (l->groups_n = 0;
         l->groups_n < json_array_size(groups) && l->groups_n < ARRAY_LEN(l->groups); l->groups_n++)
        l->groups[l->groups_n] = (gid_t)json_integer_value(json_array_get(groups, l->groups_n));
    l->set_ids = json_is_true(json_object_get(j, "set_ids"));
    l->uid = (uid_t)get_number(j, "uid");
    l->gid = (gid_t)get_number(j, "gid");
    l->limits_n = run_limits_read(json_object_get(j, "limits"), l->limits);
    l->umask = (mode_t)get_number(j, "umask");
    l->nice = (int)get_number(j, "nice");
    l->ioclass = (int)get_number(j, "ioclass");
    l->weight = (int)get_number(j, "cpu_weight");
    l->io_weight = (int)get_number(j, "io_weight");
    l->restart = (enum spec_restart)get_number(j, "restart");
    l->restart_delay = get_number(j, "restart_delay_ns");
    l->restart_max = (int)get_number(j, "restart_max");
    l->kill = json_is_true(json_object_get(j, "kill"));
    l->log_max = (uint64_t)get_number(j, "log_max_bytes");
    l->log_keep = (int)get_number(j, "log_keep");
}

int launch_read(const char *dir, struct launch *ret, struct err *err)
{
    cleanup_json json_t *j = NULL;
    if (run_record_read(dir, "instance.json", &j, err) < 0)
        return -1;
    struct launch l = {0};
    launch_from(j, &l);
    if (l.argv.n == 0 || !l.exe[0]) {
        launch_done(&l);
        return err_set(err, ERR_FAILED, "the record '%s/instance.json' names no program", dir);
    }
    launch_done(ret);
    *ret = l;
    return 0;
}

int launch_write(const char *dir, const struct launch *l, struct err *err)
{
    cleanup_json json_t *j = json_object();
    put_text(j, "service", l->service);
    put_text(j, "colour", l->colour);
    put_text(j, "version", l->version);
    put_text(j, "spec_hash", l->spec_hash);
    put_text(j, "exe", l->exe);
    put_text(j, "cwd", l->cwd);
    put_text(j, "log", l->log);
    put_text(j, "cgroup", l->cgroup);
    (void)json_object_set_new(j, "argv", run_strings_json(&l->argv));
    (void)json_object_set_new(j, "env", run_strings_json(&l->env));
    json_t *groups = json_array();
    for (size_t i = 0; i < l->groups_n; i++)
        (void)json_array_append_new(groups, json_integer(l->groups[i]));
    (void)json_object_set_new(j, "groups", groups);
    (void)json_object_set_new(j, "set_ids", json_boolean(l->set_ids));
    put_number(j, "uid", l->uid);
    put_number(j, "gid", l->gid);
    (void)json_object_set_new(j, "limits", run_limits_json(l->limits, l->limits_n));
    put_number(j, "umask", l->umask);
    put_number(j, "nice", l->nice);
    put_number(j, "ioclass", l->ioclass);
    put_number(j, "cpu_weight", l->weight);
    put_number(j, "io_weight", l->io_weight);
    put_number(j, "restart", l->restart);
    put_number(j, "restart_delay_ns", l->restart_delay);
    put_number(j, "restart_max", l->restart_max);
    (void)json_object_set_new(j, "kill", json_boolean(l->kill));
    put_number(j, "log_max_bytes", (int64_t)l->log_max);
    put_number(j, "log_keep", l->log_keep);
    return run_record_write(dir, "instance.json", j, err);
}
