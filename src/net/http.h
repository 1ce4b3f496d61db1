/* One HTTP request over libcurl. Follows no redirect, uses no proxy of the environment, raises no
 * signal; bounded in time and bytes. Safe in threads. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

/* Sets libcurl up, which takes a millisecond. The first request would do so too, but threads that
 * come meanwhile spin until it is done. Safe to call again. */
void http_init(void);

struct http_request {
    const char *method;         /* NULL: GET, or POST if there is a body */
    const char *url;            /* http:// or https:// */
    const char *const *headers; /* "Name: value", ends with NULL; may be NULL */
    const char *body;           /* NULL: none */
    size_t body_len;
    nsec_t timeout; /* of everything; 0: 500 ms */
    size_t max;     /* most bytes of the answer; 0: 1 MiB. More is an error */
};

struct http_answer {
    int status;
    struct str body;
    struct str headers; /* "Name: value\n" lines of the final answer, at most 64 KiB */
};
void http_answer_done(struct http_answer *a);
#define cleanup_http_answer cleanup(http_answer_done)

/* 0: there was an answer, of whatever status. No answer: ERR_TIMEOUT, or ERR_FAILED; the message
 * names the URL. ret must be empty. */
must_check int http_send(const struct http_request *rq, struct http_answer *ret, struct err *err);

/* The value of a header (any case), into buf; false and "" if there is none. */
bool http_header(const struct http_answer *a, const char *name, char *buf, size_t size);
