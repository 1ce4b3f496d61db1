/* What the Kubernetes client sends: who it is, by which way, and each effect to the letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/json.h"
#include "kube_server.h"
#include "net/kube_internal.h"

#include <sys/stat.h>

#define POD "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\"}}"
#define DEPLOYMENT \
    "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"web\"}}"
#define UNAUTHORIZED \
    "{\"kind\":\"Status\",\"message\":\"Unauthorized\",\"reason\":\"Unauthorized\",\"code\":401}"

static const struct kube_ref web = {&kube_pod, NULL, "web"};
static const struct kube_ref deployment = {&kube_deployment, "shop", "web"};
static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/changeover-kube-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char path[128];
    const char *const names[] = {"token", "plugin", "count"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static char *put(const char *name, const char *text, mode_t mode)
{
    char *path = x_asprintf("%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, mode);
    return path;
}

static struct kube *open_with(struct kubeconfig *c)
{
    struct kube_options o = {.timeout = 2 * NSEC_S, .patience = 2 * NSEC_S};
    struct kube *k = NULL;
    assert_int_equal(kube_open(c, &o, &k, NULL), 0);
    return k;
}

static void has(const struct kube_server *s, size_t i, const char *text)
{
    if (!strstr(s->request[i], text))
        fail_msg("request %zu has no '%s':\n%s", i, text, s->request[i]);
}

/* --- who ------------------------------------------------------------------------------------- */

static void a_token_file_is_read_anew(void **state)
{
    (void)state;
    struct kube_server s;
    json_t *j = NULL;
    SCRIPT(&s, {.body = POD}, {.body = UNAUTHORIZED, .code = 401}, {.body = POD},
           {.body = UNAUTHORIZED, .code = 401}, {.body = UNAUTHORIZED, .code = 401});
    struct kubeconfig c = server_config(&s);
    c.token_file = put("token", "first\n", 0600);
    struct kube *k = open_with(&c);
    assert_int_equal(kube_get(k, &web, &j, NULL), 0);
    json_decref(j);
    has(&s, 0, "\r\nAuthorization: Bearer first\r\n");
    free(put("token", "second", 0600));
    assert_int_equal(kube_get(k, &web, &j, NULL), 0);
    json_decref(j);
    has(&s, 1, "Bearer first\r\n");
    has(&s, 2, "Bearer second\r\n");
    struct err err = {0};
    assert_int_equal(kube_get(k, &web, &j, &err), -1); /* renewed once, not for ever */
    assert_int_equal(atomic_load(&s.asked), 5);
    assert_non_null(strstr(err.hint, "credentials"));
    kube_close(k);
    server_stop(&s);
}

static int end_at_once(void *ctx, enum kube_seen what, json_t *object)
{
    (void)ctx, (void)object;
    return what == KUBE_MODIFIED;
}

