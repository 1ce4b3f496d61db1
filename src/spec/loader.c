/* Walks the table over the tree, for both colours, and turns what was wrong into one error. */
#include "spec/loader.h"

#include "sys/file.h"

#include <stdlib.h>
#include <string.h>

/* The other colour's load has said it already: the same place and the same fault, whatever it would
 * know to write instead (the text from there on may differ). */
static bool said(const struct wrong *w, struct yaml_mark at, const char *text)
{
    size_t n = strcspn(text, ";(");
    return w->at.line == at.line && w->at.column == at.column &&
           (text[n] ? strncmp(w->text, text, n + 1) == 0 : str_eq(w->text, text));
}

static void wrongs_add(struct wrongs *w, struct yaml_mark at, const char *text)
{
    for (size_t i = 0; i < w->n; i++)
        if (said(&w->items[i], at, text))
            return;
    if (w->n >= 200)
        return;
    size_t order = w->n;
    struct wrong *item = arena_grow(&w->arena, &w->items, &w->n, sizeof(*w->items));
    item->at = at;
    item->order = order;
    item->text = arena_strdup(&w->arena, text);
}

static void yaml_wrong(void *ctx, struct yaml_mark at, const char *text)
{
    wrongs_add(ctx, at, text);
}

void loader_wrong(struct loader *l, struct yaml_mark at, const char *fmt, ...)
{
    cleanup_str struct str s = {.max = 1000};
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(&s, fmt, ap);
    va_end(ap);
    wrongs_add(l->wrongs, at, str_cstr(&s));
}

void reading_wrong(const struct reading *r, const char *fmt, ...)
{
    cleanup_str struct str s = {.max = 500};
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(&s, fmt, ap);
    va_end(ap);
    if (r->key->example)
        loader_wrong(r->l, r->node->mark, "%s: %s; write for example `%s: %s`", r->shown,
                     str_cstr(&s), schema_leaf(r->key), r->key->example);
    else
        loader_wrong(r->l, r->node->mark, "%s: %s", r->shown, str_cstr(&s));
}

void loader_strv_add(struct loader *l, struct strv *sv, const char *text)
{
    size_t n = sv->n;
    if ((n & (n - 1)) == 0) { /* full at every power of two; one more for the NULL at the end */
        char **bigger = arena_alloc(l->arena, ((n ? n * 2 : 1) + 1) * sizeof(*bigger));
        if (n)
            memcpy(bigger, sv->v, n * sizeof(*bigger));
        sv->v = bigger;
    }
    sv->v[sv->n++] = arena_strdup(l->arena, text);
}

struct yaml_mark loader_mark(const struct loader *l, const char *path)
{
    struct yaml_mark at = l->root->mark;
    const struct yaml_node *node = l->root;
    while (*path) {
        char word[128];
        size_t n = strcspn(path, ".");
        if (n >= sizeof(word))
            break;
        memcpy(word, path, n);
        word[n] = '\0';
        const struct yaml_pair *p = yaml_get(node, word);
        if (!p)
            break;
        at = p->mark;
        node = p->value;
        path += n + (path[n] == '.');
    }
    return at;
}

static const char *join(struct loader *l, const char *a, const char *b)
{
    return *a ? arena_printf(l->arena, "%s.%s", a, b) : b;
}

static void unknown_key(struct loader *l, const struct yaml_pair *p, const char *prefix,
                        const char *shown)
{
    const char *near = schema_suggest(prefix, p->key), *place = schema_elsewhere(p->key);
    const char *in = *shown ? arena_printf(l->arena, " in '%s'", shown) : "";
    cleanup_str struct str all = {.max = 500};
    schema_children_words(prefix, &all);
    if (near)
        loader_wrong(l, p->mark, "unknown key '%.60s'%s; did you mean '%s'?", p->key, in, near);
    else if (place)
        loader_wrong(l, p->mark, "unknown key '%.60s'%s; write it as '%s'", p->key, in, place);
    else if (all.len == 0)
        loader_wrong(l, p->mark, "unknown key '%.60s'%s, which takes none; remove it", p->key, in);
    else
        loader_wrong(l, p->mark, "unknown key '%.60s'%s; write one of: %s", p->key, in,
                     str_cstr(&all));
}

