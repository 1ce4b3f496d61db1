/* check: every look in turn. The looks themselves are in check_*.c. */
#include "driver/check.h"

#include "plan/version.h"

#include <string.h>

typedef void look_fn(struct check *c);

int check_run_on(const struct driver_ctx *ctx, const struct check_request *rq,
                 const struct check_drivers *drivers, struct findings *ret, struct err *err)
{
    static look_fn *const looks[] = {
        check_system,  check_paths,   check_volumes, check_ports, check_identities, check_instances,
        check_traffic, check_version, check_others,  check_boot,  check_owner,      check_io};
    struct check c = {.ctx = ctx, .rq = rq, .drivers = drivers, .f = ret};

    c.adopted = rq->live != COLOUR_NONE;
    c.live = c.adopted ? rq->live : GREEN;
    c.standby = colour_other(c.live);
    c.from = ctx->side[c.live];
    c.to = ctx->side[c.standby];
    if (!c.from || !c.to)
        return err_set(err, ERR_FAILED, "check: no spec of %s",
                       colour_name(c.from ? c.standby : c.live));
    for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
        if (driver_poll(ctx))
            return err_set(err, ERR_INTERRUPTED, "check: asked to end");
        looks[i](&c);
    }
    return 0;
}

int check_run(const struct driver_ctx *ctx, const struct check_request *rq, struct findings *ret,
              struct err *err)
{
    static const struct check_drivers registries = {runtime_find, storage_find, traffic_find};
    return check_run_on(ctx, rq, &registries, ret, err);
}

void check_version(struct check *c)
{
    const char *live = c->rq->live_version, *goal = c->rq->goal_version;
    struct err e = {0};

    if (!goal || !*goal || !live || !*live)
        return;
    if (version_allowed(live, goal, c->to->downgrade, &e) < 0)
        findings_add(c->f, FINDING_ERROR, "version", e.hint, "%s", e.msg);
    else if (version_step(live, goal) == VERSION_UNKNOWN)
        findings_add(
            c->f, FINDING_WARNING, "version", NULL,
            "'%s' after '%s': at least one is no version number, so nothing tells which is newer",
            goal, live);
    else
        findings_add(c->f, FINDING_OK, "version", NULL, "%s after %s is allowed", goal, live);
}
