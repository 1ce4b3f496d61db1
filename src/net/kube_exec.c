/* A program in a container: a websocket whose messages begin with the number of a stream
 * (v5.channel.k8s.io; v4 is the same without a way to end stdin). */
#include "format/json.h"
#include "net/kube_internal.h"
#include "net/ws.h"
#include "sys/clock.h"
#include "sys/loop.h"
#include "sys/random.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TIMEOUT (60 * NSEC_S)
#define KEPT ((size_t)64 << 10)
#define FRAME_MAX ((size_t)4 << 20)
#define STATUS_MAX ((size_t)64 << 10)
#define CHUNK ((size_t)32 << 10)
#define LAST_WORDS (2 * NSEC_S) /* after the status: how long the server may take to hang up */

enum channel { STDIN, STDOUT, STDERR, STATUS, CLOSE = 255 };

struct session {
    struct kube *k;
    const struct kube_exec *ask;
    const char *what;
    struct kube_exec_result *result;
    CURL *c;
    int fd;
    nsec_t end;
    struct str in, out, message, status; /* out: what is still to be sent, from `sent` on */
    size_t sent;
    bool upgraded, five, over, hung_up; /* five: protocol v5; over: the status is whole */
};

void kube_exec_result_done(struct kube_exec_result *r)
{
    str_done(&r->out);
    str_done(&r->err);
}

static void session_done(struct session *s)
{
    curl_easy_cleanup(s->c);
    str_done(&s->in);
    str_done(&s->out);
    str_done(&s->message);
    str_done(&s->status);
}

/* --- bytes ----------------------------------------------------------------------------------- */

/* Sends and receives what goes at once. 1: something moved, 0: nothing, -1: the connection is gone.
 */
static int move(struct session *s, struct err *err)
{
    int moved = 0;
    size_t n = 0;
    if (s->sent < s->out.len) {
        CURLcode rc = curl_easy_send(s->c, s->out.buf + s->sent, s->out.len - s->sent, &n);
        if (rc != CURLE_OK && rc != CURLE_AGAIN)
            return err_set(err, ERR_FAILED, "%s: %s", s->what, curl_easy_strerror(rc));
        s->sent += rc == CURLE_OK ? n : 0;
        moved = rc == CURLE_OK;
        if (s->sent == s->out.len) {
            str_clear(&s->out);
            s->sent = 0;
        }
    }
    char buf[16384];
    CURLcode rc = curl_easy_recv(s->c, buf, sizeof(buf), &n);
    if (rc == CURLE_AGAIN)
        return moved;
    if (rc != CURLE_OK || n == 0) {
        s->hung_up = true;
        return 1;
    }
    if (s->in.len + n > FRAME_MAX + sizeof(buf))
        return err_set(err, ERR_FAILED, "%s: the server sends a message without end", s->what);
    s->in.max = FRAME_MAX + sizeof(buf) + 1;
    str_add_n(&s->in, buf, n);
    return 1;
}

/* Until something moved. */
static int wait_and_move(struct session *s, struct err *err)
{
    for (;;) {
        int r = move(s, err);
        if (r)
            return r;
        nsec_t now = sys_clock_mono();
        if (now >= s->end)
            return err_set(err, ERR_TIMEOUT, "%s: not done in time", s->what);
        if (kube_interrupted(s->k))
            return err_set(err, ERR_INTERRUPTED, "%s: ended, as asked", s->what);
        nsec_t step = s->out.len ? 2 * NSEC_MS : 100 * NSEC_MS; /* writable is not told */
        (void)sys_poll_readable(s->fd, s->end - now < step ? s->end - now : step);
    }
}

static void put_frame(struct session *s, enum ws_opcode opcode, const void *bytes, size_t n)
{
    uint64_t random = sys_random();
    uint8_t mask[4];
    memcpy(mask, &random, sizeof(mask));
    ws_frame_add(&s->out, opcode, bytes, n, mask);
}

