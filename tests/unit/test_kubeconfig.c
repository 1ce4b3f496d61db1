/* Kubeconfig files: merged as kubectl merges them, and everything wrong in them said with its
 * place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base64.h"
#include "net/kubeconfig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEM "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
#define PEM64 "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUIKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="
#define MINIMAL(cluster, user)                                                                    \
    "apiVersion: v1\nkind: Config\ncurrent-context: x\n"                                          \
    "contexts: [{name: x, context: {cluster: c, user: u}}]\n"                                     \
    "clusters: [{name: c, cluster: {server: \"https://host:6443\"" cluster "}}]\nusers: [{name: " \
    "u, user: {" user "}}]\n"

static char dir[64];
static const char *const names[] = {"a", "b", "c", "ca.pem", "token", "ca.crt", "namespace"};

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/changeover-kubeconfig-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static void empty_dir(void)
{
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
}

static int remove_dir(void **state)
{
    (void)state;
    empty_dir();
    return rmdir(dir);
}

static char *put(const char *name, const char *text)
{
    char *path = x_asprintf("%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static int load(const char *text, struct kubeconfig *ret, struct err *err)
{
    cleanup_free char *path = put("a", text);
    return kubeconfig_load(&(struct kubeconfig_from){.path = path}, ret, err);
}

/* --- what is read ---------------------------------------------------------------------------- */

static void all_of_a_context(void **state)
{
    (void)state;
    struct kubeconfig c = {0};
    struct err err = {0};
    free(put("ca.pem", PEM));
    assert_int_equal(load("kind: Config\ncurrent-context: first\n"
                          "contexts:\n"
                          "- name: first\n  context: {cluster: c, user: u, namespace: shop}\n"
                          "clusters:\n"
                          "- name: c\n  cluster:\n    server: https://[::1]:6443/k8s/\n"
                          "    certificate-authority: ca.pem\n    tls-server-name: kubernetes\n"
                          "    proxy-url: socks5://p:1080\n    extensions: [{name: x}]\n"
                          "users:\n"
                          "- name: u\n  user:\n"
                          "    client-certificate-data: " PEM64 "\n"
                          "    client-certificate: /does/not/count\n"
                          "    client-key-data: " PEM64 "\n"
                          "    tokenFile: token\n    token: t\n"
                          "    as: somebody\n    as-uid: \"12\"\n    as-groups: [a, b]\n",
                          &c, &err),
                     0);
    assert_string_equal(c.context, "first");
    assert_string_equal(c.server, "https://[::1]:6443/k8s");
    assert_string_equal(c.server_name, "kubernetes");
    assert_string_equal(c.proxy, "socks5://p:1080");
    assert_string_equal(c.ns, "shop");
    assert_string_equal(c.ca, PEM);
    assert_string_equal(c.cert, PEM);
    assert_string_equal(c.key, PEM);
    assert_false(c.insecure);
    assert_string_equal(c.token, "t");
    assert_true(str_starts(c.token_file, dir) && str_ends(c.token_file, "/token"));
    assert_string_equal(c.as, "somebody");
    assert_string_equal(c.as_uid, "12");
    assert_int_equal(c.as_groups.n, 2);
    kubeconfig_done(&c);
}

static void what_is_left_out(void **state)
{
    (void)state;
    struct kubeconfig c = {0};
    assert_int_equal(load(MINIMAL(", insecure-skip-tls-verify: true", ""), &c, NULL), 0);
    assert_string_equal(c.ns, "default");
    assert_true(c.insecure);
    assert_null(c.ca);
    assert_null(c.token);
    assert_int_equal(c.exec.argv.n, 0);
    kubeconfig_done(&c);
    /* JSON is YAML */
    assert_int_equal(load("{\"current-context\":\"x\",\"contexts\":[{\"name\":\"x\",\"context\":{"
                          "\"cluster\":\"c\"}}],\"clusters\":[{\"name\":\"c\",\"cluster\":{"
                          "\"server\":\"http://h\"}}]}",
                          &c, NULL),
                     0);
    assert_string_equal(c.server, "http://h");
    kubeconfig_done(&c);
}

