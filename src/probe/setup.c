/* From options to what is sent: addresses, request heads, bodies split at their number. */
#include "probe/internal.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static char *url_part(CURLU *u, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    if (curl_url_get(u, part, &text, flags) != CURLUE_OK || !text)
        return NULL;
    char *copy = x_strdup(text);
    curl_free(text);
    return copy;
}

/* A name such as localhost may have several addresses of which only one is served. */
static void choose_address(struct target *t, const struct sys_addr *list, int n)
{
    t->addr = list[0];
    for (int i = 0; i < n && n > 1; i++) {
        int fd = sys_sock_connect_wait(&list[i], sys_clock_mono() + 500 * NSEC_MS / n);
        if (fd < 0)
            continue;
        sys_close_p(&fd);
        t->addr = list[i];
        return;
    }
}

static int resolve(struct target *t, CURLU *u, const char *url, struct err *err)
{
    enum { ADDRESSES = 8 };
    struct sys_addr list[ADDRESSES];
    cleanup_free char *host = url_part(u, CURLUPART_HOST, 0);
    cleanup_free char *given_port = url_part(u, CURLUPART_PORT, 0);
    cleanup_free char *path = url_part(u, CURLUPART_PATH, 0);
    cleanup_free char *query = url_part(u, CURLUPART_QUERY, 0);
    if (!host || !*host)
        return err_set(err, ERR_USAGE, "URL '%s': no host", url);
    bool secure = str_starts(url, "https:") || str_starts(url, "wss:");
    const char *port = given_port ? given_port : secure ? "443" : "80";
    t->path = query ? x_asprintf("%s?%s", path, query) : x_strdup(path && *path ? path : "/");
    t->host_header = given_port ? x_asprintf("%s:%s", host, port) : x_strdup(host);
    t->host = *host == '[' ? x_strndup(host + 1, strcspn(host + 1, "]")) : x_strdup(host);
    int n = sys_addr_resolve(t->host, port, list, ADDRESSES, err);
    if (n < 0)
        return -1;
    choose_address(t, list, n);
    return 0;
}

int target_parse(struct target *t, const char *url, const char *scheme, struct err *err)
{
    CURLU *u = curl_url();
    char *got = NULL;
    int rc = -1;
    if (!u || curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
        !(got = url_part(u, CURLUPART_SCHEME, 0)))
        err_set(err, ERR_USAGE, "'%s' is no URL; it has to be %s://HOST[:PORT]/PATH", url, scheme);
    else if (strcmp(got, scheme) != 0)
        err_set(err, ERR_USAGE, "URL '%s': the probe speaks %s:// here, not %s://", url, scheme,
                got);
    else
        rc = resolve(t, u, url, err);
    free(got);
    curl_url_cleanup(u);
    return rc;
}

void target_done(struct target *t)
{
    free(t->host);
    free(t->host_header);
    free(t->path);
}

int body_parse(struct body *b, const char *text, bool plain, struct err *err)
{
    static const json_int_t marker = 8046271935460081;
    static const char marker_text[] = "8046271935460081";
    json_t *j = plain ? NULL : json_loads(text, 0, NULL);
    json_t *method = json_object_get(j, "method");
    if (!json_is_string(method)) {
        json_decref(j);
        *b = (struct body){
            .prefix = x_strdup(text), .suffix = x_strdup(""), .prefix_len = strlen(text)};
        return 0;
    }
    bool slot = strcmp(json_string_value(method), "getSlot") == 0;
    json_object_set_new(j, "id", json_integer(marker));
    char *dump = json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(j);
    char *at = dump ? strstr(dump, marker_text) : NULL;
    if (!at || strstr(at + 1, marker_text)) {
        free(dump);
        return err_set(err, ERR_USAGE, "body '%.60s': no place for its number", text);
    }
    *b = (struct body){.prefix = x_strndup(dump, (size_t)(at - dump)),
                       .suffix = x_strdup(at + strlen(marker_text)),
                       .rpc = true,
                       .slot = slot};
    b->prefix_len = strlen(b->prefix);
    b->suffix_len = strlen(b->suffix);
    free(dump);
    return 0;
}

void body_done(struct body *b)
{
    free(b->prefix);
    free(b->suffix);
}

static void head_build(const struct probe *p, struct str *head, const char *path)
{
    const char *method = p->o.method ? p->o.method : p->n_bodies ? "POST" : "GET";
    str_addf(head,
             "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: changeover-probe/" CHANGEOVER_VERSION
             "\r\nAccept: */*\r\n",
             method, path, p->target.host_header);
    if (p->n_bodies)
        str_add(head, "Content-Type: application/json\r\n");
    for (const char *const *h = p->o.headers; h && *h; h++)
        str_addf(head, "%s\r\n", *h);
    str_add(head, "X-Changeover-Probe: ");
}

static int check_headers(const struct probe_options *o, struct err *err)
{
    for (const char *const *h = o->headers; h && *h; h++)
        if (!strchr(*h, ':') || strpbrk(*h, "\r\n"))
            return err_set(err, ERR_USAGE, "header '%s' has to be 'NAME: VALUE'", *h);
    if (o->slow_path && (*o->slow_path != '/' || strpbrk(o->slow_path, " \r\n")))
        return err_set(err, ERR_USAGE, "path '%s' has to begin with / and have no spaces",
                       o->slow_path);
    if (o->method && strpbrk(o->method, " \r\n"))
        return err_set(err, ERR_USAGE, "method '%s' has a space in it", o->method);
    return 0;
}

static int setup_bodies(struct probe *p, struct err *err)
{
    const struct probe_options *o = &p->o;
    p->bodies = x_alloc((o->n_bodies + 1) * sizeof(*p->bodies));
    for (; p->n_bodies < o->n_bodies; p->n_bodies++)
        if (body_parse(&p->bodies[p->n_bodies], o->bodies[p->n_bodies], o->plain, err) < 0)
            return -1;
    if (!p->n_bodies && body_parse(&p->bodies[0], "", true, err) < 0)
        return -1;
    return body_parse(&p->slow_body, o->slow_body ? o->slow_body : "", o->plain, err);
}

int setup_requests(struct probe *p, struct err *err)
{
    const struct probe_options *o = &p->o;
    p->secure_url = str_starts(o->url, "https://");
    if (check_headers(o, err) < 0 ||
        target_parse(&p->target, o->url, p->secure_url ? "https" : "http", err) < 0 ||
        setup_bodies(p, err) < 0)
        return -1;
    if (o->slow_body && !o->n_bodies)
        return err_set(err, ERR_USAGE, "a slow body needs a body for the other requests too");
    head_build(p, &p->head, p->target.path);
    head_build(p, &p->slow_head, o->slow_path ? o->slow_path : p->target.path);
    if (o->expect_body) {
        int rc = regcomp(&p->regex, o->expect_body, REG_EXTENDED | REG_NOSUB);
        char why[100];
        if (rc != 0) {
            regerror(rc, &p->regex, why, sizeof(why));
            return err_set(err, ERR_USAGE, "regular expression '%s': %s", o->expect_body, why);
        }
        p->has_regex = true;
    }
    return 0;
}

void setup_done(struct probe *p)
{
    target_done(&p->target);
    target_done(&p->ws_target);
    for (size_t i = 0; p->bodies && i < p->n_bodies + !p->n_bodies; i++)
        body_done(&p->bodies[i]);
    free(p->bodies);
    body_done(&p->slow_body);
    str_done(&p->head);
    str_done(&p->slow_head);
    if (p->has_regex)
        regfree(&p->regex);
}
