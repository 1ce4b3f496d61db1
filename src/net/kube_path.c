/* Objects as paths of the API, and as words. */
#include "net/kube_internal.h"

#include <ctype.h>
#include <string.h>

const struct kube_kind kube_pod = {"v1", "pods", "Pod", false};
const struct kube_kind kube_node = {"v1", "nodes", "Node", true};
const struct kube_kind kube_service = {"v1", "services", "Service", false};
const struct kube_kind kube_configmap = {"v1", "configmaps", "ConfigMap", false};
const struct kube_kind kube_event = {"v1", "events", "Event", false};
const struct kube_kind kube_namespace = {"v1", "namespaces", "Namespace", true};
const struct kube_kind kube_deployment = {"apps/v1", "deployments", "Deployment", false};
const struct kube_kind kube_replicaset = {"apps/v1", "replicasets", "ReplicaSet", false};
const struct kube_kind kube_endpointslice = {"discovery.k8s.io/v1", "endpointslices",
                                             "EndpointSlice", false};
const struct kube_kind kube_ingress = {"networking.k8s.io/v1", "ingresses", "Ingress", false};

static void escape(struct str *out, const char *text)
{
    for (; *text; text++) {
        if (isalnum((unsigned char)*text) || strchr("-._~", *text))
            str_add_c(out, *text);
        else
            str_addf(out, "%%%02X", (unsigned char)*text);
    }
}

/* Kubernetes' own rule for a part of a path, so that no name can lead elsewhere. */
static int check_name(const char *name, struct err *err)
{
    if (!*name || strlen(name) > 253 || strchr(name, '/') || strchr(name, '%') ||
        str_eq(name, ".") || str_eq(name, ".."))
        return err_set(err, ERR_USAGE, "'%.260s' is no name of a Kubernetes object", name);
    return 0;
}

int kube_path(const struct kube *k, const struct kube_ref *ref, const char *sub, struct str *ret,
              struct err *err)
{
    const struct kube_kind *kind = ref->kind;
    const char *ns = ref->ns ? ref->ns : k->cfg.ns;
    if ((!kind->cluster && check_name(ns, err) < 0) ||
        (ref->name && check_name(ref->name, err) < 0))
        return -1;
    str_addf(ret, "%s/%s", strchr(kind->api, '/') ? "/apis" : "/api", kind->api);
    if (!kind->cluster) {
        str_add(ret, "/namespaces/");
        escape(ret, ns);
    }
    str_addf(ret, "/%s", kind->plural);
    if (ref->name) {
        str_add_c(ret, '/');
        escape(ret, ref->name);
    }
    if (sub)
        str_addf(ret, "/%s", sub);
    str_add_c(ret, '?');
    return 0;
}

void kube_query(struct str *path, const char *name, const char *value)
{
    if (!value)
        return;
    str_addf(path, "%s%s=", str_ends(str_cstr(path), "?") ? "" : "&", name);
    escape(path, value);
}

void kube_query_select(struct str *path, const struct kube_ref *ref, const struct kube_select *sel)
{
    cleanup_str struct str fields = {0};
    if (ref->name)
        str_addf(&fields, "metadata.name=%s", ref->name);
    if (sel && sel->fields)
        str_addf(&fields, "%s%s", fields.len ? "," : "", sel->fields);
    kube_query(path, "fieldSelector", fields.len ? str_cstr(&fields) : NULL);
    kube_query(path, "labelSelector", sel ? sel->labels : NULL);
}

char *kube_words(const struct kube *k, const char *verb, const struct kube_ref *ref)
{
    const char *ns = ref->ns ? ref->ns : k->cfg.ns;
    if (!ref->name && ref->kind->cluster)
        return x_asprintf("%s %s", verb, ref->kind->plural);
    if (!ref->name)
        return x_asprintf("%s %s in '%s'", verb, ref->kind->plural, ns);
    return x_asprintf("%s %s '%s%s%s'", verb, ref->kind->kind, ref->kind->cluster ? "" : ns,
                      ref->kind->cluster ? "" : "/", ref->name);
}
