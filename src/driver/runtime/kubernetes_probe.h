/* Short-lived pods of ours on the node; for the files of kubernetes*.c only. */
#pragma once

#include "driver/runtime/kubernetes.h"
#include "translate/deployment.h"

#define PROBE_LABEL "changeover/check" /* its value is the colour: not a pod of the colour */

struct check_result {
    bool ran; /* the program was there, and was started */
    int status;
    char image_id[256], why[500];
    struct str log;
};
void check_result_done(struct check_result *r);
#define cleanup_check_result cleanup(check_result_done)

/* Runs such a pod to its end, and removes it in any case. spec is the caller's. -1: it could not be
 * run, and why (no image, no volume). */
must_check int kubernetes_probe(struct kubernetes *u, json_t *spec, nsec_t timeout,
                                struct check_result *ret, struct err *err);

/* A pod's spec with this container (taken over), where and as whom `pod` would run. */
json_t *kubernetes_probe_spec(json_t *pod, json_t *container, const char *node);

/* With the service's own container; argv NULL: only its image is asked for. NULL: there is none. */
json_t *kubernetes_probe_service(struct kubernetes *u, json_t *pod, const char *node,
                                 const char *const *argv, struct err *err);
