/* The Kubernetes client against a server that misbehaves: what a real one cannot be made to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/json.h"
#include "kube_server.h"

#define POD                                                                                       \
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"resourceVersion\":" \
    "\"7\"}}"
#define STATUS(code, reason, message)                                                          \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"" message \
    "\",\"reason\":\"" reason "\",\"code\":" #code "}"

static const struct kube_ref web = {&kube_pod, NULL, "web"};

/* --- answers --------------------------------------------------------------------------------- */

/* One answer to `get pod web`, asked once more where the client may: code and words of the error.
 */
static void refuses(struct canned c, enum err_code code, const char *words)
{
    struct canned script[32];
    for (size_t i = 0; i < 32; i++)
        script[i] = c;
    struct kube_server s;
    struct err err = {0};
    json_t *j = NULL;
    server_start(&s, script, 32);
    struct kube *k = server_open(&s);
    assert_int_equal(kube_get(k, &web, &j, &err), -1);
    assert_int_equal(err.code, code);
    if (!strstr(err.msg, words))
        fail_msg("'%s' does not say '%s'", err.msg, words);
    assert_null(strchr(err.msg, '\n'));
    kube_close(k);
    server_stop(&s);
}

static void answers_that_are_none(void **state)
{
    (void)state;
    const char *html = "<html>\n <body>\r\n<h1>502 Bad   Gateway</h1></body></html>";
    refuses((struct canned){.body = html, .type = "text/html"}, ERR_FAILED,
            "of type 'text/html' and not as a Kubernetes API gives: '<html> <body> <h1>502 Bad "
            "Gateway</h1>");
    refuses((struct canned){.body = html, .type = "text/html", .code = 404}, ERR_NOT_FOUND,
            "answered 404, and not as a Kubernetes API does: '<html>");
    refuses((struct canned){.body = html, .type = "text/html", .code = 502}, ERR_FAILED,
            "answered 502, and not as");
    refuses((struct canned){.body = "{\"kind\":\"Pod\","}, ERR_FAILED, "not valid JSON, line 1");
    refuses((struct canned){.body = "\0\1\2", .body_len = 3}, ERR_FAILED, "not valid JSON");
    refuses((struct canned){.body = ""}, ERR_FAILED, "not valid JSON");
    refuses((struct canned){.body = "[]"}, ERR_FAILED, "of kind ''");
    refuses((struct canned){.body = "17"}, ERR_FAILED, "of kind ''");
    refuses((struct canned){.body = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\"}"}, ERR_FAILED,
            "of kind 'PodList' (v1), not 'Pod' (v1)");
    refuses((struct canned){.body = "{\"kind\":\"Pod\",\"apiVersion\":\"v2\"}"}, ERR_FAILED,
            "of kind 'Pod' (v2), not 'Pod' (v1)");
    refuses((struct canned){.body = "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{"
                                    "\"name\":\"other\"}}"},
            ERR_FAILED, "the answer is about 'other'");
    refuses((struct canned){.body = POD, .manner = CUT}, ERR_FAILED, "get Pod 'default/web'");
    refuses((struct canned){.manner = HANGUP}, ERR_FAILED, "get Pod 'default/web'");
    refuses((struct canned){.manner = SILENT}, ERR_TIMEOUT, "get Pod 'default/web'");
    refuses((struct canned){.body = POD, .manner = DRIP}, ERR_TIMEOUT, "get Pod 'default/web'");
    refuses((struct canned){.body = "SSH-2.0-OpenSSH_9.2\r\n", .manner = RAW}, ERR_FAILED,
            "get Pod 'default/web'");
}

static void answers_that_are_too_long(void **state)
{
    (void)state;
    refuses((struct canned){.body = "{\"kind\":\"", .filler = 10000000}, ERR_FAILED,
            "the answer is longer than 8388608 bytes");
    static char deep[200001];
    memset(deep, '[', sizeof(deep) - 1);
    refuses((struct canned){.body = deep}, ERR_FAILED, "not valid JSON");
}

