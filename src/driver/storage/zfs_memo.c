/* What zfs(8) has said of the data sets of this upgrade, for a step that asks of one volume after
 * the other: what is asked of the first is asked of all at once. Each command that changes
 * something makes what it names unknown again. */
#include "base/str.h"
#include "driver/memo.h"
#include "driver/storage/zfs.h"
#include "sys/clock.h"

#include <stdlib.h>
#include <string.h>

#define FRESH (5 * NSEC_S) /* others change things, too */

struct known {
    struct zfs_dataset d;
    nsec_t at; /* 0: unknown */
};

struct memo {
    struct known *v;
    size_t n;
    struct str local; /* of all sources */
    nsec_t local_at;
};

static void memo_done(void *data)
{
    struct memo *m = data;
    free(m->v);
    str_done(&m->local);
    free(m);
}

static struct known *find(struct memo *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (str_eq(m->v[i].d.name, name))
            return &m->v[i];
    m->v = x_realloc(m->v, m->n + 1, sizeof(*m->v));
    m->v[m->n] = (struct known){0};
    str_format(m->v[m->n].d.name, ZFS_NAME, "%s", name);
    return &m->v[m->n++];
}

static struct memo *memo_of(const struct driver_ctx *ctx)
{
    if (ctx->memo->data)
        return ctx->memo->data;
    struct memo *m = x_alloc(sizeof(*m));
    ctx->memo->data = m;
    ctx->memo->done = memo_done;
    for (int c = GREEN; c < COLOURS; c++)
        for (size_t i = 0; i < ctx->side[c]->volumes_n; i++) {
            const char *dataset = ctx->side[c]->volumes[i].dataset;
            char snapshot[ZFS_NAME];
            if (!dataset)
                continue;
            (void)find(m, dataset);
            str_format(snapshot, sizeof(snapshot), "%s@" ZFS_SNAPSHOT "%s", dataset,
                       ctx->upgrade_id);
            (void)find(m, snapshot);
        }
    return m;
}

static bool is_known(const struct known *k)
{
    return k->at && sys_clock_mono() < k->at + FRESH;
}

static int ask_unknown(const struct driver_ctx *ctx, struct memo *m, struct err *err)
{
    cleanup_free struct zfs_dataset *ask = x_alloc(m->n * sizeof(*ask));
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++)
        if (!is_known(&m->v[i]))
            str_format(ask[n++].name, ZFS_NAME, "%s", m->v[i].d.name);
    if (zfs_look_now(ctx, ask, n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct known *k = find(m, ask[i].name);
        k->d = ask[i];
        k->at = sys_clock_mono();
    }
    return 0;
}

int zfs_look(const struct driver_ctx *ctx, struct zfs_dataset *ret, size_t n, struct err *err)
{
    if (!ctx->memo)
        return zfs_look_now(ctx, ret, n, err);
    struct memo *m = memo_of(ctx);
    bool all = true;
    for (size_t i = 0; i < n; i++)
        all &= is_known(find(m, ret[i].name));
    if (!all && ask_unknown(ctx, m, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        ret[i] = find(m, ret[i].name)->d;
    return 0;
}

/* The data set itself, or a snapshot of it. */
static bool touches(const char *arg, const char *name)
{
    size_t n = strlen(arg);
    return strncmp(arg, name, n) == 0 && (name[n] == '\0' || name[n] == '@');
}

void zfs_memo_changed(const struct driver_ctx *ctx, const char *const *args)
{
    static const char *const narrow[] = {"snapshot", "hold", "clone", "allow", "mount", "set"};
    struct memo *m = ctx->memo ? ctx->memo->data : NULL;
    bool wide = true;
    for (size_t i = 0; i < ARRAY_LEN(narrow); i++)
        wide &= !str_eq(args[0], narrow[i]);
    for (size_t i = 0; m && i < m->n; i++)
        for (size_t k = 1; args[k]; k++)
            if (wide || touches(args[k], m->v[i].d.name))
                m->v[i].at = 0;
}

/* ---- properties that were set on the sources ---- */

static int ask_local(const struct driver_ctx *ctx, const struct strv *names, struct str *ret,
                     struct err *err)
{
    cleanup_strv struct strv args = {0};
    for (const char *const *a = ZFS_ARGS("get", "-H", "-p", "-s", "local,received", "-o",
                                         "name,property,value", "all");
         *a; a++)
        strv_add(&args, *a);
    for (size_t i = 0; i < names->n; i++)
        strv_add(&args, names->v[i]);
    return zfs_ask(ctx, (const char *const *)args.v, ret, err);
}

int zfs_local(const struct driver_ctx *ctx, const char *dataset, struct strv *ret_args,
              struct err *err)
{
    cleanup_strv struct strv names = {0};
    cleanup_str struct str own = {0};
    struct memo *m = ctx->memo ? memo_of(ctx) : NULL;
    struct str *text = m ? &m->local : &own;
    if (m && m->local_at && sys_clock_mono() < m->local_at + FRESH) {
        zfs_parse_local(str_cstr(text), dataset, ret_args);
        return 0;
    }
    strv_add(&names, dataset);
    for (size_t i = 0; m && i < m->n; i++)
        if (is_known(&m->v[i]) && m->v[i].d.exists && !strchr(m->v[i].d.name, '@') &&
            !strv_has(&names, m->v[i].d.name))
            strv_add(&names, m->v[i].d.name);
    str_clear(text);
    if (ask_local(ctx, &names, text, err) < 0)
        return -1;
    if (m)
        m->local_at = sys_clock_mono();
    zfs_parse_local(str_cstr(text), dataset, ret_args);
    return 0;
}
