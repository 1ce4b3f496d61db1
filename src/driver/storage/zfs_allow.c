/* What goes with the data to a clone: properties that were set on the source itself, and what was
 * granted on it. Who may do what, read from the same words. */
#include "driver/storage/zfs.h"

#include <stdlib.h>
#include <string.h>

/* ---- properties ---- */

/* Not among them: the mount point and canmount (ours to say), reservations (they move when the old
 * side goes), shares (a second one would be a surprise), what cannot be changed or is the data's
 * own. */
static const char *const carried[] = {
    "recordsize",
    "compression",
    "checksum",
    "copies",
    "dedup",
    "atime",
    "relatime",
    "acltype",
    "aclmode",
    "aclinherit",
    "xattr",
    "dnodesize",
    "logbias",
    "sync",
    "primarycache",
    "secondarycache",
    "prefetch",
    "direct",
    "redundant_metadata",
    "special_small_blocks",
    "snapshot_limit",
    "filesystem_limit",
    "devices",
    "exec",
    "setuid",
    "nbmand",
    "overlay",
    "vscan",
    "context",
    "fscontext",
    "defcontext",
    "rootcontext",
    "snapdir",
    "snapdev",
    "volmode",
    "volthreading",
    "quota",
    "refquota",
};

static bool is_carried(const char *property)
{
    if (strchr(property, ':')) /* a user property: a program's wishes about this data */
        return !str_starts(property, "changeover:");
    for (size_t i = 0; i < ARRAY_LEN(carried); i++)
        if (str_eq(carried[i], property))
            return true;
    return false;
}

/* A quota that was taken off is printed with -p as a number that zfs does not accept. */
static const char *accepted(const char *property, const char *value)
{
    bool quota = str_eq(property, "quota") || str_eq(property, "refquota");
    return quota && str_eq(value, "0") ? "none" : value;
}

void zfs_parse_local(const char *text, const char *dataset, struct strv *ret_args)
{
    cleanup_free char *copy = x_strdup(text);
    char *at = copy, *col[3];
    while (zfs_next_line(&at, col, 3))
        if (str_eq(col[0], dataset) && is_carried(col[1])) {
            strv_add(ret_args, "-o");
            strv_take(ret_args, x_asprintf("%s=%s", col[1], accepted(col[1], col[2])));
        }
}

/* ---- zfs allow ---- */

void zfs_grants_done(struct zfs_grants *g)
{
    free(g->v);
    *g = (struct zfs_grants){0};
}

static const char *const headings[] = {
    [ZFS_ON_SET] = "Permission sets:",
    [ZFS_ON_CREATE] = "Create time permissions:",
    [ZFS_ON_IT] = "Local permissions:",
    [ZFS_ON_BELOW] = "Descendent permissions:",
    [ZFS_ON_BOTH] = "Local+Descendent permissions:",
};

/* The next word; an unknown user or group, "(unknown: 1234)", is its number. */
static char *word(char **at)
{
    char *w = *at + strspn(*at, " "), *end;
    if (str_starts(w, "(unknown:")) {
        w += strcspn(w, "0123456789)");
        end = w + strspn(w, "0123456789");
        *at = end + strspn(end, ")");
        if (**at)
            (*at)++;
    } else {
        end = w + strcspn(w, " ");
        *at = end + (*end != '\0');
    }
    *end = '\0';
    return w;
}

static void take_grant(char *line, const char *on, enum zfs_scope scope, struct zfs_grants *ret)
{
    ret->v = x_realloc(ret->v, ret->n + 1, sizeof(*ret->v));
    struct zfs_grant *g = &ret->v[ret->n++];
    *g = (struct zfs_grant){.scope = scope};
    str_format(g->on, sizeof(g->on), "%s", on);
    if (scope > ZFS_ON_CREATE)
        str_format(g->kind, sizeof(g->kind), "%s", word(&line));
    if (scope == ZFS_ON_SET || (*g->kind && !str_eq(g->kind, "everyone")))
        str_format(g->who, sizeof(g->who), "%s", word(&line));
    str_format(g->what, sizeof(g->what), "%s", word(&line));
}