static void put_input(struct session *s)
{
    const char *p = s->ask->input;
    char message[CHUNK + 1];
    if (!p)
        return;
    message[0] = STDIN;
    s->out.max = s->ask->input_len + s->ask->input_len / 64 + 4096;
    for (size_t left = s->ask->input_len, n; left; left -= n, p += n) {
        n = left < CHUNK ? left : CHUNK;
        memcpy(message + 1, p, n);
        put_frame(s, WS_BINARY, message, n + 1);
    }
    put_frame(s, WS_BINARY, (const char[]){(char)CLOSE, STDIN}, 2);
}

/* --- the upgrade ----------------------------------------------------------------------------- */

static int connect_to(struct session *s, struct curl_slist **headers, struct curl_slist **connect,
                      struct err *err)
{
    char why[CURL_ERROR_SIZE] = "";
    nsec_t left = s->end - sys_clock_mono();
    s->c = curl_easy_init();
    if (!s->c)
        return err_set(err, ERR_FAILED, "libcurl could not be started");
    kube_setup(s->k, s->c, "/", headers, connect);
    curl_easy_setopt(s->c, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(s->c, CURLOPT_HTTPPROXYTUNNEL, 1L);
    curl_easy_setopt(s->c, CURLOPT_TIMEOUT_MS,
                     (long)((left < 10 * NSEC_S ? left : 10 * NSEC_S) / NSEC_MS) + 1);
    curl_easy_setopt(s->c, CURLOPT_ERRORBUFFER, why);
    CURLcode rc = curl_easy_perform(s->c);
    curl_easy_setopt(s->c, CURLOPT_ERRORBUFFER, NULL);
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (rc == CURLE_OK)
        rc = curl_easy_getinfo(s->c, CURLINFO_ACTIVESOCKET, &fd);
    s->fd = fd;
    if (rc == CURLE_OK && fd != CURL_SOCKET_BAD)
        return 0;
    return err_set(err, rc == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_FAILED, "%s: %s: %s",
                   s->what, s->k->cfg.server, why[0] ? why : curl_easy_strerror(rc));
}

static int put_upgrade(struct session *s, const char *path, const struct curl_slist *headers,
                       const char *protocols, char key[WS_KEY_SIZE])
{
    cleanup_str struct str more = {0};
    const char *prefix = strchr(strstr(s->k->cfg.server, "://") + 3, '/');
    cleanup_free char *whole = x_asprintf("%s%s", prefix ? prefix : "", path);
    ws_key(sys_random(), sys_random(), key);
    for (; headers; headers = headers->next)
        if (!str_starts(headers->data, "Host:"))
            str_addf(&more, "%s\r\n", headers->data);
    str_addf(&more, "Sec-WebSocket-Protocol: %s\r\n", protocols);
    str_addf(&more, "User-Agent: changeover/%s\r\n", CHANGEOVER_VERSION);
    ws_request_add(&s->out, s->k->host, whole, key, str_cstr(&more));
    return 0;
}

/* A refusal has a Status as its body. */
static int refused(struct session *s, const char *head_end, struct err *err)
{
    int code = 0;
    (void)sscanf(s->in.buf, "HTTP/1.%*d %3d", &code);
    const char *length = strcasestr(s->in.buf, "\r\ncontent-length:");
    size_t have = s->in.len - (size_t)(head_end - s->in.buf), at = (size_t)(head_end - s->in.buf);
    size_t want = length && length < head_end ? strtoul(length + 17, NULL, 10) : 0;
    while (have < want && have < STATUS_MAX && !s->hung_up && wait_and_move(s, NULL) > 0)
        have = s->in.len - at;
    s->k->status.unsure = false;
    return kube_refused(s->k, s->what, code, s->in.buf + at, have, err);
}

/* What the server chose: which protocol, or -1. */
static int take_protocol(struct session *s, size_t head, struct err *err)
{
    cleanup_free char *text = x_strndup(s->in.buf, head);
    const char *at = strcasestr(text, "\r\nsec-websocket-protocol:");
    at = at ? at + 25 + strspn(at + 25, " \t") : "";
    s->five = str_starts(at, "v5.channel.k8s.io");
    if (s->five || str_starts(at, "v4.channel.k8s.io"))
        return 0;
    return err_set(err, ERR_UNSUPPORTED, "%s: the server speaks neither v5 nor v4.channel.k8s.io",
                   s->what);
}

static int upgrade(struct session *s, const char *key, struct err *err)
{
    ssize_t head = 0;
    while (head == 0) {
        if (s->hung_up)
            return err_set(err, ERR_FAILED, "%s: the server hung up", s->what);
        if (wait_and_move(s, err) < 0)
            return -1;
        const char *end = s->in.len ? memmem(s->in.buf, s->in.len, "\r\n\r\n", 4) : NULL;
        if (end && !str_starts(s->in.buf, "HTTP/1.1 101"))
            return refused(s, end + 4, err);
        head = s->in.len ? ws_answer_check(s->in.buf, s->in.len, key, err) : 0;
    }
    if (head < 0 || take_protocol(s, (size_t)head, err) < 0)
        return -1;
    if (s->ask->input && !s->five)
        return err_set(err, ERR_UNSUPPORTED, "%s: the server cannot end its stdin (v4)", s->what);
    s->upgraded = true;
    memmove(s->in.buf, s->in.buf + head, s->in.len - (size_t)head);
    s->in.buf[s->in.len -= (size_t)head] = '\0';
    return 0;
}

/* --- messages -------------------------------------------------------------------------------- */

static void take_message(struct session *s)
{
    struct kube_exec_result *r = s->result;
    if (!s->message.len)
        return;
    const char *bytes = s->message.buf + 1;
    size_t n = s->message.len - 1, max = s->ask->max ? s->ask->max : KEPT;
    switch ((unsigned char)s->message.buf[0]) {
    case STDOUT:
        r->out.max = max;
        str_add_n(&r->out, bytes, n);
        break;
    case STDERR:
        r->err.max = max;
        str_add_n(&r->err, bytes, n);
        break;
    case STATUS:
        s->status.max = STATUS_MAX;
        str_add_n(&s->status, bytes, n);
        s->over = s->over || n;
        break;
    default: /* nothing for us */
        break;
    }
}

static int take_frame(struct session *s, const struct ws_frame *f, struct err *err)
{
    if (f->masked)
        return err_set(err, ERR_FAILED, "%s: the server sends masked frames", s->what);
    if (f->opcode == WS_PING) {
        put_frame(s, WS_PONG, f->payload, f->len);
    } else if (f->opcode == WS_CLOSE) {
        s->hung_up = true;
    } else if (f->opcode != WS_PONG) {
        if (f->opcode != WS_CONTINUATION)
            str_clear(&s->message);
        s->message.max = FRAME_MAX;
        str_add_n(&s->message, f->payload, f->len);
        if (f->fin) {
            take_message(s);
            str_clear(&s->message);
        }
    }
    return 0;
}

static int take_frames(struct session *s, struct err *err)
{
    size_t at = 0;
    struct ws_frame f;
    int r = 0;
    while (at < s->in.len && !s->hung_up &&
           (r = ws_frame_parse(s->in.buf + at, s->in.len - at, FRAME_MAX, &f)) == 1) {
        if (take_frame(s, &f, err) < 0)
            return -1;
        at += f.used;
    }
    if (r < 0)
        return err_set(err, ERR_FAILED, "%s: the server sends what is no websocket frame", s->what);
    if (at) {
        memmove(s->in.buf, s->in.buf + at, s->in.len - at);
        s->in.buf[s->in.len -= at] = '\0';
    }
    return 0;
}

/* {"status":"Success"}, or a Failure whose causes hold the exit status. */
static int take_status(struct session *s, struct err *err)
{
    cleanup_json json_t *j = NULL;
    size_t i;
    json_t *cause;
    if (!s->over)
        return err_set(err, ERR_FAILED, "%s: the connection ended without an exit status", s->what);
    if (json_read(str_cstr(&s->status), s->status.len, &j, err) < 0)
        return err_ctx(err, "%s: its status", s->what);
    s->k->status.unsure = false;
    if (str_eq(json_string_value(json_at(j, "status")), "Success"))
        return 0;
    json_array_foreach(json_at(j, "details.causes"), i, cause)
    {
        const char *reason = json_string_value(json_object_get(cause, "reason"));
        const char *text = json_string_value(json_object_get(cause, "message"));
        if (str_eq(reason, "ExitCode") && text) {
            s->result->status = (int)strtol(text, NULL, 10);
            return 0;
        }
    }
    kube_status_read(j, &s->k->status);
    return kube_status_error(&s->k->status, s->what, err);
}

static int talk(struct session *s, struct err *err)
{
    nsec_t last = 0;
    put_input(s);
    for (;;) {
        if (take_frames(s, err) < 0)
            return -1;
        if (s->over && !last) {
            last = sys_clock_mono() + LAST_WORDS;
            s->end = last < s->end ? last : s->end;
        }
        if (s->hung_up)
            return take_status(s, err);
        int r = wait_and_move(s, s->over ? NULL : err);
        if (r < 0)
            return s->over ? take_status(s, err) : -1;
    }
}

/* --- all of it ------------------------------------------------------------------------------- */

static int make_path(struct kube *k, const struct kube_ref *pod, const struct kube_exec *ask,
                     struct str *path, struct err *err)
{
    if (kube_path(k, pod, "exec", path, err) < 0)
        return -1;
    kube_query(path, "container", ask->container);
    for (size_t i = 0; ask->argv[i]; i++)
        kube_query(path, "command", ask->argv[i]);
    kube_query(path, "stdout", "true");
    kube_query(path, "stderr", "true");
    kube_query(path, "stdin", ask->input ? "true" : NULL);
    return 0;
}

static int once(struct session *s, const char *path, const char *protocols, struct err *err)
{
    struct curl_slist *headers = NULL, *connect = NULL;
    char key[WS_KEY_SIZE];
    s->k->status = (struct kube_status){0};
    int r = connect_to(s, &headers, &connect, err);
    if (r == 0) {
        s->k->status.unsure = true; /* until the server says no */
        r = put_upgrade(s, path, headers, protocols, key) < 0 ? -1 : upgrade(s, key, err);
    }
    curl_slist_free_all(headers);
    curl_slist_free_all(connect);
    return r < 0 ? -1 : talk(s, err);
}

enum next { GIVE_UP, RENEW, OTHER, WAIT };

/* Nothing was started: what may help. */
static enum next after_refusal(struct kube *k, size_t *offer, bool *renewed)
{
    const struct kube_status *st = &k->status;
    if (st->code == 401 && !*renewed && kube_creds_can_change(k)) {
        *renewed = true;
        return RENEW;
    }
    /* an old server that does not know v5 says so without a Status */
    if (*offer == 0 && (st->code == 400 || st->code == 403) && !*st->reason) {
        *offer = 1;
        return OTHER;
    }
    return st->code == 0 || st->code == 429 || st->code == 503 ? WAIT : GIVE_UP;
}

int kube_exec(struct kube *k, const struct kube_ref *pod, const struct kube_exec *ask,
              struct kube_exec_result *ret, struct err *err)
{
    static const char *const protocols[] = {"v5.channel.k8s.io, v4.channel.k8s.io",
                                            "v4.channel.k8s.io"};
    cleanup_free char *what = kube_words(k, "run a program in", pod);
    cleanup_str struct str path = {0};
    const nsec_t begun = sys_clock_mono(), end = begun + (ask->timeout ? ask->timeout : TIMEOUT);
    bool renewed = false;
    size_t offer = 0;
    if (make_path(k, pod, ask, &path, err) < 0)
        return -1;
    for (unsigned tries = 0;; tries++) {
        cleanup(session_done) struct session s = {
            .k = k, .ask = ask, .what = what, .result = ret, .fd = -1, .end = end};
        struct err why = {0};
        if (kube_creds_get(k, false, err) < 0)
            return -1;
        if (once(&s, str_cstr(&path), protocols[offer], &why) == 0)
            return 0;
        if (!s.upgraded && !k->status.unsure && why.code != ERR_INTERRUPTED) {
            nsec_t wait = kube_backoff(tries);
            enum next next = after_refusal(k, &offer, &renewed);
            if (next == RENEW && kube_creds_get(k, true, err) < 0)
                return -1;
            if (next == RENEW || next == OTHER)
                continue;
            if (next == WAIT && sys_clock_mono() + wait - begun < kube_patience(k) &&
                sys_clock_mono() + wait < end && kube_pause(k, wait, &why) == 0)
                continue;
        }
        if (err)
            *err = why;
        return -1;
    }
}
