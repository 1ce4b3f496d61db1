/* What the files of check share; nobody else includes it. */
#pragma once

#include "driver/facts.h"
#include "driver/runtime/ops.h"
#include "driver/storage/ops.h"
#include "driver/traffic/ops.h"

/* Where the drivers come from: the registries; tests have their own. */
struct check_drivers {
    const struct runtime_ops *(*runtime)(const struct spec *s, struct err *err);
    const struct storage_ops *(*storage)(const struct spec_volume *src,
                                         const struct spec_volume *dst, struct err *err);
    const struct traffic_ops *(*traffic)(const struct spec *s, struct err *err);
};

struct check {
    const struct driver_ctx *ctx;
    const struct check_request *rq;
    const struct check_drivers *drivers;
    struct findings *f;
    enum colour live, standby;    /* nothing adopted yet: taken as green and blue */
    const struct spec *from, *to; /* their specs */
    bool adopted;
};

int check_run_on(const struct driver_ctx *ctx, const struct check_request *rq,
                 const struct check_drivers *drivers, struct findings *ret, struct err *err);

void check_ports(struct check *c);
void check_identities(struct check *c);
void check_paths(struct check *c);
void check_volumes(struct check *c);
void check_traffic(struct check *c);
void check_instances(struct check *c);
void check_version(struct check *c);
void check_system(struct check *c);
void check_io(struct check *c);
void check_others(struct check *c);
void check_boot(struct check *c);
void check_owner(struct check *c);

/* A problem that stands in the way only once a colour is live. */
static inline enum finding_level check_level(const struct check *c)
{
    return c->adopted ? FINDING_ERROR : FINDING_WARNING;
}
