/* Before anything is touched: the template is a Deployment that the server takes, the node has the
 * image, and the service's own commands say that its arguments and version are right. And what
 * `check` looks at. */
#include "driver/command.h"
#include "driver/runtime/kubernetes_probe.h"
#include "format/json.h"

#include <regex.h>
#include <string.h>

/* Where live runs: its node is the standby's. "": nowhere. */
void kubernetes_node(const struct driver_ctx *ctx, enum colour c, char node[254])
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *deployment = NULL, *pods = NULL;
    struct pod_view v;
    node[0] = '\0';
    if (!ctx->side[c] || !str_eq(ctx->side[c]->runtime.driver, "kubernetes") ||
        kubernetes_open(ctx, c, KUBERNETES_PATIENCE, &u, NULL) < 0 ||
        kubernetes_deployment(&u, &deployment, NULL) < 0 || !deployment ||
        kubernetes_pods(&u, deployment, &pods, NULL) < 0 || !kubernetes_pod_current(pods))
        return;
    kubernetes_pod_view(kubernetes_pod_current(pods), NULL, &v);
    memcpy(node, v.node, sizeof(v.node));
}

static int prepare_image(const struct driver_ctx *ctx, enum colour c, struct err *err)
{
    const struct spec_commands *list = &ctx->side[c]->runtime.kubernetes.prepare;
    char what[64];
    for (size_t i = 0; i < list->n; i++) {
        str_format(what, sizeof(what), "image.prepare %zu of %zu", i + 1, list->n);
        event_note(ctx->sink, "%s: %s ...", what, list->items[i].argv.v[0]);
        if (driver_command(ctx, &list->items[i], what, c, NULL, err) < 0)
            return -1;
    }
    return 0;
}

static int prove_image(struct kubernetes *u, json_t *pod, const char *node, struct err *err)
{
    cleanup_check_result struct check_result r = {0};
    cleanup_json json_t *spec = kubernetes_probe_service(u, pod, node, NULL, err);
    json_t *image = json_at(spec, "containers.0.image");
    if (!spec)
        return -1;
    kubernetes_doing(u, u->spec->runtime.kubernetes.start_within, "asking the node for the image");
    if (kubernetes_probe(u, spec, u->spec->runtime.kubernetes.start_within, &r, err) < 0) {
        err_ctx(err, "node '%s' cannot have the image '%s'", node,
                json_string_value(image) ? json_string_value(image) : "");
        return err_hint(err, "push or load the image; or do that by runtime.kubernetes.image."
                             "prepare");
    }
    str_format(u->rec.image_id, sizeof(u->rec.image_id), "%s", r.image_id);
    return kubernetes_record_write(u, err);
}

static bool matches(const char *pattern, const char *text, regmatch_t *m, size_t n)
{
    regex_t re;
    if (regcomp(&re, pattern, REG_EXTENDED | REG_NEWLINE) != 0)
        return false;
    bool hit = regexec(&re, text, n, m, 0) == 0;
    regfree(&re);
    return hit;
}

static int run_in_image(struct kubernetes *u, json_t *pod, const char *node, const char *what,
                        const struct spec_command *cmd, struct check_result *r, struct err *err)
{
    cleanup_json json_t *spec =
        kubernetes_probe_service(u, pod, node, (const char *const *)cmd->argv.v, err);
    cleanup_str struct str complaint = {0};
    if (!spec)
        return -1;
    kubernetes_doing(u, cmd->timeout, "%s, in the new image", what);
    if (kubernetes_probe(u, spec, cmd->timeout, r, err) < 0)
        return err_ctx(err, "%s", what);
    if (!r->ran)
        return err_set(err, ERR_FAILED, "%s: '%s' could not be started in the new image: %s", what,
                       cmd->argv.v[0], r->why);
    command_complaint(str_cstr(&r->log), &complaint);
    if (r->status != cmd->status)
        return err_set(err, ERR_FAILED, "%s: '%s' ended with status %d, not %d: %s", what,
                       cmd->argv.v[0], r->status, cmd->status, str_cstr(&complaint));
    if (cmd->output && !matches(cmd->output, str_cstr(&r->log), NULL, 0))
        return err_set(err, ERR_FAILED, "%s: its output does not match '%s': %s", what, cmd->output,
                       str_cstr(&complaint));
    return 0;
}

