/* https:// and HTTP/2: the same requests over libcurl's multi interface, in the same loop.
 *
 * libcurl silently sends a request again when a kept connection died under it, or its stream was
 * refused: a client that does not would have lost it, so that is counted as reset. And it silently
 * drops what comes behind an answer. The only signs of both are texts of debug lines. */
#include "probe/internal.h"

#include <stdlib.h>
#include <string.h>

enum { BODY_MAX = 4 << 20, HEAD_MAX = 65536 };

/* One request under way: an easy handle, used again for later ones. */
struct carrier {
    CURL *easy;
    struct request *request;
    struct http1 answer;
    struct curl_slist *headers;
    struct str body;
    bool died, excess;
    char error[CURL_ERROR_SIZE];
    struct carrier *next_free, *next_made;
};

struct secure {
    struct carrier *free, *made;
    char *slow_url;
};

static size_t header_cb(char *bytes, size_t size, size_t n, void *ctx)
{
    struct carrier *c = ctx;
    if (size * n > 5 &&
        strncmp(bytes, "HTTP/", 5) == 0) /* after 100 Continue the answer's own begins */
        str_clear(&c->answer.head);
    if (c->answer.head.len < HEAD_MAX)
        str_add_n(&c->answer.head, bytes, size * n);
    return size * n;
}

static size_t body_cb(char *bytes, size_t size, size_t n, void *ctx)
{
    struct carrier *c = ctx;
    if (c->answer.body.len < BODY_MAX)
        str_add_n(&c->answer.body, bytes, size * n);
    c->answer.body_bytes += size * n;
    return size * n;
}

static bool begins(const char *text, size_t n, const char *with)
{
    return n >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

static int debug_cb(CURL *easy, curl_infotype type, char *text, size_t n, void *ctx)
{
    struct carrier *c = ctx;
    (void)easy;
    c->died |= type == CURLINFO_TEXT && begins(text, n, "Connection died, retrying");
    c->excess |= type == CURLINFO_TEXT && begins(text, n, "Excess found");
    return 0;
}

static long http_version(const struct probe *p)
{
    return p->o.http == 1   ? CURL_HTTP_VERSION_1_1
           : p->o.http == 2 ? CURL_HTTP_VERSION_2TLS
                            : CURL_HTTP_VERSION_NONE;
}

static struct carrier *carrier_make(struct probe *p)
{
    struct carrier *c = x_alloc(sizeof(*c));
    CURL *e = c->easy = curl_loop_easy(&p->loops[LOOP_REQUESTS], c);
    c->next_made = p->secure->made;
    p->secure->made = c;
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, http_version(p));
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, body_cb);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, header_cb);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, debug_cb);
    curl_easy_setopt(e, CURLOPT_DEBUGDATA, c);
    curl_easy_setopt(e, CURLOPT_VERBOSE, 1L);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "changeover-probe/" CHANGEOVER_VERSION);
    return c;
}

static void carrier_body(struct probe *p, struct carrier *c, const struct request *rq)
{
    const struct body *b = rq->body;
    str_clear(&c->body);
    str_add_n(&c->body, b->prefix, b->prefix_len);
    if (b->rpc)
        str_addf(&c->body, "%llu", (unsigned long long)rq->number);
    str_add_n(&c->body, b->suffix, b->suffix_len);
    if (p->n_bodies) {
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE, (long)c->body.len);
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, str_cstr(&c->body));
    }
    if (p->o.method && strcmp(p->o.method, "HEAD") == 0)
        curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
    else if (p->o.method)
        curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, p->o.method);
}

static void carrier_headers(struct probe *p, struct carrier *c, const struct request *rq)
{
    char number[64];
    snprintf(number, sizeof(number), "X-Changeover-Probe: %llu", (unsigned long long)rq->number);
    curl_slist_free_all(c->headers);
    c->headers = curl_slist_append(NULL, number);
    if (p->n_bodies) {
        c->headers = curl_slist_append(c->headers, "Content-Type: application/json");
        c->headers = curl_slist_append(c->headers, "Expect:");
    }
    for (const char *const *h = p->o.headers; h && *h; h++)
        c->headers = curl_slist_append(c->headers, *h);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
}

