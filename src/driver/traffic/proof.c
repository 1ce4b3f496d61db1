/* That a colour can take the traffic (before the flip), and that it has it (after). The answers
 * count, not the header that Caddy sets from the flag. */
#include "driver/traffic/caddy_internal.h"

#include "net/http.h"
#include "sys/clock.h"
#include "translate/caddyfile.h"

#include <netinet/in.h>
#include <regex.h>
#include <string.h>

#define SEEN_WITHIN (2 * NSEC_S)
#define SETTLE (50 * NSEC_MS) /* requests that chose before the flip have been sent on by then */
#define WATCH (200 * NSEC_MS) /* how long the old colour's sockets are watched at least */
#define BATCH 16

/* --- what each colour says of itself ------------------------------------------------------- */

/* [0] the colour's own port, [1] its preview, [2] the other's preview */
enum { OWN, PREVIEW, OTHER, ASKED };

static int ask_both(const struct driver_ctx *ctx, enum colour to, struct query q[ASKED],
                    struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    const struct spec_query *ask = &s->traffic.identify;
    if (!ask->method && !ask->path && !ask->header && !ask->field) {
        err_set(err, ERR_USAGE,
                "%s: traffic.identify is not set, so nothing can prove which colour answers",
                s->path ? s->path : "the spec");
        return err_hint(
            err,
            "name under traffic.identify what only the backend itself says and what differs by "
            "colour: a JSON-RPC method and field, a path, or a header");
    }
    enum colour other = colour_other(to);
    traffic_identify_query(ctx, VIA_PORT, to, 0, &q[OWN]);
    traffic_identify_query(ctx, VIA_PREVIEW, to, 0, &q[PREVIEW]);
    traffic_identify_query(ctx, VIA_PREVIEW, other, 0, &q[OTHER]);
    int r = query_run(q, ASKED, ctx->poll, ctx->poll_ctx, err);
    if (r)
        return r < 0 ? -1 : err_set(err, ERR_INTERRUPTED, "interrupted");
    for (int i = 0; i <= PREVIEW; i++)
        if (!traffic_identified(&q[i]))
            return err_set(
                err, ERR_FAILED, "%s does not say who it is (traffic.identify) at %s%s: %s",
                colour_name(to), i == PREVIEW ? "Caddy's preview " : "", q[i].url, q[i].why);
    const char *own = str_cstr(&q[OWN].value), *seen = str_cstr(&q[PREVIEW].value);
    if (!str_eq(own, seen)) {
        err_set(
            err, ERR_FAILED,
            "Caddy's preview of %s (%s) reaches something else than %s: '%.80s' instead of '%.80s'",
            colour_name(to), q[PREVIEW].url, q[OWN].url, seen, own);
        return err_hint(err, "changeover traffic install");
    }
    /* an other that does not answer cannot be taken for this one */
    if (traffic_identified(&q[OTHER]) && str_eq(seen, str_cstr(&q[OTHER].value))) {
        err_set(
            err, ERR_FAILED,
            "both colours answer '%.80s' (traffic.identify), so nothing proves which one answers: "
            "either both previews reach one instance, or the value does not differ by colour",
            seen);
        return err_hint(err, "compare %s with %s", q[PREVIEW].url, q[OTHER].url);
    }
    return 0;
}

/* --- before -------------------------------------------------------------------------------- */

static int health_through_preview(const struct spec *s, enum colour to, struct err *err)
{
    char url[600];
    regex_t re;
    const char *path = s->traffic.health_path ? s->traffic.health_path : "/";
    cleanup_http_answer struct http_answer a = {0};
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", s->traffic.preview_port[to], path);
    if (http_send(&(struct http_request){.url = url, .timeout = 2 * NSEC_S}, &a, err) < 0)
        return err_ctx(err, "the preview of %s", colour_name(to));
    if (a.status != 200)
        return err_set(err, ERR_FAILED, "%s is not healthy through Caddy: %s answers %d '%.80s'",
                       colour_name(to), url, a.status, str_cstr(&a.body));
    const char *want = s->traffic.health_body;
    if (!want || !*want)
        return 0;
    if (regcomp(&re, want, REG_EXTENDED | REG_NOSUB) != 0)
        return err_set(err, ERR_USAGE, "traffic.health body '%s' is no regular expression", want);
    int no_match = regexec(&re, str_cstr(&a.body), 0, NULL, 0);
    regfree(&re);
    if (no_match)
        return err_set(err, ERR_FAILED,
                       "%s is not healthy through Caddy: %s answers '%.80s', not '%s'",
                       colour_name(to), url, str_cstr(&a.body), want);
    return 0;
}