/* A watch and a program, too, go on with the token that somebody renewed meanwhile. */
static void a_token_is_renewed_in_a_watch_and_for_a_program(void **state)
{
    (void)state;
    static const char list[] = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{"
                               "\"resourceVersion\":\"7\"},\"items\":[]}";
    static const char event[] = "{\"type\":\"MODIFIED\",\"object\":" POD "}\n";
    const struct canned no = {.body = UNAUTHORIZED, .code = 401};
    for (int i = 0; i < 2; i++) {
        const struct canned watch[] = {{.body = list}, no, {.body = event, .manner = STREAM}};
        const struct canned program[] = {
            no, {.code = 404, .body = "{\"kind\":\"Status\",\"reason\":\"NotFound\"}"}};
        struct kube_server s;
        struct kube_exec_result r = {0};
        struct err err = {0};
        server_start(&s, i ? program : watch, i ? ARRAY_LEN(program) : ARRAY_LEN(watch));
        struct kubeconfig c = server_config(&s);
        c.token_file = put("token", "first\n", 0600);
        struct kube *k = open_with(&c);
        /* it has the first one in mind, the file another */
        const struct kube_exec ask = {.argv = (const char *const[]){"true", NULL}};
        if (i) {
            assert_int_equal(kube_creds_get(k, false, NULL), 0);
            free(put("token", "second", 0600));
            assert_int_equal(kube_exec(k, &web, &ask, &r, &err), -1);
            assert_int_equal(err.code, ERR_NOT_FOUND);
            has(&s, 1, "Bearer second\r\n");
        } else {
            assert_int_equal(kube_creds_get(k, false, NULL), 0);
            free(put("token", "second", 0600));
            assert_int_equal(
                kube_watch(k, &web, NULL, sys_clock_mono() + 5 * NSEC_S, end_at_once, NULL, &err),
                1);
            has(&s, 2, "Bearer second\r\n");
            assert_int_equal(atomic_load(&s.asked), 3);
        }
        has(&s, i ? 0 : 1, "Bearer first\r\n");
        kube_close(k);
        server_stop(&s);
    }
}

static void a_token_cannot_add_a_header(void **state)
{
    (void)state;
    static const char *const bad[] = {"a\r\nX-Evil: 1", "", "\n", "a\tb"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct kube_server s;
        struct err err = {0};
        json_t *j = NULL;
        SCRIPT(&s, {.body = POD});
        struct kubeconfig c = server_config(&s);
        c.token_file = put("token", bad[i], 0600);
        struct kube *k = open_with(&c);
        assert_int_equal(kube_get(k, &web, &j, &err), -1);
        assert_non_null(strstr(err.msg, "this is no token"));
        assert_int_equal(atomic_load(&s.asked), 0);
        kube_close(k);
        server_stop(&s);
    }
}

#define CREDENTIAL(status)                                                                      \
    "#!/bin/sh\necho run >>%1$s/count\ncat <<EOF\n{\"apiVersion\":\"client.authentication.k8s." \
    "io/v1\",\"kind\":\"ExecCredential\",\"status\":{" status "}}\nEOF\n"

static int runs(void)
{
    cleanup_free char *path = x_asprintf("%s/count", dir);
    FILE *f = fopen(path, "r");
    int n = 0;
    for (int c; f && (c = fgetc(f)) != EOF;)
        n += c == '\n';
    if (f)
        fclose(f);
    unlink(path);
    return n;
}

static struct kube *open_plugin(struct kube_server *s, const char *script)
{
    struct kubeconfig c = server_config(s);
    c.exec.api = x_strdup("client.authentication.k8s.io/v1");
    strv_take(&c.exec.argv, put("plugin", script, 0700));
    strv_add(&c.exec.argv, "an $argument; no shell");
    strv_add(&c.exec.env, "COLOUR=blue sky");
    c.exec.hint = x_strdup("install the plugin");
    c.exec.provide_cluster = true;
    return open_with(&c);
}

static void a_plugin_hands_out_tokens(void **state)
{
    (void)state;
    struct kube_server s;
    json_t *j = NULL;
    SCRIPT(&s, {.body = POD}, {.body = POD}, {.body = UNAUTHORIZED, .code = 401}, {.body = POD});
    cleanup_free char *script =
        x_asprintf(CREDENTIAL("\"token\":\"$1/$COLOUR/$(echo $KUBERNETES_EXEC_INFO | tr -d '\\\"')"
                              "\",\"expirationTimestamp\":\"2999-01-01T00:00:00Z\""),
                   dir);
    struct kube *k = open_plugin(&s, script);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kube_get(k, &web, &j, NULL), 0);
        json_decref(j);
    }
    has(&s, 0,
        "Bearer an $argument; no shell/blue sky/{apiVersion:client.authentication.k8s.io/v1,"
        "kind:ExecCredential,spec:{interactive:false,cluster:{server:http://127.0.0.1:");
    assert_int_equal(runs(), 2); /* kept while it holds; anew when it is not taken */
    kube_close(k);
    server_stop(&s);
}

static void a_plugins_token_ends(void **state)
{
    (void)state;
    struct kube_server s;
    json_t *j = NULL;
    SCRIPT(&s, {.body = POD}, {.body = POD});
    cleanup_free char *script = x_asprintf(
        CREDENTIAL("\"token\":\"x\",\"expirationTimestamp\":\"2001-09-09T01:46:40Z\""), dir);
    struct kube *k = open_plugin(&s, script);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kube_get(k, &web, &j, NULL), 0);
        json_decref(j);
    }
    assert_int_equal(runs(), 2);
    kube_close(k);
    server_stop(&s);
}

