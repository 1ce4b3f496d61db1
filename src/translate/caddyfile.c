#include "translate/caddyfile.h"

#include <stdlib.h>
#include <string.h>

#define HOLD_DEFAULT (30 * NSEC_S)
#define WAITED "X-Changeover-Waited" /* of a request that comes out of a hold */

/* What the block needs to know, and where it goes. Lines are indented by depth. */
struct writer {
    struct str *to;
    int depth;
    const struct spec *side[COLOURS];
    const char *service;
    bool stream_close_delay; /* this Caddy knows it (2.7) */
    const char *wrong;       /* a value that cannot be written; first one */
};

struct version {
    unsigned major, minor, patch;
};

static bool version_parse(const char *text, struct version *v)
{
    unsigned *const part[] = {&v->major, &v->minor, &v->patch};
    for (size_t i = 0; i < ARRAY_LEN(part); i++) {
        char *end;
        unsigned long n = strtoul(text, &end, 10);
        if (end == text || n > 100000 || (i < 2 && *end != '.'))
            return false;
        *part[i] = (unsigned)n;
        text = end + 1;
    }
    return true;
}

static bool version_below(const struct version *v, unsigned major, unsigned minor, unsigned patch)
{
    if (v->major != major)
        return v->major < major;
    if (v->minor != minor)
        return v->minor < minor;
    return v->patch < patch;
}

/* One token: as it is where nothing in it means anything to Caddy, else in backquotes, within which
 * only a backquote (and "{$", which is replaced before all else) does. */
static const char *token(struct writer *w, const char *value, char *buf, size_t size)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:^$~%+=@*?&";
    if (strpbrk(value, "`\n\r") || strstr(value, "{$") || strlen(value) + 3 > size) {
        if (!w->wrong)
            w->wrong = value;
        return "";
    }
    bool bare = *value && strspn(value, plain) == strlen(value);
    snprintf(buf, size, bare ? "%s" : "`%s`", value);
    return buf;
}

/* A path where Caddy would expand placeholders. */
static const char *path_token(struct writer *w, const char *value, char *buf, size_t size)
{
    if (strchr(value, '{') || strchr(value, '"') || strchr(value, '\\')) {
        if (!w->wrong)
            w->wrong = value;
        return "";
    }
    return token(w, value, buf, size);
}

static void line(struct writer *w, const char *fmt, ...) printf_like(2, 3);
static void line(struct writer *w, const char *fmt, ...)
{
    va_list ap;
    for (int i = 0; i < w->depth; i++)
        str_add_c(w->to, '\t');
    va_start(ap, fmt);
    str_vaddf(w->to, fmt, ap);
    va_end(ap);
    str_add_c(w->to, '\n');
}

static void open_block(struct writer *w, const char *fmt, ...) printf_like(2, 3);
static void open_block(struct writer *w, const char *fmt, ...)
{
    cleanup_str struct str head = {0};
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(&head, fmt, ap);
    va_end(ap);
    line(w, "%s {", str_cstr(&head));
    w->depth++;
}

static void close_block(struct writer *w)
{
    w->depth--;
    line(w, "}");
}

static uint16_t http_port(const struct spec *s)
{
    return spec_port_number(s, s->traffic.port);
}

const char *caddyfile_dial(char *buf, size_t size, const struct spec *s, bool websocket)
{
    const struct spec_traffic *t = &s->traffic;
    buf[0] = '\0';
    if (!websocket)
        snprintf(buf, size, "127.0.0.1:%u", http_port(s));
    else if (t->websockets == WS_OWN_PORT)
        snprintf(buf, size, "127.0.0.1:%u", spec_port_number(s, t->ws_port));
    else if (t->websockets == WS_SAME_PORT)
        snprintf(buf, size, "tcp4/127.0.0.1:%u", http_port(s));
    return buf;
}

bool caddyfile_site_tls(const struct spec *s, const char *site)
{
    if (str_starts(site, "http://"))
        return false;
    if (site[0] != ':')
        return true;
    return s->traffic.tls_cert || s->traffic.tls_internal || str_eq(site, ":443");
}

int caddyfile_checks(const struct spec *s)
{
    bool ws = s->traffic.websockets != WS_NONE;
    int handlers = 0;
    int http = s->traffic.retry == RETRY_LISTED ? 2 : 1; /* handlers of plain requests */
    if (s->traffic.failover)
        handlers += 2 * http; /* each colour's failover handler asks both colours */
    if (s->traffic.when_unhealthy == UNHEALTHY_FAIL)
        handlers += http + ws;
    return handlers * 2; /* every 500 ms */
}

