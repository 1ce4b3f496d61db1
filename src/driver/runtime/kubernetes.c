/* Runtime driver `kubernetes`: the connection, the record, and the table of operations. */
#include "driver/runtime/kubernetes.h"
#include "driver/runtime/run.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <stdlib.h>
#include <string.h>

#define RECORD "kubernetes.json"

/* --- the record ------------------------------------------------------------------------------ */

static void text(json_t *j, const char *key, char *buf, size_t size)
{
    const char *s = json_string_value(json_object_get(j, key));
    str_format(buf, size, "%s", s ? s : "");
}

static int record_read(const char *dir, struct kubernetes_record *r, struct err *err)
{
    cleanup_json json_t *j = NULL;
    struct err why = {0};
    if (run_record_read(dir, RECORD, &j, &why) < 0) {
        if (why.code != ERR_NOT_FOUND && err)
            *err = why;
        return why.code == ERR_NOT_FOUND ? 0 : -1;
    }
    text(j, "name", r->name, sizeof(r->name));
    text(j, "uid", r->uid, sizeof(r->uid));
    text(j, "upgrade", r->upgrade, sizeof(r->upgrade));
    text(j, "version", r->version, sizeof(r->version));
    text(j, "image", r->image, sizeof(r->image));
    text(j, "pod", r->pod, sizeof(r->pod));
    text(j, "image_id", r->image_id, sizeof(r->image_id));
    r->generation = json_integer_value(json_object_get(j, "generation"));
    r->adopted = json_is_true(json_object_get(j, "adopted"));
    r->stopped = json_is_true(json_object_get(j, "stopped"));
    r->stopped_wall_ns = json_integer_value(json_object_get(j, "stopped_wall_ns"));
    return 0;
}

int kubernetes_record_write(struct kubernetes *u, struct err *err)
{
    const struct kubernetes_record *r = &u->rec;
    cleanup_json json_t *j = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:b, s:I}", "name", r->name, "uid", r->uid,
        "upgrade", r->upgrade, "version", r->version, "image", r->image, "pod", r->pod, "image_id",
        r->image_id, "generation", r->generation, "adopted", r->adopted, "stopped", r->stopped,
        "stopped_wall_ns", (json_int_t)r->stopped_wall_ns);
    if (sys_dir_make(u->dir, 0700, err) < 0)
        return -1;
    return run_record_write(u->dir, RECORD, j, err);
}

/* --- the connection -------------------------------------------------------------------------- */

void kubernetes_doing(struct kubernetes *u, nsec_t limit, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(u->doing, sizeof(u->doing), fmt, ap);
    va_end(ap);
    u->limit = limit;
    if (!u->began)
        u->began = sys_clock_mono();
}

/* No wait without words. */
static int poll(void *ctx)
{
    struct kubernetes *u = ctx;
    nsec_t now = sys_clock_mono();
    if (*u->doing && now - u->said >= NSEC_S && now - u->began >= NSEC_S / 2) {
        u->said = now;
        event_progress(u->ctx->sink, u->doing, (double)(now - u->began) / (double)NSEC_S,
                       (double)u->limit / (double)NSEC_S, "seconds", 0, -1);
    }
    return driver_poll(u->ctx) >= 2;
}

int kubernetes_open(const struct driver_ctx *ctx, enum colour c, nsec_t patience,
                    struct kubernetes *ret, struct err *err)
{
    const struct spec_kubernetes *s = &ctx->side[c]->runtime.kubernetes;
    struct kubeconfig cfg = {0};
    const struct kubeconfig_from from = kubeconfig_environment(s->kubeconfig, s->context);
    struct kubernetes *u = ret;
    *u = (struct kubernetes){.ctx = ctx, .spec = ctx->side[c], .c = c, .dir = run_dir(ctx, c)};
    const struct kube_options o = {
        .timeout = patience < 15 * NSEC_S ? patience : 0,
        .patience = patience,
        .poll = poll,
        .poll_ctx = u,
    };
    if (record_read(u->dir, &u->rec, err) < 0 || kubeconfig_load(&from, &cfg, err) < 0) {
        kubernetes_close(u);
        return -1;
    }
    if (s->ns) {
        free(cfg.ns);
        cfg.ns = x_strdup(s->ns);
    }
    if (kube_open(&cfg, &o, &u->k, err) < 0) {
        kubernetes_close(u);
        return -1;
    }
    str_format(u->name, sizeof(u->name), "%s", *u->rec.uid ? u->rec.name : s->name);
    u->ref = (struct kube_ref){&kube_deployment, NULL, u->name};
    return 0;
}

int kubernetes_record_of(const struct driver_ctx *ctx, enum colour c, struct kubernetes_record *ret,
                         struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    return record_read(dir, ret, err);
}

void kubernetes_close(struct kubernetes *u)
{
    kube_close(u->k);
    free(u->dir);
    u->k = NULL;
    u->dir = NULL;
}

/* --- operations that have little to do here -------------------------------------------------- */

/* What a pod gets of the node is its template's `resources`: they cannot be changed while it runs.
 */
static int priority(const struct driver_ctx *ctx unused, enum colour c unused, bool standby unused,
                    struct err *err unused)
{
    return 0;
}

/* A Deployment comes back by itself as long as it has a replica: start and stop decide. */
static int boot(const struct driver_ctx *ctx unused, enum colour c unused, bool on unused,
                struct err *err unused)
{
    return 0;
}

const struct runtime_ops runtime_kubernetes = {
    .name = "kubernetes",
    .inspect = kubernetes_inspect,
    .validate = kubernetes_validate,
    .start = kubernetes_start,
    .stop = kubernetes_stop,
    .priority = priority,
    .freeze = kubernetes_freeze,
    .thaw = kubernetes_thaw,
    .boot = boot,
    .adopt = kubernetes_adopt,
    .pids = kubernetes_pids,
    .remove = kubernetes_remove,
    .unchanged = kubernetes_unchanged,
    .settle = kubernetes_settle,
    .check = kubernetes_check,
};
