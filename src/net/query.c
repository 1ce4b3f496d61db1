#include "net/query.h"

#include "format/json.h"
#include "net/ws.h"

#include <curl/curl.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

/* Any 16 bytes do; what counts is that the answer is made from them. */
#define UPGRADE_KEY "Y2hhbmdlb3Zlci1nYXRlIQ=="
#define BODY_MAX ((size_t)4 << 20)
#define VALUE_MAX (64U << 10)
#define TIMEOUT_DEFAULT (5 * NSEC_S)

/* One query in flight. */
struct flight {
    struct query *q;
    CURL *easy;
    struct curl_slist *headers, *connect;
    char *post;
    struct str body, header; /* header: the value of the one that was asked for */
    bool has_header, upgrade, accept, headers_done;
    char error[CURL_ERROR_SIZE];
};

static void say(struct query *q, const char *fmt, ...) printf_like(2, 3);
static void say(struct query *q, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(q->why, sizeof(q->why), fmt, ap);
    va_end(ap);
}

void query_local(struct query *q, uint16_t port)
{
    const char *path = q->ask.path ? q->ask.path : "/";
    (void)snprintf(q->url, sizeof(q->url), "http://127.0.0.1:%u%s%s", port, *path == '/' ? "" : "/",
                   path);
}

bool query_number(const struct query *q, double *ret)
{
    const char *text = str_cstr(&q->value);
    char *end = NULL;
    if (!q->found || !*text || strspn(text, "-+0123456789.eE") != strlen(text))
        return false;
    errno = 0;
    double v = strtod(text, &end);
    if (errno || *end || !isfinite(v))
        return false;
    *ret = v;
    return true;
}

/* --- what comes in ------------------------------------------------------------------------- */

static size_t body_max(const struct query *q)
{
    return q->whole ? JSON_MAX_BYTES : BODY_MAX;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
    struct flight *f = ctx;
    if (f->body.len + size * n > body_max(f->q))
        return 0; /* curl ends it with CURLE_WRITE_ERROR */
    str_add_n(&f->body, data, size * n);
    return size * n;
}

/* "Name: value\r\n": the value without the blanks around it if the name is this one, else NULL. */
static const char *header_value(const char *line, size_t n, const char *name, size_t *ret_n)
{
    size_t len = strlen(name);
    if (n <= len || strncasecmp(line, name, len) != 0 || line[len] != ':')
        return NULL;
    const char *p = line + len + 1, *end = line + n;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && strchr("\r\n \t", end[-1]))
        end--;
    *ret_n = (size_t)(end - p);
    return p;
}

static bool accepts(const char *value, size_t n)
{
    char wanted[WS_ACCEPT_SIZE];
    ws_accept(UPGRADE_KEY, wanted);
    return n == strlen(wanted) && memcmp(value, wanted, n) == 0;
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
    struct flight *f = ctx;
    const char *wanted = f->q->ask.header, *v;
    size_t len = size * n, v_len = 0;

    if (wanted && (v = header_value(line, len, wanted, &v_len))) {
        f->has_header = true;
        str_clear(&f->header);
        str_add_n(&f->header, v, v_len);
    }
    if (f->q->how != QUERY_UPGRADE)
        return len;
    if ((v = header_value(line, len, "upgrade", &v_len)))
        f->upgrade = v_len == 9 && strncasecmp(v, "websocket", 9) == 0;
    if ((v = header_value(line, len, "sec-websocket-accept", &v_len)))
        f->accept = accepts(v, v_len);
    if (len <= 2) {
        /* What follows is not HTTP any more: we have seen enough, and end the transfer here. */
        f->headers_done = true;
        return 0;
    }
    return len;
}

/* --- the value in an answer ---------------------------------------------------------------- */

static void take_field(struct query *q, const struct str *body)
{
    cleanup_json json_t *root = NULL;
    if (json_read(str_cstr(body), body->len, &root, NULL) < 0) {
        say(q, "the answer is not JSON: '%.60s'", str_cstr(body));
        return;
    }
    const char *field = q->ask.field ? q->ask.field : "result";
    json_t *error = json_object_get(root, "error");
    q->found = json_text(json_at(root, field), &q->value);
    if (q->found)
        return;
    if (json_is_object(error)) {
        const char *m = json_string_value(json_object_get(error, "message"));
        say(q, "error %lld: %s", (long long)json_integer_value(json_object_get(error, "code")),
            m ? m : "(no message)");
    } else {
        say(q, "no field '%s' in the answer '%.80s'", field, str_cstr(body));
    }
}

static void take_value(struct flight *f)
{
    struct query *q = f->q;
    const struct query_ask *ask = &q->ask;

    q->value.max = VALUE_MAX;
    if (q->whole) {
        q->found = true;
        str_done(&q->value);
        q->value = f->body;
        f->body = (struct str){0};
    } else if (ask->header) {
        q->found = f->has_header;
        str_add_n(&q->value, str_cstr(&f->header), f->header.len);
        if (!q->found)
            say(q, "no header '%s' in the answer (status %d)", ask->header, q->status);
    } else if (ask->field || ask->method) {
        take_field(q, &f->body);
    } else {
        q->found = true;
        str_add_n(&q->value, str_cstr(&f->body), f->body.len);
    }
}

static void take_upgrade(struct flight *f)
{
    struct query *q = f->q;
    q->found = q->status == 101 && f->upgrade && f->accept;
    if (q->status != 101)
        say(q, "no upgrade to a websocket: status %d", q->status);
    else if (!q->found)
        say(q, "status 101, but not to a websocket (Upgrade or Sec-WebSocket-Accept is missing or "
               "wrong)");
}