void loader_map_keys(struct loader *l, const struct yaml_node *node, const char *prefix,
                     const char *shown)
{
    for (size_t i = 0; node->kind == YAML_MAP && i < node->n; i++)
        if (!schema_find(prefix, node->pairs[i].key))
            unknown_key(l, &node->pairs[i], prefix, shown);
}

static void missing_key(struct loader *l, const struct schema_key *k, struct yaml_mark at,
                        const char *shown)
{
    if (str_eq(k->path, "writes"))
        loader_wrong(
            l, at,
            "key 'writes' is missing, and has no default; write `writes: replayed` if the standby "
            "fetches what happened since the snapshot from elsewhere (a chain, a primary), "
            "`writes: both` if each colour collects its own (Prometheus), or `writes: client` if "
            "clients write into live");
    else if (k->example)
        loader_wrong(l, at, "key '%s' is missing (%s); write for example `%s: %s`", shown, k->doc,
                     schema_leaf(k), k->example);
    else
        loader_wrong(l, at, "key '%s' is missing (%s); write `%s:` and its keys", shown, k->doc,
                     schema_leaf(k));
}

static bool takes_nothing(enum schema_type t)
{
    return t == T_SECTION || t == T_VOLUMES || t == T_CHECK || t == T_LIMITS || t == T_NAMES ||
           t == T_MAP;
}

static void read_key(struct loader *l, const struct schema_key *k, const struct yaml_node *map,
                     struct yaml_mark at, const char *prefix, const char *shown, void *base)
{
    const char *leaf = schema_leaf(k), *name = join(l, shown, leaf);
    const struct yaml_pair *p = map ? yaml_get(map, leaf) : NULL;
    struct reading r = {.l = l, .key = k, .shown = name, .at = (char *)base + k->offset};
    struct yaml_node given;
    if (!p && k->required) {
        missing_key(l, k, at, name);
        return;
    }
    if (k->type == T_SECTION) {
        loader_map(l, p ? p->value : NULL, p ? p->mark : at, join(l, prefix, leaf), name, base);
        return;
    }
    if (p) {
        r.node = p->value;
        if (p->value->kind == YAML_NULL && !takes_nothing(k->type)) {
            given = *p->value;
            given.mark = p->mark;
            r.node = &given;
            reading_wrong(&r, "has no value");
            return;
        }
    } else if (k->fallback) {
        given = (struct yaml_node){.kind = YAML_SCALAR, .mark = at, .text = k->fallback};
        r.node = &given;
        if (k->type == T_PARAMS) {
            *(const char **)r.at = k->fallback;
            return;
        }
    } else {
        return;
    }
    loader_readers[k->type](&r);
}

/* Reads every row under prefix from the map (NULL: not given, defaults only). */
void loader_map(struct loader *l, const struct yaml_node *node, struct yaml_mark at,
                const char *prefix, const char *shown, void *base)
{
    if (node && node->kind != YAML_MAP && node->kind != YAML_NULL) {
        loader_wrong(l, node->mark,
                     "%s: must be a map, and this is %s; write its keys below it, one a line",
                     *shown ? shown : "the file", yaml_kind_words(node));
        node = NULL;
    } else if (node) {
        loader_map_keys(l, node, prefix, shown);
    }
    const struct schema_key *k;
    for (size_t i = 0; (k = schema_row(i)); i++)
        if (schema_is_child(k, prefix))
            read_key(l, k, node, at, prefix, shown, base);
}

static void load_side(struct loader *l, const char *text, const char *path)
{
    struct spec *s = l->spec;
    l->arena = &s->arena;
    s->path = arena_strdup(&s->arena, path);
    s->text = arena_strdup(&s->arena, text);
    s->colour = l->colour;
    s->version = l->version ? arena_strdup(&s->arena, l->version) : NULL;
    loader_names(l);
    loader_map(l, l->root, (struct yaml_mark){1, 1}, "", "", s);
    loader_environment(l);
    s->ports = l->side[l->colour].ports;
    s->ports_n = l->side[l->colour].ports_n;
    s->identities = l->side[l->colour].identities;
    s->config = l->side[l->colour].config;
    s->config_n = l->side[l->colour].config_n;
    loader_rules(l);
}

