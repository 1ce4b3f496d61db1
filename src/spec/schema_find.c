/* Looking things up in the table: children of a key, the nearest word to a wrong one, types in
 * words. */
#include "spec/schema.h"

#include <signal.h>
#include <string.h>

const struct schema_word schema_signals[] = {
    {"TERM", SIGTERM}, {"INT", SIGINT},   {"QUIT", SIGQUIT},   {"HUP", SIGHUP},
    {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"WINCH", SIGWINCH}, {0}};
const char *const schema_limits[] = {
    "as",     "core",  "cpu", "data",   "fsize",  "locks",      "memlock", "msgqueue", "nice",
    "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",   NULL};

static bool word_matches(const char *pattern, size_t pn, const char *word, size_t wn)
{
    if (pn == 1 && pattern[0] == '*')
        return wn > 0;
    return pn == wn && memcmp(pattern, word, wn) == 0;
}

bool schema_is_child(const struct schema_key *k, const char *prefix)
{
    const char *p = k->path;
    while (*prefix) {
        if (*p != *prefix && *p != '*') /* most keys, and each command asks for all of them */
            return false;
        size_t pn = strcspn(p, "."), wn = strcspn(prefix, ".");
        if (!p[pn] || !word_matches(p, pn, prefix, wn))
            return false;
        p += pn + 1;
        prefix += wn + (prefix[wn] == '.');
    }
    return *p && !strchr(p, '.');
}

const char *schema_leaf(const struct schema_key *k)
{
    const char *dot = strrchr(k->path, '.');
    return dot ? dot + 1 : k->path;
}

const struct schema_key *schema_find(const char *prefix, const char *leaf)
{
    const struct schema_key *k;
    for (size_t i = 0; (k = schema_row(i)); i++)
        if (str_eq(schema_leaf(k), leaf) && schema_is_child(k, prefix))
            return k;
    return NULL;
}

/* Damerau-Levenshtein, neighbours swapped counting as one; of words longer than 40 the beginning.
 */
size_t schema_distance(const char *a, const char *b)
{
    enum { MAX = 40 };
    size_t na = strnlen(a, MAX), nb = strnlen(b, MAX);
    size_t d[MAX + 1][MAX + 1];
    for (size_t i = 0; i <= na; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= nb; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= na; i++)
        for (size_t j = 1; j <= nb; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[na][nb];
}

/* Near = at most a third of the letters wrong, or one is the other's beginning. */
static bool nearer(const char *candidate, const char *word, size_t *best)
{
    size_t n = strlen(word), dist = schema_distance(candidate, word);
    if (n >= 3 && str_starts(candidate, word))
        dist = 1;
    if (dist > (n + 1) / 3 || dist >= *best)
        return false;
    *best = dist;
    return true;
}

const char *schema_suggest(const char *prefix, const char *leaf)
{
    const char *found = NULL;
    size_t best = SIZE_MAX;
    const struct schema_key *k;
    for (size_t i = 0; (k = schema_row(i)); i++) {
        const char *name = schema_leaf(k);
        if (name[0] != '*' && schema_is_child(k, prefix) && nearer(name, leaf, &best))
            found = name;
    }
    return found;
}

/* Where a key of this name does belong, if there is just one such place. */
const char *schema_elsewhere(const char *leaf)
{
    const char *found = NULL;
    const struct schema_key *k;
    for (size_t i = 0; (k = schema_row(i)); i++) {
        const char *path = k->path;
        if (!str_eq(schema_leaf(k), leaf) || str_starts(path, "COMMAND."))
            continue;
        if (found)
            return NULL;
        found = path;
    }
    return found;
}

const char *schema_suggest_word(const struct schema_word *words, const char *word)
{
    const char *found = NULL;
    size_t best = SIZE_MAX;
    for (; words->word; words++)
        if (nearer(words->word, word, &best))
            found = words->word;
    return found;
}

void schema_children_words(const char *prefix, struct str *out)
{
    bool any = false;
    const struct schema_key *k;
    for (size_t i = 0; (k = schema_row(i)); i++) {
        if (!schema_is_child(k, prefix))
            continue;
        str_addf(out, "%s%s", any ? ", " : "", schema_leaf(k));
        any = true;
    }
}

void schema_type_words(const struct schema_key *k, struct str *out)
{
    static const char *const words[T_TYPE_MAX] = {
        [T_SECTION] = "map",
        [T_TEXT] = "text",
        [T_NAME] = "name",
        [T_PATH] = "path",
        [T_REGEX] = "regular expression",
        [T_INT] = "whole number",
        [T_U64] = "whole number",
        [T_NUMBER] = "number",
        [T_BOOL] = "true or false",
        [T_DURATION] = "duration",
        [T_BYTES] = "size",
        [T_TEXTS] = "text or list of texts",
        [T_ARGV] = "list of texts",
        [T_COMMAND] = "command",
        [T_COMMANDS] = "list of commands",
        [T_LIST] = "list of commands",
        [T_PORT] = "port number",
        [T_PORT_NAME] = "name of a port",
        [T_ADDRESS] = "HOST:PORT",
        [T_PARAMS] = "list or map",
        [T_HOOK] = "command",
        [T_CHECK] = "map",
        [T_SHADOW] = "list of maps",
    };
    if (k->type_doc) {
        str_add(out, k->type_doc);
        return;
    }
    if (k->type != T_WORD && k->type != T_SIGNAL) {
        str_add(out, words[k->type] ? words[k->type] : "map");
        return;
    }
    const struct schema_word *w = k->type == T_SIGNAL ? schema_signals : k->words;
    for (size_t i = 0; w[i].word; i++)
        str_addf(out, "%s%s", i == 0 ? "" : w[i + 1].word ? ", " : " or ", w[i].word);
}
