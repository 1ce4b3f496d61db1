/* Good specs load as they should; bad ones say so as tests/golden/spec has it
 * (CHANGEOVER_UPDATE_GOLDEN=1 rewrites what is expected there, and docs/spec.md: look at the
 * difference). */
#include "spec/document.h"
#include "spec/loader.h"
#include "sys/file.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN SOURCE_ROOT "/tests/golden/spec"

static const char base[] = "service: demo\n"
                           "writes: replayed\n"
                           "colours:\n"
                           "  green: {ports: {http: 8101}}\n"
                           "  blue: {ports: {http: 8102}}\n"
                           "runtime: {command: [/usr/bin/demo]}\n"
                           "traffic: {site: \":8080\", identify: {header: X-Instance}}\n"
                           "gate: {checks: [ports]}\n";

static const char *fake_env(void *ctx, const char *name)
{
    (void)ctx;
    return str_eq(name, "SECRET") ? "s3cret" : NULL;
}

static struct spec *must_parse(const char *text, enum colour c, const char *version)
{
    struct err err = {0};
    struct spec *s = NULL;
    if (loader_parse(text, "changeover.yml", c, version, fake_env, NULL, &s, &err))
        fail_msg("%s", err.msg);
    return s;
}

static struct spec *parse_with(const char *more, enum colour c, const char *version)
{
    cleanup_free char *text = x_asprintf("%s%s", base, more);
    return must_parse(text, c, version);
}

static void read_text(const char *path, struct str *ret)
{
    struct err err = {0};
    if (sys_file_read(path, 1 << 20, ret, &err))
        fail_msg("%s", err.msg);
}

static void same_as_file(const char *path, const char *text)
{
    struct err err = {0};
    if (getenv("CHANGEOVER_UPDATE_GOLDEN"))
        assert_int_equal(sys_file_write_atomic(path, text, strlen(text), 0644, &err), 0);
    cleanup_str struct str expected = {0};
    if (sys_path_exists(path))
        read_text(path, &expected);
    if (!str_eq(str_cstr(&expected), text))
        fail_msg("%s differs; now it is:\n%s", path, text);
}

static void starter_loads_for_both(void **state)
{
    (void)state;
    for (enum colour c = GREEN; c <= BLUE; c++) {
        cleanup_spec struct spec *s = must_parse(spec_starter(), c, "1.2");
        assert_string_equal(s->service, "example");
        assert_int_equal(spec_port_number(s, "http"), c == GREEN ? 8101 : 8102);
        assert_string_equal(spec_volume(s, "data")->path,
                            c == GREEN ? "/srv/example/green/data" : "/srv/example/blue/data");
        assert_string_equal(s->runtime.command.v[0], "/opt/example/1.2/bin/example");
        assert_string_equal(s->runtime.command.v[3], "--log-level=info");
        assert_null(s->runtime.command.v[4]);
        assert_string_equal(s->traffic.flag_dir, "/var/lib/changeover-flags/example");
        assert_string_equal(s->text, spec_starter());
    }
}

/* Every commented line of the starter that looks like a key is valid too. */
static void starter_comments_are_valid(void **state)
{
    (void)state;
    cleanup_str struct str text = {0};
    const char *p = spec_starter();
    while (*p) {
        const char *eol = strchr(p, '\n');
        size_t indent = strspn(p, " ");
        const char *rest = p + indent;
        size_t name =
            str_starts(rest, "# ") || str_starts(rest, "#   ") ? strspn(rest + 1, " -") + 1 : 0;
        size_t word = name ? strspn(rest + name, "abcdefghijklmnopqrstuvwxyz_") : 0;
        bool key = word && rest[name + word] == ':' &&
                   (rest[name + word + 1] == ' ' || rest[name + word + 1] == '\n') &&
                   !str_starts(rest + name, "changeover") && !str_starts(rest + name, "kill:");
        str_add_n(&text, p, indent);
        if (key)
            str_add_n(&text, rest + 2, (size_t)(eol - rest - 2) + 1);
        else
            str_add_n(&text, rest, (size_t)(eol - rest) + 1);
        p = eol + 1;
    }
    assert_non_null(strstr(str_cstr(&text), "\nhooks:\n  after_promote:"));
    /* own_port needs a port ws */
    cleanup_free char *all = x_strdup(str_cstr(&text));
    char *ws = strstr(all, "websockets: own_port");
    assert_non_null(ws);
    memcpy(ws, "websockets: none    ", 20);
    /* the two identities would be one too many for green alone */
    char *identity = strstr(all, "    identity:");
    assert_non_null(identity);
    memcpy(identity, "    # entity:", 13);
    cleanup_spec struct spec *s = must_parse(all, GREEN, "2");
    assert_int_equal(s->gate.n, 6);
    assert_string_equal(s->runtime.validate[0].argv.v[4], "--help");
}