static void health(struct writer *w, const struct spec *s)
{
    char buf[1024];
    line(w, "health_uri %s", token(w, s->traffic.health_path, buf, sizeof(buf)));
    line(w, "health_interval 500ms");
    line(w, "health_timeout 3s");
    if (s->traffic.health_body && *s->traffic.health_body)
        line(w, "health_body %s", token(w, s->traffic.health_body, buf, sizeof(buf)));
}

/* The websocket port has no health of its own. */
static void health_of_websocket(struct writer *w, const struct spec *s)
{
    health(w, s);
    if (s->traffic.websockets == WS_OWN_PORT)
        line(w, "health_port %u", http_port(s));
}

static void websocket_end(struct writer *w)
{
    if (w->stream_close_delay)
        line(w, "stream_close_delay 10m");
}

static void retry_match(struct writer *w, const char *methods)
{
    open_block(w, "lb_retry_match");
    line(w, "method %s", methods);
    close_block(w);
}

static bool has_websockets(const struct writer *w)
{
    return w->side[GREEN]->traffic.websockets != WS_NONE;
}

/* The spec may have changed between the two. */
static bool holds(const struct writer *w)
{
    return w->side[GREEN]->writes == WRITES_CLIENT || w->side[BLUE]->writes == WRITES_CLIENT;
}

/* One JSON-RPC call of a method that may run twice: a small body, no batch, "method" in it once and
 * without escapes, so that nobody else's text passes for it. */
static void twice_matcher(struct writer *w)
{
    const struct spec_traffic *t = &w->side[GREEN]->traffic;
    cleanup_str struct str names = {0};
    for (size_t i = 0; i < t->retry_methods.n; i++)
        str_addf(&names, "%s%s", i ? "|" : "", t->retry_methods.v[i]);
    open_block(w, "@%s_twice", w->service);
    line(w, "method POST");
    line(w,
         "expression `{http.request.header.Content-Length}.matches(r'^[0-9]{1,5}$') && "
         "{http.request.body}.matches(r'^\\s*[{]') && "
         "{http.request.body}.matches(r'\"method\"\\s*:\\s*\"(%s)\"') && "
         "!{http.request.body}.matches(r'(?s)\"method\".*\"method\"') && "
         "!{http.request.body}.contains(r'\\u')`",
         str_cstr(&names));
    close_block(w);
}

static void open_websocket_handle(struct writer *w)
{
    open_block(w, "handle @%s_ws", w->service);
}

/* What Caddy's check asks of a colour whose requests are held: not the colour, but our own route,
 * which answers by a flag. So nothing is dialled before our gate has let it go, whatever the colour
 * says of its own health. */
static void hold_health(struct writer *w, const struct spec *s)
{
    line(w, "health_uri " CADDYFILE_OPEN_URI, colour_name(s->colour));
    line(w, "health_port %u", s->traffic.which_port);
    line(w, "health_interval 500ms");
    line(w, "health_timeout 3s");
    line(w, "health_body ^open$");
}

/* This colour only, and not dialled before it is let go: until then every request waits, for the
 * hold itself and as long again for the way back. They go by the colour's preview, which looks at
 * the flag once more: a Caddy that has just been started takes everybody for healthy until its
 * first check, and would send some of them at once. */
static void hold_handlers(struct writer *w, const struct spec *s)
{
    nsec_t hold = 2 * (s->traffic.hold_max ? s->traffic.hold_max : HOLD_DEFAULT);
    open_block(w, "handle @%s_hold_%s", w->service, colour_name(s->colour));
    for (int ws = has_websockets(w); ws >= 0; ws--) {
        if (ws)
            open_websocket_handle(w);
        else
            open_block(w, "handle");
        open_block(w, "reverse_proxy 127.0.0.1:%u", s->traffic.preview_port[s->colour]);
        line(w, "header_up " WAITED " yes");
        hold_health(w, s);
        if (hold % NSEC_S == 0)
            line(w, "lb_try_duration %llds", (long long)(hold / NSEC_S));
        else
            line(w, "lb_try_duration %lldms", (long long)(hold / NSEC_MS));
        line(w, "lb_try_interval 50ms");
        open_block(w, "lb_retry_match");
        line(w, "path *");
        close_block(w);
        if (ws)
            websocket_end(w);
        close_block(w);
        close_block(w);
    }
    close_block(w);
}

