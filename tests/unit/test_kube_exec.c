/* Programs in containers: the websocket's messages, whole and in parts, and servers that do not
 * keep to the protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kube_server.h"

#define V5 "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"
#define V4 "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"
#define SUCCESS "\x03{\"metadata\":{},\"status\":\"Success\"}"
#define EXIT(n)                                                                             \
    "\x03{\"status\":\"Failure\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{" \
    "\"reason\":\"ExitCode\",\"message\":\"" n "\"}]}}"

static const struct kube_ref web = {&kube_pod, NULL, "web"};
static const char *const argv[] = {"/bin/echo", "a b&c", NULL};

static void put(struct str *out, enum ws_opcode opcode, const char *text)
{
    ws_frame_add(out, opcode, text, strlen(text), NULL);
}

/* One answer with those frames; the result, or the words of the error. */
static int run(const struct str *frames, const char *protocol, const struct kube_exec *ask,
               struct kube_exec_result *ret, struct err *err)
{
    struct canned c = {
        .body = frames->buf, .body_len = frames->len, .manner = SOCKET, .headers = protocol};
    struct kube_server s;
    server_start(&s, &c, 1);
    struct kube *k = server_open(&s);
    int r = kube_exec(k, &web, ask, ret, err);
    bool unsure = kube_status(k)->unsure;
    kube_close(k);
    assert_int_equal(unsure, r < 0);
    const char *want = "GET /api/v1/namespaces/default/pods/web/exec?command=%2Fbin%2Fecho&command="
                       "a%20b%26c&stdout=true&stderr=true";
    assert_memory_equal(s.request[0], want, strlen(want));
    assert_non_null(strstr(s.request[0], "\r\nSec-WebSocket-Protocol: v5.channel.k8s.io, "
                                         "v4.channel.k8s.io\r\n"));
    server_stop(&s);
    return r;
}

static void both_streams_and_a_status(void **state)
{
    (void)state;
    cleanup_str struct str f = {0};
    struct kube_exec_result r = {0};
    put(&f, WS_BINARY, "\x01one ");
    put(&f, WS_PING, "are you there");
    put(&f, WS_BINARY, "\x02oops\n");
    size_t at = f.len;
    put(&f, WS_BINARY, "\x01tw");
    f.buf[at] &= 0x7f; /* not the last of its message */
    put(&f, WS_CONTINUATION, "o");
    put(&f, WS_BINARY, "\x07nobody knows this stream");
    put(&f, WS_BINARY, EXIT("7"));
    put(&f, WS_CLOSE, "");
    for (int v = 0; v < 2; v++) {
        r = (struct kube_exec_result){0};
        assert_int_equal(run(&f, v ? V4 : V5, &(struct kube_exec){.argv = argv}, &r, NULL), 0);
        assert_int_equal(r.status, 7);
        assert_string_equal(str_cstr(&r.out), "one two");
        assert_string_equal(str_cstr(&r.err), "oops\n");
        kube_exec_result_done(&r);
    }
}

static void output_is_bounded(void **state)
{
    (void)state;
    cleanup_str struct str f = {0};
    struct kube_exec_result r = {0};
    char text[1001];
    memset(text, 'x', 1000);
    text[0] = 1;
    text[1000] = '\0';
    for (int i = 0; i < 200; i++)
        put(&f, WS_BINARY, text);
    put(&f, WS_BINARY, SUCCESS);
    assert_int_equal(run(&f, V5, &(struct kube_exec){.argv = argv, .max = 5000}, &r, NULL), 0);
    assert_int_equal(r.out.len, 5000);
    assert_int_equal(r.status, 0);
    kube_exec_result_done(&r);
}

