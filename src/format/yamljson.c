#include "format/yamljson.h"

#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static json_t *plain(const char *text)
{
    char *end;
    if (str_eq(text, "true") || str_eq(text, "false"))
        return json_boolean(str_eq(text, "true"));
    size_t digits = strspn(text + (*text == '-'), "0123456789");
    if (digits &&
        !strchr("xXoO_", text[(*text == '-') + digits] ? text[(*text == '-') + digits] : '.')) {
        errno = 0;
        long long whole = strtoll(text, &end, 10);
        if (!*end && !errno)
            return json_integer(whole);
        double real = strtod(text, &end);
        if (!*end && strspn(text, "0123456789.eE+-") == strlen(text))
            return json_real(real);
    }
    return json_string(text);
}

json_t *yaml_json(const struct yaml_node *node)
{
    json_t *j = NULL;
    switch (node->kind) {
    case YAML_NULL:
        return json_null();
    case YAML_SCALAR:
        return node->quoted ? json_string(node->text) : plain(node->text);
    case YAML_LIST:
        j = json_array();
        for (size_t i = 0; i < node->n; i++)
            json_array_append_new(j, yaml_json(node->items[i]));
        return j;
    case YAML_MAP:
        j = json_object();
        for (size_t i = 0; i < node->n; i++)
            json_object_set_new(j, node->pairs[i].key, yaml_json(node->pairs[i].value));
        return j;
    }
    return NULL;
}

struct wrong {
    const char *path;
    int line; /* of the file, where the document begins */
    struct err *err;
    bool said;
};

static void note(void *ctx, struct yaml_mark at, const char *text)
{
    struct wrong *w = ctx;
    if (!w->said)
        err_set(w->err, ERR_USAGE, "%s:%d:%d: %s", w->path, w->line + at.line, at.column, text);
    w->said = true;
}

static int one(struct wrong *w, const char *text, size_t n, json_t *list)
{
    struct arena arena = {0};
    const struct yaml_node *root = NULL;
    int r = yaml_parse(&arena, text, n, note, w, &root);
    if (r == 0 && root->kind != YAML_NULL)
        json_array_append_new(list, yaml_json(root));
    arena_done(&arena);
    return r;
}

static bool is_break(const char *line)
{
    return strncmp(line, "---", 3) == 0 && (!line[3] || strchr(" \t\r\n", line[3]));
}

int yaml_json_documents(const char *path, const char *text, json_t **ret, struct err *err)
{
    json_t *list = json_array();
    const char *from = text, *line = text;
    struct wrong w = {.path = path, .err = err};
    for (int at = 0, r = 0; r == 0; at++) {
        bool end = !*line, cut = end || is_break(line);
        if (cut && (r = one(&w, from, (size_t)(line - from), list)) < 0)
            break;
        if (end) {
            *ret = list;
            return 0;
        }
        size_t n = strcspn(line, "\n");
        line += n + (line[n] == '\n');
        if (cut) {
            from = line;
            w.line = at + 1;
        }
    }
    json_decref(list);
    return -1;
}
