/* What a template becomes for a colour, against tests/golden/kubernetes. After a wanted change:
 * CHANGEOVER_GOLDEN=write test_deployment, and read the diff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/json.h"
#include "format/yamljson.h"
#include "sys/file.h"
#include "translate/deployment.h"

#include <stdlib.h>
#include <string.h>

#define DIR SOURCE_ROOT "/tests/golden/kubernetes/"

static struct spec *side(enum colour c)
{
    struct err err = {0};
    struct spec *s = NULL;
    if (spec_load(DIR "spec.yml", c, "3.1.11", &s, &err) < 0)
        fail_msg("%s", err.msg);
    return s;
}

static json_t *documents(const char *text)
{
    struct err err = {0};
    json_t *list = NULL;
    if (yaml_json_documents("t.yml", text, &list, &err) < 0)
        fail_msg("%s", err.msg);
    return list;
}

static json_t *template(void)
{
    struct err err = {0};
    cleanup_str struct str text = {0};
    if (sys_file_read(DIR "template.yml", 1 << 20, &text, &err) < 0)
        fail_msg("%s", err.msg);
    cleanup_json json_t *list = documents(str_cstr(&text));
    return json_incref(json_array_get(list, 0));
}

/* The template with one text replaced; `what` must be in the error. */
static void refused(const char *from, const char *to, const char *what)
{
    struct err err = {0};
    cleanup_spec struct spec *green = side(GREEN), *blue = side(BLUE);
    cleanup_str struct str text = {0}, changed = {0};
    assert_int_equal(sys_file_read(DIR "template.yml", 1 << 20, &text, &err), 0);
    const char *at = strstr(str_cstr(&text), from);
    assert_non_null(at);
    str_add_n(&changed, str_cstr(&text), (size_t)(at - str_cstr(&text)));
    str_addf(&changed, "%s%s", to, at + strlen(from));
    cleanup_json json_t *list = documents(str_cstr(&changed)), *out = NULL;
    const struct deployment_goal g = {blue, green, "u1"};
    assert_int_equal(deployment_render(json_array_get(list, 0), &g, &out, &err), -1);
    if (!strstr(err.msg, what))
        fail_msg("'%s' is not in '%s'", what, err.msg);
    assert_true(*err.hint);
}

static void each_colour_is_as_expected(void **state)
{
    (void)state;
    cleanup_spec struct spec *green = side(GREEN), *blue = side(BLUE);
    cleanup_json json_t *t = template();
    for (enum colour c = GREEN; c <= BLUE; c++) {
        struct err err = {0};
        cleanup_json json_t *out = NULL;
        cleanup_str struct str got = {0}, want = {0};
        const struct deployment_goal g = {c == GREEN ? green : blue, c == GREEN ? blue : green,
                                          "20261123-141503-7f3a"};
        if (deployment_render(t, &g, &out, &err) < 0)
            fail_msg("%s", err.msg);
        json_print(out, 2, &got);
        str_add_c(&got, '\n');
        cleanup_free char *path = x_asprintf(DIR "%s.json", colour_name(c));
        if (getenv("CHANGEOVER_GOLDEN")) {
            assert_int_equal(sys_file_write_atomic(path, got.buf, got.len, 0644, &err), 0);
            continue;
        }
        if (sys_file_read(path, 1 << 20, &want, &err) < 0)
            fail_msg("%s", err.msg);
        assert_string_equal(str_cstr(&got), str_cstr(&want));
    }
}