static void refusals(void **state)
{
    (void)state;
    refuses(
        (struct canned){.body = STATUS(404, "NotFound", "pods \\\"web\\\" not found"), .code = 404},
        ERR_NOT_FOUND,
        "get Pod 'default/web': the API server answered 404 NotFound: pods "
        "\"web\" not found");
    refuses((struct canned){.body = STATUS(401, "Unauthorized", "Unauthorized"), .code = 401},
            ERR_FAILED, "answered 401 Unauthorized");
    refuses((struct canned){.body = STATUS(403, "Forbidden", "no\\nmore lines"), .code = 403},
            ERR_FAILED, "answered 403 Forbidden: no");
    refuses((struct canned){.body = STATUS(500, "InternalError", "etcd"), .code = 500}, ERR_FAILED,
            "answered 500 InternalError: etcd");
    refuses((struct canned){.body = STATUS(504, "Timeout", "late"), .code = 504}, ERR_TIMEOUT,
            "answered 504 Timeout");
    refuses((struct canned){.body = "{\"kind\":\"Status\"}", .code = 400}, ERR_FAILED,
            "answered 400: (no words)");
}

static void causes_are_shown(void **state)
{
    (void)state;
    struct kube_server s;
    struct err err = {0};
    SCRIPT(&s, {.body = "{\"kind\":\"Status\",\"message\":\"Pod \\\"web\\\" is invalid\",\"reason\""
                        ":\"Invalid\",\"details\":{\"causes\":[{\"reason\":\"x\",\"message\":"
                        "\"Required value\",\"field\":\"spec.a\"},{\"message\":\"two\\nlines\","
                        "\"field\":\"spec.b\"},7]},\"code\":422}",
                .code = 422});
    struct kube *k = server_open(&s);
    cleanup_json json_t *ops = json_array();
    assert_int_equal(kube_patch(k, &web, ops, false, NULL, &err), -1);
    assert_string_equal(kube_status(k)->causes, "spec.a: Required value; spec.b: two; ");
    assert_string_equal(kube_status(k)->reason, "Invalid");
    assert_int_equal(kube_status(k)->code, 422);
    assert_non_null(strstr(err.msg, "is invalid (spec.a: Required value; spec.b: two"));
    kube_close(k);
    server_stop(&s);
}

/* --- trying again ---------------------------------------------------------------------------- */

static void what_reads_is_asked_again(void **state)
{
    (void)state;
    struct kube_server s;
    json_t *j = NULL;
    SCRIPT(&s, {.code = 503, .body = "no"}, {.manner = HANGUP}, {.body = POD, .manner = CUT},
           {.body = POD});
    struct kube *k = server_open(&s);
    nsec_t since = sys_clock_mono();
    for (int i = 0; i < 3 && !j; i++) /* patience is short here */
        (void)!kube_get(k, &web, &j, NULL);
    assert_non_null(j);
    assert_int_equal(atomic_load(&s.asked), 4);
    assert_true(sys_clock_mono() - since > 300 * NSEC_MS);
    json_decref(j);
    kube_close(k);
    server_stop(&s);
}

static void retry_after_is_obeyed(void **state)
{
    (void)state;
    struct kube_server s;
    json_t *j = NULL;
    SCRIPT(&s, {.code = 429, .body = "slow down", .headers = "Retry-After: 1\r\n"}, {.body = POD},
           {.code = 429, .body = "slow down", .headers = "Retry-After: 60\r\n"}, {.body = POD});
    struct kube *k = server_open(&s);
    nsec_t since = sys_clock_mono();
    assert_int_equal(kube_get(k, &web, &j, NULL), 0);
    assert_true(sys_clock_mono() - since >= NSEC_S);
    json_decref(j);
    since = sys_clock_mono(); /* longer than there is patience: said at once */
    struct err err = {0};
    assert_int_equal(kube_get(k, &web, &j, &err), -1);
    assert_true(sys_clock_mono() - since < NSEC_S);
    assert_int_equal(kube_status(k)->code, 429);
    kube_close(k);
    server_stop(&s);
}

static int patch_image(struct kube *k, struct err *err)
{
    cleanup_json json_t *ops = json_array();
    kube_op(ops, "test", "/spec/containers/0/name", json_string("app"));
    kube_op(ops, "replace", "/spec/containers/0/image", json_string("v2"));
    return kube_patch(k, &web, ops, false, NULL, err);
}

