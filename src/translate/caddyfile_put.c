#include "translate/caddyfile.h"

#include <string.h>

/* A run of whole lines of a text, from the line that is the begin marker to the one that is the end
 * marker. */
struct span {
    const char *start, *end; /* end: behind the last line's newline */
};

static const char *next_line(const char *p)
{
    const char *nl = strchr(p, '\n');
    return nl ? nl + 1 : p + strlen(p);
}

/* Is the line at p, without the blanks around it, exactly `text`? */
static bool line_is(const char *p, const char *text)
{
    p += strspn(p, " \t");
    size_t n = strcspn(p, "\n");
    while (n && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r'))
        n--;
    return strlen(text) == n && memcmp(p, text, n) == 0;
}

/* 1 found, 0 not there, -1 only half of it, or twice. what: "" or " options". */
static int find_span(const char *text, const char *service, const char *what, struct span *ret)
{
    cleanup_free char *begin = x_asprintf("# changeover %s%s begin", service, what);
    cleanup_free char *end = x_asprintf("# changeover %s%s end", service, what);
    int begins = 0, ends = 0;
    for (const char *p = text; *p; p = next_line(p)) {
        if (line_is(p, begin)) {
            begins++;
            ret->start = p;
        } else if (line_is(p, end)) {
            if (begins != ++ends)
                return -1;
            ret->end = next_line(p);
        }
    }
    return begins == ends && begins <= 1 ? begins : -1;
}

static int find_or_fail(const char *text, const char *service, const char *what, struct span *ret,
                        struct err *err)
{
    int r = find_span(text, service, what, ret);
    if (r < 0)
        err_set(err, ERR_USAGE,
                "the lines '# changeover %s%s begin' and '... end' of the Caddyfile do not pair",
                service, what);
    return r;
}

bool caddyfile_find(const char *text, const char *service, struct str *ret)
{
    struct span at;
    if (find_span(text, service, "", &at) != 1)
        return false;
    str_add_n(ret, at.start, (size_t)(at.end - at.start));
    return true;
}

static int cut(const char *text, const char *service, const char *what, struct str *ret,
               struct err *err)
{
    struct span at = {0};
    int r = find_or_fail(text, service, what, &at, err);
    if (r < 0)
        return -1;
    if (r == 0) {
        str_add(ret, text);
        return 0;
    }
    size_t head = (size_t)(at.start - text);
    if (head >= 2 && text[head - 1] == '\n' && text[head - 2] == '\n')
        head--; /* the empty line that was put before it */
    str_add_n(ret, text, head);
    str_add(ret, at.end);
    return 0;
}

/* The line that opens the global options: the only block without a name. */
static const char *global_block(const char *text)
{
    for (const char *p = text; *p; p = next_line(p))
        if (line_is(p, "{"))
            return p;
    return NULL;
}

/* Do the global options say anything about logs? */
static bool global_has_log(const char *open)
{
    int depth = 0;
    for (const char *p = open; *p; p = next_line(p)) {
        const char *word = p + strspn(p, " \t");
        size_t n = strcspn(word, "\n");
        if (depth == 1 && str_starts(word, "log") && strchr(" \t\n{", word[3]))
            return true;
        if (n && word[0] == '}')
            depth--;
        if (n && word[n - 1] == '{')
            depth++;
        if (depth == 0)
            return false;
    }
    return false;
}

static void add_exclusion(struct str *ret, const char *service, const char *indent, bool alone)
{
    const char *in = alone ? "\t" : indent;
    str_addf(ret, "%s# changeover %s options begin\n", alone ? "" : indent, service);
    if (alone)
        str_add(ret, "{\n");
    str_addf(ret, "%slog default {\n", in);
    str_addf(ret, "%s\texclude http.handlers.reverse_proxy.health_checker.active\n", in);
    str_addf(ret, "%s}\n", in);
    if (alone)
        str_add(ret, "}\n");
    str_addf(ret, "%s# changeover %s options end\n", alone ? "" : indent, service);
}

/* A stopped standby would otherwise fill Caddy's log: 8 lines a second. */
static void put_options(const char *text, const char *service, struct str *ret)
{
    const char *open = global_block(text);
    if (strstr(text, "health_checker.active") || (open && global_has_log(open))) {
        str_add(ret, text);
    } else if (open) {
        const char *inside = next_line(open);
        str_add_n(ret, text, (size_t)(inside - text));
        add_exclusion(ret, service, "\t", false);
        str_add(ret, inside);
    } else {
        add_exclusion(ret, service, "", true);
        str_add(ret, text);
    }
}

int caddyfile_put(const char *text, const char *service, const char *block, struct str *ret,
                  struct err *err)
{
    cleanup_str struct str bare = {0}, with = {0};
    if (cut(text, service, " options", &bare, err) < 0)
        return -1;
    struct span at = {0};
    const char *from = str_cstr(&bare);
    int there = find_or_fail(from, service, "", &at, err);
    if (there < 0)
        return -1;
    if (!block)
        return cut(from, service, "", ret, err);
    if (there) {
        str_add_n(&with, from, (size_t)(at.start - from));
        str_add(&with, block);
        str_add(&with, at.end);
    } else {
        str_add(&with, from);
        if (with.len && with.buf[with.len - 1] != '\n')
            str_add_c(&with, '\n');
        if (with.len)
            str_add_c(&with, '\n');
        str_add(&with, block);
    }
    if (strstr(block, "health_uri"))
        put_options(str_cstr(&with), service, ret);
    else
        str_add(ret, str_cstr(&with));
    return 0;
}
