/* From one YAML value to one field of the struct: a reader for each plain type of the table. */
#include "spec/loader.h"

#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

bool reading_is_name(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n <= 63 && s[0] != '-' &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

const char *reading_scalar(const struct reading *r)
{
    if (r->node->kind != YAML_SCALAR) {
        cleanup_str struct str type = {0};
        schema_type_words(r->key, &type);
        reading_wrong(r, "is %s, but takes: %s", yaml_kind_words(r->node), str_cstr(&type));
        return NULL;
    }
    return loader_expand(r->l, r->l->colour, r->node->mark, r->shown, r->node->text);
}

static void put(const struct reading *r, const char *text)
{
    *(const char **)r->at = text;
}

static void read_text(const struct reading *r)
{
    const char *s = reading_scalar(r);
    if (s && !*s)
        reading_wrong(r, "is empty");
    put(r, s ? s : "");
}

static void read_name(const struct reading *r)
{
    const char *s = reading_scalar(r);
    if (s && !reading_is_name(s))
        reading_wrong(r, "'%.60s' is no name (at most 63 letters, digits, - and _, no - first)",
                      r->node->text);
    put(r, s ? s : "");
}

static void read_path(const struct reading *r)
{
    const char *s = reading_scalar(r);
    if (s && s[0] != '/')
        reading_wrong(r, "'%.100s' is no absolute path", r->node->text);
    put(r, s ? s : "/");
}

static void read_regex(const struct reading *r)
{
    const char *s = reading_scalar(r);
    put(r, s ? s : "");
    if (!s || strstr(s, "${version}")) /* not yet known: checked when it is */
        return;
    regex_t re;
    int rc = regcomp(&re, s, REG_EXTENDED);
    if (rc == 0) {
        regfree(&re);
        return;
    }
    char why[120];
    regerror(rc, &re, why, sizeof(why));
    reading_wrong(r, "'%.100s' is no extended regular expression (%s)", r->node->text, why);
}

static bool whole_number(const struct reading *r, int64_t *ret)
{
    const char *s = reading_scalar(r);
    if (!s)
        return false;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (!*s || *s == ' ' || *end || errno) {
        reading_wrong(r, "'%.60s' is no whole number", r->node->text);
        return false;
    }
    if (r->key->max > 0 && (v < r->key->min || v > r->key->max)) {
        if (r->key->max == INT64_MAX)
            reading_wrong(r, "%lld is less than %lld", v, (long long)r->key->min);
        else
            reading_wrong(r, "%lld is not between %lld and %lld", v, (long long)r->key->min,
                          (long long)r->key->max);
        return false;
    }
    *ret = v;
    return true;
}

static void read_int(const struct reading *r)
{
    int64_t v;
    if (whole_number(r, &v))
        *(int *)r->at = (int)v;
}

static void read_u64(const struct reading *r)
{
    int64_t v;
    if (whole_number(r, &v))
        *(uint64_t *)r->at = (uint64_t)v;
}

static void read_number(const struct reading *r)
{
    const char *s = reading_scalar(r);
    char *end;
    if (!s)
        return;
    double v = strtod(s, &end);
    if (*s < '0' || *s > '9' || strspn(s, "0123456789.") != strlen(s) || *end)
        reading_wrong(r, "'%.60s' is no number", r->node->text);
    else if (r->key->max > 0 && (v < (double)r->key->min || v > (double)r->key->max))
        reading_wrong(r, "%.60s is not between %lld and %lld", r->node->text,
                      (long long)r->key->min, (long long)r->key->max);
    else
        *(double *)r->at = v;
}

static void read_port(const struct reading *r)
{
    const char *s = reading_scalar(r);
    uint16_t first, last;
    if (!s)
        return;
    if (!loader_parse_ports(s, &first, &last) || first != last)
        reading_wrong(r, "'%.60s' is no port (1 to 65535)", r->node->text);
    else
        *(uint16_t *)r->at = first;
}

static void read_bool(const struct reading *r)
{
    const char *s = reading_scalar(r);
    if (!s)
        return;
    if (!str_eq(s, "true") && !str_eq(s, "false"))
        reading_wrong(r, "'%.60s' is neither true nor false", r->node->text);
    *(bool *)r->at = str_eq(s, "true");
}

static void read_duration(const struct reading *r)
{
    const char *s = reading_scalar(r);
    nsec_t v;
    char lo[32], hi[32];
    if (!s)
        return;
    if (clock_parse(s, &v))
        reading_wrong(r, "'%.60s' is no duration (a number and ms, s, m, h or d)", r->node->text);
    else if (r->key->max > 0 && (v < r->key->min || v > r->key->max))
        reading_wrong(r, "%.60s is not between %s and %s", r->node->text,
                      clock_words(lo, sizeof(lo), r->key->min),
                      clock_words(hi, sizeof(hi), r->key->max));
    else
        *(nsec_t *)r->at = v;
}

static void read_bytes(const struct reading *r)
{
    const char *s = reading_scalar(r);
    uint64_t v;
    if (!s)
        return;
    if (!str_parse_bytes(s, &v))
        reading_wrong(r,
                      "'%.60s' is no size (a number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB)",
                      r->node->text);
    else if (r->key->max > 0 && v < (uint64_t)r->key->min)
        reading_wrong(r, "%.60s is less than %lld bytes", r->node->text, (long long)r->key->min);
    else
        *(uint64_t *)r->at = v;
}

/* The word's value, or the word itself where the field is a text (all values 0). */
static void store_word(const struct reading *r, const struct schema_word *w)
{
    const struct schema_word *words = r->key->words;
    if (words && words[0].value == 0 && (!words[1].word || words[1].value == 0))
        put(r, w->word);
    else
        *(int *)r->at = w->value;
}

static void read_word(const struct reading *r)
{
    const struct schema_word *words = r->key->type == T_SIGNAL ? schema_signals : r->key->words;
    const char *s = reading_scalar(r);
    if (!s)
        return;
    if (r->key->type == T_SIGNAL && str_starts(s, "SIG"))
        s += 3;
    for (const struct schema_word *w = words; w->word; w++)
        if (str_eq(w->word, s)) {
            store_word(r, w);
            return;
        }
    cleanup_str struct str all = {0};
    schema_type_words(r->key, &all);
    const char *near = schema_suggest_word(words, s);
    if (r->key->type == T_SIGNAL && str_eq(s, "KILL"))
        loader_wrong(r->l, r->node->mark,
                     "%s: KILL gives no time to end; write `kill: true` for a SIGKILL "
                     "after the grace",
                     r->shown);
    else if (near)
        loader_wrong(r->l, r->node->mark, "%s: '%.60s' is none of %s; did you mean '%s'?", r->shown,
                     r->node->text, str_cstr(&all), near);
    else
        loader_wrong(r->l, r->node->mark, "%s: '%.60s' is not known; write %s", r->shown,
                     r->node->text, str_cstr(&all));
}

static void read_texts(const struct reading *r)
{
    struct strv *sv = r->at;
    if (r->node->kind == YAML_SCALAR) {
        const char *s = reading_scalar(r);
        if (s)
            loader_strv_add(r->l, sv, s);
        return;
    }
    if (r->node->kind != YAML_LIST) {
        reading_wrong(r, "must be a text or a list of texts, and this is %s",
                      yaml_kind_words(r->node));
        return;
    }
    for (size_t i = 0; i < r->node->n; i++) {
        struct reading item = *r;
        item.node = r->node->items[i];
        const char *s = reading_scalar(&item);
        if (s)
            loader_strv_add(r->l, sv, s);
    }
}

static void read_port_name(const struct reading *r)
{
    const char *s = reading_scalar(r);
    const struct colour_side *side = &r->l->side[r->l->colour];
    put(r, s ? s : "");
    if (!s || side->ports_n == 0) /* no ports at all is reported where they belong */
        return;
    cleanup_str struct str all = {0};
    for (size_t i = 0; i < side->ports_n; i++) {
        if (str_eq(side->ports[i].name, s))
            return;
        str_addf(&all, "%s%s", i ? ", " : "", side->ports[i].name);
    }
    loader_wrong(r->l, r->node->mark, "%s: the colours have no port '%.60s'; write one of: %s",
                 r->shown, r->node->text, str_cstr(&all));
}

static void read_address(const struct reading *r)
{
    const char *s = reading_scalar(r), *colon = s ? strrchr(s, ':') : NULL;
    uint16_t first, last;
    put(r, s ? s : "");
    if (s &&
        (!colon || colon == s || !loader_parse_ports(colon + 1, &first, &last) || first != last))
        reading_wrong(r, "'%.60s' is no HOST:PORT", r->node->text);
}

/* Read by names.c; here only that it is no list where a map belongs is left to say, and that is
 * said there. */
static void read_nothing(const struct reading *r unused)
{
}

reader_fn *const loader_readers[T_TYPE_MAX] = {
    [T_TEXT] = read_text,         [T_NAME] = read_name,
    [T_PATH] = read_path,         [T_REGEX] = read_regex,
    [T_INT] = read_int,           [T_U64] = read_u64,
    [T_BOOL] = read_bool,         [T_DURATION] = read_duration,
    [T_BYTES] = read_bytes,       [T_WORD] = read_word,
    [T_TEXTS] = read_texts,       [T_ARGV] = read_argv,
    [T_COMMAND] = read_command,   [T_COMMANDS] = read_commands,
    [T_PORT] = read_port,         [T_PORT_NAME] = read_port_name,
    [T_ADDRESS] = read_address,   [T_SIGNAL] = read_word,
    [T_TLS] = read_tls,           [T_PARAMS] = read_params,
    [T_MAY_BIND] = read_may_bind, [T_LIMITS] = read_limits,
    [T_HOOK] = read_hook,         [T_VOLUMES] = read_volumes,
    [T_CHECKS] = read_checks,     [T_CHECK] = read_nothing,
    [T_NAMES] = read_nothing,     [T_SHADOW] = read_shadow,
    [T_NUMBER] = read_number,     [T_MAP] = read_map,
    [T_LIST] = read_list,
};