static int ask_version(struct kubernetes *u, json_t *pod, const char *node, const char *version,
                       struct err *err)
{
    const struct spec_command *cmd = &u->spec->runtime.version;
    cleanup_check_result struct check_result r = {0};
    regmatch_t m[2];
    char found[64];
    if (!cmd->argv.n)
        return 0;
    if (run_in_image(u, pod, node, "runtime.version", cmd, &r, err) < 0)
        return -1;
    const char *log = str_cstr(&r.log);
    if (!matches(cmd->output, log, m, 2))
        return err_set(err, ERR_FAILED, "runtime.version: no version in '%.200s'", log);
    str_format(found, sizeof(found), "%.*s", (int)(m[1].rm_eo - m[1].rm_so), log + m[1].rm_so);
    if (!version || str_eq(found, version))
        return 0;
    err_set(err, ERR_FAILED, "the image is version %s, the target is %s", found, version);
    return err_hint(err, "name another image in the template, or give --target-version %s", found);
}

static const char singleton_mend[] =
    "give it a Deployment of its own (hostNetwork, the same volumes) and take it out of the "
    "colour's pod, once: that restarts the pod, and it answers nothing until it is up again";

int kubernetes_validate(const struct driver_ctx *ctx, enum colour c, const char *version,
                        struct err *err)
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *manifest = NULL;
    const struct kube_apply dry = {.dry_run = true};
    const struct spec_runtime *s = &ctx->side[c]->runtime;
    char node[254], what[64];
    if (prepare_image(ctx, c, err) < 0 ||
        kubernetes_open(ctx, c, KUBERNETES_PATIENCE, &u, err) < 0 ||
        kubernetes_render(&u, &manifest, err) < 0)
        return -1;
    json_t *pod = json_at(manifest, "spec.template.spec");
    const char *single = deployment_singleton(pod, &s->kubernetes.singleton);
    if (single) {
        err_set(err, ERR_FAILED, "container '%s' is in %s's pod, and only one of it may run",
                single, colour_name(c));
        return err_hint(err, "%s", singleton_mend);
    }
    if (kube_apply(u.k, &u.ref, manifest, &dry, NULL, err) < 0)
        return err_ctx(err, "the server does not take %s's Deployment", colour_name(c));
    kubernetes_node(ctx, colour_other(c), node);
    if (prove_image(&u, pod, node, err) < 0)
        return -1;
    for (size_t i = 0; i < s->validate_n; i++) {
        cleanup_check_result struct check_result r = {0};
        str_format(what, sizeof(what), "runtime.validate %zu of %zu", i + 1, s->validate_n);
        if (run_in_image(&u, pod, node, what, &s->validate[i], &r, err) < 0)
            return -1;
    }
    return ask_version(&u, pod, node, version, err);
}

/* --- check ----------------------------------------------------------------------------------- */

static bool selects(json_t *selector, json_t *labels)
{
    const char *key;
    json_t *value;
    json_object_foreach(selector, key, value)
    {
        if (!json_equal(value, json_object_get(labels, key)))
            return false;
    }
    return json_object_size(selector) > 0;
}

/* A Service that takes the standby's pod for live's sends it requests before it has passed. */
static void check_services(struct kubernetes *u, json_t *manifest, struct findings *f)
{
    json_t *labels = json_at(manifest, "spec.template.metadata.labels"), *it;
    cleanup_json json_t *services = NULL;
    struct err e = {0};
    size_t i;
    if (kube_list(u->k, &(struct kube_ref){&kube_service, NULL, NULL}, NULL, &services, NULL, &e) <
        0) {
        findings_add(f, FINDING_WARNING, "services", NULL, "%s", e.msg);
        return;
    }
    json_array_foreach(services, i, it)
    {
        const char *name = json_string_value(json_at(it, "metadata.name"));
        json_t *selector = json_at(it, "spec.selector");
        if (!selects(selector, labels) || json_object_get(selector, DEPLOYMENT_COLOUR))
            continue;
        findings_add(f, FINDING_WARNING, "services",
                     "take that label out of the template's pod, or add changeover/colour to the "
                     "selector",
                     "Service '%s' selects %s's pod by its labels, so it sends requests to it as "
                     "soon as it is ready, past the proxy",
                     name ? name : "?", colour_name(u->c));
    }
}

