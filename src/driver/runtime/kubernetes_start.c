/* start: everything that may refuse comes before the Deployment is touched; it is applied without a
 * replica, and the replica is the act. */
#include "driver/runtime/kubernetes.h"
#include "driver/runtime/run.h"
#include "driver/runtime/safety.h"
#include "format/json.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"
#include "translate/deployment.h"

#include <stdlib.h>
#include <string.h>

#define MANIFEST "manifest.json"
#define SCALE_TRIES 20

/* The Deployment's controller writes its status, so its version moves on its own; what counts is
 * that it is still this very object. */
int kubernetes_scale(struct kubernetes *u, int replicas, json_t **ret_deployment, struct err *err)
{
    for (int tries = 0; tries < SCALE_TRIES; tries++) {
        cleanup_json json_t *now = NULL;
        struct err why = {0};
        if (kubernetes_deployment(u, &now, err) < 0)
            return -1;
        if (!now)
            return err_set(err, ERR_NOT_FOUND, "Deployment '%s' is gone: somebody deleted it",
                           u->name);
        int r = 0;
        if (kubernetes_replicas(now) != replicas)
            r = kube_scale(u->k, &u->ref, replicas,
                           json_string_value(json_at(now, "metadata.resourceVersion")), false,
                           &why);
        else if (ret_deployment)
            *ret_deployment = TAKE(now);
        if (r == 0 && (!ret_deployment || *ret_deployment))
            return 0;
        /* changed meanwhile, or not known whether it was done: look again */
        bool again = r == 0 || kube_status(u->k)->code == 409 || kube_status(u->k)->unsure;
        if (!again) {
            if (err)
                *err = why;
            return -1;
        }
    }
    return err_set(err, ERR_FAILED,
                   "Deployment '%s' could not be scaled to %d: it changes all the while", u->name,
                   replicas);
}

/* --- marks ----------------------------------------------------------------------------------- */

struct others {
    const char *own;
    struct strv found;
};

static int note_other(void *ctx, const char *name)
{
    struct others *o = ctx;
    if (str_starts(name, DEPLOYMENT_MARK_PREFIX) && !str_eq(name, o->own))
        strv_add(&o->found, name);
    return 0;
}

/* The file whose name the kubelet checks; those that a snapshot brought along from the other colour
 * go first. */
static int put_mark(struct kubernetes *u, const struct spec_volume *v, struct err *err)
{
    char name[256];
    struct others o = {.own = deployment_mark(name, u->ctx->service, u->c)};
    int r = sys_dir_each(v->path, note_other, &o, err) < 0 ? -1 : 0;
    for (size_t i = 0; r == 0 && i < o.found.n; i++) {
        cleanup_free char *path = x_asprintf("%s/%s", v->path, o.found.v[i]);
        r = sys_file_remove(path, err);
    }
    strv_done(&o.found);
    cleanup_free char *path = x_asprintf("%s/%s", v->path, name);
    static const char words[] = "a pod of changeover mounts this file by its name: without it the "
                                "kubelet does not start the pod\n";
    if (r == 0 && sys_path_kind(path) != SYS_FILE)
        r = sys_file_write_atomic(path, words, sizeof(words) - 1, 0644, err);
    return r;
}

static int put_marks(struct kubernetes *u, struct err *err)
{
    for (size_t i = 0; i < u->spec->volumes_n; i++)
        if (put_mark(u, &u->spec->volumes[i], err) < 0)
            return err_ctx(err, "mark volume '%s'", u->spec->volumes[i].name);
    return 0;
}

/* --- apply ----------------------------------------------------------------------------------- */

/* Whether an apply of ours owns the replicas: then leaving them out would mean one. */
static bool replicas_applied(json_t *deployment)
{
    size_t i;
    json_t *m;
    json_array_foreach(json_at(deployment, "metadata.managedFields"), i, m)
    {
        json_t *spec = json_object_get(json_object_get(m, "fieldsV1"), "f:spec");
        if (str_eq(json_string_value(json_object_get(m, "operation")), "Apply") &&
            str_eq(json_string_value(json_object_get(m, "manager")), "changeover") &&
            json_object_get(spec, "f:replicas"))
            return true;
    }
    return false;
}

