#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sys/file.h"
#include "translate/caddyfile.h"

#include <stdlib.h>
#include <string.h>

/* The golden files are tests/golden/caddy/NAME.caddyfile; CHANGEOVER_GOLDEN_UPDATE=1 writes them
 * anew. The end-to-end tests let the real Caddys read each of them. */

struct fixture {
    struct spec green, blue;
    struct spec_port ports[COLOURS][2];
    char *sites[4];
};

static void fixture_init(struct fixture *f)
{
    static char site[] = ":8080";
    *f = (struct fixture){0};
    for (int c = 0; c < COLOURS; c++) {
        struct spec *s = c == GREEN ? &f->green : &f->blue;
        uint16_t rpc = c == GREEN ? 8899 : 8897;
        f->ports[c][0] = (struct spec_port){.name = "rpc", .first = rpc, .last = rpc};
        f->ports[c][1] = (struct spec_port){
            .name = "ws", .first = (uint16_t)(rpc + 1), .last = (uint16_t)(rpc + 1)};
        s->service = "agave";
        s->colour = (enum colour)c;
        s->writes = WRITES_REPLAYED;
        s->ports = f->ports[c];
        s->ports_n = 2;
        s->traffic = (struct spec_traffic){.driver = "caddy",
                                           .sites = {f->sites, 1},
                                           .flag_dir = "/var/lib/changeover-flags/agave",
                                           .port = "rpc",
                                           .ws_port = "ws",
                                           .websockets = WS_OWN_PORT,
                                           .which_port = 8090,
                                           .preview_port = {8091, 8092},
                                           .health_path = "/health",
                                           .health_body = "^ok$",
                                           .hold_max = 30 * NSEC_S};
    }
    f->sites[0] = site;
}

static void both(struct fixture *f, void (*change)(struct spec *))
{
    change(&f->green);
    change(&f->blue);
}

static void no_websockets(struct spec *s)
{
    s->traffic.websockets = WS_NONE;
    s->traffic.ws_port = NULL;
}

static void same_port(struct spec *s)
{
    s->traffic.websockets = WS_SAME_PORT;
    s->traffic.ws_port = NULL;
}

static void failover(struct spec *s)
{
    s->traffic.failover = true;
}

static void retry_safe(struct spec *s)
{
    s->traffic.retry = RETRY_SAFE;
}

static void retry_listed(struct spec *s)
{
    static char slot[] = "getSlot", block[] = "getBlock";
    static char *methods[] = {slot, block};
    s->traffic.failover = true;
    s->traffic.retry = RETRY_LISTED;
    s->traffic.retry_methods = (struct strv){methods, 2};
}

static void unhealthy(struct spec *s)
{
    s->traffic.when_unhealthy = UNHEALTHY_FAIL;
}

static void hold(struct spec *s)
{
    s->writes = WRITES_CLIENT;
}

static void plain(struct spec *s)
{
    (void)s;
}

static void same_port_all(struct spec *s)
{
    same_port(s);
    hold(s);
    unhealthy(s);
}

static void sites(struct spec *s)
{
    static char a[] = ":8080", b[] = "https://localhost:8443", c[] = "http://rpc.example.org:8081",
                d[] = "rpc.example.org:8443";
    char **v = s->traffic.sites.v;
    v[0] = a, v[1] = b, v[2] = c, v[3] = d;
    s->traffic.sites.n = 4;
    s->traffic.tls_internal = true;
    s->traffic.access_log = "/var/log/caddy/agave.log";
}

static void certificate(struct spec *s)
{
    static char a[] = "https://localhost:8443";
    s->traffic.sites.v[0] = a;
    s->traffic.tls_cert = "/etc/ssl/rpc.pem";
    s->traffic.tls_key = "/etc/ssl/rpc.key";
    no_websockets(s);
}

