#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/identity/solana.h"
#include "sys/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_dir(void **state)
{
    char tmpl[] = "/tmp/changeover-test-XXXXXX";
    *state = strdup(mkdtemp(tmpl));
    return chdir(*state);
}

static int remove_dir(void **state)
{
    char cmd[128];
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", (char *)*state);
    free(*state);
    return chdir("/") || system(cmd);
}

static void put(const char *path, const char *text)
{
    struct err err = {0};
    assert_int_equal(sys_file_write_atomic(path, text, strlen(text), 0600, &err), 0);
}

/* A keypair whose public half is `fill` 32 times, written with `sep` between the numbers. */
static void put_key(const char *path, int fill, const char *sep)
{
    struct str s = {0};
    str_add_c(&s, '[');
    for (int i = 0; i < 64; i++)
        str_addf(&s, "%s%d", i ? sep : "", i < 32 ? i : fill);
    str_add(&s, "]\n");
    put(path, str_cstr(&s));
    str_done(&s);
}

static void keys_are_written_as_solana_writes_them(void **state)
{
    (void)state;
    char buf[64];
    uint8_t zero[32] = {0}, one[32] = {0}, all[32];
    one[31] = 1;
    memset(all, 0xff, sizeof(all));
    assert_string_equal(base58_encode(buf, sizeof(buf), zero, 32),
                        "11111111111111111111111111111111");
    assert_string_equal(base58_encode(buf, sizeof(buf), one, 32),
                        "11111111111111111111111111111112");
    assert_string_equal(base58_encode(buf, sizeof(buf), all, 32),
                        "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG");
    /* from the base58 draft's test vectors */
    assert_string_equal(base58_encode(buf, sizeof(buf), (const uint8_t *)"Hello World!", 12),
                        "2NEpo7TZRRrLZSi2U");
    assert_string_equal(base58_encode(buf, 10, all, 32), "");
}

static void a_keypair_shows_its_public_half_only(void **state)
{
    (void)state;
    struct identity id;
    struct err err = {0};
    put_key("k.json", 255, ",");
    assert_int_equal(identity_read("k.json", &id, &err), 0);
    assert_true(id.keypair);
    assert_string_equal(id.text, "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG");
    put("other", "-----BEGIN PRIVATE KEY-----\n");
    assert_int_equal(identity_read("other", &id, &err), 0);
    assert_false(id.keypair);
}

static void what_was_meant_as_a_keypair_and_is_none_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"[1,2,3]", "has 3"},    {"[]", "has 0"},        {"[1,2,256]", "0 to 255"},
        {"[1,2", "0 to 255"},    {"[1 2]", "0 to 255"},  {"[1,-2]", "0 to 255"},
        {"[1,2] x", "0 to 255"}, {"[0001]", "0 to 255"}, {"", "is empty"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct identity id;
        struct err err = {0};
        put("bad", bad[i].text);
        assert_int_equal(identity_read("bad", &id, &err), -1);
        if (!strstr(err.msg, bad[i].why))
            fail_msg("'%s': %s", bad[i].text, err.msg);
    }
}

static int differ(const char *green, const char *blue, struct err *err)
{
    struct spec a = {.colour = GREEN}, b = {.colour = BLUE};
    strv_add(&a.identities, green);
    strv_add(&b.identities, blue);
    int rc = identity_differ(&a, &b, err);
    strv_done(&a.identities);
    strv_done(&b.identities);
    return rc;
}

static void equal_identities_are_refused(void **state)
{
    (void)state;
    struct err err = {0};
    put_key("green.json", 7, ",");
    put_key("blue.json", 9, ",");
    assert_int_equal(differ("green.json", "blue.json", &err), 0);

    put_key("blue.json", 7, " ,\n "); /* other bytes, the same key */
    assert_int_equal(differ("green.json", "blue.json", &err), -1);
    assert_int_equal(err.code, ERR_FAILED);
    assert_non_null(strstr(err.msg, "green and blue have one identity, "));
    assert_non_null(strstr(err.msg, "'green.json' and 'blue.json'"));

    put("green.pem", "secret");
    put("blue.pem", "secret");
    err_clear(&err);
    assert_int_equal(differ("green.pem", "blue.pem", &err), -1);
    assert_non_null(strstr(err.msg, "byte by byte"));
    assert_null(strstr(err.msg, "secret"));
    put("blue.pem", "Secret");
    assert_int_equal(differ("green.pem", "blue.pem", &err), 0);

    err_clear(&err);
    assert_int_equal(symlink("green.pem", "link.pem"), 0);
    assert_int_equal(differ("green.pem", "link.pem", &err), -1);
    assert_non_null(strstr(err.msg, "share one identity file"));

    err_clear(&err);
    assert_int_equal(differ("green.pem", "missing.pem", &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "missing.pem"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_written_as_solana_writes_them),
        cmocka_unit_test(a_keypair_shows_its_public_half_only),
        cmocka_unit_test(what_was_meant_as_a_keypair_and_is_none_is_refused),
        cmocka_unit_test(equal_identities_are_refused),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