static int apply(struct kubernetes *u, json_t *manifest, json_t *there, struct err *err)
{
    cleanup_json json_t *now = NULL;
    struct err why = {0};
    if (!there || replicas_applied(there))
        json_object_set_new(json_object_get(manifest, "spec"), "replicas", json_integer(0));
    if (sys_dir_make(u->dir, 0700, err) < 0 ||
        run_record_write(u->dir, MANIFEST, manifest, err) < 0)
        return -1;
    if (kube_apply(u->k, &u->ref, manifest, NULL, &now, &why) < 0) {
        bool conflict = why.code == ERR_FOREIGN;
        if (err)
            *err = why;
        return conflict ? err_hint(err,
                                   "kubectl get deployment %s --show-managed-fields -o yaml; "
                                   "remove what they set, or the Deployment (it is stopped)",
                                   u->name)
                        : -1;
    }
    str_format(u->rec.name, sizeof(u->rec.name), "%s", u->name);
    str_format(u->rec.upgrade, sizeof(u->rec.upgrade), "%s", u->ctx->upgrade_id);
    str_format(u->rec.version, sizeof(u->rec.version), "%s",
               u->spec->version ? u->spec->version : "");
    u->rec.adopted = false;
    return kubernetes_record_seen(u, now, err);
}

/* What it is started from. A colour that has run before comes back as it was. */
static int make(struct kubernetes *u, json_t *there, bool standby, const char *node,
                struct err *err)
{
    cleanup_json json_t *manifest = NULL;
    bool same = there && (u->rec.adopted || !standby || str_eq(u->rec.upgrade, u->ctx->upgrade_id));
    if (same)
        return 0;
    struct err why = {0};
    if (!standby && run_record_read(u->dir, MANIFEST, &manifest, &why) < 0 &&
        why.code != ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return -1;
    }
    if (!manifest &&
        (kubernetes_render(u, &manifest, err) < 0 || kubernetes_carry(u, manifest, err) < 0))
        return -1;
    if (kubernetes_inspect_volumes(u, manifest, node, err) < 0)
        return -1;
    return apply(u, manifest, there, err);
}

/* --- the act --------------------------------------------------------------------------------- */

static int refuse_other(struct kubernetes *u, struct err *err)
{
    err_set(err, ERR_EXISTS, "%s runs already, started by another upgrade (%s)", colour_name(u->c),
            *u->rec.upgrade ? u->rec.upgrade : "none");
    return err_hint(err, "changeover rollback, or changeover stop with its colour");
}

static int proved_image(struct kubernetes *u, const struct pod_view *v, struct err *err)
{
    if (!*u->rec.image_id || !*v->image_id || str_eq(u->rec.image_id, v->image_id))
        return 0;
    err_set(err, ERR_FAILED, "%s runs the image %s, and what was proved before is %s",
            colour_name(u->c), v->image_id, u->rec.image_id);
    return err_hint(err, "somebody moved the tag: name the image by its digest");
}

static int let_go(struct kubernetes *u, struct err *err)
{
    cleanup_json json_t *now = NULL;
    struct pod_view v;
    if (sys_fault_point("runtime/start:committed") < 0)
        return err_sys(err, ERR_FAILED, "fault point");
    if (kubernetes_scale(u, 1, &now, err) < 0)
        return -1;
    u->rec.stopped = false;
    if (kubernetes_record_seen(u, now, err) < 0 || kubernetes_wait_ready(u, now, &v, err) < 0)
        return -1;
    str_format(u->rec.pod, sizeof(u->rec.pod), "%s", v.uid);
    if (kubernetes_record_write(u, err) < 0)
        return -1;
    return proved_image(u, &v, err);
}

int kubernetes_start(const struct driver_ctx *ctx, enum colour c, bool standby, struct err *err)
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *there = NULL;
    char node[254];
    if (kubernetes_open(ctx, c, KUBERNETES_PATIENCE, &u, err) < 0 ||
        kubernetes_deployment(&u, &there, err) < 0)
        return err_ctx(err, "start %s", colour_name(c));
    bool runs = there && kubernetes_replicas(there) > 0;
    if (runs && standby && !str_eq(u.rec.upgrade, ctx->upgrade_id))
        return refuse_other(&u, err);
    if (safety_sentinels(ctx, c, err) < 0 || safety_identities(ctx, c, err) < 0)
        return err_ctx(err, "start %s", colour_name(c));
    if (!u.rec.adopted && put_marks(&u, err) < 0)
        return -1;
    kubernetes_node(ctx, colour_other(c), node);
    if ((!runs && make(&u, there, standby, node, err) < 0) || let_go(&u, err) < 0)
        return err_ctx(err, "start %s", colour_name(c));
    return 0;
}