static const struct {
    const char *name, *version;
    void (*change)(struct spec *);
} variants[] = {
    {"plain-2.6.2", "2.6.2", plain},
    {"plain-2.8.4", "2.8.4", plain},
    {"plain-2.11.4", "2.11.4", plain},
    {"no-websockets-2.6.2", "2.6.2", no_websockets},
    {"same-port-2.6.2", "2.6.2", same_port},
    {"same-port-all-2.11.4", "2.11.4", same_port_all},
    {"failover-2.6.2", "2.6.2", failover},
    {"failover-2.11.4", "2.11.4", failover},
    {"failover-2.8.4", "2.8.4", failover},
    {"retry-safe-2.6.2", "2.6.2", retry_safe},
    {"retry-listed-2.11.4", "2.11.4", retry_listed},
    {"fail-2.6.2", "2.6.2", unhealthy},
    {"fail-2.11.4", "2.11.4", unhealthy},
    {"hold-2.6.2", "2.6.2", hold},
    {"hold-2.11.4", "2.11.4", hold},
    {"sites-2.6.2", "2.6.2", sites},
    {"sites-2.11.4", "2.11.4", sites},
    {"certificate-2.6.2", "2.6.2", certificate},
};

static void every_variant_is_as_its_golden_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        struct fixture f;
        struct err err = {0};
        cleanup_str struct str got = {0}, want = {0};
        cleanup_free char *path =
            x_asprintf(SOURCE_ROOT "/tests/golden/caddy/%s.caddyfile", variants[i].name);
        fixture_init(&f);
        both(&f, variants[i].change);
        if (caddyfile_render(&f.green, &f.blue, variants[i].version, &got, &err) < 0)
            fail_msg("%s: %s", variants[i].name, err.msg);
        if (getenv("CHANGEOVER_GOLDEN_UPDATE"))
            assert_int_equal(sys_file_write_atomic(path, got.buf, got.len, 0644, &err), 0);
        assert_int_equal(sys_file_read(path, 1 << 20, &want, &err), 0);
        assert_string_equal(str_cstr(&got), str_cstr(&want));
    }
}

static void refuse(void (*change)(struct spec *), const char *version, enum err_code code,
                   const char *words)
{
    struct fixture f;
    struct err err = {0};
    cleanup_str struct str got = {0};
    fixture_init(&f);
    both(&f, change);
    str_add(&got, "before");
    assert_int_equal(caddyfile_render(&f.green, &f.blue, version, &got, &err), -1);
    assert_int_equal(err.code, code);
    assert_string_equal(str_cstr(&got), "before");
    if (!strstr(err.msg, words))
        fail_msg("'%s' is not in: %s", words, err.msg);
}

static void hold_and_failover(struct spec *s)
{
    s->writes = WRITES_CLIENT;
    s->traffic.failover = true;
}

static void injected_body(struct spec *s)
{
    s->traffic.failover = true;
    s->traffic.health_body = "^ok$\n}\nrespond 200";
}

static void placeholder_dir(struct spec *s)
{
    s->traffic.flag_dir = "/var/{env.HOME}";
}

static void what_a_version_cannot_do_is_refused(void **state)
{
    (void)state;
    refuse(plain, "2.6.1", ERR_UNSUPPORTED, "older than 2.6.2");
    refuse(plain, "2.4.6", ERR_UNSUPPORTED, "older than 2.6.2");
    refuse(plain, "two", ERR_UNSUPPORTED, "no version");
    refuse(hold, "2.6.3", ERR_UNSUPPORTED, "writes: client");
    refuse(hold, "2.11.1", ERR_UNSUPPORTED, "writes: client");
    refuse(unhealthy, "2.8.4", ERR_UNSUPPORTED, "when_unhealthy: serve");
    refuse(retry_listed, "2.6.2", ERR_UNSUPPORTED, "retry: safe-methods");
    refuse(hold_and_failover, "2.6.2", ERR_USAGE, "failover: false");
    refuse(injected_body, "2.6.2", ERR_USAGE, "cannot stand in a Caddyfile");
    refuse(placeholder_dir, "2.6.2", ERR_USAGE, "cannot stand in a Caddyfile");
}

