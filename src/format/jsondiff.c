#include "format/jsondiff.h"

#include "format/json.h"

#include <string.h>

struct walk {
    const struct strv *ignore;
    json_diff_fn *fn;
    void *ctx;
    struct str path;
    size_t found;
};

static bool path_matches(const char *pattern, const char *path)
{
    for (;;) {
        size_t n = strcspn(pattern, "."), m = strcspn(path, ".");
        bool any = n == 1 && pattern[0] == '*';
        if (m == 0 || (!any && (n != m || memcmp(pattern, path, n) != 0)))
            return false;
        if (!pattern[n] || !path[m])
            return !pattern[n] && !path[m];
        pattern += n + 1;
        path += m + 1;
    }
}

static bool ignored(const struct walk *w)
{
    for (size_t i = 0; w->ignore && i < w->ignore->n; i++)
        if (path_matches(w->ignore->v[i], str_cstr(&w->path)))
            return true;
    return false;
}

static void shorten(struct str *s)
{
    size_t n = JSON_DIFF_VALUE - 3;
    if (s->len <= JSON_DIFF_VALUE)
        return;
    while (n > 0 && ((unsigned char)s->buf[n] & 0xc0) == 0x80) /* not inside of a character */
        n--;
    s->len = n;
    str_add(s, "...");
}

static void show(const json_t *value, struct str *out)
{
    if (value)
        json_print(value, 0, out);
    else
        str_add(out, "nothing");
    shorten(out);
}

static void report(struct walk *w, const char *a, const char *b)
{
    w->found++;
    if (w->fn)
        w->fn(w->ctx, str_cstr(&w->path), a, b);
}

static void differ(struct walk *w, const json_t *a, const json_t *b)
{
    cleanup_str struct str x = {0}, y = {0};
    show(a, &x);
    show(b, &y);
    report(w, str_cstr(&x), str_cstr(&y));
}

static void compare(struct walk *w, json_t *a, json_t *b);

static void compare_at(struct walk *w, const char *word, json_t *a, json_t *b)
{
    size_t len = w->path.len;
    str_addf(&w->path, "%s%s", len ? "." : "", word);
    if (!ignored(w))
        compare(w, a, b);
    w->path.len = len;
    w->path.buf[len] = '\0';
}

static void compare_lists(struct walk *w, json_t *a, json_t *b)
{
    size_t n = json_array_size(a), m = json_array_size(b);
    char word[24], x[40], y[40];
    for (size_t i = 0; i < n && i < m; i++)
        compare_at(w, str_format(word, sizeof(word), "%zu", i), json_array_get(a, i),
                   json_array_get(b, i));
    if (n != m)
        report(w, str_format(x, sizeof(x), "%zu entries", n),
               str_format(y, sizeof(y), "%zu entries", m));
}

static void compare_maps(struct walk *w, json_t *a, json_t *b)
{
    for (void *i = json_object_iter(a); i; i = json_object_iter_next(a, i)) {
        const char *key = json_object_iter_key(i);
        compare_at(w, key, json_object_iter_value(i), json_object_get(b, key));
    }
    for (void *i = json_object_iter(b); i; i = json_object_iter_next(b, i)) {
        const char *key = json_object_iter_key(i);
        if (!json_object_get(a, key))
            compare_at(w, key, NULL, json_object_iter_value(i));
    }
}

static bool same_number(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b))
        return json_integer_value(a) == json_integer_value(b);
    double x = json_number_value(a), y = json_number_value(b);
    return x >= y && x <= y;
}

static void compare(struct walk *w, json_t *a, json_t *b)
{
    if (json_is_object(a) && json_is_object(b))
        compare_maps(w, a, b);
    else if (json_is_array(a) && json_is_array(b))
        compare_lists(w, a, b);
    else if (json_is_number(a) && json_is_number(b) ? !same_number(a, b) : !json_equal(a, b))
        differ(w, a, b);
}

size_t json_diff(json_t *a, json_t *b, const struct strv *ignore, json_diff_fn *fn, void *ctx)
{
    struct walk w = {.ignore = ignore, .fn = fn, .ctx = ctx};
    compare(&w, a, b);
    str_done(&w.path);
    return w.found;
}
