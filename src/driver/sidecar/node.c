/* The node: what its kubelet makes of a new image, and whether it is this host. */
#include "driver/sidecar/internal.h"
#include "format/json.h"

#include <string.h>

int sidecar_node_look(struct kube *k, const struct sidecar_pod *p, struct sidecar_node *ret,
                      struct err *err)
{
    cleanup_json json_t *node = NULL;
    struct err why = {0};
    *ret = (struct sidecar_node){0};
    if (kube_get(k, &(struct kube_ref){&kube_node, NULL, p->node}, &node, &why) < 0) {
        if (kube_status(k)->code == 403)
            return 0;
        if (err)
            *err = why;
        return -1;
    }
    const char *text = json_string_value(json_at(node, "status.nodeInfo.kubeletVersion"));
    if (!text || !kube_version_parse(text, &ret->kubelet))
        return err_set(err, ERR_FAILED, "node '%s': its kubelet says no version", p->node);
    sidecar_text(node, "status.nodeInfo.bootID", ret->boot_id, sizeof(ret->boot_id));
    ret->known = true;
    return 0;
}

static bool has_startup_probe(json_t *pod)
{
    static const char *const paths[] = {"spec.containers", "spec.initContainers"};
    for (size_t l = 0; l < ARRAY_LEN(paths); l++) {
        size_t i;
        json_t *c;
        json_array_foreach(json_at(pod, paths[l]), i, c)
        {
            if (json_object_get(c, "startupProbe"))
                return true;
        }
    }
    return false;
}

/* It decides, not the API server (measured: 1.29 takes the patch and does nothing; from 1.32 on
 * only that container restarts). Ordinary containers were always restarted. */
int sidecar_kubelet(const struct sidecar_node *n, const struct sidecar_pod *p,
                    const struct sidecar_container *c, const struct sidecar_change *how,
                    enum sidecar_restart *ret, struct err *err)
{
    const struct kube_version *v = &n->kubelet;
    *ret = SIDECAR_BY_ITSELF;
    if (!n->known) {
        event_note(&how->sink, "no right to read nodes: whether this kubelet acts on it will show");
        *ret = how->exit && c->init ? SIDECAR_MAYBE : SIDECAR_BY_ITSELF;
        return 0;
    }
    if (v->major == 1 && v->minor == 35 && has_startup_probe(p->object))
        event_warn(&how->sink,
                   "kubelet %s: some 1.35 restart no crashed container of a pod with sidecar "
                   "and startupProbe once the kubelet itself has restarted",
                   v->text);
    if (!c->init || v->major > 1 || v->minor >= 32)
        return 0;
    *ret = SIDECAR_MUST_EXIT;
    if (how->exit)
        return 0;
    err_set(err, ERR_UNSUPPORTED,
            "the kubelet of node '%s' is %s: before 1.32 it takes the new image of a sidecar and "
            "does not restart it",
            p->node, v->text);
    return err_hint(err, "--exit-command \"kill 1\" (any command that makes it end) has it start "
                         "with the new image; or a newer kubelet (1.32)");
}
