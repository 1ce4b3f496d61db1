/* One request, one answer, over libcurl; kube.c decides what is tried again. */
#include "net/kube_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MOST (10 * NSEC_S)

void kube_transfer_done(struct kube_transfer *t)
{
    str_done(&t->body);
}

/* --- what comes in --------------------------------------------------------------------------- */

/* A stream goes to on_bytes only if it was granted and is one; else it is a refusal's body. */
static bool is_stream(struct kube_transfer *t)
{
    long code = 0;
    (void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
    return t->on_bytes && code == 200 && str_starts(t->type, "application/json");
}

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
    struct kube_transfer *t = arg;
    size_t len = size * n, room = t->max - t->body.len;
    if (is_stream(t)) {
        t->ended = t->on_bytes(t->ctx, bytes, len) != 0;
        return t->ended ? 0 : len;
    }
    if (len > room && !t->text) {
        t->too_long = true;
        return 0;
    }
    str_add_n(&t->body, bytes, len < room ? len : room);
    t->ended = len > room; /* a text is cut where it is long enough */
    return t->ended ? 0 : len;
}

/* The value of "Name: value\r\n" if the name is this one. */
static bool value_of(const char *line, size_t len, const char *name, char *buf, size_t size)
{
    size_t n = strlen(name);
    if (len <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
        return false;
    const char *p = line + n + 1, *end = line + len;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && strchr("\r\n \t", end[-1]))
        end--;
    str_format(buf, size, "%.*s", (int)(end - p), p);
    return true;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
    struct kube_transfer *t = arg;
    size_t len = size * n;
    char text[32];
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        t->type[0] = '\0'; /* "100 Continue", or a proxy's answer, came before */
        t->retry_after = 0;
    }
    (void)value_of(line, len, "Content-Type", t->type, sizeof(t->type));
    if (value_of(line, len, "Retry-After", text, sizeof(text))) {
        unsigned long s = strtoul(text, NULL, 10); /* a date counts as the least */
        t->retry_after = (nsec_t)(s < 1 ? 1 : s < 3600 ? s : 3600) * NSEC_S;
    }
    return len;
}

/* --- what goes out --------------------------------------------------------------------------- */

static void set_blob(CURL *c, CURLoption option, const char *pem)
{
    struct curl_blob blob = {(void *)(uintptr_t)pem, strlen(pem), CURL_BLOB_COPY};
    (void)curl_easy_setopt(c, option, &blob);
}

static void set_tls(const struct kube *k, CURL *c)
{
    const char *cert = k->creds.cert ? k->creds.cert : k->cfg.cert;
    const char *key = k->creds.cert ? k->creds.key : k->cfg.key;
    if (k->cfg.ca) { /* that authority alone: libcurl would add the system's directory */
        curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
        curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
        set_blob(c, CURLOPT_CAINFO_BLOB, k->cfg.ca);
    }
    if (k->cfg.insecure) {
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (cert) {
        set_blob(c, CURLOPT_SSLCERT_BLOB, cert);
        set_blob(c, CURLOPT_SSLKEY_BLOB, key);
    }
}

static void set_proxy(const struct kube *k, CURL *c)
{
    const char *proxy = k->cfg.proxy;
    if (!proxy && k->loopback)
        curl_easy_setopt(c, CURLOPT_PROXY, "");
    if (!proxy)
        return;
    cleanup_free char *url =
        str_starts(proxy, "socks5://") ? x_asprintf("socks5h://%s", proxy + 9) : x_strdup(proxy);
    curl_easy_setopt(c, CURLOPT_PROXY, url);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "");
}

static void add_header(struct curl_slist **l, const char *fmt, const char *value)
{
    cleanup_str struct str line = {0};
    str_addf(&line, "%s: %s", fmt, value);
    *l = curl_slist_append(*l, str_cstr(&line));
}

static void set_who(const struct kube *k, struct curl_slist **headers)
{
    if (k->creds.token) {
        cleanup_str struct str bearer = {0};
        str_addf(&bearer, "Bearer %s", k->creds.token);
        add_header(headers, "Authorization", str_cstr(&bearer));
    }
    if (k->cfg.as)
        add_header(headers, "Impersonate-User", k->cfg.as);
    if (k->cfg.as_uid)
        add_header(headers, "Impersonate-Uid", k->cfg.as_uid);
    for (size_t i = 0; i < k->cfg.as_groups.n; i++)
        add_header(headers, "Impersonate-Group", k->cfg.as_groups.v[i]);
}

