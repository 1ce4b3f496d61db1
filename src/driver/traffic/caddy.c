/* The Caddy driver: flags, and what one look tells. */
#include "driver/traffic/caddy_internal.h"

#include "format/json.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"
#include "translate/caddyfile.h"

#include <string.h>

/* --- a look -------------------------------------------------------------------------------- */

static nsec_t left_until(nsec_t deadline)
{
    nsec_t left = deadline - sys_clock_mono();
    return left > NSEC_MS ? left : NSEC_MS;
}

/* Is our block in the file, in the form that this Caddy needs, and does Caddy run that file? */
static bool look_installed(const struct driver_ctx *ctx, nsec_t deadline, struct traffic_facts *f,
                           char *why, size_t size)
{
    const struct spec *s = traffic_spec(ctx);
    struct err err = {0};
    cleanup_str struct str file = {0}, have = {0}, want = {0};
    if (traffic_caddyfile(s, &file, &err) < 0 ||
        caddyfile_render(s, ctx->side[BLUE], f->version, &want, &err) < 0) {
        snprintf(why, size, "%.*s", (int)size - 1, err.msg);
        return false;
    }
    if (!caddyfile_find(str_cstr(&file), s->service, &have)) {
        snprintf(why, size, "'%s' has no block of this service", s->traffic.caddyfile);
        return false;
    }
    bool newest = str_eq(str_cstr(&have), str_cstr(&want));
    if (!newest && !traffic_block_known(ctx, str_cstr(&have))) {
        snprintf(why, size, "the block in '%s' is not the one for this spec and Caddy %s",
                 s->traffic.caddyfile, f->version);
        return false;
    }
    if (!newest)
        snprintf(
            why, size,
            "the block in '%s' is from another edition of the spec, or another version of Caddy "
            "(`changeover traffic install` brings it up to date)",
            s->traffic.caddyfile);
    cleanup_json json_t *runs = NULL, *means = NULL;
    struct caddy c = {.admin = s->traffic.admin, .timeout = left_until(deadline)};
    if (caddy_config(&c, &runs, &err) < 0) {
        f->reachable = false;
        snprintf(why, size, "%.*s", (int)size - 1, err.msg);
        return false;
    }
    c.timeout = left_until(deadline);
    if (caddy_adapt(&c, str_cstr(&file), &means, &err) < 0) {
        f->reachable = err.code != ERR_TIMEOUT;
        snprintf(why, size, "Caddy does not say what '%s' means: %.300s", s->traffic.caddyfile,
                 err.msg);
        return false;
    }
    if (!json_equal(runs, means))
        snprintf(why, size, "Caddy runs another configuration than '%s'", s->traffic.caddyfile);
    return json_equal(runs, means);
}

static int caddy_inspect(const struct driver_ctx *ctx, nsec_t within, struct traffic_facts *ret,
                         struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    nsec_t deadline = sys_clock_mono() + within;
    struct traffic_facts f = {.flag = traffic_flag(s),
                              .held = {traffic_held(s, GREEN), traffic_held(s, BLUE)},
                              .open = {traffic_open(s, GREEN), traffic_open(s, BLUE)},
                              .failover = traffic_flag_set(s, "failover")};
    (void)err;
    str_format(f.source, sizeof(f.source), "the flags in '%s' say", s->traffic.flag_dir);
    char why[512] = "";
    struct err bad = {0};
    f.reachable = traffic_version(ctx, f.version, &bad) == 0;
    if (!f.reachable) {
        snprintf(f.text, sizeof(f.text), "%.500s", bad.msg);
    } else {
        f.installed = look_installed(ctx, deadline, &f, why, sizeof(why));
        snprintf(f.text, sizeof(f.text), "%s", why);
    }
    why[0] = '\0';
    f.seen = traffic_which(s, left_until(deadline), why, sizeof(why));
    if (f.seen == COLOUR_NONE && !f.text[0])
        snprintf(f.text, sizeof(f.text), "%s", why);
    else if (f.seen != f.flag && f.seen != COLOUR_NONE && !f.text[0])
        snprintf(f.text, sizeof(f.text), "the flags say %s, but Caddy would choose %s",
                 colour_name(f.flag), colour_name(f.seen));
    *ret = f;
    return 0;
}

/* --- the flip ------------------------------------------------------------------------------ */

static int at_fault_point(const char *point, struct err *err)
{
    return sys_fault_point(point) == 0 ? 0 : err_sys(err, ERR_FAILED, "fault point '%s'", point);
}

/* Both ways alike: create the new flag, sync, remove the old one, sync. To green the first commits,
 * since green has priority; to blue the removal does. A crash in between leaves both, which reads
 * as green. */
