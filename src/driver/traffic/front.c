#include "driver/traffic/caddy_internal.h"

#include "driver/ask.h"
#include "net/http.h"
#include "sys/file.h"
#include "translate/caddyfile.h"

#include <stdlib.h>
#include <string.h>

/* Of one question through the front or a preview: a busy machine may be slow, and slow is not
 * wrong. */
#define ANSWER_MAX (10 * NSEC_S)

char *traffic_flag_path(const struct spec *s, const char *name)
{
    return x_asprintf("%s/%s", s->traffic.flag_dir, name);
}

bool traffic_flag_set(const struct spec *s, const char *name)
{
    cleanup_free char *path = traffic_flag_path(s, name);
    return sys_path_kind(path) == SYS_FILE;
}

enum colour traffic_flag(const struct spec *s)
{
    if (traffic_flag_set(s, "active-green"))
        return GREEN;
    return traffic_flag_set(s, "active-blue") ? BLUE : COLOUR_NONE;
}

enum colour traffic_which(const struct spec *s, nsec_t timeout, char *why, size_t size)
{
    char url[64];
    struct err err = {0};
    cleanup_http_answer struct http_answer a = {0};
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", s->traffic.which_port);
    if (http_send(&(struct http_request){.url = url, .timeout = timeout, .max = 4096}, &a, &err) <
        0) {
        if (why)
            snprintf(why, size, "%.*s", (int)size - 1, err.msg);
        return COLOUR_NONE;
    }
    enum colour c = a.status == 200 ? colour_parse(str_cstr(&a.body)) : COLOUR_NONE;
    if (c == COLOUR_NONE && why)
        snprintf(why, size, "Caddy sees no flag in '%s' (%s answered %d '%.40s')",
                 s->traffic.flag_dir, url, a.status, str_cstr(&a.body));
    return c;
}

/* "open", "held" or "free", as Caddy sees the flags of c; "" if it does not answer. */
void traffic_hold_seen(const struct spec *s, enum colour c, char *buf, size_t size)
{
    char url[64];
    struct err err = {0};
    cleanup_http_answer struct http_answer a = {0};
    buf[0] = '\0';
    snprintf(url, sizeof(url), "http://127.0.0.1:%u" CADDYFILE_OPEN_URI, s->traffic.which_port,
             colour_name(c));
    if (http_send(&(struct http_request){.url = url, .timeout = TRAFFIC_PATIENT, .max = 64}, &a,
                  &err) == 0)
        snprintf(buf, size, "%s", str_cstr(&a.body));
}

void traffic_site_url(const struct spec *s, size_t i, char *buf, size_t size)
{
    bool tls = caddyfile_site_tls(s, s->traffic.sites.v[i]);
    const char *site = s->traffic.sites.v[i];
    const char *rest = strstr(site, "://");
    site = rest ? rest + 3 : site;
    int n = (int)strcspn(site, "/"); /* a path of the site is no matter here */
    bool any_name = site[0] == '*';  /* "*.example.org" */
    const char *host = site[0] == ':' ? "127.0.0.1" : any_name ? "changeover" : "";
    snprintf(buf, size, "%s://%s%.*s", tls ? "https" : "http", host, n - any_name, site + any_name);
}

void traffic_identify_query(const struct driver_ctx *ctx, enum traffic_via via, enum colour c,
                            size_t site, struct query *q)
{
    const struct spec *s = traffic_spec(ctx);
    const struct spec_query *ask = &s->traffic.identify;
    *q = (struct query){.ask = query_of_spec(ask), .timeout = ANSWER_MAX};
    if (via != VIA_FRONT) {
        const struct spec *side = ctx->side[c];
        query_local(q, via == VIA_PREVIEW ? s->traffic.preview_port[c]
                                          : spec_port_number(side, side->traffic.port));
        return;
    }
    char base[300];
    const char *path = ask->path ? ask->path : "/";
    traffic_site_url(s, site, base, sizeof(base));
    snprintf(q->url, sizeof(q->url), "%s%s%.200s", base, *path == '/' ? "" : "/", path);
    q->loopback = true;
}

bool traffic_identified(struct query *q)
{
    if (q->answered && q->found && q->status == 200 && q->value.len)
        return true;
    if (q->answered && q->status != 200)
        snprintf(q->why, sizeof(q->why), "status %d", q->status);
    else if (q->answered && q->found)
        snprintf(q->why, sizeof(q->why), "an empty value");
    return false;
}
