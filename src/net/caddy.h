/* Caddy's admin API, and the process behind it. Each call blocks at most `timeout`. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "sys/proc.h"

#include <jansson.h>

struct caddy {
    const char *admin; /* "127.0.0.1:2019" */
    nsec_t timeout;    /* of one call; 0: 500 ms */
};

/* The JSON that it runs now; the caller's. */
must_check int caddy_config(const struct caddy *c, json_t **ret, struct err *err);

/* What a Caddyfile means, without running it (ERR_USAGE: Caddy's own words about what is wrong in
 * it). */
must_check int caddy_adapt(const struct caddy *c, const char *caddyfile, json_t **ret,
                           struct err *err);

/* Runs a Caddyfile: one reload; refused by Caddy: ERR_FAILED and the old one still runs. */
must_check int caddy_load(const struct caddy *c, const char *caddyfile, struct err *err);

struct caddy_upstream {
    char dial[96];
    int requests; /* in flight, open websockets among them; absent from the list is not 0 */
};
/* Stores at most max; *ret_n is how many. */
must_check int caddy_upstreams(const struct caddy *c, struct caddy_upstream *ret, size_t max,
                               size_t *ret_n, struct err *err);

/* The process that listens at the admin address. ERR_NOT_FOUND: nobody, or it may not be seen (not
 * root and another user's). */
must_check int caddy_process(const struct caddy *c, struct proc_id *ret, struct err *err);

/* "2.6.2": by running that process's own program (/proc/PID/exe, as that process's user) with
 * `version`; else by what it says of its build in its metrics. Debian's says nothing there, hence
 * the first way. */
must_check int caddy_version(const struct caddy *c, char ret[32], struct err *err);