static int caddy_point(const struct driver_ctx *ctx, enum colour to, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    const char *dir = s->traffic.flag_dir;
    cleanup_free char *mine = traffic_flag_path(s, to == GREEN ? "active-green" : "active-blue");
    cleanup_free char *others = traffic_flag_path(s, to == GREEN ? "active-blue" : "active-green");
    if (sys_dir_make(dir, 0755, err) < 0 || sys_file_touch(mine, 0644, err) < 0 ||
        at_fault_point("flip:created", err) < 0 || sys_dir_sync(dir, err) < 0 ||
        at_fault_point("flip:created-synced", err) < 0 || sys_file_remove(others, err) < 0 ||
        at_fault_point("flip:removed", err) < 0 || sys_dir_sync(dir, err) < 0 ||
        at_fault_point("flip:done", err) < 0)
        return err_ctx(err, "flip to %s", colour_name(to));
    return 0;
}

static int caddy_failover(const struct driver_ctx *ctx, bool on, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    cleanup_free char *path = traffic_flag_path(s, "failover");
    if (on && (!s->traffic.failover || s->writes == WRITES_CLIENT))
        return err_set(err, ERR_USAGE,
                       "the spec does not allow failover (traffic.failover, writes)");
    if (!on && !sys_path_exists(path))
        return 0;
    if ((on ? sys_file_touch(path, 0644, err) : sys_file_remove(path, err)) < 0)
        return -1;
    return sys_dir_sync(s->traffic.flag_dir, err);
}

/* --- by hand, when the tool is gone -------------------------------------------------------- */

static void add_flip(struct str *t, const char *dir, enum colour to)
{
    const char *mine = colour_name(to), *others = colour_name(colour_other(to));
    str_addf(t, "To send the traffic to %s by hand (only when %s works), in this order:\n\n", mine,
             mine);
    str_addf(t, "    install -m 0644 /dev/null %s/active-%s\n", dir, mine);
    str_addf(t, "    rm -f %s/active-%s\n\n", dir, others);
}

static void add_hold(struct str *t, const char *c)
{
    str_addf(t,
             "Requests for %s wait (hold-%s), and fail when they have waited too long. To end that "
             "by\nhand: the traffic to a colour that works, then remove hold-%s.\n\n",
             c, c, c);
}

static int caddy_readme(const struct driver_ctx *ctx, const char *state_line, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    const char *dir = s->traffic.flag_dir;
    enum colour live = traffic_flag(s);
    cleanup_str struct str t = {0};
    cleanup_free char *path = traffic_flag_path(s, "README");
    str_addf(&t, "changeover, service %s\n\n%s\n\n", s->service, state_line);
    str_addf(
        &t,
        "The traffic goes to: %s. Caddy looks at the files of this directory at each request:\n"
        "active-green: to green; else active-blue: to blue; neither: 503.\n"
        "No reload is needed, and none is wanted: it drops requests and websockets.\n\n",
        colour_name(live));
    for (int c = GREEN; c < COLOURS; c++)
        if (traffic_held(s, (enum colour)c))
            add_hold(&t, colour_name((enum colour)c));
    add_flip(&t, dir, GREEN);
    add_flip(&t, dir, BLUE);
    if (live != COLOUR_NONE) {
        str_addf(&t, "What %s serves from, and must not be destroyed:\n", colour_name(live));
        for (size_t i = 0; i < ctx->side[live]->volumes_n; i++)
            str_addf(&t, "    %s\n", ctx->side[live]->volumes[i].path);
        str_add_c(&t, '\n');
    }
    str_addf(
        &t,
        "After a flip by hand: `changeover adopt --live COLOUR`. Before anything else: `changeover "
        "status`.\nRewritten by changeover at each step.\n");
    if (sys_dir_make(dir, 0755, err) < 0)
        return -1;
    return sys_file_write_atomic(path, str_cstr(&t), t.len, 0644, err);
}

const struct traffic_ops traffic_caddy = {
    .name = "caddy",
    .inspect = caddy_inspect,
    .render = traffic_render,
    .install = traffic_caddy_install,
    .uninstall = traffic_caddy_uninstall,
    .point = caddy_point,
    .preview = traffic_caddy_preview,
    .verify = traffic_caddy_verify,
    .load = traffic_caddy_load,
    .loads = traffic_caddy_loads,
    .readme = caddy_readme,
    .failover = caddy_failover,
    .hold = traffic_caddy_hold,
    .give_back = traffic_caddy_give_back,
};

const struct traffic_ops *traffic_find(const struct spec *s, struct err *err)
{
    static const struct traffic_ops *const drivers[] = {&traffic_caddy, &traffic_service,
                                                        &traffic_ingress};
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
        if (str_eq(drivers[i]->name, s->traffic.driver))
            return drivers[i];
    err_set(err, ERR_UNSUPPORTED,
            "%s:%d: there is no traffic driver '%s'; write 'caddy', 'service' or 'ingress'",
            s->path ? s->path : "the spec", s->traffic.line,
            s->traffic.driver ? s->traffic.driver : "");
    return NULL;
}
