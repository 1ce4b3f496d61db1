/* Data: paths, whose they are, space, memory, the pause for the clone. */
#include "driver/check.h"

#include "sys/feature.h"
#include "sys/file.h"
#include "sys/path.h"

#include <string.h>

/* --- places that must lie apart ------------------------------------------------------------ */

struct place {
    char what[96];
    const char *path;
};

static const char *const relation_words[] = {
    [SYS_PATH_SAME] = "is the same place as",
    [SYS_PATH_INSIDE] = "lies inside",
    [SYS_PATH_AROUND] = "lies around",
};

static size_t add_volumes(struct place *p, const struct spec *s)
{
    for (size_t i = 0; i < s->volumes_n; i++) {
        (void)snprintf(p[i].what, sizeof(p[i].what), "volume %.40s of %s", s->volumes[i].name,
                       colour_name(s->colour));
        p[i].path = s->volumes[i].path;
    }
    return s->volumes_n;
}

static size_t add_place(struct place *p, const char *what, const char *path)
{
    if (!path || !*path)
        return 0;
    (void)snprintf(p->what, sizeof(p->what), "%s", what);
    p->path = path;
    return 1;
}

void check_paths(struct check *c)
{
    size_t n = 0, bad = 0;
    cleanup_free struct place *p =
        x_alloc((c->from->volumes_n + c->to->volumes_n + 2) * sizeof(*p));

    n += add_volumes(p + n, c->from);
    n += add_volumes(p + n, c->to);
    n += add_place(p + n, "the state directory", c->ctx->service_dir);
    n += add_place(p + n, "the flag directory", c->from->traffic.flag_dir);
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++) {
            enum sys_path_relation r = sys_path_relation(p[i].path, p[k].path);
            if (r == SYS_PATH_APART)
                continue;
            bad++;
            findings_add(
                c->f, FINDING_ERROR, "paths", "give each a directory of its own in the spec",
                "%s ('%s') %s %s ('%s'): a clone or a removal of one would take the other along",
                p[i].what, p[i].path, relation_words[r], p[k].what, p[k].path);
        }
    if (!bad)
        findings_add(c->f, FINDING_OK, "paths", NULL,
                     "volumes, state and flag directory lie apart (%zu places)", n);
}

/* --- volumes ------------------------------------------------------------------------------- */

/* What the clones need of one file system. */
struct need {
    uint64_t dev, bytes, free_bytes;
    bool memory; /* tmpfs: its pages are memory */
    char path[256];
};

struct budget {
    struct need *v;
    size_t n;
    nsec_t first_ns; /* the pass before the pause */
    nsec_t pause_ns;
    char frozen[200]; /* names of the volumes that need the pause */
};

/* A limit of its own stops live as a full disk does, and no clone that goes widens it. */
static void check_limit(struct check *c, const struct storage_ops *ops,
                        const struct spec_volume *src)
{
    struct storage_space left = {0};
    struct err ignored = {0};
    char words[16], mend[64];
    if (!c->rq->measure || ops->space(c->ctx, src, c->live, UINT64_MAX, &left, &ignored) < 0 ||
        left.limit_bytes >= c->to->space.floor_bytes)
        return;
    findings_add(c->f, FINDING_WARNING, "space",
                 str_format(mend, sizeof(mend), "raise its %s, or free some there", left.limit),
                 "volume %s of %s: %s are left under its %s, and nothing that the standby gives "
                 "back would help it",
                 src->name, colour_name(c->live), str_bytes(words, sizeof(words), left.limit_bytes),
                 left.limit);
}

/* False: there is nothing that could be cloned. */
static bool check_live(struct check *c, const struct storage_ops *ops,
                       const struct spec_volume *src, const struct spec_volume *dst)
{
    struct storage_facts f = {0};
    struct err e = {0};
    const char *name = colour_name(c->live);
    enum finding_level level = check_level(c);

    check_limit(c, ops, src);
    if (ops->inspect(c->ctx, dst, src, c->live, false, &f, &e) < 0)
        findings_add(c->f, level, "data", NULL, "volume %s of %s: %s", src->name, name, e.msg);
    else if (!f.exists)
        findings_add(c->f, level, "data", "correct its path in the spec, or mount it",
                     "volume %s of %s: there is nothing at '%s'", src->name, name, src->path);
    else if (!sys_path_readable(src->path))
        findings_add(c->f, FINDING_ERROR, "data",
                     "run changeover as root, or as the owner of the data",
                     "volume %s of %s: '%s' may not be read", src->name, name, src->path);
    else if (c->adopted && f.owner != OWNER_OURS)
        findings_add(
            c->f, FINDING_ERROR, "data", "changeover adopt",
            "volume %s of %s: '%s' does not carry our mark (%s): is the right file system mounted?",
            src->name, name, src->path, f.owner_text);
    else
        findings_add(c->f, FINDING_OK, "data", NULL, "volume %s of %s: '%s' on %s%s", src->name,
                     name, src->path, f.fs_name[0] ? f.fs_name : "its file system",
                     f.owner == OWNER_OURS ? ", ours" : "");
    return f.exists;
}