static void the_example_is_one(void **state)
{
    (void)state;
    struct err err = {0};
    struct spec *side[COLOURS] = {0};
    cleanup_str struct str text = {0};
    for (enum colour c = GREEN; c <= BLUE; c++)
        if (spec_load(SOURCE_ROOT "/examples/kubernetes/changeover.yml", c, "3.1.11", &side[c],
                      &err) < 0)
            fail_msg("%s", err.msg);
    assert_int_equal(
        sys_file_read(SOURCE_ROOT "/examples/kubernetes/agave.yml", 1 << 20, &text, &err), 0);
    cleanup_json json_t *list = documents(str_cstr(&text));
    for (enum colour c = GREEN; c <= BLUE; c++) {
        cleanup_json json_t *out = NULL;
        const struct deployment_goal g = {side[c], side[colour_other(c)], "u"};
        if (deployment_render(json_array_get(list, 0), &g, &out, &err) < 0)
            fail_msg("%s", err.msg);
        json_t *pod = json_at(out, "spec.template.spec");
        assert_int_equal(json_integer_value(json_at(pod, "containers.0.ports.0.containerPort")),
                         c == GREEN ? 8899 : 8897);
        assert_int_equal(json_integer_value(json_at(pod, "terminationGracePeriodSeconds")), 300);
        assert_string_equal(json_string_value(json_at(pod, "volumes.0.hostPath.path")),
                            c == GREEN ? "/mnt/solana-green/ledger" : "/mnt/solana-blue/ledger");
    }
    spec_free(side[GREEN]);
    spec_free(side[BLUE]);
}

static void what_cannot_be_a_colours_is_refused(void **state)
{
    (void)state;
    refused("kind: Deployment", "kind: StatefulSet", "the template is StatefulSet (apps/v1)");
    refused("- name: agave-validator", "- name: agave", "it has: log-shipper, agave");
    refused("        - name: validator-ledger\n", "        - name: ledger\n", "volume 'ledger'");
    refused("{name: accounts, mountPath: /data/accounts}", "{name: tmp, mountPath: /data/a}",
            "container mounts no volume 'accounts'");
    refused("--rpc-port, \"${port.rpc}\"", "--rpc-port, \"8899\"",
            "argument '8899' of blue's container has green's port 'rpc'");
    refused("{name: ROLE, value: standby}", "{name: RANGE, value: 9000-9002}",
            "variable 'RANGE' of blue's container has green's port 'dynamic'");
    refused("${port.rpc}", "${port.prc}", "${port.prc}: blue has none");
}

static void a_text_is_the_documents_it_has(void **state)
{
    (void)state;
    cleanup_json json_t *list = documents(
        "# nothing\n---\na: 1\n--- # next\nb: [yes, 0x10, \"8\", -2, 1.5, null, true]\n---\n");
    cleanup_str struct str got = {0};
    json_print(list, 0, &got);
    assert_string_equal(str_cstr(&got),
                        "[{\"a\":1},{\"b\":[\"yes\",\"0x10\",\"8\",-2,1.5,null,true]}]");
    struct err err = {0};
    json_t *none = NULL;
    assert_int_equal(yaml_json_documents("t.yml", "a: 1\n---\nb: 1\nb: 2\n", &none, &err), -1);
    assert_true(str_starts(err.msg, "t.yml:4:1: "));
    cleanup_json json_t *json = documents("{\"a\": {\"b/c\": [1, \"x\"]}}");
    assert_string_equal(json_string_value(json_at(json, "0.a.b/c.1")), "x");
}

static void a_singleton_is_found(void **state)
{
    (void)state;
    struct strv names = {0};
    strv_add(&names, "doublezerod");
    cleanup_json json_t *pod =
        documents("{initContainers: [{name: doublezerod}], containers: [{name: a}]}");
    assert_string_equal(deployment_singleton(json_array_get(pod, 0), &names), "doublezerod");
    cleanup_json json_t *without = documents("{containers: [{name: a}]}");
    assert_null(deployment_singleton(json_array_get(without, 0), &names));
    strv_done(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_colour_is_as_expected),
        cmocka_unit_test(the_example_is_one),
        cmocka_unit_test(what_cannot_be_a_colours_is_refused),
        cmocka_unit_test(a_text_is_the_documents_it_has),
        cmocka_unit_test(a_singleton_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