/* What is tried again for 5 s after a failed answer. One that could not even be sent is for every
 * method, which makes nothing run twice. No passive health: a client that makes the service drop
 * connections would switch the colour off. */
static void retry_lines(struct writer *w, const char *methods, bool body)
{
    line(w, "lb_try_duration 5s");
    line(w, "lb_try_interval 50ms");
    if (body)
        line(w, "request_buffers 4MiB");
    retry_match(w, methods);
}

/* The handlers of plain requests: with `retry: listed` one more for those that may run twice. */
static void http_handlers(struct writer *w, const struct spec *s, const char *dial, bool failover)
{
    enum spec_retry retry = s->traffic.retry;
    bool check = failover || s->traffic.when_unhealthy == UNHEALTHY_FAIL;
    for (int twice = retry == RETRY_LISTED; twice >= 0; twice--) {
        if (twice)
            open_block(w, "handle @%s_twice", w->service);
        else
            open_block(w, "handle");
        if (!check && retry == RETRY_NONE) {
            line(w, "reverse_proxy %s", dial);
            close_block(w);
            continue;
        }
        open_block(w, "reverse_proxy %s", dial);
        if (failover)
            line(w, "lb_policy first");
        if (check)
            health(w, s);
        if (retry != RETRY_NONE)
            retry_lines(w, twice ? "POST" : "GET HEAD OPTIONS", twice);
        close_block(w);
        close_block(w);
    }
}

/* Both colours, this one first. The only handlers with passive health, and only for websockets: a
 * client that makes the service drop connections would switch both colours off. */
static void failover_handlers(struct writer *w, const struct spec *s, const struct spec *other)
{
    char dial[64], second[64];
    open_block(w, "handle @%s_failover", w->service);
    if (has_websockets(w)) {
        open_websocket_handle(w);
        open_block(w, "reverse_proxy %s %s", caddyfile_dial(dial, sizeof(dial), s, true),
                   caddyfile_dial(second, sizeof(second), other, true));
        line(w, "lb_policy first");
        line(w, "fail_duration 5s");
        line(w, "max_fails 3");
        line(w, "lb_try_duration 2s");
        line(w, "lb_try_interval 50ms");
        retry_match(w, "NONE");
        websocket_end(w);
        close_block(w);
        close_block(w);
    }
    caddyfile_dial(dial, sizeof(dial), s, false);
    caddyfile_dial(second, sizeof(second), other, false);
    cleanup_free char *both = x_asprintf("%s %s", dial, second);
    http_handlers(w, s, both, true);
    close_block(w);
}

/* What serves on ordinary days. */
static void plain_handlers(struct writer *w, const struct spec *s)
{
    char dial[64];
    bool fail = s->traffic.when_unhealthy == UNHEALTHY_FAIL;
    if (has_websockets(w)) {
        open_websocket_handle(w);
        caddyfile_dial(dial, sizeof(dial), s, true);
        if (fail || w->stream_close_delay) {
            open_block(w, "reverse_proxy %s", dial);
            if (fail)
                health_of_websocket(w, s);
            websocket_end(w);
            close_block(w);
        } else {
            line(w, "reverse_proxy %s", dial);
        }
        close_block(w);
    }
    http_handlers(w, s, caddyfile_dial(dial, sizeof(dial), s, false), false);
}

static void colour_handlers(struct writer *w, enum colour c)
{
    const struct spec *s = w->side[c];
    open_block(w, "handle @%s_%s", w->service, colour_name(c));
    line(w, "header X-Changeover-Colour %s", colour_name(c));
    if (holds(w))
        hold_handlers(w, s);
    if (s->traffic.failover)
        failover_handlers(w, s, w->side[colour_other(c)]);
    plain_handlers(w, s);
    close_block(w);
}

static void file_matcher(struct writer *w, const char *name, const char *files)
{
    char dir[1024];
    open_block(w, "@%s_%s file", w->service, name);
    line(w, "root %s", path_token(w, w->side[GREEN]->traffic.flag_dir, dir, sizeof(dir)));
    line(w, "try_files %s", files);
    close_block(w);
}

/* Green is looked at twice: Caddy reads one file after the other, so in a flip to green a single
 * look at each can see neither. */