static void add_need(struct budget *b, const struct spec_volume *dst, const struct storage_facts *f)
{
    uint64_t dev = 0, ino = 0;
    cleanup_free char *base = sys_path_existing(dst->path);
    struct need *n = b->v;

    if (sys_path_identity(base, &dev, &ino, NULL) < 0)
        dev = 0;
    while (n < b->v + b->n && n->dev != dev)
        n++;
    if (n == b->v + b->n) {
        b->n++;
        n->dev = dev;
        n->free_bytes = f->free_bytes;
        n->memory = str_eq(f->fs_name, "tmpfs") || str_eq(f->fs_name, "ramfs");
        (void)snprintf(n->path, sizeof(n->path), "%s", base);
    }
    n->bytes += f->needed_bytes;
}

static void add_freeze(struct budget *b, const struct storage_ops *ops, const struct spec_volume *v,
                       const struct storage_facts *f)
{
    size_t at = strlen(b->frozen);
    b->first_ns += f->estimate_ns;
    b->pause_ns += f->pause_ns; /* all are looked at while one asks for the pause */
    if (v->consistency == CONSISTENCY_NONE || v->before_snapshot.argv.n ||
        (ops->caps & (STORAGE_INSTANT | STORAGE_NO_DATA)))
        return;
    (void)snprintf(b->frozen + at, sizeof(b->frozen) - at, "%s%s", at ? ", " : "", v->name);
}

/* The directory that the clone is to lie in: nobody makes it, since a mount may be missing there.
 */
static bool check_parent(struct check *c, const struct spec_volume *dst)
{
    cleanup_free char *dir = x_strdup(dst->path);
    char *slash = strrchr(dir, '/');
    char mend[512];

    if (slash && slash != dir)
        *slash = '\0';
    bool there = sys_path_exists(dir);
    if (there && sys_path_writable(dir))
        return true;
    if (there)
        str_format(mend, sizeof(mend), "run as its owner, or: chown %u %s", (unsigned)sys_uid(),
                   dir);
    else
        str_format(mend, sizeof(mend), "mkdir -p %s (or mount what is missing there)", dir);
    findings_add(c->f, FINDING_ERROR, "data", mend,
                 "volume %s of %s: '%s', which it is to lie in, %s", dst->name,
                 colour_name(c->standby), dir, there ? "cannot be written" : "is not there");
    return false;
}

/* Something of ours, of another upgrade or cut short, may lie where the clone is to go. */
static void check_leftover(struct check *c, const struct storage_ops *ops,
                           const struct spec_volume *dst, const struct storage_facts *f)
{
    const char *name = colour_name(c->standby);
    if (f->owner == OWNER_OURS && !f->complete)
        findings_add(c->f, FINDING_WARNING, "data",
                     "changeover prepare (makes it anew), or changeover cleanup",
                     "volume %s of %s: an interrupted clone lies at '%s'", dst->name, name,
                     dst->path);
    else if (f->owner == OWNER_OURS && !c->rq->standby_runs)
        findings_add(c->f, FINDING_WARNING, "data", "changeover cleanup",
                     "volume %s of %s: data of upgrade %s lies at '%s'", dst->name, name,
                     f->upgrade_id[0] ? f->upgrade_id : "(adopted)", dst->path);
    else
        findings_add(c->f, FINDING_OK, "data", NULL, "volume %s of %s: can be cloned to '%s' by %s",
                     dst->name, name, dst->path, ops->name);
}

/* Whose data lies at the standby's place, and can it be cloned there? */
static void check_standby(struct check *c, const struct storage_ops *ops,
                          const struct spec_volume *src, const struct spec_volume *dst,
                          struct budget *b)
{
    struct storage_facts f = {0};
    struct err e = {0};
    const char *name = colour_name(c->standby);

    if (ops->inspect(c->ctx, src, dst, c->standby, c->rq->measure, &f, &e) < 0) {
        findings_add(c->f, FINDING_ERROR, "data", *e.hint ? e.hint : NULL, "volume %s of %s: %s",
                     dst->name, name, e.msg);
        return;
    }
    bool ours = f.owner == OWNER_OURS;
    bool done =
        ours && f.complete && *c->ctx->upgrade_id && str_eq(f.upgrade_id, c->ctx->upgrade_id);
    if (f.exists && !f.empty && !ours && c->adopted)
        findings_add(
            c->f, FINDING_ERROR, "data",
            "move it away, or give the volume another path in the spec",
            "volume %s of %s: '%s' holds data that is not ours (%s); it is never overwritten",
            dst->name, name, dst->path, f.owner_text);
    else if (!f.supported)
        findings_add(c->f, FINDING_ERROR, "data",
                     "choose another driver for it in the spec (copy works everywhere)",
                     "volume %s: %s cannot clone '%s' to '%s': %s", dst->name, ops->name, src->path,
                     dst->path, f.why_not);
    else if (done)
        findings_add(c->f, FINDING_OK, "data", NULL, "volume %s of %s: cloned to '%s' by %s",
                     dst->name, name, dst->path, ops->name);
    else if (f.exists || check_parent(c, dst))
        check_leftover(c, ops, dst, &f);
    if (*f.note)
        findings_add(c->f, FINDING_WARNING, "data", NULL, "volume %s of %s: %s", src->name,
                     colour_name(c->live), f.note);
    if (!f.supported || done)
        return;
    add_need(b, dst, &f);
    add_freeze(b, ops, src, &f);
}

