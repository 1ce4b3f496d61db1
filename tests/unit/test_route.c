/* Objects of Kubernetes that send requests to one colour: which one they mean, and the one write
 * that changes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/json.h"
#include "spec/loader.h"
#include "translate/route.h"

#include <string.h>

static const char spec_text[] =
    "service: agave\nwrites: replayed\n"
    "colours:\n  green: {ports: {rpc: 8899, ws: 8900}}\n  blue: {ports: {rpc: 8897, ws: 8898}}\n"
    "runtime: {command: [/usr/bin/node]}\n"
    "traffic:\n  driver: %s\n  site: http://10.96.0.50\n  port: rpc\n"
    "  identify: {header: X-Instance}\n  kubernetes: {%s}\n"
    "gate: {checks: [{tcp: {port: rpc}}]}\n";

struct sides {
    struct spec *v[COLOURS];
};

static const char *no_env(void *ctx, const char *name)
{
    (void)ctx, (void)name;
    return NULL;
}

static void load(struct sides *s, const char *driver, const char *keys)
{
    cleanup_free char *text = x_asprintf(spec_text, driver, keys);
    struct err err = {0};
    for (enum colour c = GREEN; c <= BLUE; c++)
        if (loader_parse(text, "changeover.yml", c, NULL, no_env, NULL, &s->v[c], &err) < 0)
            fail_msg("%s", err.msg);
}

static void sides_done(struct sides *s)
{
    spec_free(s->v[GREEN]);
    spec_free(s->v[BLUE]);
}

static json_t *parse(const char *text)
{
    struct err err = {0};
    json_t *j = NULL;
    if (json_read(text, strlen(text), &j, &err) < 0)
        fail_msg("%s", err.msg);
    return j;
}

static void is_json(json_t *got, const char *want)
{
    cleanup_json json_t *w = parse(want);
    cleanup_str struct str text = {0};
    json_print(got, 0, &text);
    if (!json_equal(got, w))
        fail_msg("it is %s", str_cstr(&text));
}

static struct route_look see(struct sides *s, json_t *service, json_t *object)
{
    struct route_look l;
    route_see((const struct spec *const *)s->v, service, object, &l);
    return l;
}

static const char plain_service[] =
    "{\"metadata\":{\"name\":\"agave\"},\"spec\":{\"ports\":[{\"name\":\"rpc\",\"port\":80},"
    "{\"name\":\"ws\",\"port\":81,\"protocol\":\"TCP\"}]}}";

static void a_slice_is_ours_whole(void **state)
{
    (void)state;
    cleanup(sides_done) struct sides s = {0};
    load(&s, "service", "address: 192.0.2.10, namespace: agave");
    cleanup_json json_t *service = parse(plain_service), *green = NULL, *blue = NULL;
    assert_int_equal(route_slice(s.v[GREEN], service, &green, NULL), 0);
    assert_int_equal(route_slice(s.v[BLUE], service, &blue, NULL), 0);
    is_json(blue,
            "{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{"
            "\"name\":\"agave-changeover\",\"labels\":{\"kubernetes.io/service-name\":\"agave\","
            "\"endpointslice.kubernetes.io/managed-by\":\"changeover\",\"changeover/service\":"
            "\"agave\",\"changeover/colour\":\"blue\"}},\"addressType\":\"IPv4\",\"ports\":[{"
            "\"name\":\"rpc\",\"port\":8897,\"protocol\":\"TCP\"},{\"name\":\"ws\",\"port\":8898,"
            "\"protocol\":\"TCP\"}],\"endpoints\":[{\"addresses\":[\"192.0.2.10\"],\"conditions\":{"
            "\"ready\":true}}]}");
    assert_int_equal(see(&s, service, green).to, GREEN);
    assert_int_equal(see(&s, service, blue).to, BLUE);
    assert_true(see(&s, service, NULL).unset);
    assert_false(see(&s, NULL, NULL).fits);
    /* what it sends to counts, not its label */
    json_object_set_new(json_at(blue, "ports.0"), "port", json_integer(8899));
    struct route_look l = see(&s, service, blue);
    assert_int_equal(l.to, COLOUR_NONE);
    assert_true(l.fits && !l.unset && *l.why);
    json_object_set_new(json_at(green, "endpoints.0.conditions"), "ready", json_false());
    assert_int_equal(see(&s, service, green).to, COLOUR_NONE);
}

