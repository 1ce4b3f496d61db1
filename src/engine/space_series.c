/* Samples of what is left, as lines of text, and what they tell of the time to come. Pure. */
#include "base/str.h"
#include "engine/space.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW (10 * NSEC_MIN)
#define SHORTEST (4 * NSEC_S) /* a rate over less is chance */
#define FOREVER (90 * 24 * NSEC_HOUR)

void space_print(const struct space_view *v, const char *upgrade, struct str *ret)
{
    for (size_t i = 0; i < v->n; i++) {
        const struct space_store *s = &v->store[i];
        str_addf(ret, "%" PRId64 " %s %s %" PRIu64 " %s %s %d%d %" PRId64 " %" PRId64 "\n",
                 (int64_t)s->wall, upgrade, s->name, s->left, colour_name(s->side), s->volume,
                 s->holds[GREEN], s->holds[BLUE], s->used[GREEN], s->used[BLUE]);
    }
}

enum { COL_WALL, COL_UPGRADE, COL_NAME, COL_LEFT, COL_SIDE, COL_VOLUME, COL_HOLDS, COL_USED, COLS };

static bool read_line(char *line, const char *upgrade, struct space_store *ret)
{
    char *col[COLS + 1], *save = NULL;
    size_t n = 0;
    for (char *w = strtok_r(line, " ", &save); w && n <= COLS; w = strtok_r(NULL, " ", &save))
        col[n++] = w;
    if (n != COLS + 1 || !str_eq(col[COL_UPGRADE], upgrade) || strlen(col[COL_HOLDS]) != 2)
        return false;
    *ret = (struct space_store){
        .wall = (nsec_t)strtoll(col[COL_WALL], NULL, 10),
        .left = strtoull(col[COL_LEFT], NULL, 10),
        .side = str_eq(col[COL_SIDE], colour_name(BLUE)) ? BLUE : GREEN,
        .holds = {col[COL_HOLDS][0] == '1', col[COL_HOLDS][1] == '1'},
        .used = {strtoll(col[COL_USED], NULL, 10), strtoll(col[COL_USED + 1], NULL, 10)}};
    str_format(ret->name, sizeof(ret->name), "%s", col[COL_NAME]);
    str_format(ret->volume, sizeof(ret->volume), "%s", col[COL_VOLUME]);
    return true;
}

/* A straight line through (time, value), least squares. */
struct fit {
    size_t n;
    double t, y, tt, ty;
    nsec_t first, last;
};

static void fit_add(struct fit *f, nsec_t origin, nsec_t wall, double y)
{
    double t = (double)(wall - origin) / 1e9;
    f->first = f->n ? f->first : wall;
    f->last = wall;
    f->n++;
    f->t += t;
    f->y += y;
    f->tt += t * t;
    f->ty += t * y;
}

static bool fit_slope(const struct fit *f, double *ret)
{
    double n = (double)f->n, d = n * f->tt - f->t * f->t;
    if (f->n < 3 || f->last - f->first < SHORTEST || d <= 0)
        return false;
    *ret = (n * f->ty - f->t * f->y) / d;
    return true;
}

static struct space_rate rate_of(const struct space_store *all, size_t n,
                                 const struct space_store *newest)
{
    struct fit left = {0}, used[COLOURS] = {0};
    struct space_rate r = {.full_in = -1};
    for (size_t i = 0; i < n; i++) {
        const struct space_store *s = &all[i];
        if (!str_eq(s->name, newest->name) || s->wall < newest->wall - WINDOW)
            continue;
        fit_add(&left, newest->wall, s->wall, (double)s->left);
        for (int c = GREEN; c < COLOURS; c++)
            if (s->used[c] >= 0)
                fit_add(&used[c], newest->wall, s->wall, (double)s->used[c]);
    }
    double slope = 0;
    r.valid = fit_slope(&left, &slope);
    r.shrinks = r.valid && slope < 0 ? -slope : 0;
    for (int c = GREEN; c < COLOURS; c++)
        r.known[c] = fit_slope(&used[c], &r.grows[c]);
    if (r.shrinks > 0 && (double)newest->left / r.shrinks * 1e9 < (double)FOREVER)
        r.full_in = (nsec_t)((double)newest->left / r.shrinks * 1e9);
    return r;
}

