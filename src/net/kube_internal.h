/* Shared by kube*.c only. */
#pragma once

#include "net/kube.h"

#include <curl/curl.h>

/* A token, or a certificate that an exec plugin gave. */
struct kube_creds {
    char *token, *cert, *key; /* NULL: none of its own */
    nsec_t read_at;           /* monotonic; 0: not yet */
    nsec_t expires;           /* wall clock; 0: not said */
};

struct kube {
    struct kubeconfig cfg;
    struct kube_options o;
    struct kube_status status;
    struct kube_creds creds;
    CURLM *multi;
    CURL *easy;
    char *url;     /* "https://host:port/path": of every request; host is server_name's if set */
    char *host;    /* "host:port" as the kubeconfig has it */
    bool loopback; /* the server is on this machine: no proxy of the environment */
    bool poll_held;
    size_t received; /* bytes of the last answer */
    json_t *kinds;   /* api -> list of its resources, as discovered */
};

struct kube_request {
    const char *what;   /* "get pod 'default/web'", for messages */
    const char *method; /* NULL: GET */
    const char *path;   /* with query, from the server's root */
    const char *type;   /* of the body */
    const char *body;   /* NULL: none */
    size_t max;         /* bytes of the answer; 0: KUBE_ANSWER_MAX */
    bool effect;        /* changes something */
    bool text;          /* the answer is no JSON, and is cut at max */
};

/* Sends it, with retries; a refusal is an error. *ret is the answer's JSON (NULL as ret: not
 * wanted). */
must_check int kube_ask(struct kube *k, const struct kube_request *rq, json_t **ret,
                        struct err *err);
must_check int kube_ask_text(struct kube *k, const struct kube_request *rq, struct str *ret,
                             struct err *err);

/* --- one transfer (kube_send.c) -------------------------------------------------------------- */

struct kube_transfer {
    /* the caller's */
    size_t max;
    bool text;
    int (*on_bytes)(void *ctx, const char *bytes, size_t n); /* instead of body; non-zero ends it */
    void *ctx;
    /* the answer */
    CURL *easy;
    int code;
    struct str body;
    char type[80];
    nsec_t retry_after;
    bool too_long, ended, sent; /* ended: by on_bytes; sent: something of the request went out */
    CURLcode result;
    char why[CURL_ERROR_SIZE];
};
void kube_transfer_done(struct kube_transfer *t);
#define cleanup_kube_transfer cleanup(kube_transfer_done)

/* One try. timeout: of everything. 0: an answer came, of whatever status; -1: none, t->result says
 * why (CURLE_ABORTED_BY_CALLBACK: poll asked for the end), err too. */
must_check int kube_send_once(struct kube *k, CURL *easy, CURLM *multi,
                              const struct kube_request *rq, nsec_t timeout,
                              struct kube_transfer *t, struct err *err);

/* URL, TLS, proxy and who we are, on a fresh handle; the lists are the caller's. */
void kube_setup(struct kube *k, CURL *c, const char *path, struct curl_slist **headers,
                struct curl_slist **connect);

/* The end was asked for. */
bool kube_interrupted(const struct kube *k);

/* The next pause of a row of tries: doubles up to 5 s, and is never quite the same. */
nsec_t kube_backoff(unsigned tries);

nsec_t kube_timeout(const struct kube *k);
nsec_t kube_patience(const struct kube *k);

/* --- who we are (kube_auth.c) ---------------------------------------------------------------- */

/* Makes sure that k->creds can be used; fresh: the server did not take what there is. */
must_check int kube_creds_get(struct kube *k, bool fresh, struct err *err);
bool kube_creds_can_change(const struct kube *k);
void kube_creds_done(struct kube_creds *c);

/* "2026-11-23T09:00:00Z", also with a fraction or +01:00, as wall clock. */
bool kube_time_parse(const char *text, nsec_t *ret);

/* --- what the server says (kube_status.c) ---------------------------------------------------- */

/* Fills k->status from an answer's code and body, and returns -1 with err. */
int kube_refused(struct kube *k, const char *what, int code, const char *body, size_t n,
                 struct err *err);
/* The same from a Status object that came inside of something else. */
void kube_status_read(const json_t *status, struct kube_status *ret);
int kube_status_error(const struct kube_status *st, const char *what, struct err *err);

/* An answer that should be JSON: parsed, else an error that shows how it begins. */
must_check int kube_json(const char *what, const char *type, const char *body, size_t n,
                         json_t **ret, struct err *err);

/* It is an object of that kind (list: "PodList" and the like). */
must_check int kube_kind_check(const char *what, const json_t *object, const struct kube_kind *kind,
                               bool list, struct err *err);

/* --- paths (kube_path.c) --------------------------------------------------------------------- */

/* "/apis/apps/v1/namespaces/default/deployments/web/scale?". sub: NULL or "scale". Query parameters
 * follow by kube_query(). A name that is no name of an object is an error. */
must_check int kube_path(const struct kube *k, const struct kube_ref *ref, const char *sub,
                         struct str *ret, struct err *err);
void kube_query(struct str *path, const char *name, const char *value); /* value NULL: nothing */
void kube_query_select(struct str *path, const struct kube_ref *ref, const struct kube_select *sel);
/* "get deployment 'default/web'", the caller's */
char *kube_words(const struct kube *k, const char *verb, const struct kube_ref *ref);

/* --- the lines of a watch (kube_stream.c) ---------------------------------------------------- */

struct kube_line {
    char type[16];    /* "ADDED", ... */
    json_t *object;   /* the caller's */
    char version[64]; /* metadata.resourceVersion, or "" */
    int code;         /* of an ERROR's Status */
};

/* Called for each whole line; non-zero ends the reading. */
typedef int kube_line_fn(void *ctx, const char *line, size_t n);

/* Bytes into lines; zeroed is empty. The memory of a long line is given back behind it. */
struct kube_stream {
    struct str rest; /* of a line whose end has not come */
};
/* 0: more is wanted; what fn returned; -1: a line is longer than KUBE_EVENT_MAX. */
int kube_stream_feed(struct kube_stream *s, const char *bytes, size_t n, kube_line_fn *fn,
                     void *ctx);
void kube_stream_done(struct kube_stream *s);

/* One line. -1: it is no event; kind (may be NULL): nor one about another kind. */
must_check int kube_line_read(const char *line, size_t n, const struct kube_kind *kind,
                              struct kube_line *ret, struct err *err);
