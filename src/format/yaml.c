/* libfyaml's event stream -> our own tree. Events, not its document: the tree then outlives the
 * parser, and what we refuse (aliases above all: a few lines of them expand to gigabytes) never
 * gets built. */
#include "format/yaml.h"

#include "base/str.h"

#include <libfyaml.h>
#include <string.h>

struct reader {
    struct arena *arena;
    struct fy_parser *fyp;
    struct fy_diag *diag;
    const char *text; /* the whole input, for a look at a line */
    size_t len;
    yaml_wrong_fn *wrong;
    void *ctx;
    size_t nodes;
    struct yaml_mark
        last;     /* an empty value has no place of its own: that of what stands before it */
    bool bad;     /* something was reported */
    bool stopped; /* reading on makes no sense */
};

static void complain(struct reader *r, struct yaml_mark at, const char *text)
{
    r->bad = true;
    r->wrong(r->ctx, at, text);
}

static void stop(struct reader *r, struct yaml_mark at, const char *text)
{
    if (!r->stopped)
        complain(r, at, text);
    r->stopped = true;
}

static struct yaml_mark mark_of(struct reader *r, struct fy_event *ev)
{
    const struct fy_mark *m = fy_event_get_token(ev) ? fy_event_start_mark(ev) : NULL;
    if (m)
        r->last = (struct yaml_mark){m->line + 1, m->column + 1};
    return r->last;
}

/* The usual slip: ${NAME} without quotes inside [ ] or { }, where a brace means something. */
static bool line_has_braces(const struct reader *r, int line)
{
    const char *p = r->text, *end = r->text + r->len;
    while (p && line-- > 1) {
        p = memchr(p, '\n', (size_t)(end - p));
        p = p ? p + 1 : NULL;
    }
    if (!p)
        return false;
    const char *eol = memchr(p, '\n', (size_t)(end - p));
    return memmem(p, (size_t)((eol ? eol : end) - p), "${", 2) != NULL;
}

static void report_parser_errors(struct reader *r)
{
    void *it = NULL;
    const struct fy_diag_error *e;
    bool any = false;
    while (r->diag && (e = fy_diag_errors_iterate(r->diag, &it))) {
        cleanup_str struct str s = {.max = 400};
        str_addf(&s, "not valid YAML: %s", e->msg ? e->msg : "unreadable");
        struct yaml_mark at = {e->line > 0 ? e->line : 1, e->column > 0 ? e->column : 1};
        if (line_has_braces(r, at.line))
            str_add(&s,
                    "; inside [ ] and { } write quotes around a text with ${...}: [\"${NAME}\"]");
        stop(r, at, str_cstr(&s));
        any = true;
    }
    if (!any)
        stop(r, (struct yaml_mark){1, 1}, "not valid YAML");
}

static struct fy_event *next(struct reader *r)
{
    if (r->stopped)
        return NULL;
    struct fy_event *ev = fy_parser_parse(r->fyp);
    if (!ev)
        report_parser_errors(r);
    return ev;
}

static bool has_decoration(struct fy_event *ev)
{
    return fy_event_get_anchor_token(ev) || fy_event_get_tag_token(ev);
}

static struct yaml_node *new_node(struct reader *r, enum yaml_kind kind, struct yaml_mark at)
{
    if (++r->nodes > YAML_MAX_NODES)
        stop(r, at, "too many values; write a file of at most 20000 of them");
    struct yaml_node *n = arena_alloc(r->arena, sizeof(*n));
    n->kind = kind;
    n->mark = at;
    n->text = "";
    return n;
}

static bool is_null_word(const char *s)
{
    return !*s || str_eq(s, "~") || str_eq(s, "null") || str_eq(s, "Null") || str_eq(s, "NULL");
}

static struct yaml_node *read_scalar(struct reader *r, struct fy_event *ev)
{
    struct yaml_mark at = mark_of(r, ev);
    struct fy_token *token = fy_event_get_token(ev);
    size_t len = 0;
    const char *text = token ? fy_token_get_text(token, &len) : "";
    if (!text)
        text = "", len = 0;
    struct yaml_node *n = new_node(r, YAML_SCALAR, at);
    enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
    n->quoted = style != FYSS_PLAIN;
    if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && n->mark.column > 1)
        n->mark.column--; /* its token begins behind the quote */
    if (memchr(text, '\0', len))
        complain(r, at, "a NUL byte inside a text; write the text without it");
    n->text = arena_strndup(r->arena, text, strnlen(text, len));
    if (!n->quoted && is_null_word(n->text))
        n->kind = YAML_NULL;
    return n;
}

static const struct yaml_node *read_node(struct reader *r, struct fy_event *ev, int depth);

static void read_list(struct reader *r, struct yaml_node *list, int depth)
{
    for (;;) {
        struct fy_event *ev = next(r);
        if (!ev)
            return;
        bool end = ev->type == FYET_SEQUENCE_END;
        const struct yaml_node *item = end ? NULL : read_node(r, ev, depth);
        fy_parser_event_free(r->fyp, ev);
        if (!item)
            return;
        const struct yaml_node **slot =
            arena_grow(r->arena, &list->items, &list->n, sizeof(*list->items));
        *slot = item;
    }
}