static void secure_submit(struct probe *p, struct request *rq)
{
    struct secure *s = p->secure;
    struct carrier *c = s->free ? s->free : carrier_make(p);
    if (c == s->free)
        s->free = c->next_free;
    c->request = rq;
    c->died = c->excess = false;
    c->error[0] = '\0';
    rq->carrier = c;
    http1_reset(&c->answer);
    curl_easy_setopt(c->easy, CURLOPT_URL, rq->slow && s->slow_url ? s->slow_url : p->o.url);
    curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, (long)rq->fresh);
    curl_easy_setopt(c->easy, CURLOPT_FORBID_REUSE, (long)rq->fresh);
    carrier_headers(p, c, rq);
    carrier_body(p, c, rq);
    curl_multi_add_handle(p->loops[LOOP_REQUESTS].multi, c->easy);
}

static struct request *carrier_release(struct probe *p, struct carrier *c)
{
    long opened = 0;
    if (curl_easy_getinfo(c->easy, CURLINFO_NUM_CONNECTS, &opened) == CURLE_OK && opened > 0)
        p->r.connections += (uint64_t)opened;
    curl_multi_remove_handle(p->loops[LOOP_REQUESTS].multi, c->easy);
    c->next_free = p->secure->free;
    p->secure->free = c;
    return TAKE(c->request);
}

static void secure_timeout(struct probe *p, struct request *rq)
{
    struct carrier *c = rq->carrier;
    curl_off_t sent_at = 0;
    curl_easy_getinfo(c->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_at);
    bool begun = c->answer.head.len > 0;
    carrier_release(p, c);
    request_end(p, rq, PROBE_TIMEOUT, PROBE_BAD_HTTP, 0,
                begun     ? "half an answer in time"
                : sent_at ? "no answer in time"
                          : "no connection in time");
}

static enum probe_outcome outcome_of_code(CURLcode code)
{
    static const struct {
        CURLcode code;
        enum probe_outcome outcome;
    } table[] = {
        {CURLE_COULDNT_CONNECT, PROBE_REFUSED},    {CURLE_COULDNT_RESOLVE_HOST, PROBE_REFUSED},
        {CURLE_SSL_CONNECT_ERROR, PROBE_REFUSED},  {CURLE_PEER_FAILED_VERIFICATION, PROBE_REFUSED},
        {CURLE_SSL_CACERT_BADFILE, PROBE_REFUSED}, {CURLE_OPERATION_TIMEDOUT, PROBE_TIMEOUT},
        {CURLE_UNSUPPORTED_PROTOCOL, PROBE_BAD},   {CURLE_WEIRD_SERVER_REPLY, PROBE_BAD},
        {CURLE_BAD_CONTENT_ENCODING, PROBE_BAD},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].code == code)
            return table[i].outcome;
    return PROBE_RESET;
}

static void carrier_ended(struct probe *p, void *owner, CURLcode code)
{
    struct carrier *c = owner;
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    c->answer.status = (int)status;
    struct request *rq = carrier_release(p, c);
    p->r.duplicate_answers += c->excess;
    if (c->died)
        request_end(p, rq, PROBE_RESET, PROBE_BAD_HTTP, (int)status,
                    "connection lost before any answer (libcurl sent it again)");
    else if (code == CURLE_OK)
        request_judge(p, rq, &c->answer);
    else
        request_end(p, rq, outcome_of_code(code), PROBE_BAD_HTTP, (int)status,
                    *c->error ? c->error : curl_easy_strerror(code));
}

static void secure_reap(struct probe *p)
{
    curl_loop_turn(&p->loops[LOOP_REQUESTS]);
}

static int secure_start(struct probe *p, struct err *err)
{
    struct secure *s = p->secure = x_alloc(sizeof(*s));
    struct curl_loop *l = &p->loops[LOOP_REQUESTS];
    l->ended = carrier_ended;
    if (curl_loop_start(l, p, &p->target, err) < 0)
        return -1;
    curl_multi_setopt(l->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)p->o.connections);
    curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, (long)p->o.connections);
    if (p->o.slow_path)
        s->slow_url = x_asprintf("https://%s%s", p->target.host_header, p->o.slow_path);
    return 0;
}

static void secure_done(struct probe *p)
{
    struct secure *s = p->secure;
    for (struct carrier *c = s->made, *next; c; c = next) {
        next = c->next_made;
        curl_easy_cleanup(c->easy);
        curl_slist_free_all(c->headers);
        http1_done(&c->answer);
        str_done(&c->body);
        free(c);
    }
    curl_loop_done(&p->loops[LOOP_REQUESTS]);
    free(s->slow_url);
    free(s);
    p->secure = NULL;
}

const struct transport transport_secure = {
    .start = secure_start,
    .submit = secure_submit,
    .timeout = secure_timeout,
    .reap = secure_reap,
    .done = secure_done,
};
