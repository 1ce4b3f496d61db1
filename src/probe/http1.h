/* An HTTP/1.1 answer, fed in pieces. Knows nothing of sockets. */
#pragma once

#include "base/str.h"

enum http1_state {
    HTTP1_HEAD,
    HTTP1_BODY,      /* `left` more bytes */
    HTTP1_UNTIL_END, /* until the connection ends */
    HTTP1_CHUNK_SIZE,
    HTTP1_CHUNK,
    HTTP1_CHUNK_END,
    HTTP1_TRAILER,
    HTTP1_DONE,
    HTTP1_BROKEN
};

struct http1 {
    enum http1_state state;
    int status;
    bool no_body; /* set before feeding: the request was HEAD */
    bool close;   /* the server will close this connection */
    uint64_t left, body_bytes;
    struct str head; /* without the empty line */
    struct str body; /* as much as fits: 4 MiB */
    struct str line;
};

/* Takes what it needs of n bytes and returns how many those were; state tells how far it is. */
size_t http1_feed(struct http1 *h, const char *bytes, size_t n);

/* The connection ended: an answer that lasts until then is done (true), any other is cut (false).
 */
bool http1_end(struct http1 *h);

/* The value of a header, trimmed, into buf (cut if too long); NULL if there is none. */
const char *http1_header(const struct http1 *h, const char *name, char *buf, size_t size);

void http1_reset(struct http1 *h); /* ready for the next answer; keeps moderate memory */
void http1_done(struct http1 *h);
