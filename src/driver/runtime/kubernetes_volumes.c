/* The volumes as the node sees them: a clone that is mounted here may be invisible in a node that
 * is a container, and an empty directory be in its place. */
#include "driver/runtime/kubernetes_probe.h"

#include "clone/sentinel.h"
#include "format/json.h"
#include "sys/mount.h"

#include <string.h>

#define AT "/changeover"

static json_t *manifest(struct kubernetes *u, json_t *pod, const char *node)
{
    const struct spec *s = u->spec;
    const struct spec_kubernetes *k = &s->runtime.kubernetes;
    json_t *command = json_pack("[s, s]", "cat", "/proc/self/mountinfo"), *mounts = json_array(),
           *volumes = json_array();
    for (size_t i = 0; i < s->volumes_n; i++) {
        cleanup_free char *path = deployment_node_path(k, s->volumes[i].path);
        cleanup_free char *name = x_asprintf("v%zu", i), *at = x_asprintf(AT "/%zu", i);
        cleanup_free char *file = x_asprintf("%s/%s", at, SENTINEL_FILE);
        json_array_append_new(command, json_string(file));
        json_array_append_new(
            mounts, json_pack("{s:s, s:s, s:b}", "name", name, "mountPath", at, "readOnly", 1));
        json_array_append_new(volumes, json_pack("{s:s, s:{s:s, s:s}}", "name", name, "hostPath",
                                                 "path", path, "type", "Directory"));
    }
    json_t *c = json_pack("{s:s, s:s, s:o, s:o}", "name", "look", "image", k->inspect_image,
                          "command", command, "volumeMounts", mounts);
    json_t *spec = kubernetes_probe_spec(pod, c, node);
    json_object_set_new(spec, "volumes", volumes);
    return spec;
}

struct type_of {
    const char *path;
    size_t best;
    char type[32];
};

static int note_type(void *ctx, const struct sys_mount *m)
{
    struct type_of *t = ctx;
    size_t n = strlen(m->point);
    bool above = strncmp(t->path, m->point, n) == 0 &&
                 (t->path[n] == '/' || !t->path[n] || (n == 1 && *m->point == '/'));
    if (above && n >= t->best) {
        t->best = n;
        str_format(t->type, sizeof(t->type), "%s", m->type);
    }
    return 0;
}

static int judge_type(struct kubernetes *u, size_t i, const char *mountinfo, struct err *err)
{
    const struct spec_volume *v = &u->spec->volumes[i];
    char at[64];
    struct type_of here = {.path = v->path}, there = {.path = at};
    str_format(at, sizeof(at), AT "/%zu", i);
    if (sys_mount_each(note_type, &here, err) < 0)
        return -1;
    (void)sys_mount_parse(mountinfo, note_type, &there);
    if (str_eq(here.type, there.type))
        return 0;
    err_set(err, ERR_FOREIGN, "volume '%s': '%s' is %s here, and on the node it is %s", v->name,
            v->path, here.type, *there.type ? there.type : "nothing");
    return err_hint(err, "the node does not see this machine's mount: correct "
                         "runtime.kubernetes.node_paths, or the node's mount propagation");
}

static int judge_mark(struct kubernetes *u, size_t i, json_t *mark, struct err *err)
{
    const struct spec_volume *v = &u->spec->volumes[i];
    const char *service = json_string_value(json_object_get(mark, "service")),
               *colour = json_string_value(json_object_get(mark, "colour")),
               *volume = json_string_value(json_object_get(mark, "volume"));
    if (str_eq(service, u->ctx->service) && str_eq(colour, colour_name(u->c)) &&
        str_eq(volume, v->name))
        return 0;
    err_set(err, ERR_FOREIGN, "volume '%s': as the node sees '%s', it is marked as %s, %s, %s",
            v->name, v->path, service ? service : "nobody's", colour ? colour : "no colour",
            volume ? volume : "no volume");
    return err_hint(err, "correct runtime.kubernetes.node_paths");
}

static int judge(struct kubernetes *u, const char *log, struct err *err)
{
    const char *marks = *log == '{' ? log : strstr(log, "\n{");
    cleanup_free char *mountinfo = x_strndup(log, marks ? (size_t)(marks - log) : strlen(log));
    for (size_t i = 0; i < u->spec->volumes_n; i++) {
        json_error_t at;
        cleanup_json json_t *mark = marks ? json_loads(marks, JSON_DISABLE_EOF_CHECK, &at) : NULL;
        marks = mark ? marks + at.position : NULL;
        if (judge_type(u, i, mountinfo, err) < 0 || judge_mark(u, i, mark, err) < 0)
            return -1;
    }
    return 0;
}

int kubernetes_inspect_volumes(struct kubernetes *u, json_t *deployment, const char *node,
                               struct err *err)
{
    const struct spec_kubernetes *k = &u->spec->runtime.kubernetes;
    cleanup_check_result struct check_result r = {0};
    if (!k->inspect_image || !u->spec->volumes_n)
        return 0;
    cleanup_json json_t *spec = manifest(u, json_at(deployment, "spec.template.spec"), node);
    kubernetes_doing(u, k->start_within, "looking at %s's volumes on the node", colour_name(u->c));
    if (kubernetes_probe(u, spec, k->start_within, &r, err) < 0) {
        err_ctx(err, "look at the volumes of %s on node '%s'", colour_name(u->c), node);
        return *err->hint ? -1
                          : err_hint(err, "the node must see them: correct "
                                          "runtime.kubernetes.node_paths, or its mounts");
    }
    if (!r.ran || r.status) {
        err_set(err, ERR_FOREIGN, "the marks of %s's volumes are not to be read on node '%s': %s%s",
                colour_name(u->c), node, r.ran ? "" : r.why, str_cstr(&r.log));
        return err_hint(err, "the node must see them, and runtime.kubernetes.inspect_image have "
                             "the program cat");
    }
    return judge(u, str_cstr(&r.log), err);
}