static struct space_store *slot_of(struct space_view *v, const char *name)
{
    for (size_t i = 0; i < v->n; i++)
        if (str_eq(v->store[i].name, name))
            return &v->store[i];
    return v->n < SPACE_STORES ? &v->store[v->n++] : NULL;
}

void space_parse(const char *text, const char *upgrade, struct space_view *ret)
{
    cleanup_free char *copy = x_strdup(text);
    cleanup_free struct space_store *all = NULL;
    char *save = NULL;
    size_t n = 0;
    *ret = (struct space_view){0};
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        struct space_store s;
        if (!read_line(line, upgrade, &s))
            continue;
        all = x_realloc(all, n + 1, sizeof(*all));
        all[n++] = s;
    }
    /* Only the stores of the last look: one that both sides have left counts no more. */
    for (size_t i = n; i-- > 0 && all[i].wall == all[n - 1].wall;) {
        struct space_store *slot = slot_of(ret, all[i].name);
        if (slot)
            *slot = all[i];
    }
    for (size_t i = 0; i < ret->n; i++)
        ret->rate[i] = rate_of(all, n, &ret->store[i]);
}

/* What will be full within a day comes first, the soonest of it; then what has the least left. */
static bool tighter(const struct space_view *v, size_t i, size_t than)
{
    nsec_t a = v->rate[i].full_in, b = v->rate[than].full_in;
    bool soon = a >= 0 && a < 24 * NSEC_HOUR, other = b >= 0 && b < 24 * NSEC_HOUR;
    return soon != other ? soon : soon ? a < b : v->store[i].left < v->store[than].left;
}

const struct space_store *space_tightest(const struct space_view *v, const struct space_rate **ret)
{
    size_t best = 0;
    for (size_t i = 1; i < v->n; i++)
        if (tighter(v, i, best))
            best = i;
    *ret = v->n ? &v->rate[best] : NULL;
    return v->n ? &v->store[best] : NULL;
}

static void add_rate(const struct space_rate *r, struct str *out)
{
    char words[24];
    str_addf(out, ", %s/s less", str_bytes(words, sizeof(words), (uint64_t)r->shrinks));
    for (int c = GREEN, n = 0; c < COLOURS; c++)
        if (r->known[c]) {
            bool grows = r->grows[c] > 0;
            str_addf(
                out, "%s%s %s%s/s", n++ ? ", " : " (", colour_name((enum colour)c),
                grows ? "+" : "-",
                str_bytes(words, sizeof(words), (uint64_t)(grows ? r->grows[c] : -r->grows[c])));
        }
    if (r->known[GREEN] || r->known[BLUE])
        str_add_c(out, ')');
    if (r->full_in >= 0)
        str_addf(out, ": full in %s at this rate", clock_words(words, sizeof(words), r->full_in));
}

void space_words(const struct space_store *s, const struct space_rate *r, const char *path,
                 char *buf, size_t size)
{
    cleanup_str struct str out = {0};
    char words[24], kind[32];
    const char *limit = str_starts(s->name, "limit:") ? s->name + strlen("limit:") : NULL;
    str_bytes(words, sizeof(words), s->left);
    if (limit)
        str_addf(&out, "%s left under the %s of %s's volume %s", words,
                 str_format(kind, sizeof(kind), "%.*s", (int)strcspn(limit, ":"), limit),
                 colour_name(s->side), s->volume);
    else
        str_addf(&out, "%s free at '%s' (volume %s)", words, path, s->volume);
    if (r && r->valid && r->shrinks >= 1)
        add_rate(r, &out);
    str_format(buf, size, "%s", str_cstr(&out));
}
