#include "net/http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TIMEOUT_DEFAULT (500 * NSEC_MS)
#define BODY_DEFAULT ((size_t)1 << 20)
#define HEADERS_MAX ((size_t)65536)

struct transfer {
    struct http_answer *answer;
    size_t max;
    bool too_long;
};

void http_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void http_answer_done(struct http_answer *a)
{
    str_done(&a->body);
    str_done(&a->headers);
}

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * n;
    if (len > t->max - t->answer->body.len) {
        t->too_long = true;
        return 0;
    }
    str_add_n(&t->answer->body, bytes, len);
    return len;
}

static size_t on_header(char *bytes, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    size_t len = size * n;
    if (len >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
        str_clear(&t->answer->headers); /* "100 Continue" came before */
    size_t text = len;
    while (text && (bytes[text - 1] == '\r' || bytes[text - 1] == '\n'))
        text--;
    if (text && t->answer->headers.len + text + 1 < HEADERS_MAX) {
        str_add_n(&t->answer->headers, bytes, text);
        str_add_c(&t->answer->headers, '\n');
    }
    return len;
}

static void curl_p(CURL **c)
{
    curl_easy_cleanup(*c);
}

static void slist_p(struct curl_slist **l)
{
    curl_slist_free_all(*l);
}

static void set_body(CURL *c, const struct http_request *rq)
{
    if (rq->body) {
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body_len);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, rq->body);
    }
    if (rq->method)
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
    if (rq->method && strcmp(rq->method, "HEAD") == 0)
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
}

static void set_limits(CURL *c, const struct http_request *rq)
{
    nsec_t timeout = rq->timeout ? rq->timeout : TIMEOUT_DEFAULT;
    long ms = (long)(timeout / NSEC_MS);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, ms > 0 ? ms : 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
}

int http_send(const struct http_request *rq, struct http_answer *ret, struct err *err)
{
    cleanup(curl_p) CURL *c = curl_easy_init();
    cleanup(slist_p) struct curl_slist *headers = NULL;
    struct transfer t = {.answer = ret, .max = rq->max ? rq->max : BODY_DEFAULT};
    char why[CURL_ERROR_SIZE] = "";
    if (!c)
        return err_set(err, ERR_FAILED, "%s: libcurl could not be started", rq->url);
    ret->body.max = t.max + 1;
    headers = curl_slist_append(headers, "Expect:"); /* no pause before a large body */
    for (size_t i = 0; rq->headers && rq->headers[i]; i++)
        headers = curl_slist_append(headers, rq->headers[i]);
    curl_easy_setopt(c, CURLOPT_URL, rq->url);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    set_limits(c, rq);
    set_body(c, rq);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, &t);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    CURLcode code = curl_easy_perform(c);
    if (t.too_long)
        return err_set(err, ERR_FAILED, "%s: the answer is longer than %zu bytes", rq->url, t.max);
    if (code != CURLE_OK)
        return err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_FAILED, "%s: %s",
                       rq->url, why[0] ? why : curl_easy_strerror(code));
    long status = 0;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    ret->status = (int)status;
    return 0;
}

bool http_header(const struct http_answer *a, const char *name, char *buf, size_t size)
{
    size_t n = strlen(name);
    buf[0] = '\0';
    for (const char *line = str_cstr(&a->headers); *line; line++) {
        size_t len = strcspn(line, "\n");
        if (len > n && line[n] == ':' && strncasecmp(line, name, n) == 0) {
            const char *value = line + n + 1 + strspn(line + n + 1, " \t");
            snprintf(buf, size, "%.*s", (int)(line + len - value), value);
            return true;
        }
        line += len;
        if (!*line)
            break;
    }
    return false;
}
