/* The faulty server of the self-test: one thread, loopback. */
#pragma once

#include "probe/selftest.h"

struct selftest_server;

/* plan[F]: the number of the request at which fault F happens; 0: never. REFUSE: at the first
 * steady moment from there on. */
must_check int selftest_server_start(const uint64_t plan[SELFTEST_FAULTS],
                                     struct selftest_server **ret, struct err *err);
const char *selftest_server_url(const struct selftest_server *s);

/* Ends the thread, frees the server; `ret` (may be NULL) is what it did. Accepts NULL. */
void selftest_server_stop(struct selftest_server *s, struct selftest_log *ret);