/* The connection broke, or 5xx: it may have happened. Nothing is sent a second time. */
static void effects_are_not_sent_twice(void **state)
{
    (void)state;
    static const struct canned unsure[] = {
        {.manner = HANGUP},
        {.body = POD, .manner = CUT},
        {.manner = SILENT},
        {.code = 500, .body = STATUS(500, "InternalError", "x")},
        {.code = 502, .body = "<html>", .type = "text/html"},
        {.code = 504, .body = STATUS(504, "Timeout", "x")},
        {.code = 503, .body = "<html>", .type = "text/html"},
        {.code = 307, .body = "", .headers = "Location: http://127.0.0.1:1/\r\n"},
        {.code = 200, .body = "<html>", .type = "text/html"},
        {.code = 200, .body = "{\"kind\":\"Node\",\"apiVersion\":\"v1\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(unsure); i++) {
        struct kube_server s;
        struct err err = {0};
        server_start(&s, &unsure[i], 1);
        struct kube *k = server_open(&s);
        assert_int_equal(patch_image(k, &err), -1);
        assert_true(kube_status(k)->unsure);
        assert_int_equal(atomic_load(&s.asked), 1);
        kube_close(k);
        server_stop(&s);
    }
}

/* The server says that it did nothing. */
static void effects_that_were_put_off_are_sent_again(void **state)
{
    (void)state;
    struct kube_server s;
    struct err err = {0};
    SCRIPT(&s, {.code = 429, .body = "later"}, {.body = POD},
           {.code = 503, .body = "later", .headers = "Retry-After: 1\r\n"}, {.body = POD},
           {.code = 422, .body = STATUS(422, "Invalid", "the server rejected our request")});
    struct kube *k = server_open(&s);
    assert_int_equal(patch_image(k, &err), 0);
    assert_int_equal(patch_image(k, &err), 0);
    assert_false(kube_status(k)->unsure);
    assert_int_equal(patch_image(k, &err), -1);
    assert_false(kube_status(k)->unsure);
    assert_int_equal(atomic_load(&s.asked), 5);
    kube_close(k);
    server_stop(&s);
}

static void a_server_that_is_gone_is_tried_for_a_while(void **state)
{
    (void)state;
    struct kube_server s;
    struct err err = {0};
    SCRIPT(&s, {.body = POD});
    struct kube *k = server_open(&s);
    struct kubeconfig c = server_config(&s);
    server_stop(&s); /* its port refuses from now on */
    nsec_t since = sys_clock_mono();
    assert_int_equal(patch_image(k, &err), -1);
    assert_false(kube_status(k)->unsure);
    assert_true(sys_clock_mono() - since >= 100 * NSEC_MS); /* the shortest first pause */
    kubeconfig_done(&c);
    kube_close(k);
}

static int ask_for_the_end(void *ctx)
{
    return ++*(int *)ctx > 1;
}

/* What it says is a whole try's, not what the end of patience has cut short. */
static void a_server_that_is_away(void **state)
{
    (void)state;
    struct kube_server s;
    struct err err = {0};
    json_t *j = NULL;
    SCRIPT(&s, {.manner = SILENT}, {.manner = SILENT}, {.manner = SILENT}, {.manner = SILENT},
           {.manner = SILENT}, {.manner = SILENT});
    struct kube *k = server_open(&s);
    assert_int_equal(kube_get(k, &web, &j, &err), -1);
    assert_true(kube_status(k)->away);
    const char *took = strstr(err.msg, "timed out after ");
    assert_non_null(took);
    assert_true(strtol(took + strlen("timed out after "), NULL, 10) >= 390);
    kube_close(k);
    server_stop(&s);
}

static void the_end_is_asked_for(void **state)
{
    (void)state;
    struct kube_server s;
    struct err err = {0};
    int asked = 0;
    json_t *j = NULL;
    SCRIPT(&s, {.manner = SILENT});
    struct kubeconfig c = server_config(&s);
    struct kube_options o = {.poll = ask_for_the_end, .poll_ctx = &asked};
    struct kube *k = NULL;
    assert_int_equal(kube_open(&c, &o, &k, &err), 0);
    nsec_t since = sys_clock_mono();
    assert_int_equal(kube_get(k, &web, &j, &err), -1);
    assert_int_equal(err.code, ERR_INTERRUPTED);
    assert_true(sys_clock_mono() - since < 2 * NSEC_S);
    kube_close(k);
    server_stop(&s);
}

/* --- lists ----------------------------------------------------------------------------------- */

#define PAGE(name, more)                                                                   \
    "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"9\"," \
    "\"continue\":\"" more "\"},\"items\":[{\"metadata\":{\"name\":\"" name "\"}}]}"

static const char *name_at(json_t *list, size_t i)
{
    return json_string_value(json_at(json_array_get(list, i), "metadata.name"));
}

static void lists_come_in_pages(void **state)
{
    (void)state;
    struct kube_server s;
    char version[64];
    json_t *list = NULL;
    const struct kube_ref all = {&kube_pod, "a b", NULL};
    const struct kube_select sel = {.labels = "app=web,tier in (x,y)", .page = 1};
    SCRIPT(&s, {.body = PAGE("one", "m1=/+")}, {.body = PAGE("two", "")});
    struct kube *k = server_open(&s);
    assert_int_equal(kube_list(k, &all, &sel, &list, version, NULL), 0);
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(name_at(list, 1), "two");
    assert_string_equal(json_string_value(json_at(json_array_get(list, 0), "kind")), "Pod");
    assert_string_equal(version, "9");
    const char *want = "GET /api/v1/namespaces/a%20b/pods?limit=1&labelSelector="
                       "app%3Dweb%2Ctier%20in%20%28x%2Cy%29&continue=m1%3D%2F%2B HTTP/1.1\r\n";
    assert_memory_equal(s.request[1], want, strlen(want));
    json_decref(list);
    kube_close(k);
    server_stop(&s);
}

static void a_list_that_expires_begins_again(void **state)
{
    (void)state;
    struct kube_server s;
    json_t *list = NULL;
    const struct kube_ref all = {&kube_pod, NULL, NULL};
    SCRIPT(&s, {.body = PAGE("old", "m")}, {.code = 410, .body = STATUS(410, "Expired", "gone")},
           {.body = PAGE("new", "m")}, {.body = PAGE("two", "")});
    struct kube *k = server_open(&s);
    assert_int_equal(kube_list(k, &all, NULL, &list, NULL, NULL), 0);
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(name_at(list, 0), "new");
    json_decref(list);
    kube_close(k);
    server_stop(&s);
}

static void lists_without_end(void **state)
{
    (void)state;
    struct kube_server s;
    struct err err = {0};
    json_t *list = NULL;
    const struct kube_ref all = {&kube_pod, NULL, NULL};
    SCRIPT(&s, {.body = PAGE("one", "m")}, {.body = PAGE("one", "m")},
           {.body = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"items\":[7]}"},
           {.body = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"items\":{}}"});
    struct kube *k = server_open(&s);
    assert_int_equal(kube_list(k, &all, NULL, &list, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "and no end"));
    assert_int_equal(kube_list(k, &all, NULL, &list, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "an item is no object"));
    assert_int_equal(kube_list(k, &all, NULL, &list, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "has no items"));
    kube_close(k);
    server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_that_are_none),
        cmocka_unit_test(answers_that_are_too_long),
        cmocka_unit_test(refusals),
        cmocka_unit_test(causes_are_shown),
        cmocka_unit_test(what_reads_is_asked_again),
        cmocka_unit_test(retry_after_is_obeyed),
        cmocka_unit_test(effects_are_not_sent_twice),
        cmocka_unit_test(effects_that_were_put_off_are_sent_again),
        cmocka_unit_test(a_server_that_is_gone_is_tried_for_a_while),
        cmocka_unit_test(the_end_is_asked_for),
        cmocka_unit_test(a_server_that_is_away),
        cmocka_unit_test(lists_come_in_pages),
        cmocka_unit_test(a_list_that_expires_begins_again),
        cmocka_unit_test(lists_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
