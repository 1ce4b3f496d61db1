#include "engine/sockets.h"

#include "format/json.h"

#include <stdio.h>
#include <string.h>

#define NOT_KNOWN (-1)

/* What a part of the journal says. */
struct count {
    int stayed;  /* open when the traffic left */
    int asked;   /* open when the service was told to close them */
    int left;    /* open at the end of that */
    int by_stop; /* open when it was stopped */
    nsec_t spread, took;
};

static const struct {
    const char *key;
    size_t at;
} numbers[] = {
    {"stayed", offsetof(struct count, stayed)},
    {"asked", offsetof(struct count, asked)},
    {"left", offsetof(struct count, left)},
    {"by_stop", offsetof(struct count, by_stop)},
};

static int *number(struct count *n, size_t i)
{
    return (int *)(void *)((char *)n + numbers[i].at);
}

static void part_name(char *buf, size_t size, enum colour c)
{
    str_format(buf, size, SOCKETS_PART "%s", colour_name(c));
}

static nsec_t ms_of(const json_t *j, const char *key)
{
    return (nsec_t)(json_number_value(json_object_get(j, key)) * 1e6);
}

/* False if nothing is known of this colour. */
static bool recall(struct journal *j, const char *upgrade, enum colour c, struct count *ret)
{
    char part[32];
    struct err ignored = {0};
    cleanup_str struct str text = {0};
    part_name(part, sizeof(part), c);
    *ret = (struct count){NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, 0, 0};
    if (!j || !*upgrade || journal_probe(j, upgrade, part, &text, &ignored) <= 0)
        return false;
    cleanup_json json_t *kept = json_loads(str_cstr(&text), 0, NULL);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        const json_t *v = json_object_get(kept, numbers[i].key);
        if (json_is_integer(v))
            *number(ret, i) = (int)json_integer_value(v);
    }
    ret->spread = ms_of(kept, "spread_ms");
    ret->took = ms_of(kept, "took_ms");
    return true;
}

static void keep(struct engine *e, enum colour c, struct count *n)
{
    char part[32];
    struct err err = {0};
    cleanup_json json_t *j = json_pack("{s:s}", "colour", colour_name(c));
    part_name(part, sizeof(part), c);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (*number(n, i) != NOT_KNOWN)
            json_object_set_new(j, numbers[i].key, json_integer(*number(n, i)));
    if (n->spread)
        json_object_set_new(j, "spread_ms", json_real((double)n->spread / 1e6));
    if (n->took)
        json_object_set_new(j, "took_ms", json_real((double)n->took / 1e6));
    cleanup_free char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!text || journal_probe_set(e->j, e->up->id, part, text, &err) < 0)
        event_warn(&e->tee, "what becomes of the websockets is not in the journal: %s", err.msg);
}

/* NOT_KNOWN if there are none to count, or nobody says. */
static int open_now(struct engine *e, enum colour c)
{
    struct traffic_load l = {0};
    struct err ignored = {0};
    if (!e->traffic || e->ctx.side[c]->traffic.websockets == WS_NONE ||
        e->traffic->load(&e->ctx, c, &l, &ignored) < 0)
        return NOT_KNOWN;
    return l.websockets;
}

void sockets_flipped(struct engine *e, enum colour c)
{
    struct count n = {open_now(e, c), NOT_KNOWN, NOT_KNOWN, NOT_KNOWN, 0, 0};
    if (n.stayed != NOT_KNOWN)
        keep(e, c, &n);
}

void sockets_seen(struct engine *e, enum colour c)
{
    struct count n;
    if (!recall(e->j, e->up->id, c, &n))
        sockets_flipped(e, c);
}

void sockets_asked(struct engine *e, enum colour c, int open, nsec_t spread)
{
    struct count n;
    (void)recall(e->j, e->up->id, c, &n);
    bool again = n.asked != NOT_KNOWN; /* a run was killed: nobody knows how long it took in all */
    n.spread = again ? 0 : spread;
    if (n.asked < open)
        n.asked = open;
    keep(e, c, &n);
}

void sockets_closed(struct engine *e, enum colour c, int left, nsec_t took)
{
    struct count n;
    (void)recall(e->j, e->up->id, c, &n);
    n.left = left;
    n.took = n.spread ? took : 0;
    keep(e, c, &n);
}

void sockets_stopping(struct engine *e, enum colour c)
{
    struct count n;
    if (!recall(e->j, e->up->id, c, &n))
        return;
    int open = open_now(e, c);
    if (n.by_stop < open) /* a stop that is tried again finds fewer */
        n.by_stop = open;
    keep(e, c, &n);
}

void sockets_tell(struct engine *e, enum colour c)
{
    struct count n;
    char words[256];
    sockets_words(e->j, e->up->id, c, words, sizeof(words));
    if (*words && recall(e->j, e->up->id, c, &n) && n.by_stop != NOT_KNOWN)
        event_note(&e->tee, "websockets: %s", words);
}

static void closed_words(const struct count *n, struct str *out)
{
    char time[24];
    int left = n->by_stop != NOT_KNOWN && n->by_stop < n->asked ? n->by_stop : n->left;
    bool over = left != NOT_KNOWN;
    nsec_t in = over && n->took ? n->took : n->spread;
    str_addf(out, "; %d %sclosed one after the other", over ? n->asked - left : n->asked,
             over ? "" : "are to be ");
    if (in)
        str_addf(out, " %s %s", over && n->took ? "in" : "over",
                 clock_words(time, sizeof(time), in));
}

void sockets_words(struct journal *j, const char *upgrade, enum colour c, char *buf, size_t size)
{
    struct count n;
    buf[0] = '\0';
    if (!recall(j, upgrade, c, &n) || n.stayed <= 0)
        return;
    cleanup_str struct str out = {.max = size - 1};
    str_addf(&out, "%d stayed at %s through the flip", n.stayed, colour_name(c));
    bool asked = n.asked != NOT_KNOWN, stopped = n.by_stop != NOT_KNOWN;
    int last = asked ? n.asked : n.by_stop; /* open when they began to be closed */
    if (last != NOT_KNOWN && last < n.stayed)
        str_addf(&out, "; %d went by themselves", n.stayed - last);
    if (asked)
        closed_words(&n, &out);
    if (stopped)
        str_addf(&out, asked ? ", %d by its stop" : "; %d closed at once by its stop", n.by_stop);
    str_format(buf, size, "%s", str_cstr(&out));
}