static void what_is_not_to_the_protocol(void **state)
{
    (void)state;
    static const uint8_t mask[4] = {1, 2, 3, 4};
    struct {
        struct str frames;
        const char *protocol, *words;
    } table[7] = {
        {.protocol = V5, .words = "without an exit status"},
        {.protocol = V5, .words = "no websocket frame"},
        {.protocol = V5, .words = "masked frames"},
        {.protocol = V5, .words = "not valid JSON"},
        {.protocol = V5, .words = "answered 500 InternalError: no such container"},
        {.protocol = "", .words = "neither v5 nor v4"},
        {.protocol = V5, .words = "no websocket frame"},
    };
    put(&table[0].frames, WS_BINARY, "\x01half");
    str_add(&table[1].frames, "HTTP/1.1 500 what");
    ws_frame_add(&table[2].frames, WS_BINARY, "\x01x", 2, mask);
    put(&table[3].frames, WS_BINARY, "\x03no JSON");
    put(&table[4].frames, WS_BINARY,
        "\x03{\"status\":\"Failure\",\"code\":500,\"reason\":\"InternalError\",\"message\":\"no "
        "such "
        "container\"}");
    put(&table[5].frames, WS_BINARY, SUCCESS);
    str_add_n(&table[6].frames, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10); /* 2^63 bytes */
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct kube_exec_result r = {0};
        struct err err = {0};
        struct canned c = {.body = table[i].frames.buf,
                           .body_len = table[i].frames.len,
                           .manner = SOCKET,
                           .headers = table[i].protocol};
        struct kube_server s;
        server_start(&s, &c, 1);
        struct kube *k = server_open(&s);
        assert_int_equal(kube_exec(k, &web, &(struct kube_exec){.argv = argv}, &r, &err), -1);
        if (!strstr(err.msg, table[i].words))
            fail_msg("'%s' does not say '%s'", err.msg, table[i].words);
        assert_int_equal(atomic_load(&s.asked), 1); /* never started twice */
        kube_close(k);
        server_stop(&s);
        kube_exec_result_done(&r);
        str_done(&table[i].frames);
    }
}