static int by_place(const void *a, const void *b)
{
    const struct wrong *x = a, *y = b;
    if (x->at.line != y->at.line)
        return x->at.line < y->at.line ? -1 : 1;
    if (x->at.column != y->at.column)
        return x->at.column < y->at.column ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static int wrongs_error(struct wrongs *w, const char *path, struct err *err)
{
    if (w->n == 0)
        return 0;
    qsort(w->items, w->n, sizeof(*w->items), by_place);
    cleanup_str struct str all = {0};
    size_t room = sizeof(err->msg) - 200, shown = 0;
    for (; shown < w->n; shown++) {
        const struct wrong *x = &w->items[shown];
        size_t before = all.len;
        str_addf(&all, "%s%s:%d:%d: %s", shown ? "\n" : "", path, x->at.line, x->at.column,
                 x->text);
        if (all.len > room && shown > 0) {
            all.len = before;
            all.buf[before] = '\0';
            break;
        }
    }
    if (shown < w->n)
        str_addf(&all, "\n%s: and %zu more; mend these first", path, w->n - shown);
    err_set(err, ERR_USAGE, "%s", str_cstr(&all));
    return err_hint(err,
                    "mend the lines above; docs/spec.md has every key with its type, default and "
                    "an example");
}

int loader_parse(const char *text, const char *path, enum colour colour, const char *version,
                 loader_env_fn *env, void *env_ctx, struct spec **ret, struct err *err)
{
    struct wrongs wrongs = {0};
    struct arena tree = {0};
    const struct yaml_node *root = NULL;
    struct spec *spec[COLOURS] = {x_alloc(sizeof(struct spec)), x_alloc(sizeof(struct spec))};
    struct loader *side = x_alloc(COLOURS * sizeof(*side));
    if (colour != BLUE)
        colour = GREEN;
    int bad = yaml_parse(&tree, text, strlen(text), yaml_wrong, &wrongs, &root);
    for (enum colour c = GREEN; root && c <= BLUE; c++) {
        side[c] = (struct loader){.spec = spec[c],
                                  .wrongs = &wrongs,
                                  .root = root,
                                  .colour = c,
                                  .version = version,
                                  .env = env,
                                  .env_ctx = env_ctx};
        load_side(&side[c], text, path);
    }
    if (root)
        loader_rules_pair(&side[GREEN], &side[BLUE]);
    int rc = wrongs_error(&wrongs, path, err);
    if (rc == 0 && bad)
        rc = err_set(err, ERR_USAGE, "%s:1:1: cannot be read", path);
    if (rc == 0)
        *ret = TAKE(spec[colour]);
    spec_free(spec[GREEN]);
    spec_free(spec[BLUE]);
    free(side);
    arena_done(&tree);
    arena_done(&wrongs.arena);
    return rc;
}

static const char *own_environment(void *ctx unused, const char *name)
{
    return getenv(name);
}

int spec_parse(const char *text, const char *path, enum colour colour, const char *version,
               struct spec **ret, struct err *err)
{
    return loader_parse(text, path, colour, version, own_environment, NULL, ret, err);
}

int spec_load(const char *path, enum colour colour, const char *version, struct spec **ret,
              struct err *err)
{
    cleanup_str struct str text = {0};
    if (sys_file_read(path, YAML_MAX_BYTES, &text, err)) {
        err->code = ERR_USAGE;
        return err_hint(err, "name the spec with -f FILE, or write one with: changeover init");
    }
    if (strlen(str_cstr(&text)) != text.len)
        return err_set(err, ERR_USAGE, "%s: holds a NUL byte; it is no text", path);
    return spec_parse(str_cstr(&text), path, colour, version, ret, err);
}
