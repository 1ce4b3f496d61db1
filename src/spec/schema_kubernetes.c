/* Keys: an instance as a Deployment of Kubernetes. */
#include "spec/schema_rows.h"

#define KEY(leaf, type_, field, ...) \
    ROW("runtime.kubernetes." leaf, type_, runtime.kubernetes.field, __VA_ARGS__)

static const struct schema_key keys[] = {
    SECTION("runtime.kubernetes",
            .doc = "with driver kubernetes: each colour is a Deployment (docs/kubernetes.md)"),
    KEY("template", T_PATH, template, .fallback_doc = "required with driver kubernetes",
        .doc = "Deployment manifest (YAML or JSON), or the directory of a kustomize base; "
               "`${...}` in it is expanded for each colour",
        .example = "/etc/changeover/agave.yml"),
    KEY("name", T_TEXT, name, .fallback = "${service}-${colour}",
        .doc = "of the colour's Deployment", .example = "agave-${colour}"),
    KEY("container", T_TEXT, container, .fallback_doc = "the pod's first",
        .doc = "which container of the pod is the service", .example = "agave-validator"),
    KEY("kubeconfig", T_PATH, kubeconfig,
        .fallback_doc = "KUBECONFIG, ~/.kube/config, or the pod's own account",
        .doc = "where the cluster is", .example = "/etc/changeover/kubeconfig"),
    KEY("context", T_TEXT, context, .fallback_doc = "its current one",
        .doc = "context of the kubeconfig", .example = "kind-laconic"),
    KEY("namespace", T_TEXT, ns, .fallback_doc = "the context's",
        .doc = "where the Deployments are", .example = "agave"),
    KEY("volumes", T_MAP, volumes, .type_doc = "map of volume: pod volume",
        .fallback_doc = "the same names",
        .doc = "which volume of the pod each volume of the spec is",
        .example = "{ledger: validator-ledger}"),
    KEY("node_paths", T_MAP, node_paths, .type_doc = "map of directory here: directory there",
        .fallback_doc = "the same paths",
        .doc = "where the node sees a directory of this machine (a node that is a container)",
        .example = "{/srv/kind: /mnt}"),
    KEY("singleton", T_TEXTS, singleton, .fallback = "doublezerod",
        .doc = "containers of which only one may run: none may be in a colour's pod",
        .example = "[doublezerod]"),
    KEY("inspect_image", T_TEXT, inspect_image, .fallback_doc = "the volumes are not looked at",
        .doc = "an image with the program `cat`: a pod of it looks at the volumes on the node "
               "before the start",
        .example = "registry.example.org/busybox:1.37"),
    KEY("start_within", T_DURATION, start_within, .fallback = "10m", RANGE(NSEC_S, 24 * NSEC_HOUR),
        .doc = "longest wait until the containers run; `gate.deadline` is what the pod then has "
               "to become ready",
        .example = "2m"),
    SECTION("runtime.kubernetes.image", .doc = "before anything is touched"),
    KEY("image.prepare", T_LIST, prepare, .type_doc = "list of commands",
        .doc = "make the new image available to the node: pull, build, load, push",
        .example = "[[kind, load, docker-image, \"example/agave:${version}\"]]"),
};
const struct schema_part schema_kubernetes = {keys, ARRAY_LEN(keys)};
