/* Proof that a stopped instance has left its ports. */
#pragma once

#include "driver/context.h"

#define PORT_HOLDERS 64

/* Ports of the colour that somebody who is not of the instance held before it was stopped. */
struct port_holders {
    struct {
        uint16_t port;
        bool udp;
    } v[PORT_HOLDERS];
    size_t n;
};
void ports_held(const struct spec *s, const struct proc_id *ids, size_t n,
                struct port_holders *ret);

/* A port that is still taken is an error that names the holder, unless it was foreign before: then
 * a warning. */
must_check int ports_proof(const struct driver_ctx *ctx, enum colour c,
                           const struct port_holders *before, struct err *err);
