/* Which sockets programs have bound, and whether a port is free. Read from /proc; nothing is
 * changed. */
#pragma once

#include "base/err.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sys_port {
    bool udp;
    uint16_t port;
    char addr[INET6_ADDRSTRLEN]; /* "127.0.0.1", "::" */
    bool listening;              /* TCP */
    bool connected;              /* UDP: it has a peer */
    pid_t pid;
};

/* Every listening TCP socket and every UDP socket (of IPv4 and IPv6) that one of the n pids holds,
 * in their network namespace (the first living pid's). *ret is the caller's (free). A pid that is
 * gone is skipped; one whose descriptors may not be read is an error that names it. */
must_check int sys_portmap(const pid_t *pids, size_t n, struct sys_port **ret, size_t *ret_n,
                           struct err *err);

/* Who has the port in our network namespace, for a message: "pid 812 (caddy)", or "somebody whose
 * descriptors we may not read"; "" if nobody. udp: UDP, else a TCP listener. */
const char *sys_port_owner(char *buf, size_t size, bool udp, uint16_t port);

/* Tries to bind the port on every address (IPv4, and IPv6 if the machine has it), and lets go at
 * once. Nothing listens meanwhile, and a TCP port in TIME_WAIT counts as free. 0: free; -1 with
 * errno (EADDRINUSE, EACCES). */
int sys_port_free(bool udp, uint16_t port);

/* /proc/sys/net/ipv4/ip_local_port_range; 32768 to 60999 if that cannot be read. */
void sys_port_ephemeral(uint16_t *ret_first, uint16_t *ret_last);

/* Whether the kernel is told to give the port to nobody by itself (ip_local_reserved_ports). */
bool sys_port_reserved(uint16_t port);
