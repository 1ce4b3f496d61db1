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

/* ERR_UNSUPPORTED: the node's kubelet ignores the patch. */
must_check int sidecar_kubelet(struct kube *k, const struct sidecar_pod *p,
                               const struct sidecar_container *c, const struct sink *sink,
                               struct err *err);
