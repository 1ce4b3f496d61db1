/* Which step needs what, for whoever is not root: said before anything is touched. */
#include "base/str.h"
#include "driver/storage/zfs_pair.h"
#include "sys/task.h"

#include <string.h>

#define GROUPS_MAX 256

enum place { ON_LIVE, ON_STANDBY, ON_PARENT };

/* What `zfs allow` can give. */
static const struct need {
    const char *step;
    enum place on;
    const char *permissions[6];
} needs[] = {
    {"prepare/clone", ON_LIVE, {"snapshot", "hold", "clone", "userprop"}},
    {"prepare/clone", ON_PARENT, {"create", "mount", "userprop"}},
    {"cleanup", ON_LIVE, {"release", "destroy", "promote"}},
    {"cleanup", ON_STANDBY, {"destroy", "promote"}},
};

struct asker {
    const char *name;
    struct strv groups;
};

static void asker_done(struct asker *a)
{
    strv_done(&a->groups);
}

/* Of the groups that are named there those that the user is in. */
static void find_groups(struct asker *a, gid_t own, const struct zfs_grants *all)
{
    gid_t list[GROUPS_MAX], gid;
    size_t n = sys_user_groups(a->name, own, list, GROUPS_MAX);
    for (size_t i = 0; i < all->n; i++)
        for (size_t k = 0; str_eq(all->v[i].kind, "group") && k < n; k++)
            if (sys_group_find(all->v[i].who, &gid) && list[k] == gid)
                strv_add(&a->groups, all->v[i].who);
}

static void parent_of(const char *dataset, char *buf, size_t size)
{
    const char *slash = strrchr(dataset, '/');
    str_format(buf, size, "%.*s", (int)(slash ? slash - dataset : 0), dataset);
}

/* What is not there yet (the standby) gets it from above: grant_on. */
static void judge(const struct need *n, const char *dataset, const char *grant_on,
                  const struct zfs_grants *all, const struct asker *a, struct findings *f)
{
    cleanup_str struct str wanted = {0}, missing = {0};
    for (size_t i = 0; i < ARRAY_LEN(n->permissions) && n->permissions[i]; i++) {
        struct str *to =
            zfs_granted(all, dataset, n->permissions[i], a->name, &a->groups) ? &wanted : &missing;
        str_addf(to, "%s%s", to->len ? "," : "", n->permissions[i]);
    }
    if (!missing.len) {
        findings_add(f, FINDING_OK, "rights", NULL, "%s: '%s' may %s on %s", n->step, a->name,
                     str_cstr(&wanted), dataset);
        return;
    }
    cleanup_free char *mend =
        x_asprintf("zfs allow -u %s %s %s", a->name, str_cstr(&missing), grant_on);
    findings_add(f, FINDING_ERROR, "rights", mend, "%s needs %s on %s, which '%s' has not", n->step,
                 str_cstr(&missing), dataset, a->name);
}

int zfs_permit(const struct driver_ctx *ctx, const struct spec_volume *src,
               const struct spec_volume *dst, struct findings *f, struct err *err)
{
    char name[64], parent[ZFS_NAME];
    uid_t uid;
    gid_t gid;
    struct zfs_pair p;
    cleanup_zfs_grants struct zfs_grants live = {0}, above = {0};
    cleanup(asker_done) struct asker a = {.name = sys_user_name((uid_t)sys_uid(), name, 64)};
    if (zfs_pair_look(ctx, src, dst, GREEN, &p, err) < 0)
        return -1;
    parent_of(p.to.name, parent, sizeof(parent));
    if (!p.from.exists)
        return 0;
    if (zfs_allowed(ctx, p.from.name, &live, err) < 0 || zfs_allowed(ctx, parent, &above, err) < 0)
        return err_ctx(err, "volume '%s'", dst->name);
    if (sys_user_find(name, &uid, &gid, NULL, 0)) {
        find_groups(&a, gid, &live);
        find_groups(&a, gid, &above);
    }
    for (size_t i = 0; i < ARRAY_LEN(needs); i++)
        judge(&needs[i],
              needs[i].on == ON_LIVE     ? p.from.name
              : needs[i].on == ON_PARENT ? parent
                                         : p.to.name,
              needs[i].on == ON_LIVE ? p.from.name : parent,
              needs[i].on == ON_LIVE ? &live : &above, &a, f);
    findings_add(
        f, FINDING_ERROR, "rights", "run it as root; check, plan and status go as you are",
        "prepare/clone mounts '%s' (zfs mount, canmount, mountpoint), cleanup unmounts it, "
        "and --retire renames it: on Linux only root may, whatever zfs allow says",
        p.to.name);
    return 0;
}