static void check_space(struct check *c, const struct need *n, uint64_t *memory)
{
    char need[16], left[16], floor[16];
    uint64_t floor_bytes = c->to->space.floor_bytes;

    str_bytes(need, sizeof(need), n->bytes);
    str_bytes(left, sizeof(left), n->free_bytes);
    str_bytes(floor, sizeof(floor), floor_bytes);
    if (n->memory)
        *memory += n->bytes;
    if (n->bytes + floor_bytes > n->free_bytes)
        findings_add(c->f, FINDING_ERROR, "space", "free some, or lower space.floor in the spec",
                     "the clone needs %s at '%s', where %s are free and %s must stay (space.floor)",
                     need, n->path, left, floor);
    else
        findings_add(c->f, FINDING_OK, "space", NULL, "the clone needs %s at '%s', %s are free",
                     need, n->path, left);
}

static void check_memory(struct check *c, uint64_t need)
{
    uint64_t left = sys_memory_available();
    char a[16], b[16];
    if (!need)
        return;
    str_bytes(a, sizeof(a), need);
    str_bytes(b, sizeof(b), left);
    if (need > left)
        findings_add(c->f, FINDING_ERROR, "memory",
                     "put the volume on a disk, or use driver: empty",
                     "the clone on tmpfs takes %s of memory, and %s are available", a, b);
    else
        findings_add(c->f, FINDING_OK, "memory", NULL,
                     "the clone on tmpfs takes %s of %s available memory", a, b);
}

static void check_freeze(struct check *c, const struct budget *b)
{
    char words[24], max[24], first[24], mend[256];
    if (!b->frozen[0])
        return;
    clock_words(first, sizeof(first), b->first_ns);
    clock_words(words, sizeof(words), b->pause_ns);
    clock_words(max, sizeof(max), c->from->freeze_max);
    if (b->pause_ns <= c->from->freeze_max) {
        findings_add(c->f, FINDING_OK, "freeze", NULL,
                     "live stands still for about %s and what changes meanwhile (at most %s), "
                     "after a pass of about %s while it runs",
                     words, max, first);
        return;
    }
    (void)snprintf(
        mend, sizeof(mend),
        "in the spec: freeze.max above %s, or consistency: none, a before_snapshot command, or "
        "driver: reflink for the volume",
        words);
    findings_add(c->f, FINDING_ERROR, "freeze", mend,
                 "a last look at %s alone takes about %s, and live may stand still for %s at most "
                 "(freeze.max)",
                 b->frozen, words, max);
}

static void check_rights(struct check *c, const struct storage_ops *ops,
                         const struct spec_volume *src, const struct spec_volume *dst)
{
    struct err e = {0};
    if (sys_uid() != 0 && ops->permit && ops->permit(c->ctx, src, dst, c->f, &e) < 0)
        findings_add(c->f, FINDING_ERROR, "rights", NULL, "%s", e.msg);
}

void check_volumes(struct check *c)
{
    struct budget b = {.v = NULL};
    uint64_t memory = 0;
    cleanup_free struct need *needs = x_alloc((c->to->volumes_n + 1) * sizeof(*needs));

    b.v = needs;
    for (size_t i = 0; i < c->from->volumes_n; i++) {
        const struct spec_volume *src = &c->from->volumes[i], *dst = spec_volume(c->to, src->name);
        struct err e = {0};
        const struct storage_ops *ops = dst ? c->drivers->storage(src, dst, &e) : NULL;
        if (!dst)
            findings_add(c->f, FINDING_ERROR, "data", "add it to the spec",
                         "%s has no volume %s, which %s has", colour_name(c->standby), src->name,
                         colour_name(c->live));
        else if (!ops)
            findings_add(c->f, FINDING_ERROR, "data", *e.hint ? e.hint : NULL, "volume %s: %s",
                         src->name, e.msg);
        if (!ops)
            continue;
        if (check_live(c, ops, src, dst))
            check_standby(c, ops, src, dst, &b);
        check_rights(c, ops, src, dst);
    }
    if (!c->rq->measure)
        return;
    for (size_t i = 0; i < b.n; i++)
        check_space(c, &b.v[i], &memory);
    check_memory(c, memory);
    check_freeze(c, &b);
}
