/* PURE: a template (a Deployment manifest), a colour's spec and the upgrade's id -> the Deployment
 * that is applied for that colour. */
#pragma once

#include "spec/spec.h"

#include <jansson.h>

#define DEPLOYMENT_SERVICE "changeover/service" /* labels of all that we make */
#define DEPLOYMENT_COLOUR "changeover/colour"
#define DEPLOYMENT_UPGRADE "changeover/upgrade"

/* Beside the mark of a volume: its name says whose data it is, so that a mount of it by name, with
 * hostPath type File, is a proof that the kubelet makes at every start. "" if it does not fit. */
const char *deployment_mark(char buf[256], const char *service, enum colour c);
#define DEPLOYMENT_MARK_PREFIX ".changeover-"

struct deployment_goal {
    const struct spec *spec;  /* the colour's */
    const struct spec *other; /* the other colour's; NULL: nothing is known of it */
    const char *upgrade;      /* "": outside of one */
};

/* What comes out, beyond the template (docs/kubernetes.md has each with its reason): name, labels,
 * selector; strategy Recreate; no replicas; of the pod the grace, the volumes as hostPath type
 * Directory with their marks as type File; of the service's container the environment, the command,
 * ports and probes by the colour's numbers, preStop with stop.command. `${...}` is expanded in
 * every text; a name that is not one of changeover's stays as it is (a shell's, in a script).
 *
 * ERR_USAGE: the template cannot be a colour's, and why: another kind, no such container, no such
 * volume, a number that is the other colour's port. *ret is the caller's. */
must_check int deployment_render(const json_t *template, const struct deployment_goal *goal,
                                 json_t **ret, struct err *err);

/* The container of a pod's spec that is the service. Borrowed; NULL and ERR_USAGE: there is none of
 * that name. */
json_t *deployment_container(json_t *pod_spec, const char *name, struct err *err);

/* The name of a container in this pod of which only one may run, or NULL. */
const char *deployment_singleton(json_t *pod_spec, const struct strv *singleton);

/* Where the node sees a path of this machine. */
char *deployment_node_path(const struct spec_kubernetes *k, const char *path);

/* Texts with `${...}`, expanded by a colour's spec. ERR_USAGE: one of changeover's names that the
 * spec does not have. */
must_check int deployment_expand(const struct deployment_goal *goal, const char *text,
                                 struct str *ret, struct err *err);
