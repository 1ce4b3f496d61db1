/* Kubelets that the test cluster has not: what their nodes answer, by a server with a script.
 * (Kubernetes 1.29.14 was seen to take the patch and do nothing; 1.32 and later restart the
 * sidecar.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/sidecar/sidecar.h"
#include "format/json.h"
#include "kube_server.h"

#define POD(probe)                                                                                \
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"namespace\":"       \
    "\"default\",\"uid\":\"u-1\",\"resourceVersion\":\"7\"},\"spec\":{\"nodeName\":\"n\","        \
    "\"initContainers\":[{\"name\":\"side\",\"image\":\"side:1\",\"restartPolicy\":\"Always\"}]," \
    "\"containers\":[{\"name\":\"app\",\"image\":\"app:1\"" probe "}]},\"status\":{"              \
    "\"initContainerStatuses\":[{\"name\":\"side\",\"image\":\"side:1\",\"containerID\":"         \
    "\"c://1\",\"ready\":true,\"state\":{\"running\":{\"startedAt\":\"x\"}}}],"                   \
    "\"containerStatuses\":[{\"name\":\"app\",\"image\":\"app:1\",\"containerID\":\"c://2\","     \
    "\"ready\":true,\"state\":{\"running\":{\"startedAt\":\"x\"}}}]}}"
#define NODE(version)                                                                     \
    "{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"n\"},\"status\":{" \
    "\"nodeInfo\":{\"kubeletVersion\":\"" version "\"}}}"

static char warned[512];

static void keep(void *ctx, const struct event *ev)
{
    (void)ctx;
    if (ev->kind == EVENT_WARNING || ev->kind == EVENT_NOTE)
        snprintf(warned, sizeof(warned), "%s", ev->text);
}

/* A dry run of a new image for `name`: what came of it, and how many requests were made. */
static int dry_run(const char *pod, struct canned node, const char *name, size_t *ret_asked,
                   struct err *err)
{
    const struct canned script[] = {{.body = pod}, node, {.body = pod}};
    struct kube_server s;
    struct sidecar_result r;
    const struct sidecar_target t = {.pod = "web"};
    const struct sidecar_change how = {
        .name = name, .image = "new:2", .dry_run = true, .sink = {.fn = keep}};
    warned[0] = '\0';
    server_start(&s, script, 3);
    struct kube *k = server_open(&s);
    int status = sidecar_upgrade(k, &t, &how, &r, err);
    *ret_asked = atomic_load(&s.asked);
    if (*ret_asked == 3)
        assert_non_null(
            strstr(s.request[2], "PATCH /api/v1/namespaces/default/pods/web?dryRun=All"));
    kube_close(k);
    server_stop(&s);
    return status;
}

static void kubelets_that_ignore_it(void **state)
{
    (void)state;
    static const char *const nodes[] = {NODE("v1.29.14"), NODE("v1.30.14"), NODE("v1.31.14-eks-1")};
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        struct err err = {0};
        size_t asked;
        assert_int_equal(dry_run(POD(""), (struct canned){.body = nodes[i]}, "side", &asked, &err),
                         -1);
        assert_int_equal(err.code, ERR_UNSUPPORTED);
        assert_int_equal(asked, 2); /* no patch */
        assert_non_null(strstr(err.msg, "before 1.32"));
        /* an ordinary container was always restarted */
        assert_int_equal(dry_run(POD(""), (struct canned){.body = nodes[i]}, "app", &asked, &err),
                         0);
        assert_int_equal(asked, 3);
    }
}

static void kubelets_that_act_on_it(void **state)
{
    (void)state;
    static const char *const nodes[] = {NODE("v1.32.0"), NODE("v1.36.3+k3s1"), NODE("v2.0.1")};
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
        struct err err = {0};
        size_t asked;
        assert_int_equal(dry_run(POD(""), (struct canned){.body = nodes[i]}, "side", &asked, &err),
                         0);
        assert_int_equal(asked, 3);
        assert_string_equal(warned, "");
    }
}

static void the_fault_of_1_35(void **state)
{
    (void)state;
    size_t asked;
    const struct canned node = {.body = NODE("v1.35.1")};
    assert_int_equal(dry_run(POD(",\"startupProbe\":{}"), node, "side", &asked, NULL), 0);
    assert_non_null(strstr(warned, "kubelet v1.35.1: some 1.35"));
    assert_int_equal(dry_run(POD(""), node, "side", &asked, NULL), 0);
    assert_string_equal(warned, "");
}

static void a_node_that_says_nothing(void **state)
{
    (void)state;
    size_t asked;
    struct err err = {0};
    const struct canned forbidden = {.code = 403, .body = "{\"kind\":\"Status\"}"};
    assert_int_equal(dry_run(POD(""), forbidden, "side", &asked, &err), 0);
    assert_non_null(strstr(warned, "no right to read nodes"));
    assert_int_equal(
        dry_run(POD(""), (struct canned){.body = NODE("unknown")}, "side", &asked, &err), -1);
    assert_non_null(strstr(err.msg, "says no version"));
}

/* A record that somebody else wrote, or broke, is no record. */
static void records_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "{",
                                      "{\"side\":7}",
                                      "{\"side\":{\"from\":\"a\"}}",
                                      "{\"side\":{\"from\":1,\"to\":2,\"id\":3,\"others\":4}}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cleanup_json json_t *pod =
            json_pack("{s:{s:{s:s}}}", "metadata", "annotations", SIDECAR_RECORD, bad[i]);
        assert_null(sidecar_record(pod, "side"));
    }
    cleanup_json json_t *pod =
        json_pack("{s:{s:{s:s}}}", "metadata", "annotations", SIDECAR_RECORD,
                  "{\"side\":{\"from\":\"a\",\"to\":\"b\",\"id\":\"c\",\"others\":{}}}");
    json_t *r = sidecar_record(pod, "side");
    assert_non_null(r);
    json_decref(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kubelets_that_ignore_it), cmocka_unit_test(kubelets_that_act_on_it),
        cmocka_unit_test(the_fault_of_1_35),       cmocka_unit_test(a_node_that_says_nothing),
        cmocka_unit_test(records_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
