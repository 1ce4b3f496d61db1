/* The parts of the probe without a socket: answers in every cut, bodies with their number, URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "probe/internal.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    int status;
    const char *body;
    bool close, at_end; /* at_end: done only when the connection ends */
    size_t extra;       /* bytes behind the answer */
} answers[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, ""},
    {"HTTP/1.1 200 OK\r\ncontent-length:  5  \r\nConnection: Close\r\n\r\nhello", 200, "hello",
     true},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", true},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"},
    {"HTTP/1.1 200 OK\r\n\r\nall of it", 200, "all of it", true, true},
    {"HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx", 201, "x"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: "
     "chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
     200, "abc0123456789"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n", 200, ""},
    {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nnoHTTP", 503, "no", false, false,
     4},
};

/* Fed in pieces of `step` bytes; returns the bytes left over. */
static size_t feed(struct http1 *h, const char *text, size_t step)
{
    size_t n = strlen(text), at = 0;
    while (at < n && h->state < HTTP1_DONE) {
        size_t piece = n - at < step ? n - at : step;
        at += http1_feed(h, text + at, piece);
    }
    return n - at;
}

static void answers_in_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
        for (size_t step = 1; step <= strlen(answers[i].text); step++) {
            struct http1 h = {0};
            size_t extra = feed(&h, answers[i].text, step);
            if (answers[i].at_end) {
                assert_int_equal(h.state, HTTP1_UNTIL_END);
                assert_true(http1_end(&h));
            }
            assert_int_equal(h.state, HTTP1_DONE);
            assert_int_equal(h.status, answers[i].status);
            assert_string_equal(str_cstr(&h.body), answers[i].body);
            assert_int_equal(h.body_bytes, strlen(answers[i].body));
            assert_int_equal(h.close, answers[i].close);
            assert_int_equal(extra, answers[i].extra);
            http1_reset(&h);
            assert_int_equal(h.state, HTTP1_HEAD);
            http1_done(&h);
        }
}

static void a_cut_answer_is_not_done(void **state)
{
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct http1 h = {0};
        char *cut = strndup(answers[i].text, strlen(answers[i].text) - 1);
        feed(&h, cut, 1000);
        assert_true(h.state < HTTP1_DONE);
        assert_false(http1_end(&h));
        free(cut);
        http1_done(&h);
    }
}

static void what_is_no_http(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
    };
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct http1 h = {0};
        feed(&h, broken[i], 1000);
        assert_int_equal(h.state, HTTP1_BROKEN);
        http1_done(&h);
    }
    struct http1 endless = {0};
    for (int i = 0; i < 200 && endless.state == HTTP1_HEAD; i++)
        feed(&endless,
             "HTTP/1.1 200 OK and no end of the header, ever, as far as anybody can see........"
             "................................................................................."
             "................................................................................."
             "................................................................................."
             ".................................................................................",
             1000);
    assert_int_equal(endless.state, HTTP1_BROKEN);
    http1_done(&endless);
}

static void headers_by_any_case(void **state)
{
    (void)state;
    struct http1 h = {0};
    char buf[8];
    feed(&h, "HTTP/1.1 200 OK\r\nX-Other: no\r\nx-changeover-COLOUR: \t blue \r\nEmpty:\r\n\r\n",
         1000);
    assert_string_equal(http1_header(&h, "X-Changeover-Colour", buf, sizeof(buf)), "blue");
    assert_string_equal(http1_header(&h, "Empty", buf, sizeof(buf)), "");
    assert_null(http1_header(&h, "Changeover", buf, sizeof(buf)));
    assert_string_equal(http1_header(&h, "X-Changeover-Colour", buf, 3), "bl");
    http1_done(&h);
}

static void bodies_get_their_number(void **state)
{
    (void)state;
    struct err err = {0};
    struct body b;
    assert_int_equal(
        body_parse(&b, "{\"id\": \"mine\", \"method\":\"getSlot\",\"params\":[{\"id\":7}]}", false,
                   &err),
        0);
    assert_string_equal(b.prefix, "{\"id\":");
    assert_string_equal(b.suffix, ",\"method\":\"getSlot\",\"params\":[{\"id\":7}]}");
    assert_true(b.rpc && b.slot);
    body_done(&b);
    assert_int_equal(body_parse(&b, "{\"method\":\"x\"}", false, &err), 0);
    assert_string_equal(b.prefix, "{\"method\":\"x\",\"id\":");
    assert_string_equal(b.suffix, "}");
    assert_true(b.rpc && !b.slot);
    body_done(&b);
    static const char *const as_they_are[] = {"", "a=b", "[1]", "{\"id\":1}", "{\"method\":1}"};
    for (size_t i = 0; i < sizeof(as_they_are) / sizeof(as_they_are[0]); i++) {
        assert_int_equal(body_parse(&b, as_they_are[i], false, &err), 0);
        assert_string_equal(b.prefix, as_they_are[i]);
        assert_false(b.rpc);
        body_done(&b);
    }
}

/* "number of the request, colour" in the order of arrival; a request is due at its number in ms,
 * and answers come 100 ms later at the earliest. How many flips are seen? */
static size_t flips_of(const int (*got)[2], size_t n)
{
    struct probe *p = x_alloc(sizeof(*p));
    p->o.windows = true;
    p->r.n_colours = 2;
    strcpy(p->r.colours[0].name, "green");
    strcpy(p->r.colours[1].name, "blue");
    windows_start(p);
    for (size_t i = 0; i < n; i++) {
        p->now = (nsec_t)(got[0][0] + 100 + (int)i) * NSEC_MS;
        windows_colour(p, (unsigned)got[i][1], got[i][0] * NSEC_MS);
        windows_add(p, NSEC_MS, false);
    }
    json_t *j = probe_windows_json(p);
    size_t flips = json_array_size(json_object_get(j, "flips"));
    json_decref(j);
    windows_done(p);
    free(p);
    return flips;
}

