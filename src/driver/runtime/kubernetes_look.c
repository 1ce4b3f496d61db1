/* What there is of a colour: its Deployment, its pods. Reads only. */
#include "driver/runtime/kubernetes.h"
#include "format/json.h"
#include "translate/deployment.h"

#include <stdlib.h>
#include <string.h>

static const char *labelled(json_t *object, const char *key)
{
    return json_string_value(json_object_get(json_at(object, "metadata.labels"), key));
}

/* One that we made carries labels; one that was adopted is known by its uid. */
static bool is_colours(const struct kubernetes *u, json_t *deployment)
{
    const char *uid = json_string_value(json_at(deployment, "metadata.uid"));
    if (u->rec.adopted)
        return str_eq(uid, u->rec.uid);
    return str_eq(labelled(deployment, DEPLOYMENT_SERVICE), u->ctx->service) &&
           str_eq(labelled(deployment, DEPLOYMENT_COLOUR), colour_name(u->c));
}

int kubernetes_deployment(struct kubernetes *u, json_t **ret, struct err *err)
{
    cleanup_json json_t *j = NULL;
    struct err why = {0};
    *ret = NULL;
    if (kube_get(u->k, &u->ref, &j, &why) < 0) {
        if (why.code == ERR_NOT_FOUND && kube_status(u->k)->code == 404)
            return 0;
        if (err)
            *err = why;
        return -1;
    }
    if (!is_colours(u, j)) {
        err_set(err, ERR_FOREIGN, "Deployment '%s' is there and is not %s's: %s", u->name,
                colour_name(u->c),
                u->rec.adopted ? "the one that was adopted is gone, and another has its name"
                               : "it carries no mark of ours");
        return err_hint(err, "rename or remove that one, or correct runtime.kubernetes.name");
    }
    *ret = TAKE(j);
    return 0;
}

int kubernetes_replicas(json_t *deployment)
{
    json_t *n = json_at(deployment, "spec.replicas");
    return n ? (int)json_integer_value(n) : 1;
}

void kubernetes_selector(const struct kubernetes *u, json_t *deployment, struct str *ret)
{
    const char *key;
    json_t *value;
    if (!u->rec.adopted) {
        str_addf(ret, DEPLOYMENT_SERVICE "=%s," DEPLOYMENT_COLOUR "=%s", u->ctx->service,
                 colour_name(u->c));
        return;
    }
    json_object_foreach(json_at(deployment, "spec.selector.matchLabels"), key, value)
    {
        const char *text = json_string_value(value);
        str_addf(ret, "%s%s=%s", ret->len ? "," : "", key, text ? text : "");
    }
}

/* An adopted Deployment's selector may fit the pods of the other colour, whose template has the
 * same labels: those carry ours beside. */
bool kubernetes_is_ours(const struct kubernetes *u, json_t *pod)
{
    const char *colour = labelled(pod, DEPLOYMENT_COLOUR);
    return u->rec.adopted ? !colour : str_eq(colour, colour_name(u->c));
}

int kubernetes_pods(struct kubernetes *u, json_t *deployment, json_t **ret, struct err *err)
{
    cleanup_str struct str labels = {0};
    cleanup_json json_t *all = NULL;
    size_t i;
    json_t *pod;
    kubernetes_selector(u, deployment, &labels);
    const struct kube_select sel = {.labels = str_cstr(&labels)};
    if (kube_list(u->k, &(struct kube_ref){&kube_pod, NULL, NULL}, &sel, &all, NULL, err) < 0)
        return -1;
    *ret = json_array();
    json_array_foreach(all, i, pod)
    {
        if (kubernetes_is_ours(u, pod))
            json_array_append(*ret, pod);
    }
    return 0;
}

/* The process that the container began with: the oldest that this machine sees of it. */
static struct proc_id main_process(const struct pod_view *v)
{
    struct proc_id ids[256], found = {0};
    const char *id = strstr(v->id, "://");
    size_t n = id ? kubernetes_in_group(id + 3, ids, ARRAY_LEN(ids)) : 0;
    for (size_t i = 0; i < n; i++)
        if (!found.pid || ids[i].start_ticks < found.start_ticks)
            found = ids[i];
    return found;
}

static void describe(struct kubernetes *u, json_t *deployment, json_t *pods,
                     struct instance_facts *f)
{
    const struct spec_kubernetes *s = &u->spec->runtime.kubernetes;
    json_t *pod = kubernetes_pod_current(pods);
    struct pod_view v = {0};
    int replicas = deployment ? kubernetes_replicas(deployment) : 0;
    size_t left = json_array_size(pods);
    if (!replicas && !left) {
        f->state = INSTANCE_STOPPED;
        if (!deployment && *u->rec.uid && !u->rec.stopped) {
            f->state = INSTANCE_EXITED;
            str_format(f->text, sizeof(f->text), "its Deployment '%s' is gone: somebody deleted it",
                       u->name);
        } else {
            str_format(f->text, sizeof(f->text), "%s", *u->rec.uid ? "stopped" : "never started");
            if (*u->rec.uid && !u->rec.stopped)
                str_format(f->text, sizeof(f->text), "somebody scaled Deployment '%s' to 0",
                           u->name);
        }
        return;
    }
    f->boot = replicas > 0;
    f->state = replicas ? INSTANCE_RUNNING : INSTANCE_UNKNOWN;
    if (!pod || !replicas) {
        str_format(f->text, sizeof(f->text),
                   replicas ? "the pod of Deployment '%s' is being made"
                            : "Deployment '%s' has no replica, and a pod of it still runs",
                   u->name);
        return;
    }
    kubernetes_pod_view(pod, s->container, &v);
    f->restarts = v.restarts;
    f->last_status = v.last_status;
    f->started_wall_ns = v.started_wall_ns;
    str_format(f->text, sizeof(f->text), "pod %s%s%s", v.name, *v.why ? ": " : "", v.why);
    if (v.stage == POD_READY || v.stage == POD_STARTING)
        f->pid = main_process(&v);
}

static int not_seen(const struct kubernetes *u, struct instance_facts *ret, struct err *err)
{
    if (kube_status(u->k)->away)
        ret->state = INSTANCE_UNKNOWN;
    return err_ctx(err, "%s", colour_name(u->c));
}

int kubernetes_inspect(const struct driver_ctx *ctx, enum colour c, struct instance_facts *ret,
                       struct err *err)
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *deployment = NULL, *pods = NULL;
    struct err why = {0};
    /* within a step an API server that is away is waited for; a status is not */
    nsec_t patience = ctx->step_name ? KUBERNETES_PATIENCE : KUBERNETES_GLANCE;
    *ret = (struct instance_facts){.state = INSTANCE_STOPPED, .last_status = -1};
    if (kubernetes_open(ctx, c, patience, &u, err) < 0)
        return err_ctx(err, "%s", colour_name(c));
    ret->adopted = u.rec.adopted;
    str_format(ret->version, sizeof(ret->version), "%s", u.rec.version);
    if (kubernetes_deployment(&u, &deployment, &why) < 0) {
        if (why.code == ERR_FOREIGN && !*u.rec.uid) {
            ret->state = INSTANCE_UNKNOWN;
            str_format(ret->text, sizeof(ret->text), "%.250s", why.msg);
            return 0;
        }
        if (err)
            *err = why;
        return not_seen(&u, ret, err);
    }
    if (deployment ? kubernetes_pods(&u, deployment, &pods, err) < 0 : !(pods = json_array()))
        return not_seen(&u, ret, err);
    describe(&u, deployment, pods, ret);
    return 0;
}
