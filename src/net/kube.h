/* A client of the Kubernetes API over libcurl: requests, watches, logs, exec. No kubectl is needed.
 *
 * What all calls have in common:
 * - They block, at most `timeout` for one try and `patience` for all tries together. Tried again
 *   are: a connection that could not be made; 429 (after its Retry-After); 503 with a Retry-After;
 *   and for what only reads also every other 5xx and a connection that broke. An effect whose
 *   connection broke, or that was answered 5xx, may have happened: it is not sent again, and
 *   kube_status()->unsure says so: look, then decide.
 * - An error names the object, and holds the server's own words. Its code: ERR_NOT_FOUND (404),
 *   ERR_EXISTS, ERR_FOREIGN (fields that belong to others), ERR_TIMEOUT, ERR_INTERRUPTED (poll
 * asked for the end), else ERR_FAILED; kube_status() has the rest.
 * - An answer of more than KUBE_ANSWER_MAX bytes, of another kind than was asked for, or not JSON
 *   (a proxy's page) is an error. JSON that comes out is the caller's (json_decref).
 * - One thread at a time for each connection; callbacks may use the connection of their call. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "net/kubeconfig.h"

#include <jansson.h>

#define KUBE_ANSWER_MAX ((size_t)8 << 20)
#define KUBE_EVENT_MAX ((size_t)4 << 20) /* one event of a watch */
#define KUBE_LIST_MAX ((size_t)64 << 20) /* all pages of a list together */

struct kube; /* a connection */

struct kube_options {
    nsec_t timeout;  /* of one try; 0: 15 s */
    nsec_t patience; /* of all tries of a call; 0: 30 s */
    /* called every 100 ms at least while a call blocks; non-zero ends it. May be NULL. */
    int (*poll)(void *ctx);
    void *poll_ctx;
};

/* No request is made yet. cfg is taken over (empty afterwards), also on failure. */
must_check int kube_open(struct kubeconfig *cfg, const struct kube_options *o, struct kube **ret,
                         struct err *err);
void kube_close(struct kube *k);
static inline void kube_close_p(struct kube **k)
{
    kube_close(*k);
}
#define cleanup_kube cleanup(kube_close_p)

/* While it is held, poll is not asked: for what must be done on the way out. */
void kube_hold_poll(struct kube *k, bool hold);

/* Waits, with poll. ERR_INTERRUPTED. */
must_check int kube_pause(struct kube *k, nsec_t ns, struct err *err);

const struct kubeconfig *kube_config(const struct kube *k); /* borrowed */

/* How the last call ended, also a good one. */
struct kube_status {
    int code;          /* HTTP status; 0: no answer came */
    char reason[48];   /* "NotFound", "Conflict", "Expired"; "" */
    char message[512]; /* the first line of the server's words */
    char causes[1024]; /* "field: message; field: message", or "" */
    bool unsure;       /* it may or may not have been done */
    bool away;         /* nobody answered for as long as patience lasts: may be asked again later */
};
const struct kube_status *kube_status(const struct kube *k);

/* --- what a request is about ----------------------------------------------------------------- */

struct kube_kind {
    const char *api, *plural, *kind; /* "apps/v1", "deployments", "Deployment" */
    bool cluster;                    /* has no namespace */
};
extern const struct kube_kind kube_pod, kube_node, kube_service, kube_configmap, kube_event,
    kube_namespace, kube_deployment, kube_replicaset, kube_endpointslice, kube_ingress;

struct kube_ref {
    const struct kube_kind *kind;
    const char *ns;   /* NULL: the context's */
    const char *name; /* NULL: all of them */
};

struct kube_select {
    const char *labels, *fields; /* selectors as kubectl takes them, or NULL */
    int page;                    /* objects a page; 0: 250 */
};

/* --- reading --------------------------------------------------------------------------------- */

struct kube_version {
    int major, minor;
    char text[64]; /* "v1.36.3" */
};
must_check int kube_version(struct kube *k, struct kube_version *ret, struct err *err);

/* "v1.29.14-gke.1", also a kubelet's: false if it is none. */
bool kube_version_parse(const char *text, struct kube_version *ret);

/* Whether the server has that kind. */
must_check int kube_serves(struct kube *k, const struct kube_kind *kind, bool *ret,
                           struct err *err);

/* The kind that apiVersion and kind of a manifest mean, by discovery; its texts live as long as the
 * connection. ERR_NOT_FOUND: the server has none. */
must_check int kube_kind_find(struct kube *k, const char *api, const char *kind,
                              struct kube_kind *ret, struct err *err);

must_check int kube_get(struct kube *k, const struct kube_ref *ref, json_t **ret, struct err *err);

/* *ret: a list of all objects (each with its kind and apiVersion), read page by page, as of
 * `version` (a resourceVersion; may be NULL). If the server forgets its place between two pages
 * (410), it begins again. */
must_check int kube_list(struct kube *k, const struct kube_ref *ref, const struct kube_select *sel,
                         json_t **ret, char version[64], struct err *err);

