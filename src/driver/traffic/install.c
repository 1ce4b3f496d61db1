/* The block's way into Caddy's file and into the running Caddy, and out again. */
#include "driver/traffic/caddy_internal.h"

#include "base/diff.h"
#include "format/json.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"
#include "translate/caddyfile.h"

#include <string.h>

#define CADDYFILE_MAX ((size_t)4 << 20)
#define LOAD_MAX (30 * NSEC_S)
#define SEEN_WITHIN (2 * NSEC_S)

int traffic_caddyfile(const struct spec *s, struct str *ret, struct err *err)
{
    ret->max = CADDYFILE_MAX;
    if (sys_file_read(s->traffic.caddyfile, CADDYFILE_MAX, ret, err) == 0)
        return 0;
    return err_hint(err, "set traffic.caddyfile to the file that Caddy was started with");
}

int traffic_render(const struct driver_ctx *ctx, struct str *ret, struct err *err)
{
    char version[32];
    if (traffic_version(ctx, version, err) < 0)
        return -1;
    return caddyfile_render(ctx->side[GREEN], ctx->side[BLUE], version, ret, err);
}

/* The file's text before our last write: tells a crash between write and load from a foreign
 * configuration, and is the way back to the very bytes. */
static char *before_path(const struct driver_ctx *ctx)
{
    return x_asprintf("%s/traffic/Caddyfile.before", ctx->service_dir);
}

static struct caddy admin(const struct driver_ctx *ctx)
{
    return (struct caddy){.admin = traffic_spec(ctx)->traffic.admin, .timeout = LOAD_MAX};
}

static char *block_path(const struct driver_ctx *ctx)
{
    return x_asprintf("%s/traffic/block", ctx->service_dir);
}

bool traffic_block_known(const struct driver_ctx *ctx, const char *block)
{
    cleanup_free char *path = block_path(ctx);
    cleanup_str struct str known = {0};
    if (sys_file_read(path, CADDYFILE_MAX, &known, NULL) < 0 || !str_eq(str_cstr(&known), block))
        return false;
    for (int c = 0; c < COLOURS; c++) {
        char dial[64];
        caddyfile_dial(dial, sizeof(dial), ctx->side[c], false);
        cleanup_free char *use = x_asprintf("reverse_proxy %s\n", dial);
        if (!strstr(block, use)) /* the preview has it in this form */
            return false;
    }
    return true;
}

static int make_dirs(const struct driver_ctx *ctx, struct err *err)
{
    cleanup_free char *dir = x_asprintf("%s/traffic", ctx->service_dir);
    return sys_dir_make(ctx->service_dir, 0700, err) < 0 ? -1 : sys_dir_make(dir, 0700, err);
}

/* Does Caddy run what this text means? A text that means nothing is not what runs. */
static bool runs_text(const struct driver_ctx *ctx, const char *text, const json_t *runs)
{
    struct caddy c = admin(ctx);
    cleanup_json json_t *means = NULL;
    return caddy_adapt(&c, text, &means, NULL) == 0 && json_equal(means, runs);
}

/* Whatever else Caddy runs (loaded by API, or by hand from another file) a load of our file would
 * throw away. */
static int runs_this_file(const struct driver_ctx *ctx, const char *current, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    struct caddy c = admin(ctx);
    cleanup_json json_t *runs = NULL;
    cleanup_str struct str before = {0}, bare = {0};
    cleanup_free char *path = before_path(ctx);
    if (caddy_config(&c, &runs, err) < 0)
        return -1;
    if (runs_text(ctx, current, runs))
        return 0;
    if (sys_file_read(path, CADDYFILE_MAX, &before, NULL) == 0 &&
        runs_text(ctx, str_cstr(&before), runs))
        return 0;
    if (caddyfile_put(current, s->service, NULL, &bare, NULL) == 0 &&
        runs_text(ctx, str_cstr(&bare), runs))
        return 0;
    err_set(
        err, ERR_FOREIGN,
        "Caddy at %s runs another configuration than '%s'; loading the file would throw that away",
        s->traffic.admin, s->traffic.caddyfile);
    return err_hint(
        err,
        "compare `curl http://%s/config/` with `caddy adapt --config %s`; then `caddy reload "
        "--config %s`, or set traffic.caddyfile to the file that Caddy really runs",
        s->traffic.admin, s->traffic.caddyfile, s->traffic.caddyfile);
}

/* A load also restarts the admin endpoint, so the first questions may be cut off or answered by the
 * old one. */
static int reads_back(const struct driver_ctx *ctx, const char *text, struct err *err)
{
    struct caddy c = admin(ctx);
    nsec_t deadline = sys_clock_mono() + SEEN_WITHIN;
    do {
        cleanup_json json_t *runs = NULL;
        if (caddy_config(&c, &runs, NULL) == 0 && runs_text(ctx, text, runs))
            return 0;
        sys_sleep(20 * NSEC_MS);
    } while (sys_clock_mono() < deadline);
    return err_set(err, ERR_FAILED, "Caddy accepted the configuration, but does not run it");
}

/* Writes the file, loads it, reads it back. Whatever fails: the old text again, in file and Caddy.
 */
static int write_and_load(const struct driver_ctx *ctx, const char *old, const char *text,
                          struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    struct caddy c = admin(ctx);
    cleanup_free char *before = before_path(ctx);
    if (make_dirs(ctx, err) < 0 || sys_file_write_atomic(before, old, strlen(old), 0600, err) < 0 ||
        sys_file_rewrite(s->traffic.caddyfile, text, strlen(text), err) < 0)
        return -1;
    if (sys_fault_point("traffic:written") < 0)
        return err_sys(err, ERR_FAILED, "fault point 'traffic:written'");
    if (caddy_load(&c, text, err) == 0 && reads_back(ctx, text, err) == 0)
        return 0;
    struct err again = {0};
    if (sys_file_rewrite(s->traffic.caddyfile, old, strlen(old), &again) < 0)
        return err_ctx(err, "'%s' could not be put back (%s)", s->traffic.caddyfile, again.msg);
    return -1;
}

