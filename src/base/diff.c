#include "base/diff.h"

#include <string.h>

#define AROUND ((size_t)3)
#define TABLE_MAX ((size_t)4000000) /* cells: 2000 x 2000 changed lines */

struct lines {
    const char **v; /* v[n] is the end of the text */
    size_t n;
};

/* One line of the result: ' ', '-' or '+', with its number in both texts. */
struct edit {
    char what;
    size_t old_line, new_line;
};

struct edits {
    struct edit *v;
    size_t n;
};

static struct lines split(const char *text)
{
    struct lines l = {0};
    size_t count = 1;
    for (const char *p = text; *p; p++)
        count += *p == '\n';
    l.v = x_alloc((count + 1) * sizeof(*l.v));
    for (const char *p = text; *p; l.n++) {
        const char *nl = strchr(p, '\n');
        l.v[l.n] = p;
        p = nl ? nl + 1 : p + strlen(p);
        l.v[l.n + 1] = p;
    }
    if (!l.n)
        l.v[0] = text;
    return l;
}

static size_t length(const struct lines *l, size_t i)
{
    return (size_t)(l->v[i + 1] - l->v[i]);
}

static bool same(const struct lines *a, size_t i, const struct lines *b, size_t j)
{
    return length(a, i) == length(b, j) && memcmp(a->v[i], b->v[j], length(a, i)) == 0;
}

static void add(struct edits *e, char what, size_t i, size_t j)
{
    e->v[e->n++] = (struct edit){what, i, j};
}

/* Longest common subsequence of the lines [from, a_to) and [from, b_to). */
static void walk(const struct lines *a, const struct lines *b, size_t from, size_t a_to,
                 size_t b_to, struct edits *e)
{
    size_t m = a_to - from, n = b_to - from, i = 0, j = 0, w = n + 1;
    bool small = (m + 1) <= TABLE_MAX / w;
    unsigned *t = small ? x_alloc((m + 1) * w * sizeof(*t)) : NULL;
    for (size_t x = small ? m : 0; x-- > 0;)
        for (size_t y = n; y-- > 0;)
            t[x * w + y] = same(a, from + x, b, from + y)           ? t[(x + 1) * w + y + 1] + 1
                           : t[(x + 1) * w + y] >= t[x * w + y + 1] ? t[(x + 1) * w + y]
                                                                    : t[x * w + y + 1];
    while (i < m || j < n) {
        if (t && i < m && j < n && same(a, from + i, b, from + j)) {
            add(e, ' ', from + i, from + j);
            i++, j++;
        } else if (i < m && (j == n || !t || t[(i + 1) * w + j] >= t[i * w + j + 1])) {
            add(e, '-', from + i, from + j);
            i++;
        } else {
            add(e, '+', from + i, from + j);
            j++;
        }
    }
    free(t);
}

static struct edits compare(const struct lines *a, const struct lines *b)
{
    struct edits e = {.v = x_alloc((a->n + b->n + 1) * sizeof(struct edit))};
    size_t head = 0, a_to = a->n, b_to = b->n;
    while (head < a_to && head < b_to && same(a, head, b, head)) {
        add(&e, ' ', head, head);
        head++;
    }
    while (a_to > head && b_to > head && same(a, a_to - 1, b, b_to - 1))
        a_to--, b_to--;
    walk(a, b, head, a_to, b_to, &e);
    for (; a_to < a->n; a_to++, b_to++)
        add(&e, ' ', a_to, b_to);
    return e;
}

static void print_line(struct str *ret, char what, const struct lines *l, size_t i)
{
    size_t n = length(l, i);
    bool ends = n && l->v[i][n - 1] == '\n';
    str_add_c(ret, what);
    str_add_n(ret, l->v[i], n);
    if (!ends)
        str_add(ret, "\n\\ No newline at end of file\n");
}

/* Behind the last edit of the hunk that starts at `first`: 2 * AROUND equal lines end it. */
static size_t hunk_end(const struct edits *e, size_t first)
{
    size_t last = first;
    for (size_t i = first; i < e->n && i <= last + 2 * AROUND + 1; i++)
        if (e->v[i].what != ' ')
            last = i;
    return last + 1 + AROUND < e->n ? last + 1 + AROUND : e->n;
}

static void print_hunk(const struct edits *e, size_t from, size_t to, const struct lines *a,
                       const struct lines *b, struct str *ret)
{
    size_t old_n = 0, new_n = 0;
    for (size_t i = from; i < to; i++) {
        old_n += e->v[i].what != '+';
        new_n += e->v[i].what != '-';
    }
    str_addf(ret, "@@ -%zu,%zu +%zu,%zu @@\n", e->v[from].old_line + (old_n != 0), old_n,
             e->v[from].new_line + (new_n != 0), new_n);
    for (size_t i = from; i < to; i++) {
        bool added = e->v[i].what == '+';
        print_line(ret, e->v[i].what, added ? b : a, added ? e->v[i].new_line : e->v[i].old_line);
    }
}

void diff_unified(const char *old_text, const char *new_text, const char *old_name,
                  const char *new_name, struct str *ret)
{
    if (strcmp(old_text, new_text) == 0)
        return;
    struct lines a = split(old_text), b = split(new_text);
    struct edits e = compare(&a, &b);
    str_addf(ret, "--- %s\n+++ %s\n", old_name, new_name);
    for (size_t i = 0; i < e.n; i++) {
        if (e.v[i].what == ' ')
            continue;
        size_t to = hunk_end(&e, i);
        print_hunk(&e, i > AROUND ? i - AROUND : 0, to, &a, &b, ret);
        i = to - 1;
    }
    free(e.v);
    free((void *)a.v);
    free((void *)b.v);
}