static void check_template(struct kubernetes *u, struct findings *f)
{
    cleanup_json json_t *manifest = NULL;
    struct err e = {0};
    if (kubernetes_render(u, &manifest, &e) < 0) {
        findings_add(f, FINDING_ERROR, "template", *e.hint ? e.hint : NULL, "%s", e.msg);
        return;
    }
    const char *single = deployment_singleton(json_at(manifest, "spec.template.spec"),
                                              &u->spec->runtime.kubernetes.singleton);
    if (single)
        findings_add(f, FINDING_ERROR, "singleton", singleton_mend,
                     "container '%s' would be in %s's pod, and only one of it may run", single,
                     colour_name(u->c));
    else
        findings_add(f, FINDING_OK, "template", NULL, "%s is Deployment '%s' from '%s'",
                     colour_name(u->c), u->name, u->spec->runtime.kubernetes.template);
    check_services(u, manifest, f);
}

/* A pod that was adopted ends as its own template says, whatever the spec wants. */
static void check_grace(const struct kubernetes *u, json_t *there, json_t *pod, struct findings *f)
{
    json_int_t has = json_integer_value(json_at(pod, "spec.terminationGracePeriodSeconds"));
    json_int_t wants = (u->spec->stop.grace + NSEC_S - 1) / NSEC_S;
    /* a rolling update of pods that share ports never ends */
    bool rolls = !str_eq(json_string_value(json_at(there, "spec.strategy.type")), "Recreate");
    cleanup_free char *mend = x_asprintf(
        "kubectl patch deployment %s -p '{\"spec\":{%s\"template\":{\"spec\":"
        "{\"terminationGracePeriodSeconds\":%lld}}}}' (restarts its pod, once)",
        u->name, rolls ? "\"strategy\":{\"type\":\"Recreate\",\"rollingUpdate\":null}," : "",
        (long long)wants);
    if (has < wants)
        findings_add(f, FINDING_ERROR, "grace", mend,
                     "%s's pod is killed %lld s after it was asked to end, and stop.grace is %lld "
                     "s: its stop would be cut short",
                     colour_name(u->c), (long long)has, (long long)wants);
}

static void check_one(struct kubernetes *u, bool live, struct findings *f)
{
    cleanup_json json_t *there = NULL, *pods = NULL;
    struct err e = {0};
    if (kubernetes_deployment(u, &there, &e) < 0) {
        findings_add(f, FINDING_ERROR, "instance", *e.hint ? e.hint : NULL, "%s", e.msg);
        return;
    }
    if (!there || kubernetes_pods(u, there, &pods, &e) < 0 || !kubernetes_pod_current(pods))
        return; /* what does not run is said elsewhere */
    json_t *pod = kubernetes_pod_current(pods);
    const char *single =
        deployment_singleton(json_object_get(pod, "spec"), &u->spec->runtime.kubernetes.singleton);
    if (single)
        findings_add(f, FINDING_ERROR, "singleton", singleton_mend,
                     "container '%s' is in %s's pod, and only one of it may run", single,
                     colour_name(u->c));
    if (live)
        check_grace(u, there, pod, f);
}

void kubernetes_check(const struct driver_ctx *ctx, enum colour live, struct findings *f)
{
    struct err e = {0};
    for (enum colour c = GREEN; c <= BLUE; c++) {
        cleanup_kubernetes struct kubernetes u = {0};
        if (kubernetes_open(ctx, c, KUBERNETES_GLANCE, &u, &e) < 0) {
            findings_add(f, FINDING_ERROR, "cluster", *e.hint ? e.hint : NULL, "%s", e.msg);
            return;
        }
        check_one(&u, c == live, f);
        if (c != live)
            check_template(&u, f);
        if (c == live && kubernetes_unchanged(ctx, c, &e) < 0)
            findings_add(f, e.code == ERR_FOREIGN ? FINDING_WARNING : FINDING_ERROR, "instance",
                         e.code == ERR_FOREIGN ? "prepare takes it as it is now" : NULL, "%s",
                         e.msg);
    }
}