static void take_answer(struct flight *f, CURLcode rc)
{
    struct query *q = f->q;
    long status = 0;
    curl_off_t us = 0;

    (void)curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(f->easy, CURLINFO_TOTAL_TIME_T, &us);
    q->status = (int)status;
    q->took = (nsec_t)us * 1000;
    q->why[0] = '\0';
    if (rc == CURLE_WRITE_ERROR && f->headers_done)
        rc = CURLE_OK;
    if (rc == CURLE_WRITE_ERROR) {
        say(q, "an answer of more than %zu bytes", body_max(q));
        return;
    }
    if (rc != CURLE_OK) {
        say(q, "%s", f->error[0] ? f->error : curl_easy_strerror(rc));
        return;
    }
    q->answered = true;
    if (q->how == QUERY_VALUE)
        take_value(f);
    else if (q->how == QUERY_UPGRADE)
        take_upgrade(f);
    else
        q->found = true;
}

/* --- what goes out ------------------------------------------------------------------------- */

static void flight_loopback(struct flight *f)
{
    f->connect = curl_slist_append(NULL, "::127.0.0.1:");
    curl_easy_setopt(f->easy, CURLOPT_CONNECT_TO, f->connect);
    curl_easy_setopt(f->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(f->easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(f->easy, CURLOPT_SSL_VERIFYHOST, 0L);
}

/* curl_easy_setopt is variadic and checked by a macro that -Wconversion dislikes for enums; the
 * return value matters for none of these options (all exist since before 7.88). */
static void flight_setup(struct flight *f)
{
    struct query *q = f->q;
    const struct query_ask *ask = &q->ask;
    CURL *e = f->easy;
    nsec_t timeout = q->timeout ? q->timeout : TIMEOUT_DEFAULT;

    curl_easy_setopt(e, CURLOPT_URL, q->url);
    curl_easy_setopt(e, CURLOPT_PRIVATE, f);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, timeout < NSEC_MS ? 1L : (long)(timeout / NSEC_MS));
    /* a resolver that hangs in its thread is left behind, not waited for */
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "changeover/" CHANGEOVER_VERSION);
    /* an instance on this host is never asked through a proxy of the environment */
    if (str_starts(q->url, "http://127.0.0.1:"))
        curl_easy_setopt(e, CURLOPT_PROXY, "");
    if (q->loopback)
        flight_loopback(f);

    if (q->how == QUERY_CONNECT) {
        curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
    } else if (q->how == QUERY_UPGRADE) {
        f->headers = curl_slist_append(f->headers, "Connection: Upgrade");
        f->headers = curl_slist_append(f->headers, "Upgrade: websocket");
        f->headers = curl_slist_append(f->headers, "Sec-WebSocket-Version: 13");
        f->headers = curl_slist_append(f->headers, "Sec-WebSocket-Key: " UPGRADE_KEY);
    } else if (ask->method) {
        f->post = x_asprintf(
            "{\"jsonrpc\":\"2.0\",\"id\":\"changeover\",\"method\":\"%s\",\"params\":%s}",
            ask->method, ask->params && *ask->params ? ask->params : "[]");
        f->headers = curl_slist_append(f->headers, "Content-Type: application/json");
        f->headers = curl_slist_append(f->headers, "Expect:");
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, f->post);
    }
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, f->headers);
}

static void flight_done(struct flight *f, CURLM *multi)
{
    if (f->easy) {
        (void)curl_multi_remove_handle(multi, f->easy);
        curl_easy_cleanup(f->easy);
    }
    curl_slist_free_all(f->headers);
    curl_slist_free_all(f->connect);
    free(f->post);
    str_done(&f->body);
    str_done(&f->header);
}

static int start_all(struct flight *fs, struct query *qs, size_t n, CURLM *multi, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct query *q = fs[i].q = &qs[i];
        q->answered = q->found = false;
        q->status = 0;
        q->took = 0;
        str_clear(&q->value);
        say(q, "no answer");
        fs[i].easy = curl_easy_init();
        if (!fs[i].easy)
            return err_set(err, ERR_FAILED, "libcurl: no handle");
        flight_setup(&fs[i]);
        if (curl_multi_add_handle(multi, fs[i].easy) != CURLM_OK)
            return err_set(err, ERR_FAILED, "libcurl: cannot add a request");
    }
    return 0;
}

static void collect(CURLM *multi)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(multi, &left));) {
        char *f = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &f);
        take_answer((struct flight *)(void *)f, m->data.result);
    }
}

static int drive(CURLM *multi, int (*poll)(void *), void *ctx, struct err *err)
{
    int running = 1;
    while (running) {
        CURLMcode rc = curl_multi_perform(multi, &running);
        collect(multi);
        if (rc == CURLM_OK && running)
            rc = curl_multi_poll(multi, NULL, 0, 100, NULL);
        if (rc != CURLM_OK)
            return err_set(err, ERR_FAILED, "libcurl: %s", curl_multi_strerror(rc));
        if (running && poll && poll(ctx))
            return 1;
    }
    return 0;
}

int query_run(struct query *qs, size_t n, int (*poll)(void *ctx), void *ctx, struct err *err)
{
    if (!n)
        return 0;
    CURLM *multi = curl_multi_init();
    if (!multi)
        return err_set(err, ERR_FAILED, "libcurl: cannot start");
    struct flight *fs = x_alloc(n * sizeof(*fs));
    int rc = start_all(fs, qs, n, multi, err);
    if (rc == 0)
        rc = drive(multi, poll, ctx, err);
    for (size_t i = 0; i < n; i++)
        flight_done(&fs[i], multi);
    (void)curl_multi_cleanup(multi);
    free(fs);
    return rc;
}

void query_done(struct query *qs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        str_done(&qs[i].value);
}