static void a_service_must_fit(void **state)
{
    (void)state;
    cleanup(sides_done) struct sides s = {0};
    struct err err = {0};
    load(&s, "service", "address: \"2001:db8::1\"");
    cleanup_json json_t *service = parse(plain_service), *slice = NULL, *other = NULL;
    json_object_set_new(json_at(service, "spec.ports.0"), "name", json_string("http"));
    assert_int_equal(route_slice(s.v[GREEN], service, &other, &err), -1);
    assert_non_null(strstr(err.msg, "port 'http' of Service 'agave' is none of green's ports"));
    /* the only port is that of HTTP, whatever it is called */
    json_array_remove(json_at(service, "spec.ports"), 1);
    assert_int_equal(route_slice(s.v[GREEN], service, &slice, NULL), 0);
    assert_int_equal(json_integer_value(json_at(slice, "ports.0.port")), 8899);
    assert_string_equal(json_string_value(json_at(slice, "addressType")), "IPv6");
    json_object_set_new(json_at(service, "spec"), "selector", json_pack("{s:s}", "app", "node"));
    struct route_look l = see(&s, service, slice);
    assert_false(l.fits);
    assert_non_null(strstr(l.why, "has a selector"));
}

static void a_selector_moves_with_its_ports(void **state)
{
    (void)state;
    cleanup(sides_done) struct sides s = {0};
    load(&s, "service", "by: selector");
    cleanup_json json_t *service = parse(
        "{\"metadata\":{\"name\":\"agave\",\"resourceVersion\":\"71\"},\"spec\":{\"selector\":"
        "{\"app\":\"node\",\"changeover/service\":\"agave\",\"changeover/colour\":\"green\"},"
        "\"ports\":[{\"name\":\"rpc\",\"port\":80,\"targetPort\":8899},{\"name\":\"ws\","
        "\"port\":81,\"targetPort\":\"ws\"}]}}");
    cleanup_json json_t *ops = NULL;
    assert_int_equal(see(&s, service, service).to, GREEN);
    assert_int_equal(route_patch(s.v[BLUE], service, &ops, NULL), 0);
    is_json(ops, "[{\"op\":\"test\",\"path\":\"/metadata/resourceVersion\",\"value\":\"71\"},"
                 "{\"op\":\"test\",\"path\":\"/spec/selector\",\"value\":{\"app\":\"node\","
                 "\"changeover/service\":\"agave\",\"changeover/colour\":\"green\"}},"
                 "{\"op\":\"replace\",\"path\":\"/spec/selector\",\"value\":{\"app\":\"node\","
                 "\"changeover/service\":\"agave\",\"changeover/colour\":\"blue\"}},"
                 "{\"op\":\"test\",\"path\":\"/spec/ports/0/targetPort\",\"value\":8899},"
                 "{\"op\":\"replace\",\"path\":\"/spec/ports/0/targetPort\",\"value\":8897}]");
    /* the one without the other is neither */
    json_object_set_new(json_at(service, "spec.ports.0"), "targetPort", json_integer(8897));
    assert_int_equal(see(&s, service, service).to, COLOUR_NONE);
    json_object_del(json_at(service, "spec.selector"), "changeover/colour");
    assert_true(see(&s, service, service).unset);
}

