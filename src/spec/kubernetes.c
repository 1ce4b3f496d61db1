/* The section `runtime.kubernetes`: readers of its maps and lists, and what must hold. */
#include "spec/loader.h"

#include <ctype.h>
#include <string.h>

#define MAP_MAX 64

void read_map(const struct reading *r)
{
    struct spec_map *map = r->at;
    if (r->node->kind == YAML_NULL)
        return;
    if (r->node->kind != YAML_MAP || r->node->n > MAP_MAX) {
        reading_wrong(r, "must be a map of at most %d texts, and this is %s", MAP_MAX,
                      yaml_kind_words(r->node));
        return;
    }
    for (size_t i = 0; i < r->node->n; i++) {
        const struct yaml_pair *p = &r->node->pairs[i];
        struct reading item = *r;
        item.node = p->value;
        const char *s = reading_scalar(&item);
        if (!s)
            continue;
        struct spec_var *v = arena_grow(r->l->arena, &map->items, &map->n, sizeof(*v));
        *v = (struct spec_var){
            .name = arena_strdup(r->l->arena, p->key), .value = s, .line = p->mark.line};
    }
}

void read_list(const struct reading *r)
{
    struct spec_commands *list = r->at;
    if (r->node->kind != YAML_LIST) {
        reading_wrong(r, "must be a list of commands, and this is %s", yaml_kind_words(r->node));
        return;
    }
    for (size_t i = 0; i < r->node->n; i++) {
        struct reading item = *r;
        item.node = r->node->items[i];
        item.at = arena_grow(r->l->arena, &list->items, &list->n, sizeof(*list->items));
        item.shown = arena_printf(r->l->arena, "%s[%zu]", r->shown, i);
        read_command(&item);
    }
}

static const struct yaml_node *runtime_of(const struct loader *l)
{
    const struct yaml_pair *p = yaml_get(l->root, "runtime");
    return p ? p->value : NULL;
}

static void process_rules(struct loader *l, const struct yaml_node *runtime)
{
    const struct yaml_pair *section = yaml_get(runtime, "kubernetes");
    if (!yaml_get(runtime, "command"))
        loader_wrong(l, loader_mark(l, "runtime"),
                     "key 'runtime.command' is missing (program and arguments; no shell); write "
                     "for example `command: [/usr/bin/prometheus, "
                     "\"--web.listen-address=:${port.http}\"]`");
    if (section)
        loader_wrong(l, section->mark,
                     "runtime.kubernetes: nothing looks at it; write `driver: kubernetes` under "
                     "runtime, or remove it");
}

/* A name as Kubernetes takes it for a Deployment whose pods get names from it. */
static bool is_label(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n <= 52 && s[0] != '-' && s[n - 1] != '-' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

/* What belongs to a process of this machine, and stands in the template of a pod. */
static const struct {
    const char *key, *instead;
} of_process[] = {
    {"cwd", "workingDir"},
    {"user", "securityContext"},
    {"group", "securityContext"},
    {"env_file", "envFrom with a Secret"},
    {"env_clear", "env"},
    {"limits", "a runtimeClassName"},
    {"nice", "resources"},
    {"restart", "restartPolicy"},
    {"log", "the kubelet's containerLogMaxSize"},
};

static void kubernetes_rules(struct loader *l, const struct yaml_node *runtime)
{
    const struct spec *s = l->spec;
    const struct spec_kubernetes *k = &s->runtime.kubernetes;
    const struct yaml_pair *standby = yaml_get(runtime, "standby");
    if (!k->template)
        loader_wrong(l, loader_mark(l, "runtime.kubernetes"),
                     "key 'runtime.kubernetes.template' is missing (what the new colour is made "
                     "from); write for example `template: /etc/changeover/%s.yml`",
                     s->service ? s->service : "service");
    if (k->name && !is_label(k->name))
        loader_wrong(
            l, loader_mark(l, "runtime.kubernetes.name"),
            "runtime.kubernetes.name: '%.80s' is no name of a Deployment (at most 52 small "
            "letters, digits and -); write for example `name: agave-${colour}`",
            k->name);
    for (size_t i = 0; i < ARRAY_LEN(of_process); i++) {
        const struct yaml_pair *p = yaml_get(runtime, of_process[i].key);
        if (p)
            loader_wrong(l, p->mark,
                         "runtime.%s: is for driver process only; write %s into the template, and "
                         "remove it here",
                         of_process[i].key, of_process[i].instead);
    }
    for (size_t i = 0; standby && standby->value->kind == YAML_MAP && i < standby->value->n; i++)
        if (!str_eq(standby->value->pairs[i].key, "brake"))
            loader_wrong(l, standby->value->pairs[i].mark,
                         "runtime.standby.%s: is for driver process only; write resources into the "
                         "template, and remove it here",
                         standby->value->pairs[i].key);
    for (size_t i = 0; i < k->volumes.n; i++)
        if (!spec_volume(s, k->volumes.items[i].name))
            loader_wrong(l, loader_mark(l, "runtime.kubernetes.volumes"),
                         "runtime.kubernetes.volumes: there is no volume '%.60s'; write one of "
                         "`volumes`",
                         k->volumes.items[i].name);
    for (size_t i = 0; i < k->node_paths.n; i++)
        if (k->node_paths.items[i].name[0] != '/' || k->node_paths.items[i].value[0] != '/')
            loader_wrong(l, loader_mark(l, "runtime.kubernetes.node_paths"),
                         "runtime.kubernetes.node_paths: '%.60s' and '%.60s' must be absolute "
                         "paths; write for example `node_paths: {/srv/kind: /mnt}`",
                         k->node_paths.items[i].name, k->node_paths.items[i].value);
}

void loader_runtime_rules(struct loader *l)
{
    const struct yaml_node *runtime = runtime_of(l);
    const char *driver = l->spec->runtime.driver;
    if (!runtime || (runtime->kind != YAML_MAP && runtime->kind != YAML_NULL))
        return;
    if (str_eq(driver, "process"))
        process_rules(l, runtime);
    else if (str_eq(driver, "kubernetes"))
        kubernetes_rules(l, runtime);
}

void loader_runtime_pair(struct loader *green, struct loader *blue)
{
    const struct spec_kubernetes *a = &green->spec->runtime.kubernetes,
                                 *b = &blue->spec->runtime.kubernetes;
    if (str_eq(green->spec->runtime.driver, "kubernetes") && a->name && str_eq(a->name, b->name))
        loader_wrong(green, loader_mark(green, "runtime.kubernetes.name"),
                     "runtime.kubernetes.name: '%.60s' is both colours'; write ${colour} into it, "
                     "for example `name: agave-${colour}`",
                     a->name);
}
