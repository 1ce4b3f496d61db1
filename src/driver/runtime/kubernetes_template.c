/* From the spec's template to this colour's Deployment. */
#include "driver/runtime/kubernetes.h"
#include "driver/storage/tool.h"
#include "format/json.h"
#include "format/yamljson.h"
#include "sys/file.h"
#include "translate/deployment.h"

#include <string.h>

#define TEMPLATE_MAX ((size_t)1 << 20)

/* A kustomize base: by whichever of the two programs is here. */
static int build(const struct driver_ctx *ctx, const char *dir, struct str *ret, struct err *err)
{
    static const struct {
        const char *program, *verb;
    } tools[] = {{"kustomize", "build"}, {"kubectl", "kustomize"}};
    for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
        cleanup_proc_result struct proc_result r = {0};
        if (!tool_there(tools[i].program))
            continue;
        const char *const *args = TOOL_ARGS(tools[i].verb, dir);
        if (tool_run(ctx, tools[i].program, tools[i].program, args, &r, err) < 0 ||
            tool_judge(tools[i].program, args, &r, err) < 0)
            return -1;
        str_add_n(ret, str_cstr(&r.out), r.out.len);
        return 0;
    }
    err_set(err, ERR_NOT_FOUND,
            "the template '%s' is a directory, and neither kustomize nor kubectl is here to build "
            "it",
            dir);
    return err_hint(err, "install one of them; or `kustomize build %s`, and name the file", dir);
}

static int is_ours(const char *path, json_t *list, json_t **ret, struct err *err)
{
    size_t i, n = 0;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (!str_eq(json_string_value(json_object_get(item, "kind")), "Deployment"))
            continue;
        *ret = item;
        n++;
    }
    if (n == 0 && json_array_size(list) == 1)
        *ret = json_array_get(list, 0); /* the renderer says what it is instead */
    else if (n != 1)
        return err_set(err, ERR_USAGE, "the template '%s' has %zu Deployments, not one", path, n);
    return 0;
}

int kubernetes_render(struct kubernetes *u, json_t **ret, struct err *err)
{
    const char *path = u->spec->runtime.kubernetes.template;
    cleanup_str struct str text = {0};
    cleanup_json json_t *list = NULL;
    cleanup_free char *real = NULL;
    json_t *one = NULL;
    if (sys_path_real(path, &real, err) < 0) {
        err_ctx(err, "the template '%s'", path);
        return err_hint(err, "correct runtime.kubernetes.template");
    }
    bool dir = sys_path_kind(real) == SYS_DIR;
    if ((dir ? build(u->ctx, real, &text, err) : sys_file_read(real, TEMPLATE_MAX, &text, err)) < 0)
        return err_ctx(err, "the template '%s'", path);
    if (yaml_json_documents(path, str_cstr(&text), &list, err) < 0 ||
        is_ours(path, list, &one, err) < 0)
        return -1;
    const struct deployment_goal goal = {
        .spec = u->spec,
        .other = u->ctx->side[colour_other(u->c)],
        .upgrade = u->ctx->upgrade_id,
    };
    if (deployment_render(one, &goal, ret, err) < 0)
        return err_ctx(err, "'%s' for %s", path, colour_name(u->c));
    return 0;
}
