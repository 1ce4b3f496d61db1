#include "cmd/graph.h"

#include <stdlib.h>
#include <string.h>

void graph_done(struct graph *g)
{
    free(g->all.v);
    *g = (struct graph){0};
}

int graph_look(struct session *s, enum colour loser, const char *only, struct graph *ret,
               struct err *err)
{
    const struct spec *mine = s->side[loser], *other = s->side[colour_other(loser)];
    for (size_t i = 0; i < mine->volumes_n; i++) {
        const struct spec_volume *v = &mine->volumes[i], *o = spec_volume(other, v->name);
        const struct storage_ops *ops = storage_find(o ? o : v, v, err);
        if (!ops)
            return -1;
        if (!ops->graph || (only && !str_eq(only, v->name)))
            continue;
        if (ops->graph(&s->engine.ctx, v, loser, &ret->all, err) < 0)
            return err_ctx(err, "volume %s", v->name);
        ret->volumes++;
    }
    return 0;
}

static bool is_dataset(const struct storage_node *n)
{
    return !strpbrk(n->name, "@#");
}

static size_t snapshots_of(const struct storage_graph *g, const char *dataset)
{
    size_t n = 0, len = strlen(dataset);
    for (size_t i = 0; i < g->n; i++)
        n += strncmp(g->v[i].name, dataset, len) == 0 && g->v[i].name[len] == '@';
    return n;
}

void graph_words(const struct graph *g, const char *indent, struct str *ret)
{
    for (size_t i = 0; i < g->all.n; i++) {
        const struct storage_node *n = &g->all.v[i];
        if (!is_dataset(n))
            continue;
        size_t snapshots = snapshots_of(&g->all, n->name);
        str_addf(ret, "%s%s%s", ret->len ? "\n" : "", indent, n->name);
        if (*n->origin)
            str_addf(ret, ", a clone of %s", n->origin);
        if (snapshots)
            str_addf(ret, ", %zu snapshot%s", snapshots, snapshots == 1 ? "" : "s");
        if (!n->ours)
            str_add(ret, ", not ours");
    }
}

json_t *graph_json(const struct graph *g)
{
    json_t *list = json_array();
    for (size_t i = 0; i < g->all.n; i++) {
        const struct storage_node *n = &g->all.v[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b}", "name", n->name, "kind",
                                              n->kind, "origin", n->origin, "ours", n->ours));
    }
    return list;
}
