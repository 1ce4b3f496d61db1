/* List, then watch from there; go on where it was; begin again where that is not known any more. */
#include "format/json.h"
#include "net/kube_internal.h"
#include "sys/clock.h"

#include <stdlib.h>
#include <string.h>

#define ROUND (290 * NSEC_S) /* the server ends a watch by then; another begins where it was */
#define ROUND_GRACE (20 * NSEC_S)
#define LIVED NSEC_S /* a shorter round is followed by a pause, whatever it brought */

struct watch {
    struct kube *k;
    const struct kube_ref *ref;
    const struct kube_select *sel;
    kube_watch_fn *fn;
    void *ctx;
    const char *what;
    CURL *easy; /* of its own: fn may ask something meanwhile */
    CURLM *multi;
    char version[64];
    struct kube_stream stream;
    int said;              /* what fn returned */
    unsigned events;       /* of this round, bookmarks too */
    bool granted, broken;  /* this round: the stream was opened; it holds what is no event */
    bool expired, renewed; /* begin again; credentials were asked for anew, and no stream since */
    struct err why;        /* how this round ended, if not well */
};

/* --- events ---------------------------------------------------------------------------------- */

static bool seen_of(const char *type, enum kube_seen *ret)
{
    static const struct {
        const char *type;
        enum kube_seen seen;
    } table[] = {{"ADDED", KUBE_ADDED}, {"MODIFIED", KUBE_MODIFIED}, {"DELETED", KUBE_DELETED}};
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        *ret = table[i].seen;
        if (str_eq(table[i].type, type))
            return true;
    }
    return false;
}

static int tell(struct watch *w, enum kube_seen seen, json_t *object)
{
    int r = w->fn(w->ctx, seen, object);
    w->said = r < 0 ? -r : r;
    return w->said;
}

/* Whatever it is about, nothing more comes from here: the list will say. */
static int take_error(struct watch *w, const struct kube_line *l)
{
    struct kube_status st = {0};
    kube_status_read(l->object, &st);
    w->expired = true;
    if (l->code != 410)
        kube_status_error(&st, w->what, &w->why);
    return 1;
}

static int on_line(void *ctx, const char *line, size_t n)
{
    struct watch *w = ctx;
    struct kube_line l = {0};
    enum kube_seen seen;
    int r = 0;
    w->broken = kube_line_read(line, n, w->ref->kind, &l, &w->why) < 0;
    if (w->broken)
        return 1;
    if (str_eq(l.type, "ERROR"))
        r = take_error(w, &l);
    else if (seen_of(l.type, &seen))
        r = tell(w, seen, l.object);
    if (!r || w->said) { /* what was told is behind us, also when it was the last */
        w->events++;
        if (*l.version)
            memcpy(w->version, l.version, sizeof(w->version));
    }
    json_decref(l.object);
    return r;
}

static int on_bytes(void *ctx, const char *bytes, size_t n)
{
    struct watch *w = ctx;
    int r = kube_stream_feed(&w->stream, bytes, n, on_line, w);
    w->granted = true;
    if (r < 0) {
        w->broken = true;
        err_set(&w->why, ERR_FAILED, "%s: an event is longer than %zu bytes", w->what,
                KUBE_EVENT_MAX);
    }
    return r;
}

/* --- rounds ---------------------------------------------------------------------------------- */

static int begin(struct watch *w, struct err *err)
{
    cleanup_json json_t *items = NULL;
    size_t i;
    json_t *item;
    w->expired = false;
    if (kube_list(w->k, w->ref, w->sel, &items, w->version, err) < 0)
        return -1;
    if (!*w->version)
        return err_set(err, ERR_FAILED, "%s: the list has no resourceVersion to go on from",
                       w->what);
    if (tell(w, KUBE_BEGIN, NULL))
        return 0;
    json_array_foreach(items, i, item)
    {
        if (tell(w, KUBE_ADDED, item))
            return 0;
    }
    (void)tell(w, KUBE_SYNCED, NULL);
    return 0;
}

static int make_path(struct watch *w, struct str *ret, struct err *err)
{
    const struct kube_ref all = {w->ref->kind, w->ref->ns, NULL};
    char seconds[16];
    str_format(seconds, sizeof(seconds), "%d", (int)(ROUND / NSEC_S));
    if (kube_path(w->k, &all, NULL, ret, err) < 0)
        return -1;
    kube_query(ret, "watch", "true");
    kube_query(ret, "allowWatchBookmarks", "true");
    kube_query(ret, "resourceVersion", w->version);
    kube_query(ret, "timeoutSeconds", seconds);
    kube_query_select(ret, w->ref, w->sel);
    return 0;
}