static void pick(struct writer *w)
{
    file_matcher(w, "flag", "active-green active-blue active-green");
    line(w, "@%s_green vars %s_flag /active-green active-green", w->service, w->service);
    line(w, "@%s_blue vars %s_flag /active-blue active-blue", w->service, w->service);
    line(w, "vars @%s_flag %s_flag {http.matchers.file.relative}", w->service, w->service);
}

static void site_body(struct writer *w, bool tls)
{
    const struct spec *s = w->side[GREEN];
    const struct spec_traffic *t = &s->traffic;
    char a[1024], b[1024];
    if (tls && t->tls_internal)
        line(w, "tls internal");
    else if (tls && t->tls_cert)
        line(w, "tls %s %s", path_token(w, t->tls_cert, a, sizeof(a)),
             path_token(w, t->tls_key ? t->tls_key : "", b, sizeof(b)));
    if (t->access_log) {
        open_block(w, "log");
        line(w, "output file %s", path_token(w, t->access_log, a, sizeof(a)));
        line(w, "format json");
        close_block(w);
    }
    pick(w);
    if (holds(w)) {
        file_matcher(w, "hold_green", "hold-green");
        file_matcher(w, "hold_blue", "hold-blue");
    }
    if (t->failover)
        file_matcher(w, "failover", "failover");
    if (has_websockets(w))
        line(w, "@%s_ws header_regexp Upgrade (?i)^websocket$", w->service);
    if (t->retry == RETRY_LISTED)
        twice_matcher(w);
    colour_handlers(w, GREEN);
    colour_handlers(w, BLUE);
    open_block(w, "handle");
    line(w, "header X-Changeover-Colour none");
    line(w, "header Retry-After 1");
    line(w, "respond \"%s: no readable flag in %s\" 503", w->service, t->flag_dir);
    close_block(w);
}

/* One site block for all plain addresses, one for those with TLS: each handler that is written
 * twice is checked twice by Caddy. */
static void sites(struct writer *w, bool tls)
{
    const struct spec *s = w->side[GREEN];
    cleanup_str struct str head = {0};
    char buf[512];
    for (size_t i = 0; i < s->traffic.sites.n; i++) {
        const char *site = s->traffic.sites.v[i];
        if (caddyfile_site_tls(s, site) != tls)
            continue;
        const char *scheme = site[0] != ':' ? "" : tls ? "https://" : "http://";
        str_addf(&head, "%s%s%s", head.len ? ", " : "", scheme,
                 path_token(w, site, buf, sizeof(buf)));
    }
    if (!head.len)
        return;
    open_block(w, "%s", str_cstr(&head));
    site_body(w, tls);
    close_block(w);
}

static void answer(struct writer *w, const char *matcher, const char *text, int status)
{
    if (matcher)
        open_block(w, "handle @%s_%s", w->service, matcher);
    else
        open_block(w, "handle");
    if (status == 200)
        line(w, "respond \"%s\"", text);
    else
        line(w, "respond \"%s\" %d", text, status);
    close_block(w);
}

/* May requests that are held for this colour go to it? */
static void open_route(struct writer *w, enum colour c)
{
    char open[16], hold[16];
    snprintf(open, sizeof(open), "open-%s", colour_name(c));
    snprintf(hold, sizeof(hold), "hold-%s", colour_name(c));
    open_block(w, "handle " CADDYFILE_OPEN_URI, colour_name(c));
    file_matcher(w, "open", open);
    file_matcher(w, "held", hold);
    answer(w, "open", "open", 200);
    answer(w, "held", "held", 503);
    answer(w, NULL, "free", 503);
    close_block(w);
}

static void which_site(struct writer *w)
{
    open_block(w, "http://:%u", w->side[GREEN]->traffic.which_port);
    line(w, "bind 127.0.0.1");
    pick(w);
    for (int c = 0; c < COLOURS && holds(w); c++)
        open_route(w, (enum colour)c);
    for (int c = 0; c < COLOURS; c++)
        answer(w, colour_name((enum colour)c), colour_name((enum colour)c), 200);
    answer(w, NULL, "none", 503);
    close_block(w);
}

/* What waited says who its client is: Caddy, one hop before, has written that. */
static void preview_proxy(struct writer *w, const char *dial)
{
    if (!holds(w)) {
        line(w, "reverse_proxy %s", dial);
        return;
    }
    open_block(w, "reverse_proxy %s", dial);
    line(w, "trusted_proxies 127.0.0.1/32");
    line(w, "header_up -" WAITED);
    close_block(w);
}