static void defaults_are_the_table_s(void **state)
{
    (void)state;
    cleanup_spec struct spec *s = parse_with("", BLUE, NULL);
    assert_int_equal(s->colour, BLUE);
    assert_null(s->version);
    assert_int_equal(s->freeze_max, 2 * NSEC_S);
    assert_int_equal(s->bake, 10 * NSEC_S);
    assert_int_equal(s->gate.passes, 3);
    assert_int_equal(s->gate.interval, NSEC_S);
    assert_int_equal(s->gate.deadline, 24 * NSEC_HOUR);
    assert_int_equal(s->stop.grace, 300 * NSEC_S);
    assert_int_equal(s->stop.signal, SIGTERM);
    assert_false(s->stop.kill);
    assert_string_equal(s->runtime.driver, "process");
    assert_int_equal(s->runtime.restart, RESTART_ON_FAILURE);
    assert_int_equal(s->runtime.restart_delay, 5 * NSEC_S);
    assert_int_equal(s->runtime.log_max_bytes, 64000000);
    assert_string_equal(s->traffic.driver, "caddy");
    assert_string_equal(s->traffic.port, "http");
    assert_int_equal(s->traffic.websockets, WS_NONE);
    assert_string_equal(s->traffic.admin, "127.0.0.1:2019");
    assert_string_equal(s->traffic.health_body, "^ok$");
    assert_int_equal(s->traffic.preview_port[BLUE], 8092);
    assert_string_equal(s->traffic.identify.header, "X-Instance");
    assert_string_equal(s->traffic.identify.path, "/");
    assert_string_equal(s->traffic.identify.params, "[]");
    assert_int_equal(s->downgrade, DOWNGRADE_PATCH);
    assert_int_equal(s->space.floor_bytes, 2000000000);
    assert_int_equal(s->retention_events, 90 * 24 * NSEC_HOUR);
    assert_int_equal(s->volumes_n, 0);
    assert_string_equal(s->gate.gates[0].name, "ports");
    assert_int_equal(s->gate.gates[0].timeout, 5 * NSEC_S);
}

static void names_expand(void **state)
{
    (void)state;
    const char *text =
        "service: demo\nwrites: both\n"
        "colours:\n"
        "  green: {ports: {http: 8101, dyn: \"9000-9025\"}, identity: [/etc/g1, /etc/g2], config: "
        "{x: gx},\n"
        "          env: {B: green}}\n"
        "  blue: {ports: {http: 8102, dyn: \"9100-9125\"}, identity: [/etc/b1, "
        "\"/etc/${colour}2\"],\n"
        "         env: {B: blue, N: 12}}\n"
        "config: {x: common, y: \"${port.http}/${other.port.http}\"}\n"
        "volumes: {data: {green: /srv/g/, blue: \"/srv/${other}-not\"}}\n"
        "runtime:\n"
        "  command:\n"
        "    - p\n"
        "    - ${colour} ${other} ${service} ${version}\n"
        "    - ${port.dyn} ${port.dyn.first} ${port.dyn.last} ${other.port.dyn.last}\n"
        "    - ${volume.data} ${other.volume.data}\n"
        "    - ${config.x} ${config.y}\n"
        "    - ${identity} ${identity.1}\n"
        "    - $$ $${x} $ 5$ ${environment.SECRET}\n"
        "  env: {A: \"${colour}\", B: both, T: true}\n"
        "traffic: {driver: none, port: http}\n"
        "gate: {checks: [ports]}\n";
    cleanup_spec struct spec *s = must_parse(text, BLUE, "3.1");
    const char *const expected[] = {"p",
                                    "blue green demo 3.1",
                                    "9100-9125 9100 9125 9025",
                                    "/srv/green-not /srv/g",
                                    "common 8102/8101",
                                    "/etc/b1 /etc/blue2",
                                    "$ ${x} $ 5$ s3cret"};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_string_equal(s->runtime.command.v[i], expected[i]);
    assert_int_equal(s->runtime.env_n, 4);
    assert_string_equal(s->runtime.env[0].value, "blue");
    assert_string_equal(s->runtime.env[1].value, "blue");
    assert_string_equal(s->runtime.env[3].value, "12");
    cleanup_spec struct spec *g = must_parse(text, GREEN, NULL);
    assert_string_equal(g->runtime.command.v[1], "green blue demo ${version}");
    assert_string_equal(g->runtime.command.v[4], "gx 8101/8102");
    assert_int_equal(g->runtime.env_n, 3);
    assert_string_equal(g->runtime.env[1].value, "green");
    assert_null(strstr(g->text, "s3cret")); /* the stored text holds no secret */
}