static void a_plugin(void **state)
{
    (void)state;
    struct kubeconfig c = {0};
    assert_int_equal(
        load(MINIMAL("", "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, "
                         "args: [--as, \"a b\"], env: [{name: A, value: \"1=2\"}, {name: B}], "
                         "installHint: get it, interactiveMode: IfAvailable, "
                         "provideClusterInfo: true}"),
             &c, NULL),
        0);
    assert_true(str_starts(c.exec.argv.v[0], dir) && str_ends(c.exec.argv.v[0], "/./login"));
    assert_string_equal(c.exec.argv.v[2], "a b");
    assert_string_equal(c.exec.env.v[0], "A=1=2");
    assert_string_equal(c.exec.env.v[1], "B=");
    assert_string_equal(c.exec.hint, "get it");
    assert_true(c.exec.provide_cluster);
    kubeconfig_done(&c);
    assert_int_equal(
        load(MINIMAL("", "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws}"),
             &c, NULL),
        0);
    assert_string_equal(c.exec.argv.v[0], "aws"); /* by PATH */
    kubeconfig_done(&c);
}

/* --- several files --------------------------------------------------------------------------- */

static void files_are_merged(void **state)
{
    (void)state;
    struct kubeconfig c = {0};
    struct err err = {0};
    free(put("a", "users: [{name: u, user: {token: from-a}}]\ncontexts: [{name: y, context: "
                  "{cluster: d}}]\n"));
    free(put("b", MINIMAL("", "token: from-b") "current-context-of-nobody: 1\n"));
    free(put("c", "current-context: y\nclusters: [{name: d, cluster: {server: \"https://d\"}}, "
                  "{name: c, cluster: {server: \"https://late\"}}]\n"));
    cleanup_free char *list = x_asprintf("%s/none:%s/a::%s/b:%s/c", dir, dir, dir, dir);
    struct kubeconfig_from from = {.list = list, .home = "/nonexistent"};
    assert_int_equal(kubeconfig_load(&from, &c, &err), 0);
    assert_string_equal(c.context, "x"); /* b's: the first that has one */
    assert_string_equal(c.server, "https://host:6443");
    assert_string_equal(c.token, "from-a");
    kubeconfig_done(&c);
    from.context = "y"; /* its cluster stands in another file */
    assert_int_equal(kubeconfig_load(&from, &c, &err), 0);
    assert_string_equal(c.server, "https://d");
    assert_null(c.token);
    kubeconfig_done(&c);
    from.context = "z";
    assert_int_equal(kubeconfig_load(&from, &c, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "no context 'z'"));
}

