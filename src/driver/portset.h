/* The ports of a colour as a set. Pure. */
#pragma once

#include "spec/spec.h"

/* The port or range of the spec that holds the number, NULL if none. */
const struct spec_port *portset_find(const struct spec *s, uint16_t port);

/* Whether runtime.ports.may_also_bind allows it: "udp:8000-8020", "tcp:9100", "8000-8020" (both).
 */
bool portset_may_bind(const struct spec *s, bool udp, uint16_t port);

/* The first port that a port or range of a shares with one of b: 0 none. */
uint16_t portset_overlap(const struct spec *a, const struct spec *b, const struct spec_port **ret_a,
                         const struct spec_port **ret_b);