/* The time that a service gets for its websockets, for its command, or for itself where it is
 * signalled. */
static void the_spread_expands(void **state)
{
    (void)state;
    static const struct {
        const char *spread, *expected;
    } rows[] = {{"30s", "30 30000"},
                {"1500ms", "1.5 1500"},
                {"2m", "120 120000"},
                {"\"${config.t}\"", "7 7000"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cleanup_free char *text = x_asprintf(
            "service: demo\nwrites: both\nconfig: {t: 7s}\n"
            "colours: {green: {ports: {http: 1, ws: 2}}, blue: {ports: {http: 3, ws: 4}}}\n"
            "runtime: {command: [p, \"${spread} ${spread_ms}\"]}\n"
            "traffic: {site: \":8080\", identify: {header: X}}\n"
            "gate: {checks: [ports]}\n"
            "stop: {websockets: {spread: %s, command: [q, \"${spread}\"]}}\n",
            rows[i].spread);
        cleanup_spec struct spec *s = must_parse(text, GREEN, NULL);
        assert_string_equal(s->runtime.command.v[1], rows[i].expected);
        assert_int_equal(s->stop.websockets.signal, 0);
        assert_true(s->stop.websockets.spread > 0);
        assert_int_equal(s->stop.websockets.command.argv.n, 2);
    }
}

static void commands_and_checks(void **state)
{
    (void)state;
    cleanup_spec struct spec *s = must_parse(
        "service: demo\nwrites: client\n"
        "colours: {green: {ports: {rpc: 1, ws: 2}}, blue: {ports: {rpc: 3, ws: 4}}}\n"
        "runtime:\n"
        "  command: [/bin/d, --id, \"${colour}\", --port=1]\n"
        "  limits: {nofile: 5:unlimited, memlock: unlimited}\n"
        "  validate: [{append: [--help]}, {replace: {--id: none, --port: 2}, status: 1}, [x, y]]\n"
        "  version: {command: [/bin/d, -V], output: \"v([0-9]+)\", timeout: 3s}\n"
        "  standby: {ionice: idle, nice: 5}\n"
        "stop: {command: [a], grace: 7s, signal: SIGINT}\n"
        "hooks: {after_flip: [n, \"${colour}\"], before_stop: {command: [m], timeout: 1s}}\n"
        "traffic: {sites: [a, b], port: rpc, identify: {method: getIdentity, field: r}, tls: "
        "internal}\n"
        "gate:\n"
        "  checks:\n"
        "    - http:\n"
        "    - http: {path: /x, body: ok, name: second}\n"
        "    - jsonrpc: {method: m, params: [1, \"1\", {a: true}], op: ge, value: 5}\n"
        "    - lag: {method: getSlot, field: result, references: http://127.0.0.1:1}\n"
        "    - websocket: {}\n"
        "    - command: [c, \"${port.ws}\"]\n"
        "    - command: {command: [d], timeout: 9s, status: 3}\n"
        "    - tcp: {port: ws}\n"
        "shadow:\n"
        "  requests:\n"
        "    - {method: getBlock, params: [\"${slot}\", {a: b}]}\n"
        "    - {method: getBlock, port: ws}\n"
        "    - {name: page, path: \"/${slot}/${colour}\"}\n"
        "  ignore: result.context.apiVersion\n",
        GREEN, "1");
    assert_int_equal(s->runtime.limits[0].soft, 5);
    assert_true(s->runtime.limits[0].hard == UINT64_MAX);
    assert_string_equal(s->runtime.validate[0].argv.v[4], "--help");
    assert_string_equal(s->runtime.validate[1].argv.v[2], "none");
    assert_string_equal(s->runtime.validate[1].argv.v[3], "--port=2");
    assert_int_equal(s->runtime.validate[1].status, 1);
    assert_string_equal(s->runtime.validate[2].argv.v[1], "y");
    assert_int_equal(s->runtime.validate[2].timeout, 60 * NSEC_S);
    assert_string_equal(s->runtime.command.v[2], "green"); /* untouched by replace */
    assert_int_equal(s->runtime.version.timeout, 3 * NSEC_S);
    assert_int_equal(s->runtime.standby_ionice, 3);
    assert_int_equal(s->stop.command.timeout, 7 * NSEC_S);
    assert_int_equal(s->stop.signal, SIGINT);
    assert_string_equal(spec_hook(s, "after_flip")->command.argv.v[1], "green");
    assert_null(spec_hook(s, "after_start"));
    assert_int_equal(s->traffic.sites.n, 2);
    assert_true(s->traffic.tls_internal);
    assert_int_equal(s->traffic.websockets, WS_OWN_PORT);
    assert_string_equal(s->traffic.ws_port, "ws");
    const struct spec_gate *g = s->gate.gates;
    assert_string_equal(g[0].query.path, "/health");
    assert_string_equal(g[0].query.port, "rpc");
    assert_string_equal(g[1].name, "second");
    assert_string_equal(g[2].query.params, "[1,\"1\",{\"a\":true}]");
    assert_int_equal(g[2].compare, CMP_GE);
    assert_int_equal(g[3].max, 4);
    assert_string_equal(g[3].references.v[0], "http://127.0.0.1:1");
    assert_string_equal(g[4].query.port, "ws");
    assert_string_equal(g[5].command.argv.v[1], "2");
    assert_string_equal(g[6].name, "command-2");
    assert_int_equal(g[6].command.timeout, 9 * NSEC_S);
    assert_int_equal(g[6].command.status, 3);
    const struct spec_shadow *w = &s->shadow;
    assert_int_equal(w->requests_n, 3);
    assert_string_equal(w->requests[0].query.params, "[\"${slot}\",{\"a\":\"b\"}]");
    assert_string_equal(w->requests[0].query.port, "rpc");
    assert_string_equal(w->requests[1].name, "getBlock-2");
    assert_string_equal(w->requests[1].query.port, "ws");
    assert_string_equal(w->requests[2].name, "page");
    assert_string_equal(w->requests[2].query.path, "/${slot}/green");
    assert_string_equal(w->slot.method, "getSlot"); /* the lag check's question */
    assert_string_equal(w->ignore.v[0], "result.context.apiVersion");
    assert_int_equal(w->samples, 10);
}

/* A bad spec is an error in every run; what it says is in the file of the same name. */
static void bad_specs_say_what_is_wrong(void **state)
{
    (void)state;
    DIR *d = opendir(GOLDEN);
    assert_non_null(d);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (!str_ends(e->d_name, ".yml"))
            continue;
        n++;
        cleanup_free char *path = x_asprintf("%s/%s", GOLDEN, e->d_name);
        cleanup_free char *expected = x_asprintf("%.*s.txt", (int)strlen(path) - 4, path);
        cleanup_str struct str text = {0}, said = {0};
        read_text(path, &text);
        struct spec *s = NULL;
        struct err err = {0};
        int rc = loader_parse(str_cstr(&text), e->d_name, GREEN, NULL, fake_env, NULL, &s, &err);
        spec_free(s);
        if (rc == 0)
            fail_msg("%s loads", e->d_name);
        assert_int_equal(err.code, ERR_USAGE);
        assert_true(err.hint[0]);
        str_addf(&said, "%s\n", err.msg);
        same_as_file(expected, str_cstr(&said));
    }
    closedir(d);
    assert_true(n >= 20);
}

