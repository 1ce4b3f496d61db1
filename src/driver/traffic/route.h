/* What the files of the traffic drivers `service` and `ingress` share: an open look at the object
 * that sends the requests (translate/route.h). */
#pragma once

#include "driver/traffic/caddy_internal.h"
#include "translate/route.h"

struct traffic_route {
    const struct driver_ctx *ctx;
    const struct spec *s; /* what both colours have in common */
    struct kube *k;
    char *name;
    struct kube_ref ref; /* the object that decides */
    json_t *service;     /* as of the last reading; NULL: there is none */
    json_t *object;
    struct route_look look;
};

/* Connects, nothing is asked yet. polls: driver_poll may end it (not in a thread of its own). */
must_check int traffic_route_open(const struct driver_ctx *ctx, nsec_t patience, bool polls,
                                  struct traffic_route *ret, struct err *err);
void traffic_route_close(struct traffic_route *r);
#define cleanup_traffic_route cleanup(traffic_route_close)

/* service, object, look: as the server has them now. What is not there is no error. */
must_check int traffic_route_read(struct traffic_route *r, struct err *err);

/* "EndpointSlice 'agave/agave-changeover'" */
const char *traffic_route_words(const struct traffic_route *r, char *buf, size_t size);

traffic_preview_fn traffic_route_preview;
traffic_verify_fn traffic_route_verify;
