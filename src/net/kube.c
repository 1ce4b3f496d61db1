/* A connection: opening it, and what is tried again. */
#include "net/kube_internal.h"

#include "format/json.h"
#include "net/http.h"
#include "sys/clock.h"
#include "sys/random.h"

#include <stdlib.h>
#include <string.h>

#define TIMEOUT (15 * NSEC_S)
#define PATIENCE (30 * NSEC_S)
#define BACKOFF_FIRST (200 * NSEC_MS)
#define BACKOFF_MOST (5 * NSEC_S)

nsec_t kube_timeout(const struct kube *k)
{
    return k->o.timeout ? k->o.timeout : TIMEOUT;
}

nsec_t kube_patience(const struct kube *k)
{
    return k->o.patience ? k->o.patience : PATIENCE;
}

void kube_hold_poll(struct kube *k, bool hold)
{
    k->poll_held = hold;
}

bool kube_interrupted(const struct kube *k)
{
    return k->o.poll && !k->poll_held && k->o.poll(k->o.poll_ctx);
}

const struct kubeconfig *kube_config(const struct kube *k)
{
    return &k->cfg;
}

const struct kube_status *kube_status(const struct kube *k)
{
    return &k->status;
}

/* --- opening --------------------------------------------------------------------------------- */

static bool is_loopback(const char *host)
{
    return str_starts(host, "127.") || str_starts(host, "[::1]") ||
           (str_starts(host, "localhost") && strchr(":/", host[9]));
}

/* Sets url and host: with tls-server-name the URL bears that name, and the port of the real one. */
static void take_server(struct kube *k)
{
    const char *rest = strstr(k->cfg.server, "://") + 3;
    size_t n = strcspn(rest, "/");
    const char *standard = str_starts(k->cfg.server, "https") ? "443" : "80";
    k->host = x_strndup(rest, n);
    const char *bracket = strchr(k->host, ']');
    const char *port = strrchr(bracket ? bracket : k->host, ':');
    k->loopback = is_loopback(k->host);
    if (!port) {
        char *with = x_asprintf("%s:%s", k->host, standard);
        free(k->host);
        k->host = with;
        port = strrchr(k->host, ':');
    }
    k->url = k->cfg.server_name ? x_asprintf("%.*s%s%s%s", (int)(rest - k->cfg.server),
                                             k->cfg.server, k->cfg.server_name, port, rest + n)
                                : x_strdup(k->cfg.server);
}

int kube_open(struct kubeconfig *cfg, const struct kube_options *o, struct kube **ret,
              struct err *err)
{
    http_init();
    struct kube *k = x_alloc(sizeof(*k));
    k->cfg = *cfg;
    *cfg = (struct kubeconfig){0};
    k->o = o ? *o : (struct kube_options){0};
    k->multi = curl_multi_init();
    k->easy = curl_easy_init();
    k->kinds = json_object();
    take_server(k);
    if (!k->multi || !k->easy) {
        kube_close(k);
        return err_set(err, ERR_FAILED, "libcurl could not be started");
    }
    *ret = k;
    return 0;
}

void kube_close(struct kube *k)
{
    if (!k)
        return;
    curl_easy_cleanup(k->easy);
    (void)curl_multi_cleanup(k->multi);
    kube_creds_done(&k->creds);
    json_decref(k->kinds);
    kubeconfig_done(&k->cfg);
    free(k->url);
    free(k->host);
    free(k);
}

/* --- trying again ---------------------------------------------------------------------------- */

nsec_t kube_backoff(unsigned tries)
{
    nsec_t ns = BACKOFF_FIRST << (tries < 5 ? tries : 5);
    ns = ns < BACKOFF_MOST ? ns : BACKOFF_MOST;
    return ns / 2 + (nsec_t)(sys_random() % (uint64_t)ns);
}

int kube_pause(struct kube *k, nsec_t ns, struct err *err)
{
    const nsec_t end = sys_clock_mono() + ns;
    for (nsec_t now; (now = sys_clock_mono()) < end;) {
        if (kube_interrupted(k))
            return err_set(err, ERR_INTERRUPTED, "ended, as asked");
        sys_sleep(end - now < 100 * NSEC_MS ? end - now : 100 * NSEC_MS);
    }
    return 0;
}

