/* Shared by the files of this folder only. */
#pragma once

#include "driver/sidecar/sidecar.h"

/* A text of the object into buf; "" if there is none. */
void sidecar_text(json_t *object, const char *path, char *buf, size_t size);

/* Proves on the pod's node that `image` is there or can be pulled, with the pod's own pull secrets:
 * a pod of ours, pinned to the node, that names a program which no image has, so that nothing of
 * the service ever runs in it; it is removed in any case. image_id (256 bytes) gets what the
 * kubelet calls the image. */
must_check int sidecar_image_prove(struct kube *k, const struct sidecar_pod *p,
                                   const struct sidecar_container *c, const char *image,
                                   nsec_t timeout, char image_id[256], struct err *err);

/* Removes that pod, if there is one and it is ours. */
void sidecar_image_drop(struct kube *k, const struct sidecar_pod *p);

/* The patch: tests for pod, name and old image, the new image, the record (NULL: as it is). */
must_check int sidecar_patch(struct kube *k, const struct sidecar_pod *p,
                             const struct sidecar_container *c, const char *image, json_t *record,
                             bool dry_run, struct err *err);

/* What is waited for, and proved. */
struct sidecar_goal {
    const char *uid, *name, *image;
    const char *old_id;   /* the container before */
    const char *image_id; /* "" if it is not known */
    json_t *others;       /* as sidecar_others() had them before */
    nsec_t timeout, settle;
};
/* *ret_at: when it was first seen so (monotonic). ERR_TIMEOUT: not by then; ERR_FAILED: it cannot
 * come any more. Both say what is seen instead. */
must_check int sidecar_wait(struct kube *k, const struct sidecar_pod *p,
                            const struct sidecar_goal *g, struct sidecar_container *ret,
                            nsec_t *ret_at, struct err *err);

/* "busybox:1" is docker.io/library/busybox:1 to the runtime. */
bool sidecar_same_image(const char *running, const char *wanted);

/* The record alone, into the pod that p is. */
must_check int sidecar_note(struct kube *k, const struct sidecar_pod *p, const char *name,
                            json_t *record, struct err *err);

/* --- the node (node.c) ----------------------------------------------------------------------- */

struct sidecar_node {
    bool known; /* false: there is no right to read nodes */
    struct kube_version kubelet;
    char boot_id[40]; /* of its kernel */
};
must_check int sidecar_node_look(struct kube *k, const struct sidecar_pod *p,
                                 struct sidecar_node *ret, struct err *err);

enum sidecar_restart { SIDECAR_BY_ITSELF, SIDECAR_MAYBE, SIDECAR_MUST_EXIT };
/* What this node's kubelet does with a new image. ERR_UNSUPPORTED: nothing, and there is no command
 * that would make the container end. */
must_check int sidecar_kubelet(const struct sidecar_node *n, const struct sidecar_pod *p,
                               const struct sidecar_container *c, const struct sidecar_change *how,
                               enum sidecar_restart *ret, struct err *err);

/* --- the tunnel (tunnel.c) ------------------------------------------------------------------- */

struct sidecar_tunnel {
    char name[16]; /* "": none is looked at */
    struct strv lines;
};
void sidecar_tunnel_done(struct sidecar_tunnel *t);

/* As it is before the change. ERR_USAGE, ERR_NOT_FOUND: the one asked for cannot be looked at. */
must_check int sidecar_tunnel_before(const struct sidecar_change *how, const struct sidecar_pod *p,
                                     const struct sidecar_node *n, struct sidecar_tunnel *ret,
                                     struct err *err);
/* For the record, of which a pod can hold only so much; and out of it. NULL: none. */
json_t *sidecar_tunnel_write(const struct sidecar_tunnel *t);
void sidecar_tunnel_read(json_t *written, struct sidecar_tunnel *ret);

/* Until all of it is there again. ERR_TIMEOUT says what is missing. */
must_check int sidecar_tunnel_wait(struct kube *k, const struct sidecar_tunnel *t, nsec_t timeout,
                                   const struct sink *sink, struct err *err);

/* --- the Deployment (template.c) ------------------------------------------------------------- */

/* Looks whether sidecar_template_update() can do its work, down to the server's consent to each
 * patch; changes nothing. */
must_check int sidecar_template_ready(struct kube *k, const struct sidecar_pod *p, const char *name,
                                      const char *image, struct err *err);

/* The template gets the image, and the pod is not made anew: the Deployment is paused by the same
 * patch, its ReplicaSet's template gets the image too, so that unpausing finds nothing to do; then
 * the pod and all its containers are the same. *ret_done: false: it had it already. Killed in
 * between, the Deployment stays paused, with the label, and the same call goes on. */
must_check int sidecar_template_update(struct kube *k, const struct sidecar_pod *pod,
                                       const char *name, const char *image, nsec_t settle,
                                       bool *ret_done, struct err *err);
