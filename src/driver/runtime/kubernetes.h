/* The runtime driver `kubernetes`, inside: a colour is a Deployment. One subject a file, put
 * together in kubernetes.c; what the Deployment looks like is translate/deployment.h. */
#pragma once

#include "driver/runtime/ops.h"
#include "net/kube.h"
#include "sys/proc.h"

/* --- what is kept of a colour: runtime/COLOUR/kubernetes.json --------------------------------- */

/* Beside it: manifest.json, what was applied; adopted.json, the Deployment that adopt found. */
struct kubernetes_record {
    char name[254], uid[64]; /* the Deployment; uid "": none was ever made or adopted */
    char upgrade[64], version[64];
    char image[512];       /* of the service's container */
    char pod[64];          /* uid of the pod that was ready last; its processes are known by it */
    char image_id[256];    /* what the node proved to have for it; "" if that was not asked */
    json_int_t generation; /* as of our own last change */
    bool adopted, stopped;
    nsec_t stopped_wall_ns;
};

/* --- an open look at one colour --------------------------------------------------------------- */

struct kubernetes {
    const struct driver_ctx *ctx;
    const struct spec *spec;
    enum colour c;
    struct kube *k;
    char *dir;
    struct kubernetes_record rec;
    struct kube_ref ref; /* its Deployment */
    char name[254];
    char doing[200]; /* what is waited for; shown once a second */
    nsec_t began, limit, said;
};

/* Connects (nothing is asked yet) and reads the record. patience: for an API server that is away.
 */
must_check int kubernetes_open(const struct driver_ctx *ctx, enum colour c, nsec_t patience,
                               struct kubernetes *ret, struct err *err);
void kubernetes_close(struct kubernetes *u);
/* The record alone, for what needs no server. */
must_check int kubernetes_record_of(const struct driver_ctx *ctx, enum colour c,
                                    struct kubernetes_record *ret, struct err *err);
#define cleanup_kubernetes cleanup(kubernetes_close)
#define KUBERNETES_PATIENCE NSEC_MIN
#define KUBERNETES_GLANCE (2 * NSEC_S)

must_check int kubernetes_record_write(struct kubernetes *u, struct err *err);
/* The Deployment as our own change has left it: uid, generation, image. */
must_check int kubernetes_record_seen(struct kubernetes *u, json_t *deployment, struct err *err);

/* What poll shows from here on. */
void kubernetes_doing(struct kubernetes *u, nsec_t limit, const char *fmt, ...) printf_like(3, 4);

/* --- looking ---------------------------------------------------------------------------------- */

/* *ret is NULL if there is none. ERR_FOREIGN: there is one of that name that is not this colour's.
 */
must_check int kubernetes_deployment(struct kubernetes *u, json_t **ret, struct err *err);
/* Its pods, those that are on their way out, too. */
must_check int kubernetes_pods(struct kubernetes *u, json_t *deployment, json_t **ret,
                               struct err *err);
/* For a watch of them; a pod that is seen must pass kubernetes_is_ours(), too. */
void kubernetes_selector(const struct kubernetes *u, json_t *deployment, struct str *ret);
bool kubernetes_is_ours(const struct kubernetes *u, json_t *pod);
int kubernetes_replicas(json_t *deployment);

/* PURE: how a pod's start stands. */
enum pod_stage {
    POD_NONE,     /* there is no pod yet */
    POD_WAITS,    /* for a node, an image, a volume, another container */
    POD_STARTING, /* the service's container runs; not all is ready */
    POD_READY,
    POD_ENDED, /* and is not started again */
};
struct pod_view {
    enum pod_stage stage;
    char name[254], uid[64], node[254];
    char container[64];          /* the one that `why` is about; "" if it is the pod */
    char why[600];               /* "container 'side': ErrImagePull: ..." */
    char image_id[256], id[160]; /* of the service's container */
    bool ending;                 /* it is being deleted */
    bool crashed;                /* `container` ended and waits for its next start */
    bool hopeless;               /* waiting cannot help */
    bool stuck;                  /* it seldom does */
    int restarts, last_status;
    nsec_t started_wall_ns;
};
void kubernetes_pod_view(json_t *pod, const char *service, struct pod_view *ret);
/* The one that counts: not on its way out, the newest. NULL: none. Borrowed. */
json_t *kubernetes_pod_current(json_t *pods);
nsec_t kubernetes_time(const char *text); /* "2026-11-23T12:00:00Z"; 0 if it is none */

/* --- waiting ---------------------------------------------------------------------------------- */

/* Until the pod's containers run, at most start_within, and then until it is ready, at most the
 * gate's deadline. ERR_FAILED as soon as waiting cannot help, with the reason and the last words of
 * a container that ends. */
must_check int kubernetes_wait_ready(struct kubernetes *u, json_t *deployment, struct pod_view *ret,
                                     struct err *err);
/* The newest warning about an object ("FailedMount: ..."), or "". */
void kubernetes_warning(struct kubernetes *u, const char *uid, char *buf, size_t size);

/* --- its parts -------------------------------------------------------------------------------- */

/* The template as it is in the spec's file now, for this colour. */
must_check int kubernetes_render(struct kubernetes *u, json_t **ret, struct err *err);

/* Images of sidecars that were upgraded alone in the other colour's pod, into this manifest. */
must_check int kubernetes_carry(struct kubernetes *u, json_t *manifest, struct err *err);

/* Sets the replicas by the scale subresource; others may change the object meanwhile. */
must_check int kubernetes_scale(struct kubernetes *u, int replicas, json_t **ret_deployment,
                                struct err *err);

/* Processes of these pods that this machine sees, by their control groups. */
size_t kubernetes_processes(json_t *pods, struct proc_id *ids, size_t max);
/* Those in a control group whose path has this word. */
size_t kubernetes_in_group(const char *word, struct proc_id *ids, size_t max);

/* What the volumes are as the node sees them: marks and file systems, by a pod of inspect_image.
 * node "": any. */
must_check int kubernetes_inspect_volumes(struct kubernetes *u, json_t *manifest, const char *node,
                                          struct err *err);
/* The pod that did so is removed, whatever became of us. */
void kubernetes_probe_drop(struct kubernetes *u);

/* The node that the colour's pod is on; "": it has none. */
void kubernetes_node(const struct driver_ctx *ctx, enum colour c, char node[254]);

runtime_inspect_fn kubernetes_inspect;
runtime_validate_fn kubernetes_validate;
runtime_start_fn kubernetes_start;
runtime_stop_fn kubernetes_stop;
runtime_freeze_fn kubernetes_freeze;
runtime_thaw_fn kubernetes_thaw;
runtime_adopt_fn kubernetes_adopt;
runtime_pids_fn kubernetes_pids;
runtime_remove_fn kubernetes_remove;
runtime_unchanged_fn kubernetes_unchanged;
runtime_check_fn kubernetes_check;
runtime_settle_fn kubernetes_settle;
