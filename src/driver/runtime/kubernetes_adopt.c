/* adopt: a Deployment that runs, by its name, is the live colour from now on. It gets two
 * annotations of ours beside its spec, which start nothing anew; its pod is not touched. */
#include "driver/runtime/kubernetes.h"
#include "driver/runtime/run.h"
#include "format/json.h"
#include "sys/file.h"
#include "translate/deployment.h"

#include <string.h>

#define NOTES "/metadata/annotations"

static int annotate(struct kubernetes *u, json_t *there, json_t **ret, struct err *err)
{
    static const char *const paths[] = {NOTES "/changeover~1service", NOTES "/changeover~1colour"};
    const char *const values[] = {u->ctx->service, colour_name(u->c)};
    cleanup_json json_t *ops = json_array();
    kube_op(ops, "test", "/metadata/uid",
            json_string(json_string_value(json_at(there, "metadata.uid"))));
    if (!json_at(there, "metadata.annotations"))
        kube_op(ops, "add", NOTES, json_object());
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        kube_op(ops, "add", paths[i], json_string(values[i]));
    return kube_patch(u->k, &u->ref, ops, false, ret, err);
}

/* One that we made before (after `forget`) needs no adopting by uid. */
static bool is_made_by_us(const struct kubernetes *u, json_t *there)
{
    json_t *labels = json_at(there, "metadata.labels");
    return str_eq(json_string_value(json_object_get(labels, DEPLOYMENT_SERVICE)),
                  u->ctx->service) &&
           str_eq(json_string_value(json_object_get(labels, DEPLOYMENT_COLOUR)), colour_name(u->c));
}

static int fits(struct kubernetes *u, json_t *there, struct err *err)
{
    json_t *pod = json_at(there, "spec.template.spec");
    if (!deployment_container(pod, u->spec->runtime.kubernetes.container, err))
        return err_ctx(err, "Deployment '%s'", u->name);
    if (kubernetes_replicas(there) != 1) {
        err_set(err, ERR_FAILED, "Deployment '%s' has %d replicas: a colour is one instance",
                u->name, kubernetes_replicas(there));
        return err_hint(err, "kubectl scale deployment %s --replicas=1", u->name);
    }
    return 0;
}

static int take(struct kubernetes *u, json_t *there, struct str *ret_text, struct err *err)
{
    cleanup_json json_t *pods = NULL, *now = NULL;
    struct pod_view v = {0};
    u->rec = (struct kubernetes_record){.adopted = !is_made_by_us(u, there)};
    str_format(u->rec.version, sizeof(u->rec.version), "%s",
               u->spec->version ? u->spec->version : "");
    if (kubernetes_pods(u, there, &pods, err) < 0)
        return -1;
    json_t *pod = kubernetes_pod_current(pods);
    if (pod)
        kubernetes_pod_view(pod, u->spec->runtime.kubernetes.container, &v);
    if (v.stage != POD_READY) {
        err_set(err, ERR_FAILED, "Deployment '%s' has no pod that is ready%s%s", u->name,
                *v.why ? ": " : "", v.why);
        return err_hint(err, "kubectl rollout status deployment %s", u->name);
    }
    if (sys_dir_make(u->dir, 0700, err) < 0 ||
        run_record_write(u->dir, "adopted.json", there, err) < 0)
        return -1;
    if (u->rec.adopted ? annotate(u, there, &now, err) < 0 : !(now = json_incref(there)))
        return -1;
    str_format(u->rec.pod, sizeof(u->rec.pod), "%s", v.uid);
    if (kubernetes_record_seen(u, now, err) < 0)
        return -1;
    str_addf(ret_text,
             "Deployment '%s' (pod '%s', image %s) is %s's instance now; its pod was not touched\n",
             u->name, v.name, u->rec.image, colour_name(u->c));
    if (u->rec.adopted)
        str_addf(ret_text,
                 "it carries two annotations of ours, changeover/service and changeover/colour; as "
                 "it was: %s/adopted.json\n",
                 u->dir);
    return 0;
}

/* By name: what `adopt --deployment` was given, else the colour's own. */
int kubernetes_adopt(const struct driver_ctx *ctx, enum colour c, pid_t pid, struct str *ret_text,
                     struct err *err)
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *there = NULL;
    if (pid > 0)
        return err_set(err, ERR_USAGE, "--pid is for runtime.driver: process");
    if (kubernetes_open(ctx, c, KUBERNETES_PATIENCE, &u, err) < 0)
        return err_ctx(err, "adopt");
    if (ctx->adopt_name) {
        str_format(u.name, sizeof(u.name), "%s", ctx->adopt_name);
        u.rec = (struct kubernetes_record){0};
    }
    if (kube_get(u.k, &u.ref, &there, err) < 0) {
        err_ctx(err, "adopt");
        return err_hint(err, "kubectl get deployments; then changeover adopt --deployment NAME");
    }
    if (*u.rec.uid && str_eq(json_string_value(json_at(there, "metadata.uid")), u.rec.uid)) {
        str_addf(ret_text, "Deployment '%s' is %s's instance already\n", u.name, colour_name(c));
        return 0;
    }
    if (fits(&u, there, err) < 0 || take(&u, there, ret_text, err) < 0)
        return err_ctx(err, "adopt");
    return 0;
}