static void an_ingress_changes_one_path(void **state)
{
    (void)state;
    cleanup(sides_done) struct sides s = {0};
    struct err err = {0};
    char who[200];
    load(&s, "ingress", "host: rpc.example.org, path: /rpc");
    cleanup_json json_t *ingress = parse(
        "{\"metadata\":{\"managedFields\":[{\"manager\":\"changeover\",\"time\":\"2026-01-01\","
        "\"fieldsV1\":{\"f:spec\":{}}},{\"manager\":\"kubectl-edit\",\"time\":\"2026-02-01\","
        "\"fieldsV1\":{\"f:spec\":{}}},{\"manager\":\"caddy\",\"time\":\"2026-03-01\","
        "\"subresource\":\"status\",\"fieldsV1\":{\"f:spec\":{}}}]},\"spec\":{\"rules\":["
        "{\"http\":{\"paths\":[{\"path\":\"/rpc\",\"backend\":{\"service\":{\"name\":\"x\"}}}]}},"
        "{\"host\":\"rpc.example.org\",\"http\":{\"paths\":[{\"path\":\"/\",\"backend\":{"
        "\"service\":{\"name\":\"web\"}}},{\"path\":\"/rpc\",\"pathType\":\"Prefix\",\"backend\":{"
        "\"service\":{\"name\":\"agave-green\",\"port\":{\"number\":80}}}}]}}]}}");
    cleanup_json json_t *ops = NULL, *none = NULL;
    assert_int_equal(see(&s, NULL, ingress).to, GREEN);
    assert_int_equal(route_patch(s.v[BLUE], ingress, &ops, NULL), 0);
    is_json(ops,
            "[{\"op\":\"test\",\"path\":\"/spec/rules/1/host\",\"value\":\"rpc.example.org\"},"
            "{\"op\":\"test\",\"path\":\"/spec/rules/1/http/paths/1\",\"value\":{\"path\":\"/rpc\","
            "\"pathType\":\"Prefix\",\"backend\":{\"service\":{\"name\":\"agave-green\",\"port\":{"
            "\"number\":80}}}}},{\"op\":\"replace\",\"path\":"
            "\"/spec/rules/1/http/paths/1/backend/service/name\",\"value\":\"agave-blue\"}]");
    route_who(s.v[GREEN], ingress, who, sizeof(who));
    assert_string_equal(who, "kubectl-edit at 2026-02-01");
    json_object_set_new(json_at(ingress, "spec.rules.1.http.paths.1"), "path", json_string("/r"));
    struct route_look l = see(&s, NULL, ingress);
    assert_false(l.fits);
    assert_non_null(strstr(l.why, "has no path '/rpc' of host rpc.example.org"));
    assert_int_equal(route_patch(s.v[BLUE], ingress, &none, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

/* What a server answers may be anything: none of it is taken for a colour. */
static void odd_objects_mean_nothing(void **state)
{
    (void)state;
    static const char *const odd[] = {"{}", "{\"spec\":7}",
                                      "{\"spec\":{\"rules\":{},\"ports\":\"x\",\"selector\":[1]}}",
                                      "{\"endpoints\":[7],\"ports\":[null]}",
                                      "{\"spec\":{\"rules\":[{\"http\":{\"paths\":[[]]}}]}}"};
    static const char *const keys[][2] = {
        {"service", "address: 192.0.2.10"}, {"service", "by: selector"}, {"ingress", "path: /"}};
    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        cleanup(sides_done) struct sides s = {0};
        load(&s, keys[k][0], keys[k][1]);
        for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
            cleanup_json json_t *object = parse(odd[i]), *service = parse(plain_service);
            cleanup_str struct str text = {0};
            assert_int_equal(see(&s, service, object).to, COLOUR_NONE);
            assert_int_equal(see(&s, object, object).to, COLOUR_NONE);
            route_text(s.v[GREEN], object, &text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_is_ours_whole),
        cmocka_unit_test(a_service_must_fit),
        cmocka_unit_test(a_selector_moves_with_its_ports),
        cmocka_unit_test(an_ingress_changes_one_path),
        cmocka_unit_test(odd_objects_mean_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