static void check_rates_follow_the_handlers(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    assert_int_equal(caddyfile_checks(&f.green), 0);
    f.green.traffic.failover = true;
    assert_int_equal(caddyfile_checks(&f.green), 4);
    f.green.traffic.failover = false;
    f.green.writes = WRITES_CLIENT; /* those ask our own route, not the colour */
    assert_int_equal(caddyfile_checks(&f.green), 0);
    f.green.traffic.when_unhealthy = UNHEALTHY_FAIL;
    assert_int_equal(caddyfile_checks(&f.green), 4);
    f.green.traffic.websockets = WS_NONE;
    assert_int_equal(caddyfile_checks(&f.green), 2);
}

#define BLOCK "# changeover a begin\nx\n# changeover a end\n"
#define CHECKED "# changeover a begin\nhealth_uri /\n# changeover a end\n"

static void put_and_take(const char *text, const char *block, const char *with)
{
    struct err err = {0};
    cleanup_str struct str in = {0}, again = {0}, out = {0}, found = {0};
    assert_int_equal(caddyfile_put(text, "a", block, &in, &err), 0);
    assert_string_equal(str_cstr(&in), with);
    assert_int_equal(caddyfile_put(str_cstr(&in), "a", block, &again, &err), 0);
    assert_string_equal(str_cstr(&again), with);
    assert_true(caddyfile_find(str_cstr(&in), "a", &found));
    assert_string_equal(str_cstr(&found), block);
    assert_int_equal(caddyfile_put(str_cstr(&in), "a", NULL, &out, &err), 0);
    assert_string_equal(str_cstr(&out), text);
}

static void the_block_goes_in_and_out(void **state)
{
    (void)state;
    put_and_take("", BLOCK, BLOCK);
    put_and_take(":80 {\n}\n", BLOCK, ":80 {\n}\n\n" BLOCK);
    put_and_take("# c\n{\n\tadmin :2019\n}\n:80 {\n}\n", CHECKED,
                 "# c\n{\n\t# changeover a options begin\n\tlog default {\n"
                 "\t\texclude http.handlers.reverse_proxy.health_checker.active\n\t}\n"
                 "\t# changeover a options end\n\tadmin :2019\n}\n:80 {\n}\n\n" CHECKED);
    put_and_take("{\n\tlog {\n\t\tlevel INFO\n\t}\n}\n", CHECKED,
                 "{\n\tlog {\n\t\tlevel INFO\n\t}\n}\n\n" CHECKED);
    put_and_take(":80 {\n\tlog\n}\n", CHECKED,
                 "# changeover a options begin\n{\n\tlog default {\n"
                 "\t\texclude http.handlers.reverse_proxy.health_checker.active\n\t}\n}\n"
                 "# changeover a options end\n:80 {\n\tlog\n}\n\n" CHECKED);
}

static void a_block_in_the_middle_is_replaced_there(void **state)
{
    (void)state;
    struct err err = {0};
    cleanup_str struct str out = {0};
    assert_int_equal(caddyfile_put("one\n\n" CHECKED "two\n", "a", BLOCK, &out, &err), 0);
    assert_string_equal(str_cstr(&out), "one\n\n" BLOCK "two\n");
    assert_false(caddyfile_find(str_cstr(&out), "b", &out));
}

static void damaged_markers_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"# changeover a begin\n", "# changeover a end\n", BLOCK BLOCK,
                                      "# changeover a options begin\n{\n}\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        cleanup_str struct str out = {0};
        assert_int_equal(caddyfile_put(bad[i], "a", BLOCK, &out, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_variant_is_as_its_golden_file),
        cmocka_unit_test(what_a_version_cannot_do_is_refused),
        cmocka_unit_test(check_rates_follow_the_handlers),
        cmocka_unit_test(the_block_goes_in_and_out),
        cmocka_unit_test(a_block_in_the_middle_is_replaced_there),
        cmocka_unit_test(damaged_markers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
