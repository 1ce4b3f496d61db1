/* One container of a running pod gets another image, and nothing else of the pod is touched: the
 * container is found by name, the patch carries tests, and the proof is the effect (another
 * container, running and ready, of the wanted image; the pod and every other container as before).
 *
 * What was changed, from what, and what the other containers were is written into the pod itself,
 * by the same patch (annotation SIDECAR_RECORD): whoever is killed in between, the same call goes
 * on with the proof. The record is gone with the pod, and so is the change: a pod that is made anew
 * has its template's image again. */
#pragma once

#include "model/event.h"
#include "net/kube.h"

#define SIDECAR_RECORD "changeover/sidecars"
/* A label of the Deployment while it is paused by us, and for which container: set and taken off in
 * the very patches that pause and unpause it. */
#define SIDECAR_PAUSED "changeover/paused"

struct sidecar_target {
    const char *ns;         /* NULL: the context's */
    const char *pod;        /* this pod, or */
    const char *deployment; /* the one pod of this Deployment */
};

struct sidecar_pod {
    json_t *object; /* as the API server has it */
    char ns[64], name[254], uid[64], node[254];
    char deployment[254]; /* that it belongs to, or "" */
    json_t *of;           /* that Deployment, or NULL: none, or it may not be read */
    json_t *set;          /* the ReplicaSet between them, or NULL likewise */
};
/* Reads only. ERR_NOT_FOUND; ERR_FAILED: no pod of the Deployment runs, or more than one. */
must_check int sidecar_look(struct kube *k, const struct sidecar_target *t, struct sidecar_pod *ret,
                            struct err *err);
void sidecar_pod_done(struct sidecar_pod *p);
#define cleanup_sidecar_pod cleanup(sidecar_pod_done)

struct sidecar_container {
    char name[64];
    bool init;  /* stands in initContainers */
    bool lives; /* false: an init container that runs once, before the others */
    size_t index;
    char wanted[512], running[512]; /* image in the spec, image in the status */
    char image_id[256], id[160], started[40];
    char why[400]; /* if it is not up: "CrashLoopBackOff: ..." */
    int restarts;
    bool up, ready;
};
/* By its name. ERR_NOT_FOUND names those that there are. */
must_check int sidecar_find(json_t *pod, const char *name, struct sidecar_container *ret,
                            struct err *err);

/* Of each container but that one (NULL: of each) what a restart would change, as a map by name. The
 * caller's. */
json_t *sidecar_others(json_t *pod, const char *name);

/* The image that a pod made anew would have for it, or NULL. Borrowed. The Deployment's template
 * says it, but while that is paused its ReplicaSet's (seen on 1.36: the new pod has the old image).
 */
const char *sidecar_template_image(const struct sidecar_pod *p, const char *name);

/* The Deployment is paused; *ret_for (64 bytes): by us, for that container; "": by somebody else.
 */
bool sidecar_paused(const struct sidecar_pod *p, char ret_for[64]);

/* The record of a container, {"from", "to", "id", "others", "used"}, until it is proved also
 * {"tunnel"}; NULL: none. The caller's. */
json_t *sidecar_record(json_t *pod, const char *name);

struct sidecar_change {
    const char *name, *image;
    nsec_t timeout; /* until the new container is ready; 0: 2 min, 6 min if back-off may hold it */
    nsec_t settle;  /* so long it must stay so; 0: 2 s */
    bool trust_image;         /* do not look first whether the node has the image or can pull it */
    const char *const *proof; /* a command that must end with 0 in the new container; NULL: none */
    const char *proof_text;   /* what its output must contain; NULL: nothing */
    /* a command that makes the container end, run in it where the kubelet takes the patch and does
     * nothing (1.29 to 1.31); NULL: such a kubelet is refused */
    const char *const *exit;
    /* the link of this host that must be as before, with its addresses and routes; "": none; NULL:
     * doublezero0 if the container is called doublezerod, the pod is in the network of this host
     * and there is such a link */
    const char *tunnel;
    bool update_template; /* the Deployment's template gets the image too; the pod stays */
    bool dry_run;         /* up to the patch, which the server then only checks */
    struct sink sink;
};

struct sidecar_result {
    char pod[254], from[512], to[512], id[160], image_id[256];
    int restarts;
    nsec_t took;              /* from the patch until it was seen ready */
    bool nothing;             /* it had that image already, and runs */
    char template_image[512]; /* if it differs from `to`: what the next pod would run; else "" */
    bool template_updated;
    char tunnel[16];     /* that was as before; "": none was looked at */
    size_t tunnel_lines; /* its link, addresses and routes */
};

/* ERR_FAILED: nothing was changed, or it is back at the image it had, and the message says which.
 * ERR_UNSUPPORTED: the node's kubelet would take the patch and do nothing. ERR_HALFWAY: it is
 * neither, or the new one runs and the tunnel or the template is not as it should be; the same call
 * goes on, sidecar_rollback() goes back. Safe to repeat. */
must_check int sidecar_upgrade(struct kube *k, const struct sidecar_target *t,
                               const struct sidecar_change *how, struct sidecar_result *ret,
                               struct err *err);

/* To the image that the record says it had before (how->image is not looked at). ERR_NOT_FOUND:
 * there is no record. */
must_check int sidecar_rollback(struct kube *k, const struct sidecar_target *t,
                                const struct sidecar_change *how, struct sidecar_result *ret,
                                struct err *err);
