#include "driver/runtime/safety.h"

#include "clone/sentinel.h"
#include "driver/identity/solana.h"
#include "sys/file.h"

int safety_sentinels(const struct driver_ctx *ctx, enum colour c, struct err *err)
{
    const struct spec *s = ctx->side[c];
    for (size_t i = 0; i < s->volumes_n; i++) {
        const struct spec_volume *v = &s->volumes[i];
        struct sentinel want = {0}, found;
        snprintf(want.service, sizeof(want.service), "%s", ctx->service);
        snprintf(want.colour, sizeof(want.colour), "%s", colour_name(c));
        snprintf(want.volume, sizeof(want.volume), "%s", v->name);
        if (sentinel_check(v->path, &want, err) < 0 || sentinel_read(v->path, &found, err) < 0)
            return err_ctx(err, "volume '%s'", v->name);
        /* Copied, and not yet on disk: a power cut would leave the instance with half a clone. */
        if (found.state == SENTINEL_CLONING || found.state == SENTINEL_COPIED)
            return err_set(err, ERR_FOREIGN,
                           "volume '%s': '%s' is a clone that was never completed", v->name,
                           v->path);
    }
    return 0;
}

/* The other colour's files may be in a volume that is not cloned yet, or destroyed by now: one that
 * is not there cannot be used by anybody. Our own must be there. */
int safety_identities(const struct driver_ctx *ctx, enum colour c, struct err *err)
{
    const struct spec *other = ctx->side[colour_other(c)];
    if (!other || ctx->side[c]->identities.n == 0)
        return 0;
    struct spec there = *other;
    there.identities = (struct strv){0};
    for (size_t i = 0; i < other->identities.n; i++)
        if (sys_path_exists(other->identities.v[i]))
            strv_add(&there.identities, other->identities.v[i]);
    int r = identity_differ(ctx->side[c], &there, err);
    strv_done(&there.identities);
    return r;
}