/* With active health in the plain handlers the colour must also have been healthy for as long as
 * Caddy may take to see it: until then its handler answers 503, which the preview (it has no health
 * check) does not show. */
#define CHECKS_SEEN (1300 * NSEC_MS) /* two of Caddy's check intervals, and a check's own time */
static int wait_for_checks(const struct driver_ctx *ctx, enum colour to, struct err *err)
{
    nsec_t deadline = sys_clock_mono() + CHECKS_SEEN;
    while (sys_clock_mono() < deadline) {
        if (driver_poll(ctx))
            return err_set(err, ERR_INTERRUPTED, "interrupted while Caddy checks %s",
                           colour_name(to));
        sys_sleep(50 * NSEC_MS);
    }
    return health_through_preview(traffic_spec(ctx), to, err);
}

int traffic_caddy_preview(const struct driver_ctx *ctx, enum colour to, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    char why[256] = "";
    enum colour flag = traffic_flag(s), seen = traffic_which(s, TRAFFIC_PATIENT, why, sizeof(why));
    if (flag == COLOUR_NONE || seen != flag) {
        err_set(err, ERR_FAILED, "the flags say %s, Caddy would choose %s%s%s", colour_name(flag),
                colour_name(seen), *why ? ": " : "", why);
        return err_hint(err, "changeover traffic install");
    }
    struct query q[ASKED] = {0};
    int r = ask_both(ctx, to, q, err);
    query_done(q, ASKED);
    if (r < 0 || health_through_preview(s, to, err) < 0)
        return -1;
    return s->traffic.when_unhealthy == UNHEALTHY_FAIL ? wait_for_checks(ctx, to, err) : 0;
}

/* --- after --------------------------------------------------------------------------------- */

static int wait_seen(const struct driver_ctx *ctx, enum colour to, struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    nsec_t deadline = sys_clock_mono() + SEEN_WITHIN;
    char why[256] = "";
    enum colour seen;
    while ((seen = traffic_which(s, TRAFFIC_PATIENT, why, sizeof(why))) != to) {
        if (sys_clock_mono() > deadline)
            return err_set(err, ERR_FAILED, "Caddy would choose %s, not %s%s%s", colour_name(seen),
                           colour_name(to), *why && seen == COLOUR_NONE ? ": " : "",
                           seen == COLOUR_NONE ? why : "");
        sys_sleep(5 * NSEC_MS);
    }
    return 0;
}

/* N requests through the front, the sites in turn; each must answer `value`. */
static int ask_front(const struct driver_ctx *ctx, enum colour to, const char *value,
                     struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    size_t sites = s->traffic.sites.n,
           todo = (size_t)(s->traffic.verify_requests > 0 ? s->traffic.verify_requests : 1);
    int r = 0;
    if (todo < sites)
        todo = sites;
    for (size_t done = 0; done < todo && r == 0;) {
        struct query q[BATCH] = {0};
        size_t n = todo - done < BATCH ? todo - done : BATCH;
        for (size_t i = 0; i < n; i++)
            traffic_identify_query(ctx, VIA_FRONT, to, (done + i) % (sites ? sites : 1), &q[i]);
        r = query_run(q, n, ctx->poll, ctx->poll_ctx, err);
        if (r > 0)
            r = err_set(err, ERR_INTERRUPTED, "interrupted in the proof");
        for (size_t i = 0; i < n && r == 0; i++) {
            if (!traffic_identified(&q[i]))
                r = err_set(err, ERR_FAILED, "request %zu of %zu through %s: %s", done + i + 1,
                            todo, q[i].url, q[i].why);
            else if (!str_eq(str_cstr(&q[i].value), value))
                r = err_set(
                    err, ERR_FAILED,
                    "request %zu of %zu through %s was answered by '%.80s', not by %s ('%.80s')",
                    done + i + 1, todo, q[i].url, str_cstr(&q[i].value), colour_name(to), value);
        }
        query_done(q, n);
        done += n;
    }
    return r;
}

