/* A network link of the namespace that this process is in, as the kernel has it (rtnetlink(7)).
 * Read-only, needs no rights. */
#pragma once

#include "base/err.h"
#include "base/str.h"

/* Appends, sorted, what `ip` shows of the link of that name, a line each:
 *
 *   address 10.1.0.2 peer 10.1.0.1/32
 *   link gre 192.0.2.1 peer 192.0.2.2, mtu 1476, up
 *   route 203.0.113.0/24 via 10.1.0.1 src 192.0.2.1 proto 186 metric 20 table 100
 *
 * IPv4 and IPv6, the routes of every table but the kernel's own of local addresses. Not in it: the
 * link's index, and what the kernel gives every link of IPv6 by itself (fe80::/10, ff00::/8), since
 * a link that was made anew differs there. Nothing is appended where there is no such link. */
must_check int sys_link_read(const char *name, struct strv *ret, struct err *err);