static void a_plugin_that_fails(void **state)
{
    (void)state;
    static const struct {
        const char *script, *words;
    } table[] = {
        {"#!/bin/sh\necho no login >&2\nexit 3\n", "no login"},
        {"#!/bin/sh\necho hello\n", "not valid JSON"},
        {"#!/bin/sh\necho '{\"kind\":\"ExecCredential\"}'\n", "no ExecCredential of client"},
        {CREDENTIAL(""), "neither a token nor a certificate"},
        {CREDENTIAL("\"clientCertificateData\":\"x\""), "without its key"},
        {CREDENTIAL("\"token\":\"a\\nb\""), "this is no token"},
        {CREDENTIAL("\"token\":\"x\",\"expirationTimestamp\":\"soon\""), "is no time"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct kube_server s;
        struct err err = {0};
        json_t *j = NULL;
        cleanup_str struct str script = {0};
        for (const char *p = table[i].script; *p; p++) { /* "%1$s": the directory */
            if (str_starts(p, "%1$s"))
                str_add(&script, dir), p += 3;
            else
                str_add_c(&script, *p);
        }
        SCRIPT(&s, {.body = POD});
        struct kube *k = open_plugin(&s, str_cstr(&script));
        assert_int_equal(kube_get(k, &web, &j, &err), -1);
        if (!strstr(err.msg, table[i].words))
            fail_msg("'%s' does not say '%s'", err.msg, table[i].words);
        assert_string_equal(err.hint, "install the plugin");
        assert_int_equal(atomic_load(&s.asked), 0);
        kube_close(k);
        server_stop(&s);
    }
}

static void somebody_else(void **state)
{
    (void)state;
    struct kube_server s;
    struct kube_version v;
    SCRIPT(&s, {.body = "{\"major\":\"1\",\"gitVersion\":\"v1.36.3+k3s1\"}"});
    struct kubeconfig c = server_config(&s);
    c.as = x_strdup("system:serviceaccount:a:b");
    c.as_uid = x_strdup("7");
    strv_add(&c.as_groups, "one");
    strv_add(&c.as_groups, "two");
    struct kube *k = open_with(&c);
    assert_int_equal(kube_version(k, &v, NULL), 0);
    assert_int_equal(v.minor, 36);
    assert_string_equal(v.text, "v1.36.3+k3s1");
    has(&s, 0, "GET /version HTTP/1.1\r\n");
    has(&s, 0, "\r\nImpersonate-User: system:serviceaccount:a:b\r\n");
    has(&s, 0, "\r\nImpersonate-Group: one\r\nImpersonate-Group: two\r\n");
    has(&s, 0, "\r\nImpersonate-Uid: 7\r\n");
    kube_close(k);
    server_stop(&s);
}

static void times(void **state)
{
    (void)state;
    nsec_t t;
    assert_true(kube_time_parse("2001-09-09T01:46:40Z", &t));
    assert_int_equal(t / NSEC_S, 1000000000);
    assert_true(kube_time_parse("2024-02-29T12:00:00.123456Z", &t));
    assert_int_equal(t / NSEC_S, 1709208000);
    assert_true(kube_time_parse("2024-02-29T13:30:00+01:30", &t));
    assert_int_equal(t / NSEC_S, 1709208000);
    static const char *const bad[] = {"",
                                      "soon",
                                      "2024-02-29",
                                      "2024-13-01T00:00:00Z",
                                      "2024-02-29T12:00:00",
                                      "2024-02-29T12:00:00Zz",
                                      "2024-02-29T12:00:00+01"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(kube_time_parse(bad[i], &t));
}

/* --- by which way ---------------------------------------------------------------------------- */

static void the_proxy_of_the_context(void **state)
{
    (void)state;
    struct kube_server s;
    struct kube_version v;
    SCRIPT(&s, {.body = "{\"gitVersion\":\"v1.30.0\"}"});
    struct kubeconfig c = server_config(&s);
    c.proxy = TAKE(c.server);
    c.server = x_strdup("http://cluster.invalid:6443/prefix");
    struct kube *k = open_with(&c);
    assert_int_equal(kube_version(k, &v, NULL), 0);
    has(&s, 0, "GET http://cluster.invalid:6443/prefix/version HTTP/1.1\r\n");
    kube_close(k);
    server_stop(&s);
}

static void no_proxy_of_the_environment_to_ourselves(void **state)
{
    (void)state;
    struct kube_server s;
    struct kube_version v;
    SCRIPT(&s, {.body = "{\"gitVersion\":\"v1.30.0\"}"}, {.body = "{\"gitVersion\":\"v1.30.0\"}"});
    cleanup_free char *proxy = x_asprintf("http://127.0.0.1:%d", s.port);
    setenv("http_proxy", proxy, 1);
    struct kubeconfig c = server_config(&s);
    struct kube *k = open_with(&c);
    assert_int_equal(kube_version(k, &v, NULL), 0);
    has(&s, 0, "GET /version HTTP/1.1\r\n");
    kube_close(k);
    c = server_config(&s);
    free(c.server);
    c.server = x_strdup("http://cluster.invalid");
    k = open_with(&c);
    assert_int_equal(kube_version(k, &v, NULL), 0);
    has(&s, 1, "GET http://cluster.invalid/version HTTP/1.1\r\n");
    unsetenv("http_proxy");
    kube_close(k);
    server_stop(&s);
}

/* --- what ------------------------------------------------------------------------------------ */

static void effects_to_the_letter(void **state)
{
    (void)state;
    struct kube_server s;
    SCRIPT(&s, {.body = DEPLOYMENT}, {.body = POD}, {.body = POD},
           {.body = "{\"kind\":\"Scale\",\"spec\":{}}"}, {.body = "{\"kind\":\"Status\"}"},
           {.body = "{\"kind\":\"Scale\",\"spec\":{\"replicas\":3}}"});
    struct kubeconfig c = server_config(&s);
    struct kube *k = open_with(&c);
    cleanup_json json_t *object = json_pack("{s:s}", "kind", "Deployment");
    struct kube_apply apply = {.force = true, .dry_run = true};
    assert_int_equal(kube_apply(k, &deployment, object, &apply, NULL, NULL), 0);
    has(&s, 0,
        "PATCH /apis/apps/v1/namespaces/shop/deployments/web?dryRun=All&fieldManager="
        "changeover&force=true HTTP/1.1\r\n");
    has(&s, 0, "\r\nContent-Type: application/apply-patch+yaml\r\n");
    has(&s, 0, "\r\n\r\n{\"kind\":\"Deployment\"}");

    cleanup_json json_t *ops = json_array();
    kube_op(ops, "test", "/a", json_string("1"));
    kube_op(ops, "remove", "/b", NULL);
    assert_int_equal(kube_patch(k, &web, ops, false, NULL, NULL), 0);
    has(&s, 1, "PATCH /api/v1/namespaces/default/pods/web?fieldManager=changeover HTTP/1.1\r\n");
    has(&s, 1, "\r\nContent-Type: application/json-patch+json\r\n");
    has(&s, 1,
        "[{\"op\":\"test\",\"path\":\"/a\",\"value\":\"1\"},{\"op\":\"remove\",\"path\":"
        "\"/b\"}]");

    json_t *made = NULL;
    assert_int_equal(kube_create(k, &web, object, false, &made, NULL), 0);
    json_decref(made);
    has(&s, 2, "POST /api/v1/namespaces/default/pods?fieldManager=changeover HTTP/1.1\r\n");

    assert_int_equal(kube_scale(k, &deployment, 0, "12", false, NULL), 0);
    has(&s, 3, "PUT /apis/apps/v1/namespaces/shop/deployments/web/scale?");
    has(&s, 3,
        "{\"apiVersion\":\"autoscaling/v1\",\"kind\":\"Scale\",\"metadata\":{\"name\":"
        "\"web\",\"namespace\":\"shop\",\"resourceVersion\":\"12\"},\"spec\":{\"replicas\":"
        "0}}");

    struct kube_delete how = {
        .uid = "u-1", .version = "12", .propagation = "Foreground", .grace_s = 0};
    assert_int_equal(kube_delete(k, &deployment, &how, NULL), 0);
    has(&s, 4, "DELETE /apis/apps/v1/namespaces/shop/deployments/web? HTTP/1.1\r\n");
    has(&s, 4,
        "\"preconditions\":{\"uid\":\"u-1\",\"resourceVersion\":\"12\"},"
        "\"propagationPolicy\":\"Foreground\",\"gracePeriodSeconds\":0}");

    assert_int_equal(kube_scale(k, &deployment, 0, NULL, false, NULL), -1); /* it said 3 */
    assert_true(kube_status(k)->unsure);
    kube_close(k);
    server_stop(&s);
}

static void what_belongs_to_others(void **state)
{
    (void)state;
    struct kube_server s;
    struct err err = {0};
    SCRIPT(&s,
           {.code = 409,
            .body =
                "{\"kind\":\"Status\",\"reason\":\"Conflict\",\"message\":\"Apply failed with 1 "
                "conflict: conflict with \\\"kubectl\\\": .spec.replicas\",\"details\":{"
                "\"causes\":[{\"reason\":\"FieldManagerConflict\",\"message\":\"conflict with "
                "\\\"kubectl\\\"\",\"field\":\".spec.replicas\"}]}}"},
           {.code = 409,
            .body = "{\"kind\":\"Status\",\"reason\":\"Conflict\",\"message\":\"the "
                    "UID in the precondition does not match\"}"},
           {.code = 409, .body = "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\"}"});
    struct kubeconfig c = server_config(&s);
    struct kube *k = open_with(&c);
    cleanup_json json_t *object = json_object();
    assert_int_equal(kube_apply(k, &deployment, object, NULL, NULL, &err), -1);
    assert_int_equal(err.code, ERR_FOREIGN);
    assert_non_null(strstr(err.msg, "conflict with \"kubectl\": .spec.replicas"));
    struct kube_delete how = {.uid = "u-1", .grace_s = -1};
    assert_int_equal(kube_delete(k, &deployment, &how, &err), -1);
    assert_int_equal(err.code, ERR_FOREIGN);
    assert_null(strstr(s.request[1], "gracePeriodSeconds"));
    assert_int_equal(kube_create(k, &web, object, false, NULL, &err), -1);
    assert_int_equal(err.code, ERR_EXISTS);
    kube_close(k);
    server_stop(&s);
}

static void names_lead_nowhere_else(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", "..", "a/b", "../../nodes", "a%2fb"};
    struct kube_server s;
    json_t *j = NULL;
    SCRIPT(&s, {.body = POD});
    struct kubeconfig c = server_config(&s);
    struct kube *k = open_with(&c);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        assert_int_equal(kube_get(k, &(struct kube_ref){&kube_pod, NULL, bad[i]}, &j, &err), -1);
        assert_int_equal(err.code, ERR_USAGE);
        assert_int_equal(kube_get(k, &(struct kube_ref){&kube_pod, bad[i], "a"}, &j, &err), -1);
    }
    assert_int_equal(atomic_load(&s.asked), 0);
    kube_close(k);
    server_stop(&s);
}

static void discovery(void **state)
{
    (void)state;
    struct kube_server s;
    struct kube_kind kind;
    struct err err = {0};
    bool serves;
    SCRIPT(&s,
           {.body = "{\"kind\":\"APIResourceList\",\"resources\":[{\"name\":\"deployments/scale\","
                    "\"kind\":\"Deployment\"},{\"name\":\"deployments\",\"kind\":\"Deployment\","
                    "\"namespaced\":true},7]}"},
           {.code = 404, .body = "404 page not found\n", .type = "text/plain"},
           {.body = "{\"kind\":\"APIResourceList\",\"resources\":{}}"});
    struct kubeconfig c = server_config(&s);
    struct kube *k = open_with(&c);
    assert_int_equal(kube_kind_find(k, "apps/v1", "Deployment", &kind, &err), 0);
    assert_string_equal(kind.plural, "deployments");
    assert_string_equal(kind.api, "apps/v1");
    assert_false(kind.cluster);
    assert_int_equal(kube_serves(k, &kube_deployment, &serves, &err), 0);
    assert_true(serves); /* asked once */
    assert_int_equal(kube_serves(k, &kube_endpointslice, &serves, &err), 0);
    assert_false(serves);
    assert_int_equal(kube_serves(k, &kube_pod, &serves, &err), -1);
    assert_int_equal(kube_kind_find(k, "apps/v1", "Nothing", &kind, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    kube_close(k);
    server_stop(&s);
}

static void logs_are_cut(void **state)
{
    (void)state;
    struct kube_server s;
    struct str out = {0};
    SCRIPT(&s, {.body = "a line\nanother", .type = "text/plain"},
           {.body = "0123456789", .type = "text/plain", .filler = 5000000});
    struct kubeconfig c = server_config(&s);
    struct kube *k = open_with(&c);
    struct kube_log ask = {.container = "app", .previous = true, .tail = 20, .since_s = 5};
    assert_int_equal(kube_log(k, &web, &ask, &out, NULL), 0);
    assert_string_equal(str_cstr(&out), "a line\nanother");
    has(&s, 0,
        "GET /api/v1/namespaces/default/pods/web/log?container=app&previous=true&tailLines="
        "20&sinceSeconds=5&limitBytes=262144 HTTP/1.1\r\n");
    str_clear(&out);
    assert_int_equal(kube_log(k, &web, &(struct kube_log){.max = 8}, &out, NULL), 0);
    assert_string_equal(str_cstr(&out), "01234567");
    str_done(&out);
    kube_close(k);
    server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_file_is_read_anew),
        cmocka_unit_test(a_token_is_renewed_in_a_watch_and_for_a_program),
        cmocka_unit_test(a_token_cannot_add_a_header),
        cmocka_unit_test(a_plugin_hands_out_tokens),
        cmocka_unit_test(a_plugins_token_ends),
        cmocka_unit_test(a_plugin_that_fails),
        cmocka_unit_test(somebody_else),
        cmocka_unit_test(times),
        cmocka_unit_test(the_proxy_of_the_context),
        cmocka_unit_test(no_proxy_of_the_environment_to_ourselves),
        cmocka_unit_test(effects_to_the_letter),
        cmocka_unit_test(what_belongs_to_others),
        cmocka_unit_test(names_lead_nowhere_else),
        cmocka_unit_test(discovery),
        cmocka_unit_test(logs_are_cut),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