static void nothing_says_where(void **state)
{
    (void)state;
    struct kubeconfig c = {0};
    struct err err = {0};
    empty_dir();
    struct kubeconfig_from from = {.home = dir, .account = dir};
    assert_int_equal(kubeconfig_load(&from, &c, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    from.path = "/nonexistent/config";
    assert_int_equal(kubeconfig_load(&from, &c, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/nonexistent/config"));
    assert_int_equal(load("contexts: [{name: one, context: {cluster: c}}, {name: two, context: "
                          "{cluster: c}}]\n",
                          &c, &err),
                     -1);
    assert_non_null(strstr(err.msg, "no current-context"));
    assert_string_equal(err.hint, "name a context: one, two");
}

static void in_a_pod(void **state)
{
    (void)state;
    struct kubeconfig c = {0};
    struct err err = {0};
    empty_dir();
    struct kubeconfig_from from = {
        .home = "/nonexistent", .account = dir, .service_host = "fd00::1", .service_port = "443"};
    assert_int_equal(kubeconfig_load(&from, &c, &err), -1);
    assert_non_null(strstr(err.msg, "service account"));
    free(put("ca.crt", PEM));
    free(put("namespace", "shop\n"));
    assert_int_equal(kubeconfig_load(&from, &c, &err), 0);
    assert_string_equal(c.server, "https://[fd00::1]:443");
    assert_string_equal(c.ns, "shop");
    assert_string_equal(c.ca, PEM);
    assert_string_equal(c.context, "in-cluster");
    assert_true(str_ends(c.token_file, "/token"));
    kubeconfig_done(&c);
    cleanup_free char *path = put("a", MINIMAL("", "")); /* a file goes first */
    from.list = path;
    assert_int_equal(kubeconfig_load(&from, &c, &err), 0);
    assert_string_equal(c.context, "x");
    kubeconfig_done(&c);
}

/* --- what is wrong --------------------------------------------------------------------------- */

static void everything_wrong_has_a_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } table[] = {
        {"a: [", "a:"},
        {"- a\n", "no kubeconfig"},
        {"kind: Pod\n", "no kubeconfig"},
        {"kind: {}\n", "no kubeconfig"},
        {"current-context: x\ncontexts: {}\n", ":2:11: 'contexts' must be a list, it is a map"},
        {"users: [{user: {}}]\n", ":1:9: an entry of 'users' has no name"},
        {"users: [{name: u}, {name: u}]\n", ":1:20: 'users' has 'u' twice"},
        {"current-context: x\ncontexts: [{name: x, context: []}]\n", "'context' must be a map"},
        {"current-context: x\ncontexts: [{name: x, context: {user: u}}]\n", "has no cluster"},
        {"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\n",
         "context 'x': there is no cluster 'c'"},
        {"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: "
         "c}]\n",
         "has no server"},
        {"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, "
         "cluster: {server: host}}]\n",
         "must be https://HOST"},
        {"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, "
         "cluster: {server: \"https://u:p@host\"}}]\n",
         "must be https://HOST"},
        {"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, "
         "cluster: {server: \"https://a\\r\\nb\"}}]\n",
         "control character"},
        {MINIMAL(", insecure-skip-tls-verify: yes", ""), "must be true or false"},
        {MINIMAL(", insecure-skip-tls-verify: true, certificate-authority-data: " PEM64, ""),
         "beside a certificate authority"},
        {MINIMAL(", certificate-authority-data: \"***\"", ""), "is not base64"},
        {MINIMAL(", certificate-authority-data: aGVsbG8=", ""), "holds no PEM"},
        {MINIMAL(", certificate-authority: /nonexistent/ca", ""), "/nonexistent/ca"},
        {MINIMAL(", proxy-url: ftp://x", ""), "must begin with http://"},
        {MINIMAL("", "client-certificate-data: " PEM64), "without client-key"},
        {MINIMAL("", "client-key-data: " PEM64), "without client-certificate"},
        {MINIMAL("", "client-certificate-data: " PEM64
                     ", client-key-data: LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFURSBLRVktLS0tLQo="),
         "encrypted"},
        {MINIMAL("", "username: u, password: p"), "'username' is not taken"},
        {MINIMAL("", "auth-provider: {name: gcp}"), "'auth-provider' is not taken"},
        {MINIMAL("", "as-user-extra: {a: [b]}"), "'as-user-extra' is not taken"},
        {MINIMAL("", "token: [a]"), "'token' must be a text, it is a list"},
        {MINIMAL("", "token: \"a\\nb\""), "control character"},
        {MINIMAL("", "exec: {command: x}"), "apiVersion must be"},
        {MINIMAL("", "exec: {apiVersion: client.authentication.k8s.io/v1}"), "command is missing"},
        {MINIMAL("", "exec: [x]"), "'exec' must be a map"},
        {MINIMAL("", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, "
                     "interactiveMode: Always}"),
         "nobody is asked here"},
        {MINIMAL("", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, args: y}"),
         "'args' must be a list"},
        {MINIMAL("", "exec: {apiVersion: client.authentication.k8s.io/v1, command: x, env: [{name: "
                     "\"a=b\"}]}"),
         "no good name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct kubeconfig c = {0};
        struct err err = {0};
        assert_int_equal(load(table[i].text, &c, &err), -1);
        if (!strstr(err.msg, table[i].words))
            fail_msg("%zu: '%s' does not say '%s'", i, err.msg, table[i].words);
        assert_true(strstr(err.msg, dir) || i >= 9);
        assert_null(c.server);
    }
}

static void base64_both_ways(void **state)
{
    (void)state;
    static const char *const bad[] = {"a",    "ab",    "abc",  "a===", "=",
                                      "ab=c", "ab==c", "a*cd", "abcd="};
    for (size_t n = 0; n < 40; n++) {
        cleanup_str struct str text = {0}, back = {0};
        char bytes[40];
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(i * 89 + n);
        base64_encode(bytes, n, &text);
        assert_int_equal(text.len, (n + 2) / 3 * 4);
        assert_true(base64_decode(str_cstr(&text), text.len, &back));
        assert_int_equal(back.len, n);
        assert_memory_equal(str_cstr(&back), bytes, n);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cleanup_str struct str back = {0};
        str_add(&back, "before");
        assert_false(base64_decode(bad[i], strlen(bad[i]), &back));
        assert_string_equal(back.buf, "before");
    }
    cleanup_str struct str lines = {0};
    assert_true(base64_decode("aGVs\nbG8=\n", 10, &lines));
    assert_string_equal(lines.buf, "hello");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_a_context),
        cmocka_unit_test(what_is_left_out),
        cmocka_unit_test(a_plugin),
        cmocka_unit_test(files_are_merged),
        cmocka_unit_test(nothing_says_where),
        cmocka_unit_test(in_a_pod),
        cmocka_unit_test(everything_wrong_has_a_place),
        cmocka_unit_test(base64_both_ways),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