static void document_is_committed(void **state)
{
    (void)state;
    cleanup_str struct str text = {0};
    spec_document(&text);
    same_as_file(SOURCE_ROOT "/docs/spec.md", str_cstr(&text));
}

/* The table is sound: each row's section exists, and each example is what it says. */
static void table_is_sound(void **state)
{
    (void)state;
    const struct schema_key *k;
    for (size_t i = 0; (k = schema_row(i)); i++) {
        assert_non_null(k->doc);
        if (!k->example && k->type != T_SECTION && k->type != T_CHECK && k->type != T_VOLUMES)
            fail_msg("%s has no example", k->path);
        const struct schema_key *other;
        for (size_t j = i + 1; (other = schema_row(j)); j++)
            if (str_eq(k->path, other->path))
                fail_msg("%s is there twice", k->path);
    }
}

static void count_wrong(void *ctx, struct yaml_mark at, const char *text)
{
    (void)at;
    (void)text;
    ++*(size_t *)ctx;
}

/* Each example of the table is a value that its own reader takes. */
static void table_examples_are_read(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct wrongs wrongs = {0};
    size_t bad = 0;
    static const char text[] =
        "service: demo\n"
        "colours: {green: {ports: {rpc: 1, ws: 2, http: 3, gossip: 4}, identity: /k}}\n"
        "volumes: {ledger: {path: /l}}\n"
        "stop: {websockets: {spread: 30s}}\n";
    struct loader l = {.spec = arena_alloc(&arena, sizeof(struct spec)),
                       .arena = &arena,
                       .wrongs = &wrongs,
                       .colour = GREEN,
                       .env = fake_env};
    assert_int_equal(yaml_parse(&arena, text, strlen(text), count_wrong, &bad, &l.root), 0);
    loader_names(&l);
    loader_strv_add(&l, &l.spec->runtime.command, "p");
    loader_strv_add(&l, &l.spec->runtime.command, "--identity");
    loader_strv_add(&l, &l.spec->runtime.command, "x");
    wrongs.n = 0;
    const struct schema_key *k;
    for (size_t i = 0; (k = schema_row(i)); i++) {
        if (!k->example || !loader_readers[k->type])
            continue;
        cleanup_free char *example = x_asprintf("%s: %s\n", schema_leaf(k), k->example);
        const struct yaml_node *map = NULL;
        if (yaml_parse(&arena, example, strlen(example), count_wrong, &bad, &map) || map->n != 1)
            fail_msg("example of %s is no YAML: %s", k->path, example);
        void *at = arena_alloc(&arena, sizeof(struct spec));
        const struct reading r = {
            .l = &l, .key = k, .node = map->pairs[0].value, .shown = k->path, .at = at};
        l.later = str_starts(k->path, "shadow.requests[]") ? "slot" : NULL;
        loader_readers[k->type](&r);
        if (wrongs.n)
            fail_msg("example of %s: %s", k->path, wrongs.items[0].text);
    }
    arena_done(&wrongs.arena);
    arena_done(&arena);
}