/* What a refusal of the watch itself means. */
static bool is_refusal_final(struct watch *w, int code)
{
    if (code == 401 && !w->renewed && kube_creds_can_change(w->k)) {
        w->renewed = true;
        return kube_creds_get(w->k, true, &w->why) < 0;
    }
    return code >= 400 && code < 500 && code != 408 && code != 410 && code != 429;
}

/* How a round ended that fn did not end. -1: for good. */
static int judge(struct watch *w, const struct kube_transfer *t, struct err *err)
{
    bool over = w->why.code == ERR_INTERRUPTED;
    w->granted = w->granted || (t->code == 200 && str_starts(t->type, "application/json"));
    if (w->granted)
        w->renewed = false;
    if (!w->granted && t->result == CURLE_OK) {
        kube_refused(w->k, w->what, t->code, str_cstr(&t->body), t->body.len, &w->why);
        over = is_refusal_final(w, t->code);
        w->expired = t->code == 410;
        if (w->expired)
            err_clear(&w->why);
    }
    if (over && err)
        *err = w->why;
    return over ? -1 : 0;
}

/* One connection, to its end. 0: another one may follow, and w->why says if it ended badly. */
static int round_trip(struct watch *w, nsec_t deadline, nsec_t *ret_wait, struct err *err)
{
    cleanup_kube_transfer struct kube_transfer t = {
        .max = (size_t)64 << 10, .text = true, .on_bytes = on_bytes, .ctx = w};
    cleanup_str struct str path = {0};
    nsec_t left = deadline ? deadline - sys_clock_mono() : ROUND + ROUND_GRACE;
    if (make_path(w, &path, err) < 0 || kube_creds_get(w->k, false, err) < 0)
        return -1;
    struct kube_request rq = {.what = w->what, .path = str_cstr(&path)};
    w->events = 0;
    w->granted = w->broken = false;
    err_clear(&w->why);
    kube_stream_done(&w->stream); /* of the half line of the round before nothing is known */
    left = left > ROUND + ROUND_GRACE ? ROUND + ROUND_GRACE : left < NSEC_MS ? NSEC_MS : left;
    struct err why = {0};
    w->k->status = (struct kube_status){0};
    int r = kube_send_once(w->k, w->easy, w->multi, &rq, left, &t, &why);
    *ret_wait = t.retry_after;
    if (r < 0 && w->why.code == ERR_NONE)
        w->why = why;
    return w->said ? 0 : judge(w, &t, err);
}

/* Before the next round. -1: nothing good came for as long as patience lasts. */
static int rest(struct watch *w, unsigned fails, nsec_t good, nsec_t deadline, nsec_t wait,
                struct err *err)
{
    const nsec_t now = sys_clock_mono(), least = kube_backoff(fails);
    if (w->why.code != ERR_NONE && now - good > kube_patience(w->k)) {
        if (err)
            *err = w->why;
        return -1;
    }
    nsec_t end = good + kube_patience(w->k) + NSEC_MS; /* the last try is at the end of patience */
    wait = wait > least ? wait : least;
    if (w->why.code != ERR_NONE && now + wait > end)
        wait = end > now ? end - now : 0;
    if (deadline && now + wait > deadline)
        wait = deadline > now ? deadline - now : 0;
    return kube_pause(w->k, wait, err);
}

static int run(struct watch *w, nsec_t deadline, struct err *err)
{
    nsec_t good = sys_clock_mono(), wait = 0;
    unsigned fails = 0;
    w->expired = true;
    while (!deadline || sys_clock_mono() < deadline) {
        if (w->expired && begin(w, err) < 0)
            return -1;
        nsec_t since = sys_clock_mono();
        if (!w->said && round_trip(w, deadline, &wait, err) < 0)
            return -1;
        if (w->said)
            return w->said;
        nsec_t now = sys_clock_mono();
        bool lived = now - since > LIVED;
        if (w->granted && !w->broken && (lived || w->events))
            good = now;
        fails = good == now && lived ? 0 : fails + 1;
        if (fails && rest(w, fails - 1, good, deadline, wait, err) < 0)
            return -1;
    }
    return 0;
}

int kube_watch(struct kube *k, const struct kube_ref *ref, const struct kube_select *sel,
               nsec_t deadline, kube_watch_fn *fn, void *ctx, struct err *err)
{
    cleanup_free char *what = kube_words(k, "watch", ref);
    struct watch w = {.k = k,
                      .ref = ref,
                      .sel = sel,
                      .fn = fn,
                      .ctx = ctx,
                      .what = what,
                      .easy = curl_easy_init(),
                      .multi = curl_multi_init()};
    int r = w.easy && w.multi ? run(&w, deadline, err)
                              : err_set(err, ERR_FAILED, "libcurl could not be started");
    curl_easy_cleanup(w.easy);
    (void)curl_multi_cleanup(w.multi);
    kube_stream_done(&w.stream);
    return r;
}