/* Waiting mends none of these. */
static bool is_final(CURLcode result)
{
    switch ((int)result) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_ABORTED_BY_CALLBACK:
    case CURLE_WEIRD_SERVER_REPLY:
        return true;
    default:
        return false;
    }
}

enum verdict { DONE, AGAIN, OVER };

static enum verdict judge(struct kube *k, const struct kube_request *rq,
                          const struct kube_transfer *t)
{
    if (t->result != CURLE_OK) {
        k->status.unsure = t->sent && rq->effect;
        return t->too_long || k->status.unsure || is_final(t->result) ? OVER : AGAIN;
    }
    if (t->code == 429 || (t->code == 503 && t->retry_after))
        return AGAIN;
    if (t->code < 500) { /* who sends us elsewhere is no API server: what it did, nobody knows */
        k->status.unsure = rq->effect && t->code >= 300 && t->code < 400;
        return DONE;
    }
    k->status.unsure = rq->effect;
    return rq->effect || t->code == 501 || t->code == 505 ? DONE : AGAIN;
}

/* before: what the try before said, if this one had less time than it takes. */
static int no_answer(struct kube *k, enum verdict v, const struct err *before,
                     const struct err *why, struct err *err)
{
    k->status.away = v == AGAIN;
    bool cut = before && before->code != ERR_NONE && why->code == ERR_TIMEOUT;
    if (err)
        *err = cut ? *before : *why;
    return -1;
}

/* As long as patience lasts; t is then the last answer, or err why there is none. */
static int exchange(struct kube *k, const struct kube_request *rq, struct kube_transfer *t,
                    struct err *err)
{
    const nsec_t end = sys_clock_mono() + kube_patience(k);
    struct err why = {0}, before = {0};
    bool renewed = false;
    for (unsigned tries = 0;; tries++) {
        k->status = (struct kube_status){0};
        nsec_t left = end - sys_clock_mono();
        bool last = left < kube_timeout(k);
        left = left < NSEC_MS ? NSEC_MS : last ? left : kube_timeout(k);
        if (kube_creds_get(k, false, err) < 0)
            return -1;
        kube_transfer_done(t);
        *t = (struct kube_transfer){.max = rq->max ? rq->max : KUBE_ANSWER_MAX, .text = rq->text};
        before = why;
        err_clear(&why);
        int r = kube_send_once(k, k->easy, k->multi, rq, left, t, &why);
        if (r == 0 && t->code == 401 && !renewed && kube_creds_can_change(k)) {
            renewed = true;
            if (kube_creds_get(k, true, err) < 0)
                return -1;
            continue;
        }
        enum verdict v = judge(k, rq, t);
        nsec_t wait = kube_backoff(tries);
        if (wait < t->retry_after)
            wait = t->retry_after;
        if (v == AGAIN && sys_clock_mono() + wait < end) {
            if (kube_pause(k, wait, err) < 0)
                return err_ctx(err, "%s", rq->what);
            continue;
        }
        return r == 0 ? 0 : no_answer(k, v, last ? &before : NULL, &why, err);
    }
}

static int accept_answer(struct kube *k, const struct kube_request *rq,
                         const struct kube_transfer *t, struct err *err)
{
    k->status.code = t->code;
    k->received = t->body.len;
    if (t->code >= 200 && t->code < 300)
        return 0;
    return kube_refused(k, rq->what, t->code, str_cstr(&t->body), t->body.len, err);
}

int kube_ask(struct kube *k, const struct kube_request *rq, json_t **ret, struct err *err)
{
    cleanup_kube_transfer struct kube_transfer t = {0};
    cleanup_json json_t *j = NULL;
    if (exchange(k, rq, &t, err) < 0 || accept_answer(k, rq, &t, err) < 0)
        return -1;
    if (kube_json(rq->what, t.type, str_cstr(&t.body), t.body.len, &j, err) < 0) {
        k->status.unsure = rq->effect;
        return -1;
    }
    if (ret)
        *ret = TAKE(j);
    return 0;
}

int kube_ask_text(struct kube *k, const struct kube_request *rq, struct str *ret, struct err *err)
{
    cleanup_kube_transfer struct kube_transfer t = {0};
    if (exchange(k, rq, &t, err) < 0 || accept_answer(k, rq, &t, err) < 0)
        return -1;
    str_add_n(ret, str_cstr(&t.body), t.body.len);
    return 0;
}