struct kube_log {
    const char *container; /* NULL: the only one */
    bool previous;         /* of the run before */
    int tail;              /* lines; 0: all */
    int since_s;           /* 0: all */
    size_t max;            /* bytes; 0: 256 KiB */
};
/* Appended to ret; what is longer than max is cut at its end. */
must_check int kube_log(struct kube *k, const struct kube_ref *pod, const struct kube_log *ask,
                        struct str *ret, struct err *err);

/* --- effects --------------------------------------------------------------------------------- */

/* Each: *ret (may be NULL) is the object as the server has it then. dry_run: the server checks all
 * and stores nothing; that proves no image and no node. */

/* Server-side apply: `object` is what is ours, whole; created if it is missing. Fields that others
 * own: ERR_FOREIGN, with who has which, unless force. Safe to repeat. */
struct kube_apply {
    const char *manager; /* NULL: "changeover" */
    bool force, dry_run;
};
must_check int kube_apply(struct kube *k, const struct kube_ref *ref, const json_t *object,
                          const struct kube_apply *how, json_t **ret, struct err *err);

/* A JSON patch (RFC 6902), built by kube_op(): first the `test`s, so that it cannot hit another
 * object than was meant. With a failed test the server answers 422 and changes nothing. */
must_check int kube_patch(struct kube *k, const struct kube_ref *ref, const json_t *ops,
                          bool dry_run, json_t **ret, struct err *err);
/* Appends an operation ("test", "replace", "add", "remove") to a list; value (may be NULL) is taken
 * over. */
void kube_op(json_t *ops, const char *op, const char *path, json_t *value);

/* ERR_EXISTS: there is one of that name. Not safe to repeat where the name is generated. */
must_check int kube_create(struct kube *k, const struct kube_ref *ref, const json_t *object,
                           bool dry_run, json_t **ret, struct err *err);

/* Sets replicas by the scale subresource, and nothing else. version: the resourceVersion that it
 * must still have (409 otherwise, code ERR_FAILED; its own controller's status makes a new one
 * too); NULL: as it is now. */
must_check int kube_scale(struct kube *k, const struct kube_ref *ref, int replicas,
                          const char *version, bool dry_run, struct err *err);

struct kube_delete {
    const char *uid, *version; /* it must be this very one; NULL: whichever has the name */
    const char *propagation;   /* "Background", "Foreground", "Orphan"; NULL: the kind's default */
    int grace_s;               /* below 0: the object's */
    bool dry_run;
};
/* Returns when the server has taken it; it may live on until its finalizers are done.
 * ERR_NOT_FOUND: it was gone already. Another uid or version: ERR_FOREIGN, nothing deleted. */
must_check int kube_delete(struct kube *k, const struct kube_ref *ref,
                           const struct kube_delete *how, struct err *err);

/* --- watching -------------------------------------------------------------------------------- */

enum kube_seen {
    KUBE_BEGIN,  /* what was known is void: all there is follows as KUBE_ADDED (object NULL) */
    KUBE_SYNCED, /* that was all; from here on changes (object NULL) */
    KUBE_ADDED,
    KUBE_MODIFIED,
    KUBE_DELETED /* the object as it was last */
};
/* The object is borrowed. Non-zero ends the watch. */
typedef int kube_watch_fn(void *ctx, enum kube_seen what, json_t *object);

/* Lists, then watches (ref->name: that object only) until fn returns non-zero, which is returned,
 * or the deadline (monotonic; 0: none) has passed: 0. -1: error.
 *
 * A watch that ends goes on where it was; one whose place the server has forgotten (410) begins
 * again with KUBE_BEGIN. A server that is gone is waited for as long as `patience`, counted from
 * its last good answer. One connection is kept open, nothing is polled; memory does not grow with
 * the number of events. fn must not return a negative number. */
int kube_watch(struct kube *k, const struct kube_ref *ref, const struct kube_select *sel,
               nsec_t deadline, kube_watch_fn *fn, void *ctx, struct err *err);

/* --- running a program in a container -------------------------------------------------------- */

struct kube_exec {
    const char *container;   /* NULL: the only one */
    const char *const *argv; /* no shell */
    const char *input;       /* its stdin, which ends behind it; NULL: none (needs protocol v5) */
    size_t input_len;
    nsec_t timeout; /* 0: 60 s. The program may go on when it has passed. */
    size_t max;     /* bytes kept of each stream, the rest is dropped; 0: 64 KiB */
};
struct kube_exec_result {
    int status; /* exit status */
    struct str out, err;
};
void kube_exec_result_done(struct kube_exec_result *r);

/* -1 only if it could not be run to its end; whether it was started is then unknown unless the
 * server refused (kube_status()->unsure). */
must_check int kube_exec(struct kube *k, const struct kube_ref *pod, const struct kube_exec *ask,
                         struct kube_exec_result *ret, struct err *err);