static void examples_load(void **state)
{
    (void)state;
    for (enum colour c = GREEN; c <= BLUE; c++) {
        struct err err = {0};
        cleanup_spec struct spec *s = NULL;
        if (spec_load(SOURCE_ROOT "/examples/agave/changeover.yml", c, "3.1.11", &s, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(s->writes, WRITES_REPLAYED);
        assert_int_equal(spec_port_number(s, "rpc"), c == GREEN ? 8899 : 8897);
        assert_int_equal(spec_port_number(s, "ws"), spec_port_number(s, "rpc") + 1);
        assert_int_equal(spec_port(s, "dynamic")->last, c == GREEN ? 9025 : 10125);
        assert_string_equal(spec_volume(s, "accounts")->driver, "empty");
        /* the same arguments as the start, but for the identity */
        const struct strv *start = &s->runtime.command, *check = &s->runtime.validate[1].argv;
        assert_int_equal(start->n, check->n);
        size_t differ = 0;
        for (size_t i = 0; i < start->n; i++)
            differ += !str_eq(start->v[i], check->v[i]);
        assert_int_equal(differ, 1);
    }
}

/* Cut at every byte, and with one byte overwritten: never a crash, never a success without a
 * service. */
static void damaged_texts_do_no_harm(void **state)
{
    (void)state;
    const char *whole = spec_starter();
    size_t n = strlen(whole);
    for (size_t i = 0; i < n; i++) {
        cleanup_free char *cut = x_strndup(whole, i);
        struct spec *s = NULL;
        struct err err = {0};
        if (loader_parse(cut, "cut.yml", GREEN, "1", fake_env, NULL, &s, &err))
            assert_true(str_starts(err.msg, "cut.yml:"));
        else
            assert_string_equal(s->service, "example");
        spec_free(s);
    }
    static const char bytes[] = "{}[]:#&*!|>\"'%@`\t\n-?,\x01\xff$";
    for (size_t i = 0; i < n; i += 7) {
        cleanup_free char *damaged = x_strdup(whole);
        damaged[i] = bytes[i / 7 % (sizeof(bytes) - 1)];
        struct spec *s = NULL;
        struct err err = {0};
        if (loader_parse(damaged, "damaged.yml", BLUE, NULL, fake_env, NULL, &s, &err))
            assert_true(str_starts(err.msg, "damaged.yml:"));
        spec_free(s);
    }
}

/* Small texts that would become big ones. */
static void bombs_are_bounded(void **state)
{
    (void)state;
    cleanup_str struct str text = {0};
    str_add(&text, base);
    str_add(&text, "config:\n  a0: xxxxxxxxxxxxxxxx\n");
    for (int i = 1; i < 60; i++)
        str_addf(&text, "  a%d: ${config.a%d}${config.a%d}\n", i, i - 1, i - 1);
    struct spec *s = NULL;
    struct err err = {0};
    assert_int_equal(spec_parse(str_cstr(&text), "x.yml", GREEN, NULL, &s, &err), -1);
    assert_non_null(strstr(err.msg, "longer than 64 KiB"));
    cleanup_str struct str deep = {0};
    for (int i = 0; i < 100000; i++)
        str_add_c(&deep, '[');
    assert_int_equal(spec_parse(str_cstr(&deep), "x.yml", GREEN, NULL, &s, &err), -1);
    cleanup_str struct str long_one = {0};
    for (int i = 0; i < 1100000; i++)
        str_add_c(&long_one, '#');
    assert_int_equal(spec_parse(str_cstr(&long_one), "x.yml", GREEN, NULL, &s, &err), -1);
    assert_non_null(strstr(err.msg, "larger than 1 MiB"));
}

/* More mistakes than an error has room for: whole lines, and how many there are besides. */
static void many_errors_are_counted(void **state)
{
    (void)state;
    cleanup_str struct str text = {0};
    str_add(&text, base);
    str_add(&text, "config:\n");
    for (int i = 0; i < 150; i++)
        str_addf(&text, "  b%d: ${nothing.of.the.kind}\n", i);
    struct spec *s = NULL;
    struct err err = {0};
    assert_int_equal(spec_parse(str_cstr(&text), "x.yml", GREEN, NULL, &s, &err), -1);
    const char *last = strrchr(err.msg, '\n');
    assert_non_null(last);
    assert_true(str_starts(last + 1, "x.yml: and "));
}

static void missing_file_names_the_way(void **state)
{
    (void)state;
    struct spec *s = NULL;
    struct err err = {0};
    assert_int_equal(spec_load("/nonexistent/changeover.yml", GREEN, NULL, &s, &err), -1);
    assert_int_equal(err.code, ERR_USAGE);
    assert_non_null(strstr(err.hint, "changeover init"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starter_loads_for_both),
        cmocka_unit_test(starter_comments_are_valid),
        cmocka_unit_test(defaults_are_the_table_s),
        cmocka_unit_test(names_expand),
        cmocka_unit_test(the_spread_expands),
        cmocka_unit_test(commands_and_checks),
        cmocka_unit_test(bad_specs_say_what_is_wrong),
        cmocka_unit_test(document_is_committed),
        cmocka_unit_test(table_is_sound),
        cmocka_unit_test(table_examples_are_read),
        cmocka_unit_test(examples_load),
        cmocka_unit_test(damaged_texts_do_no_harm),
        cmocka_unit_test(bombs_are_bounded),
        cmocka_unit_test(many_errors_are_counted),
        cmocka_unit_test(missing_file_names_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
