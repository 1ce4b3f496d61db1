/* Forwards bytes from local ports to other local ports: what dials a service that is not there
 * reaches another one instead. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct forward_route {
    uint16_t from, to; /* both on 127.0.0.1 */
};
#define FORWARD_ROUTES 2

/* Listens on every route's `from`; 0, or -1 with errno and nothing bound (a port that is taken). */
int forward_listen(const struct forward_route *routes, size_t n, int ret_fd[FORWARD_ROUTES]);

/* Forwards until a byte comes over control_fd; or, when that ends (its other end has died), until
 * nothing has waited for an answer, and nothing has moved, for 2 s; at most 10 minutes. */
void forward_run(const struct forward_route *routes, size_t n, int listen_fd[FORWARD_ROUTES],
                 int control_fd);