static void input_and_its_end(void **state)
{
    (void)state;
    cleanup_str struct str f = {0};
    struct kube_exec_result r = {0};
    struct err err = {0};
    size_t len = 100000, got = 0;
    char *input = x_alloc(len);
    memset(input, 'i', len);
    const struct kube_exec ask = {.argv = argv, .input = input, .input_len = len};
    put(&f, WS_BINARY, SUCCESS);
    struct canned c[] = {
        {.body = f.buf, .body_len = f.len, .manner = SOCKET, .headers = V5},
        {.body = f.buf, .body_len = f.len, .manner = SOCKET, .headers = V4},
    };
    struct kube_server s;
    server_start(&s, c, 2);
    struct kube *k = server_open(&s);
    assert_int_equal(kube_exec(k, &web, &ask, &r, &err), 0);
    kube_exec_result_done(&r);
    assert_int_equal(kube_exec(k, &web, &ask, &r, &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED); /* v4 has no way to end it */
    kube_close(k);
    shutdown(s.fd, SHUT_RDWR);
    pthread_join(s.thread, NULL);
    assert_non_null(strstr(s.request[0], "&stdin=true "));
    struct ws_frame w;
    bool ended = false;
    for (size_t at = 0; ws_frame_parse(s.sent.buf + at, s.sent.len - at, 1 << 20, &w) == 1;) {
        char *p = s.sent.buf + at + (w.payload - (s.sent.buf + at));
        ws_mask(p, w.len, w.mask);
        at += w.used;
        assert_true(w.masked && w.opcode == WS_BINARY);
        if (w.len == 2 && (uint8_t)p[0] == 255) {
            assert_int_equal(p[1], 0); /* stdin is over */
            ended = true;
            break;
        }
        assert_int_equal(p[0], 0);
        got += w.len - 1;
    }
    assert_int_equal(got, len);
    assert_true(ended);
    close(s.fd);
    str_done(&s.sent);
    free(input);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        struct canned c;
        enum err_code code;
        size_t asked;
        const char *words;
    } table[] = {
        {{.code = 404,
          .body = "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"message\":\"pods "
                  "\\\"web\\\" not found\"}"},
         ERR_NOT_FOUND,
         1,
         "answered 404 NotFound: pods \"web\" not found"},
        {{.code = 403, .body = "{\"kind\":\"Status\",\"reason\":\"Forbidden\"}"},
         ERR_FAILED,
         1,
         "answered 403 Forbidden"},
        {{.code = 403, .body = "requested protocol(s) are not supported", .type = "text/plain"},
         ERR_FAILED,
         2, /* with v4 alone */
         "answered 403, and not as"},
        {{.code = 200, .body = "<html>", .type = "text/html"}, ERR_FAILED, 1, "answered 200"},
        {{.manner = HANGUP}, ERR_FAILED, 1, "the server hung up"},
        {{.manner = RAW, .body = "HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: no\r\n\r\n"},
         ERR_FAILED,
         1,
         "does not answer our key"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct canned script[] = {table[i].c, table[i].c};
        struct kube_exec_result r = {0};
        struct err err = {0};
        struct kube_server s;
        server_start(&s, script, 2);
        struct kube *k = server_open(&s);
        assert_int_equal(kube_exec(k, &web, &(struct kube_exec){.argv = argv}, &r, &err), -1);
        if (err.code != table[i].code || !strstr(err.msg, table[i].words))
            fail_msg("%d '%s', not %d '%s'", err.code, err.msg, table[i].code, table[i].words);
        assert_int_equal(atomic_load(&s.asked), table[i].asked);
        kube_close(k);
        server_stop(&s);
        if (i == 2) {
            assert_null(strstr(s.request[1], "v5"));
            assert_non_null(strstr(s.request[1], "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"));
        }
    }
}

/* Nothing was started: a server that does not know v5 is offered v4, one that is busy is asked
 * again; then the program runs, once. */
static void what_was_not_started_is_tried_again(void **state)
{
    (void)state;
    cleanup_str struct str f = {0};
    put(&f, WS_BINARY, "\x01once");
    put(&f, WS_BINARY, SUCCESS);
    put(&f, WS_CLOSE, "");
    const struct canned four = {.body = f.buf, .body_len = f.len, .manner = SOCKET, .headers = V4};
    const struct canned script[] = {
        {.code = 429, .body = "later", .type = "text/plain"},
        {.code = 503, .body = "later", .type = "text/plain"},
        {.code = 400, .body = "unable to upgrade: no protocol", .type = "text/plain"},
        four,
        four};
    struct kube_exec_result r = {0};
    struct err err = {0};
    struct kube_server s;
    server_start(&s, script, ARRAY_LEN(script));
    struct kube *k = server_open(&s);
    const struct kube_exec ask = {.argv = argv, .timeout = 5 * NSEC_S};
    if (kube_exec(k, &web, &ask, &r, &err) != 0)
        fail_msg("%s", err.msg);
    assert_string_equal(str_cstr(&r.out), "once");
    assert_int_equal(atomic_load(&s.asked), 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(strstr(s.request[i], "v5.channel.k8s.io") != NULL, i < 3);
    kube_exec_result_done(&r);
    /* v4 cannot end an input: that is said, and the program does not wait for it for ever */
    const struct kube_exec fed = {.argv = argv, .input = "x", .input_len = 1};
    assert_int_equal(kube_exec(k, &web, &fed, &r, &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    kube_close(k);
    server_stop(&s);
}

static void a_program_without_end(void **state)
{
    (void)state;
    struct kube_exec_result r = {0};
    struct err err = {0};
    struct canned c = {.manner = SILENT};
    struct kube_server s;
    server_start(&s, &c, 1);
    struct kube *k = server_open(&s);
    const struct kube_exec ask = {.argv = argv, .timeout = 500 * NSEC_MS};
    assert_int_equal(kube_exec(k, &web, &ask, &r, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_true(kube_status(k)->unsure);
    kube_close(k);
    server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_streams_and_a_status),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(what_is_not_to_the_protocol),
        cmocka_unit_test(input_and_its_end),
        cmocka_unit_test(refusals),
        cmocka_unit_test(what_was_not_started_is_tried_again),
        cmocka_unit_test(a_program_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
