/* Websocket bytes: the RFC's own examples, lengths at each border, and every cut of a stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/ws.h"

#include <string.h>

static void accept_of_the_rfc(void **state)
{
    (void)state;
    char got[WS_ACCEPT_SIZE];
    ws_accept("dGhlIHNhbXBsZSBub25jZQ==", got);
    assert_string_equal(got, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    char key[WS_KEY_SIZE];
    ws_key(0, 0, key);
    assert_string_equal(key, "AAAAAAAAAAAAAAAAAAAAAA==");
}

static void frames_of_the_rfc(void **state)
{
    (void)state;
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    static const char want[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    cleanup_str struct str out = {0};
    ws_frame_add(&out, WS_TEXT, "Hello", 5, mask);
    assert_int_equal(out.len, sizeof(want) - 1);
    assert_memory_equal(out.buf, want, out.len);
    struct ws_frame f;
    assert_int_equal(ws_frame_parse(out.buf, out.len, 100, &f), 1);
    assert_true(f.fin && f.masked);
    assert_int_equal(f.opcode, WS_TEXT);
    assert_int_equal(f.len, 5);
    assert_int_equal(ws_frame_parse("\x81\x05Hello", 7, 100, &f), 1);
    assert_memory_equal(f.payload, "Hello", 5);
}

static void every_length_and_every_cut(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};
    static char bytes[70000];
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        cleanup_str struct str out = {0};
        struct ws_frame f;
        ws_frame_add(&out, WS_BINARY, bytes, lengths[i], NULL);
        for (size_t cut = 0; cut < out.len; cut += cut < 20 ? 1 : 997)
            assert_int_equal(ws_frame_parse(out.buf, cut, 1 << 20, &f), 0);
        assert_int_equal(ws_frame_parse(out.buf, out.len, 1 << 20, &f), 1);
        assert_int_equal(f.len, lengths[i]);
        assert_int_equal(f.used, out.len);
        if (lengths[i])
            assert_int_equal(ws_frame_parse(out.buf, out.len, lengths[i] - 1, &f), -1);
    }
}

static void illegal_frames(void **state)
{
    (void)state;
    struct ws_frame f;
    assert_int_equal(ws_frame_parse("\xc1\x00", 2, 100, &f), -1);          /* a reserved bit */
    assert_int_equal(ws_frame_parse("\x83\x00", 2, 100, &f), -1);          /* unknown opcode */
    assert_int_equal(ws_frame_parse("\x09\x00", 2, 100, &f), -1);          /* ping in parts */
    assert_int_equal(ws_frame_parse("\x89\x7e\x00\x80", 4, 1000, &f), -1); /* ping over 125 */
    assert_int_equal(ws_frame_parse("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10, 1000, &f), -1);
}

static void handshake(void **state)
{
    (void)state;
    const char *key = "dGhlIHNhbXBsZSBub25jZQ==";
    const char *good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "sec-websocket-accept:  s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n\r\n\x81\x00";
    struct err err = {0};
    for (size_t n = 0; n < strlen(good) - 1; n++)
        assert_int_equal(ws_answer_check(good, n, key, &err), 0);
    assert_int_equal(ws_answer_check(good, strlen(good), key, &err), strlen(good) - 1);
    assert_int_equal(ws_answer_check(good, strlen(good), "other", &err), -1);
    const char *no = "HTTP/1.1 503 Service Unavailable\r\n\r\n";
    assert_int_equal(ws_answer_check(no, strlen(no), key, &err), -1);
    assert_non_null(strstr(err.msg, "503"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_of_the_rfc),
        cmocka_unit_test(frames_of_the_rfc),
        cmocka_unit_test(every_length_and_every_cut),
        cmocka_unit_test(illegal_frames),
        cmocka_unit_test(handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