static void add_pair(struct reader *r, struct yaml_node *map, const struct yaml_node *key,
                     const struct yaml_node *value)
{
    if (key->kind == YAML_LIST || key->kind == YAML_MAP) {
        complain(r, key->mark, "a key that is no plain word; write `key: value`");
        return;
    }
    const struct yaml_pair *first = yaml_get(map, key->text);
    if (first) {
        cleanup_str struct str s = {.max = 400};
        str_addf(&s, "key '%.100s' is given twice (first in line %d); write it once", key->text,
                 first->mark.line);
        complain(r, key->mark, str_cstr(&s));
        return;
    }
    struct yaml_pair *p = arena_grow(r->arena, &map->pairs, &map->n, sizeof(*map->pairs));
    *p = (struct yaml_pair){.key = key->text, .mark = key->mark, .value = value};
}

static const struct yaml_node *read_next(struct reader *r, int depth, bool *ret_end)
{
    struct fy_event *ev = next(r);
    if (!ev)
        return NULL;
    *ret_end = ev->type == FYET_MAPPING_END;
    const struct yaml_node *n = *ret_end ? NULL : read_node(r, ev, depth);
    fy_parser_event_free(r->fyp, ev);
    return n;
}

static void read_map(struct reader *r, struct yaml_node *map, int depth)
{
    for (;;) {
        bool end = false;
        const struct yaml_node *key = read_next(r, depth, &end);
        const struct yaml_node *value = key ? read_next(r, depth, &end) : NULL;
        if (!value)
            return;
        add_pair(r, map, key, value);
    }
}

/* The node that begins with this event; NULL only when reading has stopped. */
static const struct yaml_node *read_node(struct reader *r, struct fy_event *ev, int depth)
{
    struct yaml_mark at = mark_of(r, ev);
    if (depth > YAML_MAX_DEPTH)
        stop(r, at, "nested too deeply; write at most 32 levels");
    if (ev->type == FYET_ALIAS || has_decoration(ev)) {
        complain(r, at,
                 "anchors (&x), aliases (*x) and tags (!x) are not taken; write the value out, "
                 "or put quotes around a text that begins with such a sign");
        if (ev->type == FYET_ALIAS)
            return new_node(r, YAML_NULL, at);
    }
    if (r->stopped)
        return NULL;
    struct yaml_node *n;
    if (ev->type == FYET_SCALAR) {
        n = read_scalar(r, ev);
    } else if (ev->type == FYET_SEQUENCE_START) {
        n = new_node(r, YAML_LIST, at);
        read_list(r, n, depth + 1);
    } else if (ev->type == FYET_MAPPING_START) {
        n = new_node(r, YAML_MAP, at);
        read_map(r, n, depth + 1);
    } else {
        stop(r, at, "not valid YAML here");
        return NULL;
    }
    return r->stopped ? NULL : n;
}

static const struct yaml_node *read_stream(struct reader *r)
{
    const struct yaml_node *root = NULL;
    for (;;) {
        struct fy_event *ev = next(r);
        if (!ev)
            return NULL;
        enum fy_event_type type = ev->type;
        if (type == FYET_SCALAR || type == FYET_SEQUENCE_START || type == FYET_MAPPING_START ||
            type == FYET_ALIAS) {
            if (root)
                stop(r, mark_of(r, ev), "a second document (`---`); write one document");
            else
                root = read_node(r, ev, 1);
        }
        fy_parser_event_free(r->fyp, ev);
        if (r->stopped || type == FYET_STREAM_END)
            return r->stopped ? NULL : root;
    }
}

int yaml_parse(struct arena *arena, const char *text, size_t n, yaml_wrong_fn *wrong, void *ctx,
               const struct yaml_node **ret)
{
    struct reader r = {
        .arena = arena, .text = text, .len = n, .wrong = wrong, .ctx = ctx, .last = {1, 1}};
    *ret = NULL;
    if (n > YAML_MAX_BYTES) {
        stop(&r, (struct yaml_mark){1, 1}, "the file is larger than 1 MiB; write a smaller one");
        return -1;
    }
    struct fy_diag_cfg dcfg;
    fy_diag_cfg_default(&dcfg);
    dcfg.fp = NULL;
    dcfg.output_fn = NULL;
    r.diag = fy_diag_create(&dcfg);
    fy_diag_set_collect_errors(r.diag, true);
    struct fy_parse_cfg cfg = {
        .search_path = "", .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG, .diag = r.diag};
    r.fyp = fy_parser_create(&cfg);
    if (!r.fyp || fy_parser_set_string(r.fyp, text, n))
        stop(&r, (struct yaml_mark){1, 1}, "cannot be read as YAML");
    else
        *ret = read_stream(&r);
    if (!r.stopped && !*ret)
        *ret = new_node(&r, YAML_NULL, (struct yaml_mark){1, 1});
    if (r.fyp)
        fy_parser_destroy(r.fyp);
    fy_diag_destroy(r.diag);
    return r.bad ? -1 : 0;
}

const struct yaml_pair *yaml_get(const struct yaml_node *map, const char *key)
{
    if (map->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (str_eq(map->pairs[i].key, key))
            return &map->pairs[i];
    return NULL;
}

const char *yaml_kind_words(const struct yaml_node *node)
{
    static const char *const words[] = {[YAML_NULL] = "nothing",
                                        [YAML_SCALAR] = "text",
                                        [YAML_LIST] = "a list",
                                        [YAML_MAP] = "a map"};
    return words[node->kind];
}