static void not_let_go(struct writer *w, enum colour c)
{
    char open[16], dir[1024];
    snprintf(open, sizeof(open), "open-%s", colour_name(c));
    open_block(w, "@%s_early", w->service);
    line(w, "header " WAITED " *");
    open_block(w, "not file");
    line(w, "root %s", path_token(w, w->side[GREEN]->traffic.flag_dir, dir, sizeof(dir)));
    line(w, "try_files %s", open);
    close_block(w);
    close_block(w);
    open_block(w, "handle @%s_early", w->service);
    line(w, "header Retry-After 1");
    line(w, "respond \"%s: %s is not let go yet\" 503", w->service, colour_name(c));
    close_block(w);
}

static void preview_site(struct writer *w, enum colour c)
{
    const struct spec *s = w->side[c];
    char dial[64];
    open_block(w, "http://:%u", w->side[GREEN]->traffic.preview_port[c]);
    line(w, "bind 127.0.0.1");
    if (holds(w))
        not_let_go(w, c);
    if (has_websockets(w)) {
        line(w, "@ws header_regexp Upgrade (?i)^websocket$");
        open_block(w, "handle @ws");
        preview_proxy(w, caddyfile_dial(dial, sizeof(dial), s, true));
        close_block(w);
    }
    open_block(w, "handle");
    preview_proxy(w, caddyfile_dial(dial, sizeof(dial), s, false));
    close_block(w);
    close_block(w);
}

static int version_can(const struct spec *s, const char *text, struct version *v, struct err *err)
{
    if (!version_parse(text, v))
        return err_set(err, ERR_UNSUPPORTED, "'%s' is no version of Caddy", text);
    if (version_below(v, 2, 6, 2))
        return err_set(err, ERR_UNSUPPORTED,
                       "Caddy %s is older than 2.6.2, which is the first one "
                       "that this was measured with",
                       text);
    bool measured = !version_below(v, 2, 11, 2) || (v->minor == 6 && v->patch == 2);
    if (!measured && s->writes == WRITES_CLIENT)
        return err_set(
            err, ERR_UNSUPPORTED,
            "Caddy %s may check the health at the wrong port (2.6.3 to 2.11.1), so it cannot hold "
            "requests, which 'writes: client' needs; use 2.6.2, or 2.11.2 and later",
            text);
    if (!measured && s->traffic.when_unhealthy == UNHEALTHY_FAIL)
        return err_set(err, ERR_UNSUPPORTED,
                       "Caddy %s may check the health at the wrong port (2.6.3 to 2.11.1); write "
                       "'when_unhealthy: serve', or use 2.6.2, or 2.11.2 and later",
                       text);
    if (s->traffic.retry == RETRY_LISTED && version_below(v, 2, 11, 2))
        return err_set(err, ERR_UNSUPPORTED,
                       "Caddy %s cannot send a POST again; write 'retry: safe-methods' or "
                       "'retry: none', or use 2.11.2 and later",
                       text);
    return 0;
}

int caddyfile_render(const struct spec *green, const struct spec *blue, const char *version,
                     struct str *ret, struct err *err)
{
    struct version v = {0};
    if (version_can(green, version, &v, err) < 0)
        return -1;
    if (green->writes == WRITES_CLIENT && green->traffic.failover)
        return err_set(err, ERR_USAGE,
                       "'failover: true' would send writes to a colour that is not live; "
                       "with 'writes: client' write 'failover: false'");
    size_t start = ret->len;
    struct writer w = {.to = ret,
                       .side = {green, blue},
                       .service = green->service,
                       .stream_close_delay = !version_below(&v, 2, 7, 0)};
    line(&w, "# changeover %s begin", w.service);
    line(&w, "# For Caddy %s. Written by `changeover traffic install`, which also replaces it.",
         version);
    sites(&w, false);
    sites(&w, true);
    which_site(&w);
    preview_site(&w, GREEN);
    preview_site(&w, BLUE);
    line(&w, "# changeover %s end", w.service);
    if (!w.wrong)
        return 0;
    ret->len = start;
    ret->buf[start] = '\0';
    return err_set(err, ERR_USAGE,
                   "'%s' cannot stand in a Caddyfile (it holds a brace, a quote, "
                   "a backslash or a line end)",
                   w.wrong);
}