void kube_setup(struct kube *k, CURL *c, const char *path, struct curl_slist **headers,
                struct curl_slist **connect)
{
    cleanup_free char *url = x_asprintf("%s%s", k->url, path);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "changeover/" CHANGEOVER_VERSION);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPIDLE, 30L);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPINTVL, 10L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
    set_tls(k, c);
    set_proxy(k, c);
    set_who(k, headers);
    if (k->cfg.server_name) { /* the name is the URL's, and the way leads to the real host */
        cleanup_free char *to = x_asprintf("::%s", k->host);
        *connect = curl_slist_append(*connect, to);
        curl_easy_setopt(c, CURLOPT_CONNECT_TO, *connect);
        add_header(headers, "Host", k->host);
    }
}

static void set_body(CURL *c, const struct kube_request *rq, struct curl_slist **headers)
{
    add_header(headers, "Accept", rq->text ? "*/*" : "application/json");
    *headers = curl_slist_append(*headers, "Expect:");
    if (rq->body) {
        add_header(headers, "Content-Type", rq->type);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(rq->body));
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, rq->body);
    }
    if (rq->method)
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
    /* libcurl repeats a request by itself when a kept connection turns out to be dead; whether the
     * server had acted on it, it cannot know */
    if (rq->effect)
        curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
}

/* --- driving --------------------------------------------------------------------------------- */

static CURLcode drive(struct kube *k, CURLM *multi)
{
    int running = 1, left;
    while (running) {
        CURLMcode rc = curl_multi_perform(multi, &running);
        if (rc == CURLM_OK && running)
            rc = curl_multi_poll(multi, NULL, 0, k->o.poll ? 100 : 1000, NULL);
        if (rc != CURLM_OK)
            return CURLE_FAILED_INIT;
        if (running && kube_interrupted(k))
            return CURLE_ABORTED_BY_CALLBACK;
    }
    const CURLMsg *m = curl_multi_info_read(multi, &left);
    return m && m->msg == CURLMSG_DONE ? m->data.result : CURLE_FAILED_INIT;
}

static int say(struct kube *k, const struct kube_request *rq, struct kube_transfer *t,
               struct err *err)
{
    if (t->result == CURLE_ABORTED_BY_CALLBACK)
        return err_set(err, ERR_INTERRUPTED, "%s: ended, as asked", rq->what);
    if (t->too_long)
        return err_set(err, ERR_FAILED, "%s: the answer is longer than %zu bytes", rq->what,
                       t->max);
    err_set(err, t->result == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_FAILED, "%s: %s: %s",
            rq->what, k->cfg.server, t->why[0] ? t->why : curl_easy_strerror(t->result));
    if (t->result == CURLE_PEER_FAILED_VERIFICATION)
        return err_hint(err, "is the certificate authority of context '%s' the cluster's?",
                        k->cfg.context);
    return -1;
}

int kube_send_once(struct kube *k, CURL *easy, CURLM *multi, const struct kube_request *rq,
                   nsec_t timeout, struct kube_transfer *t, struct err *err)
{
    struct curl_slist *headers = NULL, *connect = NULL;
    nsec_t connecting = timeout < CONNECT_MOST ? timeout : CONNECT_MOST;
    long sent = 0, code = 0;
    t->easy = easy;
    t->body.max = t->max + 1;
    curl_easy_reset(easy);
    kube_setup(k, easy, rq->path, &headers, &connect);
    set_body(easy, rq, &headers);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(timeout / NSEC_MS) + 1);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(connecting / NSEC_MS) + 1);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->why);
    t->result = CURLE_FAILED_INIT;
    if (curl_multi_add_handle(multi, easy) == CURLM_OK) {
        t->result = drive(k, multi);
        (void)curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);
        (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
        (void)curl_multi_remove_handle(multi, easy);
    }
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    curl_slist_free_all(connect);
    t->sent = sent > 0;
    t->code = (int)code;
    if (t->result == CURLE_WRITE_ERROR && t->ended)
        t->result = CURLE_OK;
    return t->result == CURLE_OK ? 0 : say(k, rq, t, err);
}