static void put_back(const struct driver_ctx *ctx, const char *old, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    struct caddy c = admin(ctx);
    struct err again = {0};
    if (sys_file_rewrite(s->traffic.caddyfile, old, strlen(old), &again) < 0 ||
        caddy_load(&c, old, &again) < 0)
        err_ctx(err, "the old configuration could not be put back (%s)", again.msg);
}

/* By behaviour, since only Caddy's own user can say what that user may read. */
static int sees_flags(const struct driver_ctx *ctx, enum colour live, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    nsec_t deadline = sys_clock_mono() + SEEN_WITHIN;
    char why[256];
    enum colour seen;
    do {
        why[0] = '\0';
        seen = traffic_which(s, TRAFFIC_PATIENT, why, sizeof(why));
        if (seen == live)
            return 0;
        if (driver_poll(ctx))
            return err_set(err, ERR_INTERRUPTED, "interrupted while waiting for Caddy");
        sys_sleep(20 * NSEC_MS);
    } while (sys_clock_mono() < deadline);
    if (seen != COLOUR_NONE)
        return err_set(err, ERR_FAILED, "Caddy would choose %s, but the flag in '%s' says %s",
                       colour_name(seen), s->traffic.flag_dir, colour_name(live));
    err_set(err, ERR_FAILED, "Caddy does not see the flag of %s: %s", colour_name(live), why);
    return err_hint(err,
                    "let Caddy's user search every directory on the way: chmod o+x; `namei -l %s` "
                    "shows them",
                    s->traffic.flag_dir);
}

static int flags_ready(const struct driver_ctx *ctx, enum colour live, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    enum colour now = traffic_flag(s);
    if (now == COLOUR_NONE)
        return traffic_caddy.point(ctx, live, err);
    if (now == live)
        return 0;
    err_set(err, ERR_HALFWAY, "the flags in '%s' send the traffic to %s, but %s is live",
            s->traffic.flag_dir, colour_name(now), colour_name(live));
    return err_hint(err, "changeover adopt --live %s, if that is true", colour_name(now));
}

static int refused_block(const struct driver_ctx *ctx, const char *text, struct err *err)
{
    struct caddy c = admin(ctx);
    cleanup_json json_t *means = NULL;
    if (caddy_adapt(&c, text, &means, err) == 0)
        return 0;
    return err_ctx(err, "Caddy does not take '%s' with the block in it (nothing was changed)",
                   traffic_spec(ctx)->traffic.caddyfile);
}

int traffic_caddy_install(const struct driver_ctx *ctx, enum colour live, bool dry,
                          struct str *ret_diff, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    const char *path = s->traffic.caddyfile;
    cleanup_str struct str old = {0}, block = {0}, text = {.max = CADDYFILE_MAX};
    if (!dry && make_dirs(ctx, err) < 0)
        return -1;
    if (traffic_caddyfile(s, &old, err) < 0 || traffic_render(ctx, &block, err) < 0 ||
        caddyfile_put(str_cstr(&old), s->service, str_cstr(&block), &text, err) < 0)
        return -1;
    diff_unified(str_cstr(&old), str_cstr(&text), path, path, ret_diff);
    if (runs_this_file(ctx, str_cstr(&old), err) < 0 ||
        refused_block(ctx, str_cstr(&text), err) < 0)
        return -1;
    if (dry)
        return 0;
    if (flags_ready(ctx, live, err) < 0)
        return -1;
    struct caddy c = admin(ctx);
    cleanup_json json_t *runs = NULL;
    if (caddy_config(&c, &runs, err) < 0)
        return -1;
    bool there = str_eq(str_cstr(&old), str_cstr(&text)) && runs_text(ctx, str_cstr(&text), runs);
    if (!there && write_and_load(ctx, str_cstr(&old), str_cstr(&text), err) < 0)
        return -1;
    cleanup_free char *known = block_path(ctx);
    if (sees_flags(ctx, live, err) == 0)
        return sys_file_write_atomic(known, str_cstr(&block), block.len, 0600, err);
    if (!there)
        put_back(ctx, str_cstr(&old), err);
    return -1;
}

int traffic_caddy_uninstall(const struct driver_ctx *ctx, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    cleanup_free char *before = before_path(ctx);
    cleanup_str struct str old = {0}, bare = {0}, first = {0}, with = {0}, block = {0},
                           earlier = {0};
    if (traffic_caddyfile(s, &old, err) < 0 ||
        caddyfile_put(str_cstr(&old), s->service, NULL, &bare, err) < 0 ||
        runs_this_file(ctx, str_cstr(&old), err) < 0)
        return -1;
    const char *text = str_cstr(&bare);
    /* nobody has touched it since: the very bytes of before */
    if (caddyfile_find(str_cstr(&old), s->service, &block) &&
        sys_file_read(before, CADDYFILE_MAX, &first, NULL) == 0 &&
        !caddyfile_find(str_cstr(&first), s->service, &earlier) &&
        caddyfile_put(str_cstr(&first), s->service, str_cstr(&block), &with, NULL) == 0 &&
        str_eq(str_cstr(&with), str_cstr(&old)))
        text = str_cstr(&first);
    if (str_eq(text, str_cstr(&old)))
        return 0;
    if (refused_block(ctx, text, err) < 0)
        return -1;
    return write_and_load(ctx, str_cstr(&old), text, err);
}
