/* What zfs(8) has said of the data sets of this upgrade, for a step that asks of one volume after
 * the other: what is asked of the first is asked of all at once. Each command that changes
 * something makes what it names unknown again. */
#include "base/str.h"
#include "driver/memo.h"
#include "driver/storage/zfs.h"
#include "sys/clock.h"
#include "sys/tree.h"

#include <stdlib.h>
#include <string.h>

#define FRESH (60 * NSEC_S) /* others change things, too */
#define AT_ONCE 4

struct known {
    struct zfs_dataset d;
    nsec_t at;               /* 0: unknown */
    struct str local, allow; /* what was set and granted on it */
    nsec_t set_at;
    enum zfs_hold hold; /* of ours, on this snapshot */
};

struct memo {
    struct known *v;
    size_t n;
    struct str space;
};

static void memo_done(void *data)
{
    struct memo *m = data;
    for (size_t i = 0; i < m->n; i++) {
        str_done(&m->v[i].local);
        str_done(&m->v[i].allow);
    }
    str_done(&m->space);
    free(m->v);
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
    static const char *const narrow[] = {"snapshot", "clone", "allow", "mount", "set"};
    struct memo *m = ctx->memo ? ctx->memo->data : NULL;
    bool wide = true;
    if (str_eq(args[0], "hold")) /* said by zfs_memo_hold() */
        return;
    for (size_t i = 0; i < ARRAY_LEN(narrow); i++)
        wide &= !str_eq(args[0], narrow[i]);
    for (size_t i = 0; m && wide && i < m->n; i++)
        m->v[i].hold = ZFS_HOLD_UNKNOWN;
    for (size_t i = 0; m && i < m->n; i++)
        for (size_t k = 1; args[k]; k++)
            if (wide || touches(args[k], m->v[i].d.name))
                m->v[i].at = 0;
}

void zfs_memo_snapshots(const struct driver_ctx *ctx, const struct strv *names)
{
    struct memo *m = ctx->memo ? memo_of(ctx) : NULL;
    for (size_t i = 0; m && i < names->n; i++) {
        struct known *k = find(m, names->v[i]);
        k->d.exists = true;
        str_format(k->d.type, sizeof(k->d.type), "snapshot");
        str_format(k->d.snapshot, sizeof(k->d.snapshot), "%s", ctx->upgrade_id);
        k->at = sys_clock_mono();
    }
    zfs_memo_hold(ctx, names, ZFS_HOLD_NONE);
}

void zfs_memo_hold(const struct driver_ctx *ctx, const struct strv *names, enum zfs_hold hold)
{
    struct memo *m = ctx->memo ? memo_of(ctx) : NULL;
    for (size_t i = 0; m && i < names->n; i++)
        find(m, names->v[i])->hold = hold;
}

enum zfs_hold zfs_memo_held(const struct driver_ctx *ctx, const char *snapshot)
{
    struct memo *m = ctx->memo ? memo_of(ctx) : NULL;
    return m ? find(m, snapshot)->hold : ZFS_HOLD_UNKNOWN;
}

struct str *zfs_memo_space(const struct driver_ctx *ctx)
{
    return &memo_of(ctx)->space;
}

/* ---- what was set and granted on the sources ---- */

struct question {
    const struct driver_ctx *ctx;
    struct strv args;
    struct str answer;
    struct err err;
    int r; /* 1: not asked yet */
};

static void question_done(struct question *q)
{
    strv_done(&q->args);
    str_done(&q->answer);
}

static void put(struct question *q)
{
    if (q->r > 0)
        q->r = zfs_ask(q->ctx, (const char *const *)q->args.v, &q->answer, &q->err);
}

struct round {
    struct question *v;
    size_t n;
};

static void put_some(void *ctx, unsigned first)
{
    struct round *r = ctx;
    for (size_t i = first; i < r->n; i += AT_ONCE)
        put(&r->v[i]);
}

static void word(struct question *q, const char *const *args)
{
    for (; *args; args++)
        strv_add(&q->args, *args);
}

/* They take long to begin and little to do: some at once, by threads that only ask. */
static int ask_sources(const struct driver_ctx *ctx, const struct strv *names, struct question *v,
                       struct err *err)
{
    struct driver_ctx silent = *ctx; /* reading needs no note in the journal */
    silent.poll = NULL;
    silent.note_child = NULL;
    silent.memo = NULL;
    struct round r = {.v = v, .n = names->n + 1};
    for (size_t i = 0; i < r.n; i++)
        v[i] = (struct question){.ctx = &silent, .r = 1};
    word(&v[0],
         ZFS_ARGS("get", "-H", "-p", "-s", "local,received", "-o", "name,property,value", "all"));
    for (size_t i = 0; i < names->n; i++) {
        strv_add(&v[0].args, names->v[i]);
        word(&v[i + 1], ZFS_ARGS("allow", names->v[i]));
    }
    unsigned threads = r.n < AT_ONCE ? (unsigned)r.n : AT_ONCE;
    (void)sys_threads_run(threads, put_some, NULL, &r);
    int failed = 0;
    for (size_t i = 0; i < r.n; i++) {
        put(&v[i]); /* if there was no thread for it */
        if (v[i].r < 0 && !failed++)
            *err = v[i].err;
    }
    return failed ? -1 : 0;
}

/* Of the one that is asked about, or of all that there are. */
static void find_sources(struct memo *m, const char *dataset, struct strv *ret)
{
    strv_add(ret, dataset);
    for (size_t i = 0; m && i < m->n; i++)
        if (is_known(&m->v[i]) && m->v[i].d.exists && !strchr(m->v[i].d.name, '@') &&
            !strv_has(ret, m->v[i].d.name))
            strv_add(ret, m->v[i].d.name);
}

int zfs_set_on(const struct driver_ctx *ctx, const char *dataset, struct strv *ret_args,
               struct zfs_grants *ret_grants, struct err *err)
{
    cleanup_strv struct strv names = {0};
    struct memo *m = ctx->memo ? memo_of(ctx) : NULL;
    if (m) {
        const struct known *k = find(m, dataset);
        if (k->set_at && sys_clock_mono() < k->set_at + FRESH) {
            zfs_parse_local(str_cstr(&k->local), dataset, ret_args);
            zfs_parse_allow(str_cstr(&k->allow), ret_grants);
            return 0;
        }
    }
    find_sources(m, dataset, &names);
    cleanup_free struct question *v = x_alloc((names.n + 1) * sizeof(*v));
    int r = ask_sources(ctx, &names, v, err);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        if (i == 0) {
            zfs_parse_local(str_cstr(&v[0].answer), dataset, ret_args);
            zfs_parse_allow(str_cstr(&v[1].answer), ret_grants);
        }
        if (!m)
            continue;
        struct known *k = find(m, names.v[i]);
        str_clear(&k->local);
        str_clear(&k->allow);
        str_add(&k->local, str_cstr(&v[0].answer));
        str_add(&k->allow, str_cstr(&v[i + 1].answer));
        k->set_at = sys_clock_mono();
    }
    for (size_t i = 0; i <= names.n; i++)
        question_done(&v[i]);
    return r;
}