static void a_flip_in_a_backlog_is_one(void **state)
{
    (void)state;
    enum { N = 500 };
    int got[N][2];
    for (int i = 0; i < N; i++) { /* all under way at the flip come in turns of twelve */
        bool mixed = i >= 100 && i < 196;
        got[i][0] = i;
        got[i][1] = i >= 196 || (mixed && (i - 100) / 12 % 2 == 0);
    }
    assert_int_equal(flips_of(got, N), 1);
    for (int i = 300; i < N; i++) /* and back, with requests that were due after it */
        got[i][1] = 0;
    assert_int_equal(flips_of(got, N), 2);
    for (int i = 0; i < N; i++) /* both answer, for ever: none */
        got[i][1] = i / 5 % 2;
    assert_int_equal(flips_of(got, N), 0);
}

/* A pause from the first second to the sixth, let go half a second before its end; timeout 2 s. */
static void a_planned_pause(void **state)
{
    (void)state;
    struct probe *p = x_alloc(sizeof(*p));
    p->o.timeout = 2 * NSEC_S;
    p->o.connections = 256;
    link_init(&p->open[0]);
    link_init(&p->open[1]);
    struct request before = {.intended = NSEC_S / 2, .deadline = 2 * NSEC_S + NSEC_S / 2};
    struct request in = {.intended = 2 * NSEC_S, .deadline = 4 * NSEC_S, .number = 7};
    struct request after = {.intended = 7 * NSEC_S, .deadline = 9 * NSEC_S};
    assert_false(hold_touches(p, &before) || hold_lasts(p) || hold_skips(p, 0));
    p->hold.from = NSEC_S;
    assert_true(hold_lasts(p) && hold_touches(p, &before) && hold_touches(p, &in));
    assert_int_equal(hold_deadline(p, &in), INT64_MAX);
    assert_int_equal(hold_overlap(p, 0, 3 * NSEC_S), 2 * NSEC_S);
    assert_int_equal(hold_overlap(p, 0, NSEC_S / 2), 0);

    unsigned sent = 0; /* of 500 that are due in its 5 s */
    for (nsec_t t = NSEC_S; t < 6 * NSEC_S; t += 10 * NSEC_MS)
        sent += !hold_skips(p, t);
    assert_in_range(sent, 60, 120);
    assert_int_equal(sent + p->r.hold.not_sent, 500);

    p->hold.opens = 6 * NSEC_S - NSEC_S / 2;
    assert_false(hold_skips(p, p->hold.opens)); /* all of them again */
    p->now = 3 * NSEC_S;                        /* answered by the old side: it did not wait */
    hold_count(p, &in, PROBE_OK);
    assert_int_equal(p->r.hold.waited, 0);
    p->now = 6 * NSEC_S;
    hold_count(p, &in, PROBE_OK);
    hold_count(p, &in, PROBE_TIMEOUT);
    hold_count(p, &in, PROBE_LEFT);
    assert_int_equal(p->r.hold.waited, 1);
    assert_int_equal(p->r.hold.lost, 1);
    assert_int_equal(p->r.hold.longest, 4 * NSEC_S);

    p->hold.told_over = p->now;
    p->hold.last = 7;
    link_add_tail(&p->open[0], &in.by_deadline);
    hold_tick(p);
    assert_true(hold_lasts(p)); /* one that waited is still open */
    link_remove(&in.by_deadline);
    hold_tick(p);
    assert_false(hold_lasts(p) || hold_touches(p, &after));
    assert_int_equal(hold_deadline(p, &in), 8 * NSEC_S); /* its timeout counts from there */
    assert_int_equal(hold_deadline(p, &after), 9 * NSEC_S);
    assert_int_equal(hold_overlap(p, 0, 20 * NSEC_S), 5 * NSEC_S);
    free(p);
}

static void targets(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *path, *address;
    } good[] = {
        {"http://127.0.0.1", "127.0.0.1", "/", "127.0.0.1:80"},
        {"http://127.0.0.1:8899/a/b?c=d", "127.0.0.1:8899", "/a/b?c=d", "127.0.0.1:8899"},
        {"http://[::1]:81/", "[::1]:81", "/", "[::1]:81"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct target t = {0};
        struct err err = {0};
        char text[64];
        if (target_parse(&t, good[i].url, "http", &err) < 0 && good[i].host[0] == '[') {
            target_done(&t); /* a machine without IPv6 */
            continue;
        }
        assert_string_equal(t.host_header, good[i].host);
        assert_string_equal(t.path, good[i].path);
        assert_string_equal(sys_addr_text(text, sizeof(text), &t.addr), good[i].address);
        target_done(&t);
    }
    struct target t = {0};
    struct err err = {0};
    assert_int_equal(target_parse(&t, "nonsense", "http", &err), -1);
    assert_int_equal(target_parse(&t, "ws://127.0.0.1/", "http", &err), -1);
    assert_int_equal(err.code, ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_in_every_cut),
        cmocka_unit_test(a_cut_answer_is_not_done),
        cmocka_unit_test(what_is_no_http),
        cmocka_unit_test(headers_by_any_case),
        cmocka_unit_test(bodies_get_their_number),
        cmocka_unit_test(a_planned_pause),
        cmocka_unit_test(targets),
        cmocka_unit_test(a_flip_in_a_backlog_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
