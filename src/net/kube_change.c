/* Effects. Each is one request, and none is sent twice unless the first surely did nothing. */
#include "format/json.h"
#include "net/kube_internal.h"

#include <stdlib.h>
#include <string.h>

#define MANAGER "changeover"

struct effect {
    const char *verb, *method, *type;
    const char *sub;
    const json_t *body;
    const char *manager;
    bool force, dry_run;
};

static int change(struct kube *k, const struct kube_ref *ref, const struct effect *e, json_t **ret,
                  struct err *err)
{
    cleanup_free char *what = kube_words(k, e->verb, ref);
    cleanup_str struct str path = {0}, body = {.max = KUBE_ANSWER_MAX};
    if (kube_path(k, ref, e->sub, &path, err) < 0)
        return -1;
    kube_query(&path, "dryRun", e->dry_run ? "All" : NULL);
    kube_query(&path, "fieldManager", e->manager);
    kube_query(&path, "force", e->force ? "true" : NULL);
    json_print(e->body, 0, &body);
    if (body.cut)
        return err_set(err, ERR_FAILED, "%s: longer than %zu bytes", what, KUBE_ANSWER_MAX);
    struct kube_request rq = {.what = what,
                              .method = e->method,
                              .path = str_cstr(&path),
                              .type = e->type,
                              .body = str_cstr(&body),
                              .effect = true};
    return kube_ask(k, &rq, ret, err);
}

/* The same, where the answer must be the object. */
static int change_object(struct kube *k, const struct kube_ref *ref, const struct effect *e,
                         json_t **ret, struct err *err)
{
    cleanup_json json_t *j = NULL;
    cleanup_free char *what = kube_words(k, e->verb, ref);
    if (change(k, ref, e, &j, err) < 0)
        return -1;
    if (kube_kind_check(what, j, ref->kind, false, err) < 0) {
        k->status.unsure = true;
        return -1;
    }
    if (ret)
        *ret = TAKE(j);
    return 0;
}

static bool has_cause(const struct kube *k, const char *words)
{
    return strstr(k->status.message, words) || strstr(k->status.causes, words);
}

int kube_apply(struct kube *k, const struct kube_ref *ref, const json_t *object,
               const struct kube_apply *how, json_t **ret, struct err *err)
{
    static const struct kube_apply plain = {0};
    how = how ? how : &plain;
    const struct effect e = {
        .verb = "apply",
        .method = "PATCH",
        .type = "application/apply-patch+yaml",
        .body = object,
        .manager = how->manager ? how->manager : MANAGER,
        .force = how->force,
        .dry_run = how->dry_run,
    };
    if (change_object(k, ref, &e, ret, err) == 0)
        return 0;
    if (k->status.code == 409 && has_cause(k, "conflict with") && err)
        err->code = ERR_FOREIGN;
    return -1;
}

void kube_op(json_t *ops, const char *op, const char *path, json_t *value)
{
    json_t *o = json_pack("{s:s, s:s}", "op", op, "path", path);
    if (value)
        json_object_set_new(o, "value", value);
    json_array_append_new(ops, o);
}

int kube_patch(struct kube *k, const struct kube_ref *ref, const json_t *ops, bool dry_run,
               json_t **ret, struct err *err)
{
    const struct effect e = {
        .verb = "patch",
        .method = "PATCH",
        .type = "application/json-patch+json",
        .body = ops,
        .manager = MANAGER,
        .dry_run = dry_run,
    };
    return change_object(k, ref, &e, ret, err);
}

int kube_create(struct kube *k, const struct kube_ref *ref, const json_t *object, bool dry_run,
                json_t **ret, struct err *err)
{
    const struct kube_ref all = {ref->kind, ref->ns, NULL};
    const struct effect e = {
        .verb = "create",
        .method = "POST",
        .type = "application/json",
        .body = object,
        .manager = MANAGER,
        .dry_run = dry_run,
    };
    return change_object(k, &all, &e, ret, err);
}

int kube_scale(struct kube *k, const struct kube_ref *ref, int replicas, const char *version,
               bool dry_run, struct err *err)
{
    const char *ns = ref->ns ? ref->ns : k->cfg.ns;
    cleanup_json json_t *scale = json_pack(
        "{s:s, s:s, s:{s:s, s:s}, s:{s:i}}", "apiVersion", "autoscaling/v1", "kind", "Scale",
        "metadata", "name", ref->name, "namespace", ns, "spec", "replicas", replicas);
    if (version)
        json_object_set_new(json_at(scale, "metadata"), "resourceVersion", json_string(version));
    const struct effect e = {
        .verb = "scale",
        .method = "PUT",
        .type = "application/json",
        .sub = "scale",
        .body = scale,
        .manager = MANAGER,
        .dry_run = dry_run,
    };
    cleanup_json json_t *j = NULL;
    if (change(k, ref, &e, &j, err) < 0)
        return -1;
    json_t *now = json_at(j, "spec.replicas");
    if (str_eq(json_string_value(json_at(j, "kind")), "Scale") &&
        (json_integer_value(now) == replicas)) /* 0 is left out */
        return 0;
    k->status.unsure = true;
    return err_set(err, ERR_FAILED, "scale %s '%s/%s' to %d: the answer does not say so",
                   ref->kind->kind, ns, ref->name, replicas);
}

int kube_delete(struct kube *k, const struct kube_ref *ref, const struct kube_delete *how,
                struct err *err)
{
    cleanup_json json_t *options =
        json_pack("{s:s, s:s}", "apiVersion", "v1", "kind", "DeleteOptions");
    json_t *conditions = json_object();
    if (how->uid)
        json_object_set_new(conditions, "uid", json_string(how->uid));
    if (how->version)
        json_object_set_new(conditions, "resourceVersion", json_string(how->version));
    json_object_set_new(options, "preconditions", conditions);
    if (how->propagation)
        json_object_set_new(options, "propagationPolicy", json_string(how->propagation));
    if (how->grace_s >= 0)
        json_object_set_new(options, "gracePeriodSeconds", json_integer(how->grace_s));
    if (!ref->name)
        return err_set(err, ERR_USAGE, "delete %s: which one?", ref->kind->plural);
    const struct effect e = {
        .verb = "delete",
        .method = "DELETE",
        .type = "application/json",
        .body = options,
        .dry_run = how->dry_run,
    };
    if (change(k, ref, &e, NULL, err) == 0)
        return 0;
    if (k->status.code == 409 && (how->uid || how->version) && err)
        err->code = ERR_FOREIGN;
    return -1;
}