/* Caddy's sockets to a colour's HTTP port. */
static int sockets_to(const struct driver_ctx *ctx, enum colour c, struct sock_list *ret,
                      struct err *err)
{
    const struct spec *s = ctx->side[c];
    cleanup(traffic_proxy_done) struct traffic_proxy proxy = {0};
    struct sock_filter_by by = {.protocol = IPPROTO_TCP,
                                .states = 1u << SOCK_ESTABLISHED,
                                .peer = spec_port_number(s, s->traffic.port),
                                .tcp_info = true};
    if (sys_sockets(&by, ret, err) < 0 || traffic_proxy_find(ctx, &proxy, err) < 0)
        return -1;
    size_t kept = 0;
    for (size_t i = 0; i < ret->n; i++)
        if (traffic_proxy_owns(&proxy, &ret->items[i]))
            ret->items[kept++] = ret->items[i];
    ret->n = kept;
    return 0;
}

/* Segments with data that went out between two looks, but for sockets that were in the middle of a
 * request at the first one: those may still be sending it. */
static unsigned long long sent_between(const struct sock_list *first, const struct sock_list *then)
{
    unsigned long long sum = 0;
    for (size_t i = 0; i < then->n; i++) {
        const struct sock_info *now = &then->items[i], *was = NULL;
        for (size_t j = 0; j < first->n && !was; j++)
            if (first->items[j].inode == now->inode)
                was = &first->items[j];
        if (!was)
            sum += now->segments_sent;
        else if (was->sent_ms_ago >= was->recv_ms_ago)
            sum += now->segments_sent - was->segments_sent;
    }
    return sum;
}

/* Websockets on the HTTP port cannot be told from requests by the kernel's numbers. */
static bool sockets_tell(const struct driver_ctx *ctx, enum colour c)
{
    struct traffic_load l;
    if (ctx->side[c]->traffic.websockets != WS_SAME_PORT)
        return true;
    return traffic_caddy_load(ctx, c, &l, NULL) == 0 && l.websockets == 0;
}

static int check_quiet(const struct driver_ctx *ctx, enum colour old, const struct sock_list *first,
                       nsec_t since, struct err *err)
{
    cleanup_sock_list struct sock_list then = {0};
    while (sys_clock_mono() - since < WATCH) {
        if (driver_poll(ctx))
            return err_set(err, ERR_INTERRUPTED, "interrupted in the proof");
        sys_sleep(10 * NSEC_MS);
    }
    if (sockets_to(ctx, old, &then, err) < 0)
        return -1;
    int rate = caddyfile_checks(ctx->side[old]);
    nsec_t took = sys_clock_mono() - since;
    /* each handler checks every 500 ms: at most one more each than the time says */
    unsigned long long may =
        (unsigned long long)rate * (unsigned long long)(took / NSEC_MS) / 1000 +
        (unsigned long long)rate;
    unsigned long long sent = sent_between(first, &then);
    if (sent <= may || !sockets_tell(ctx, old))
        return 0;
    return err_set(err, ERR_FAILED,
                   "Caddy still sends requests to %s: %llu segments with data in %lld ms, where "
                   "its health checks "
                   "account for %llu",
                   colour_name(old), sent, (long long)(took / NSEC_MS), may);
}

/* The front answers as `to`, and nothing goes to the other meanwhile. On a machine that is short of
 * processors a request that was let in before the flip is sent to its backend long after it: such
 * are over by the next round, while a Caddy that still sends there is caught by our own requests in
 * each of them. */
static int prove_quiet(const struct driver_ctx *ctx, enum colour to, const char *who,
                       struct err *err)
{
    enum { ROUNDS = 3 };
    for (int round = 1;; round++) {
        cleanup_sock_list struct sock_list first = {0};
        nsec_t since = sys_clock_mono();
        if (sockets_to(ctx, colour_other(to), &first, err) < 0 || ask_front(ctx, to, who, err) < 0)
            return -1;
        if (check_quiet(ctx, colour_other(to), &first, since, err) == 0)
            return 0;
        if (round == ROUNDS || err->code == ERR_INTERRUPTED)
            return -1;
        err_clear(err);
    }
}

int traffic_caddy_verify(const struct driver_ctx *ctx, enum colour to, struct err *err)
{
    struct query q[ASKED] = {0};
    int r = wait_seen(ctx, to, err);
    if (r == 0)
        r = ask_both(ctx, to, q, err);
    if (r == 0)
        sys_sleep(SETTLE);
    if (r == 0)
        r = prove_quiet(ctx, to, str_cstr(&q[PREVIEW].value), err);
    query_done(q, ASKED);
    return r == 0 ? 0 : err_ctx(err, "the traffic is not proven to be at %s", colour_name(to));
}
