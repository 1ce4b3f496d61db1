/* Asking services for one value each, many at once.
 *
 * A query is one thing asked of one URL: a JSON-RPC method's field, the body of a GET, or a
 * response header; or a websocket upgrade; or a bare TCP connection. All queries of one call run in
 * parallel (curl's multi interface) on connections of their own, each with its own deadline, so the
 * call takes as long as the slowest of them and one that hangs holds up no other. An answer that
 * does not come is no error of the call: it is in the query. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

/* What is asked for; all may be NULL: a GET of /, whose body is the value. The strings are the
 * caller's. */
struct query_ask {
    const char *method; /* JSON-RPC method, or NULL for a GET */
    const char *params; /* JSON text of its params, "[]" */
    const char *path;   /* request path */
    const char
        *field; /* dotted path into the JSON answer; NULL: with a method "result", else the body */
    const char *header; /* name of a response header instead */
};

enum query_how {
    QUERY_VALUE,   /* HTTP: what `ask` names */
    QUERY_UPGRADE, /* a websocket handshake; the connection is closed after the answer's headers */
    QUERY_CONNECT  /* a TCP connection is accepted */
};

struct query {
    /* the caller's */
    enum query_how how;
    bool whole; /* the value is the whole body, of at most JSON_MAX_BYTES, whatever `ask` names */
    bool loopback; /* connect to 127.0.0.1 whatever the URL's host is (Host and SNI stay), with any
                      certificate and no proxy: a site of this machine's own proxy */
    char url[512]; /* http://host:port/path; see query_local() */
    struct query_ask ask;
    nsec_t timeout; /* 0: 5 s */

    /* the answer */
    bool answered; /* HTTP: a whole response came; CONNECT: accepted */
    bool found;    /* value is what was asked for (UPGRADE: status 101, upgrade to a websocket) */
    int status;    /* HTTP status, 0: none */
    struct str value;
    char why[256]; /* if not answered or not found */
    nsec_t took;
};

/* Sets q->url to 127.0.0.1 and port, with the path of q->ask. */
void query_local(struct query *q, uint16_t port);

/* Asks all n. poll (may be NULL) is called at least every 100 ms; non-zero ends the call: 1 is
 * returned, and what had not been answered says so. Otherwise 0; -1 only if libcurl itself cannot
 * work. */
int query_run(struct query *qs, size_t n, int (*poll)(void *ctx), void *ctx, struct err *err);

/* value as a number: true and *ret, if all of it is one. */
bool query_number(const struct query *q, double *ret);

void query_done(struct query *qs, size_t n); /* frees the values */
