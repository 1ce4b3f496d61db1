/* Identity files: no two instances may be the same somebody. */
#include "driver/check.h"

#include "driver/identity/solana.h"
#include "sys/file.h"
#include "sys/path.h"

#include <string.h>

/* The volume of the spec that the file lies in, and where in it. */
static const struct spec_volume *volume_of(const struct spec *s, const char *file,
                                           const char **ret_rest)
{
    cleanup_free char *real = sys_path_resolve(file);
    for (size_t i = 0; i < s->volumes_n; i++) {
        cleanup_free char *top = sys_path_resolve(s->volumes[i].path);
        size_t n = strlen(top);
        if (strncmp(real, top, n) != 0 || real[n] != '/')
            continue;
        *ret_rest = file + (strlen(file) - (strlen(real) - n));
        return &s->volumes[i];
    }
    return NULL;
}

/* An identity inside a volume is overwritten by the clone with what lies there in live's. */
static bool clone_brings(const struct check *c, const char *file, struct err *err)
{
    const char *rest = NULL;
    const struct spec_volume *v = volume_of(c->to, file, &rest), *src;
    struct identity theirs, own;

    src = v ? spec_volume(c->from, v->name) : NULL;
    if (!src || str_eq(v->driver, "empty") || v->exclude.n)
        return false;
    cleanup_free char *origin = x_asprintf("%s%s", src->path, rest);
    if (identity_read(origin, &theirs, NULL) < 0)
        return false;
    for (size_t i = 0; i < c->from->identities.n; i++)
        if (identity_read(c->from->identities.v[i], &own, NULL) == 0 &&
            own.hash[0] == theirs.hash[0] && own.hash[1] == theirs.hash[1]) {
            err_set(err, ERR_FAILED,
                    "'%s' lies in volume %s, so the clone would put %s's identity there ('%s')",
                    file, v->name, colour_name(c->live), origin);
            return true;
        }
    return false;
}

/* One that does not exist yet, inside a volume that is still to be cloned. NULL: none. */
static const char *comes_with_clone(const struct check *c)
{
    const char *rest;
    for (size_t i = 0; i < c->to->identities.n; i++) {
        const char *file = c->to->identities.v[i];
        if (!sys_path_exists(file) && volume_of(c->to, file, &rest))
            return file;
    }
    return NULL;
}

static void say_they_differ(struct check *c)
{
    struct identity a = {0}, b = {0};
    if (identity_read(c->from->identities.v[0], &a, NULL) == 0 &&
        identity_read(c->to->identities.v[0], &b, NULL) == 0 && a.keypair && b.keypair)
        findings_add(c->f, FINDING_OK, "identity", NULL,
                     "the colours' identities differ: %s and %s", a.text, b.text);
    else
        findings_add(c->f, FINDING_OK, "identity", NULL, "the colours' identities differ");
}

static void compare(struct check *c)
{
    struct err e = {0};
    const char *later;

    for (size_t i = 0; i < c->to->identities.n; i++)
        if (clone_brings(c, c->to->identities.v[i], &e)) {
            findings_add(c->f, FINDING_ERROR, "identity",
                         "keep it outside the volumes, or exclude it from the clone", "%s", e.msg);
            return;
        }
    if (identity_differ(c->from, c->to, &e) == 0)
        say_they_differ(c);
    else if (e.code == ERR_NOT_FOUND && (later = comes_with_clone(c)))
        findings_add(c->f, FINDING_WARNING, "identity", NULL,
                     "'%s' does not exist yet; it is compared again before the start", later);
    else
        findings_add(c->f, FINDING_ERROR, "identity", *e.hint ? e.hint : NULL, "%s", e.msg);
}

void check_identities(struct check *c)
{
    bool from = c->from->identities.n > 0, to = c->to->identities.n > 0;
    if (from && to)
        compare(c);
    else if (from || to)
        findings_add(c->f, FINDING_WARNING, "identity", "name them under both colours in the spec",
                     "only %s has identity files, so nothing is compared",
                     colour_name(from ? c->live : c->standby));
    else
        findings_add(c->f, FINDING_OK, "identity", NULL, "the spec names no identity files");
}