void zfs_parse_allow(const char *text, struct zfs_grants *ret)
{
    cleanup_free char *copy = x_strdup(text);
    char *at = copy, *line, on[ZFS_NAME] = "";
    int scope = -1;
    while (zfs_next_line(&at, &line, 1)) {
        static const char heading[] = "---- Permissions on ";
        if (str_starts(line, heading)) {
            char *name = line + strlen(heading);
            str_format(on, sizeof(on), "%s", word(&name));
            scope = -1;
            continue;
        }
        if (*line != '\t') {
            scope = -1;
            for (size_t i = 0; i < ARRAY_LEN(headings); i++)
                if (str_starts(line, headings[i]))
                    scope = (int)i;
            continue;
        }
        if (scope >= 0 && *on)
            take_grant(line + 1, on, (enum zfs_scope)scope, ret);
    }
}

static bool lists(const char *what, const char *permission)
{
    size_t n = strlen(permission);
    while (*what) {
        size_t len = strcspn(what, ",");
        if (len == n && strncmp(what, permission, n) == 0)
            return true;
        what += len + (what[len] == ',');
    }
    return false;
}

/* In the list itself, or in a set that it names. */
static bool names(const struct zfs_grants *all, const char *what, const char *permission)
{
    if (lists(what, permission))
        return true;
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].scope == ZFS_ON_SET && lists(what, all->v[i].who) &&
            lists(all->v[i].what, permission))
            return true;
    return false;
}

static bool concerns(const struct zfs_grant *g, const char *user, const struct strv *groups)
{
    return str_eq(g->kind, "everyone") || (str_eq(g->kind, "user") && str_eq(g->who, user)) ||
           (str_eq(g->kind, "group") && strv_has(groups, g->who));
}

bool zfs_granted(const struct zfs_grants *all, const char *dataset, const char *permission,
                 const char *user, const struct strv *groups)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct zfs_grant *g = &all->v[i];
        enum zfs_scope other = str_eq(g->on, dataset) ? ZFS_ON_IT : ZFS_ON_BELOW;
        if ((g->scope == ZFS_ON_BOTH || g->scope == other) && concerns(g, user, groups) &&
            names(all, g->what, permission))
            return true;
    }
    return false;
}

int zfs_allowed(const struct driver_ctx *ctx, const char *dataset, struct zfs_grants *ret,
                struct err *err)
{
    cleanup_str struct str out = {0};
    if (zfs_ask(ctx, ZFS_ARGS("allow", dataset), &out, err) < 0)
        return -1;
    zfs_parse_allow(str_cstr(&out), ret);
    return 0;
}

static int carry(const struct driver_ctx *ctx, const struct zfs_grant *g, const char *to,
                 struct err *err)
{
    static const char *const scopes[] = {
        [ZFS_ON_SET] = "-s", [ZFS_ON_CREATE] = "-c", [ZFS_ON_IT] = "-l", [ZFS_ON_BELOW] = "-d"};
    cleanup_strv struct strv args = {0};
    strv_add(&args, "allow");
    if (g->scope != ZFS_ON_BOTH)
        strv_add(&args, scopes[g->scope]);
    if (*g->kind) /* -u, -g, -e */
        strv_take(&args, x_asprintf("-%c", *g->kind));
    if (*g->who)
        strv_add(&args, g->who);
    strv_add(&args, g->what);
    strv_add(&args, to);
    return zfs_change(ctx, (const char *const *)args.v, err);
}

int zfs_carry_grants(const struct driver_ctx *ctx, const struct zfs_grants *all, const char *from,
                     const char *to, struct err *err)
{
    for (size_t i = 0; i < all->n; i++)
        if (str_eq(all->v[i].on, from) && carry(ctx, &all->v[i], to, err) < 0)
            return -1;
    return 0;
}
