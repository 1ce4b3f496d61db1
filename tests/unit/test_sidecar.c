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

/* --- a kubelet that ignores it, and a sidecar that is made to end ----------------------------- */

/* As 1.29.14 was seen to do: the spec has the new image at once, the status stays; after TERM to
 * its process the container of the next start has it. */
#define SIDE(notes, wanted, running, id)                                                       \
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"namespace\":"    \
    "\"default\",\"uid\":\"u-1\",\"resourceVersion\":\"7\"" notes "},\"spec\":{\"nodeName\":"  \
    "\"n\",\"initContainers\":[{\"name\":\"side\",\"image\":\"" wanted "\",\"restartPolicy\":" \
    "\"Always\"}],\"containers\":[{\"name\":\"app\",\"image\":\"app:1\"}]},\"status\":{"       \
    "\"initContainerStatuses\":[{\"name\":\"side\",\"image\":\"" running "\",\"containerID\":" \
    "\"" id "\",\"ready\":true,\"state\":{\"running\":{\"startedAt\":\"x\"}}}],"               \
    "\"containerStatuses\":[{\"name\":\"app\",\"image\":\"app:1\",\"containerID\":\"c://2\","  \
    "\"ready\":true,\"state\":{\"running\":{\"startedAt\":\"x\"}}}]}}"
#define LIST(pod)                                                                           \
    "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"9\"}," \
    "\"items\":[" pod "]}"
#define BEFORE SIDE("", "side:1", "side:1", "c://1")
#define IGNORED SIDE("", "new:2", "side:1", "c://1")
#define DONE SIDE("", "new:2", "new:2", "c://3")
#define HALF                                                                                       \
    SIDE(                                                                                          \
        ",\"annotations\":{\"changeover/sidecars\":\"{\\\"side\\\":{\\\"from\\\":"                 \
        "\\\"side:1\\\",\\\"to\\\":\\\"new:2\\\",\\\"id\\\":\\\"c://1\\\",\\\"others\\\":{}}}\"}", \
        "new:2", "side:1", "c://1")
#define V5 "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"
#define NO_POD "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"message\":\"no such pod\"}"

struct frames {
    char text[256];
    size_t n;
};

static struct frames frames(const char *status)
{
    struct str out = {0};
    struct frames f;
    ws_frame_add(&out, WS_BINARY, status, strlen(status), NULL);
    ws_frame_add(&out, WS_CLOSE, "", 0, NULL);
    f.n = out.len;
    memcpy(f.text, out.buf, out.len);
    str_done(&out);
    return f;
}

static struct canned ending(const struct frames *f)
{
    return (struct canned){.manner = SOCKET, .headers = V5, .body = f->text, .body_len = f->n};
}

/* The whole change, by that script; what was asked is in s. */
static int change(struct kube_server *s, const struct canned *script, size_t n,
                  struct sidecar_result *r, struct err *err)
{
    static const char *const words[] = {"kill", "1", NULL};
    const struct sidecar_target t = {.pod = "web"};
    const struct sidecar_change how = {.name = "side",
                                       .image = "new:2",
                                       .exit = words,
                                       .trust_image = true,
                                       .timeout = 3 * NSEC_S,
                                       .settle = 200 * NSEC_MS,
                                       .sink = {.fn = keep}};
    warned[0] = '\0';
    server_start(s, script, n);
    struct kube *k = server_open(s);
    int status = sidecar_upgrade(k, &t, &how, r, err);
    kube_close(k);
    server_stop(s);
    if (atomic_load(&s->asked) != n)
        fail_msg("%zu requests, not %zu: %s", atomic_load(&s->asked), n, err->msg);
    return status;
}

static size_t patches(const struct kube_server *s, const char *image)
{
    size_t n = 0;
    char op[80];
    snprintf(op, sizeof(op), "\"path\":\"/spec/initContainers/0/image\",\"value\":\"%s\"}", image);
    for (size_t i = 0; i < atomic_load(&s->asked); i++) {
        const char *replace = strstr(s->request[i], "\"op\":\"replace\"");
        n += str_starts(s->request[i], "PATCH ") && replace && strstr(replace, op);
    }
    return n;
}

#define EXEC "GET /api/v1/namespaces/default/pods/web/exec?container=side&command=kill&command=1&"

static void a_sidecar_is_made_to_end(void **state)
{
    (void)state;
    const struct frames good = frames("\x03{\"status\":\"Success\"}");
    for (int i = 0; i < 2; i++) { /* the connection may end with the container */
        struct kube_server s;
        struct err err = {0};
        struct sidecar_result r;
        const struct canned script[] = {
            {.body = BEFORE},
            {.body = NODE("v1.29.14")},
            {.body = IGNORED}, /* the patch */
            {.body = IGNORED},
            i ? (struct canned){.manner = SOCKET, .headers = V5} : ending(&good),
            {.body = LIST(DONE)},
            {.body = LIST(DONE)},
            {.manner = SILENT},
            {.body = DONE}}; /* the note */
        assert_int_equal(change(&s, script, ARRAY_LEN(script), &r, &err), 0);
        assert_memory_equal(s.request[4], EXEC, strlen(EXEC));
        assert_int_equal(patches(&s, "new:2"), 1);
        assert_string_equal(r.id, "c://3");
        assert_string_equal(warned,
                            "this kubelet does nothing for a new image: side is made to end");
    }
}

/* Killed between the patch and the end of the container: no other patch, and it is made to end. */
static void the_same_command_goes_on(void **state)
{
    (void)state;
    const struct frames good = frames("\x03{\"status\":\"Success\"}");
    struct kube_server s;
    struct err err = {0};
    struct sidecar_result r;
    const struct canned gone = {.code = 404, .body = NO_POD};
    const struct canned script[] = {{.body = HALF},
                                    {.body = NODE("v1.31.14")},
                                    {.body = HALF},
                                    ending(&good),
                                    {.body = LIST(DONE)},
                                    {.body = LIST(DONE)},
                                    {.manner = SILENT},
                                    {.body = DONE},
                                    gone}; /* the pod that looked for the image */
    assert_int_equal(change(&s, script, ARRAY_LEN(script), &r, &err), 0);
    assert_memory_equal(s.request[3], EXEC, strlen(EXEC));
    assert_int_equal(patches(&s, "new:2"), 0);
    assert_string_equal(r.from, "side:1");
}

/* A command that cannot be run: the old image goes back into the spec, and nothing was restarted.
 */
static void a_command_that_cannot_run(void **state)
{
    (void)state;
    const struct frames none = frames("\x03{\"status\":\"Failure\",\"message\":\"no such file\"}");
    struct kube_server s;
    struct err err = {0};
    struct sidecar_result r;
    const struct canned script[] = {
        {.body = BEFORE}, {.body = NODE("v1.30.14")}, {.body = IGNORED}, {.body = IGNORED},
        ending(&none),    {.body = IGNORED},          {.body = BEFORE}};
    assert_int_equal(change(&s, script, ARRAY_LEN(script), &r, &err), -1);
    assert_int_equal(err.code, ERR_FAILED);
    assert_non_null(strstr(err.msg, "--exit-command: "));
    assert_non_null(strstr(err.msg, "it is back at side:1"));
    assert_int_equal(patches(&s, "new:2"), 1);
    assert_int_equal(patches(&s, "side:1"), 1);
}

/* Its words are shown, and what comes of it is waited for: another start, by chance, would do. */
static void a_command_that_fails(void **state)
{
    (void)state;
    const struct frames fails =
        frames("\x03{\"status\":\"Failure\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\","
               "\"message\":\"127\"}]}}");
    struct kube_server s;
    struct err err = {0};
    struct sidecar_result r;
    const struct canned script[] = {
        {.body = BEFORE}, {.body = NODE("v1.29.14")}, {.body = IGNORED},    {.body = IGNORED},
        ending(&fails),   {.body = LIST(DONE)},       {.body = LIST(DONE)}, {.manner = SILENT},
        {.body = DONE}};
    assert_int_equal(change(&s, script, ARRAY_LEN(script), &r, &err), 0);
    assert_non_null(strstr(warned, "--exit-command 'kill' ended with 127"));
}

/* One that acts needs no command, and gets none; also where only its effect shows which it is. */
static void one_that_acts_is_left_to_it(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kube_server s;
        struct err err = {0};
        struct sidecar_result r;
        const struct canned known[] = {{.body = BEFORE},     {.body = NODE("v1.32.0")},
                                       {.body = IGNORED},    {.body = LIST(DONE)},
                                       {.body = LIST(DONE)}, {.manner = SILENT},
                                       {.body = DONE}};
        const struct canned forbidden = {.code = 403, .body = "{\"kind\":\"Status\"}"};
        const struct canned unknown[] = {
            {.body = BEFORE},     forbidden,          {.body = IGNORED},
            {.body = IGNORED},    {.body = DONE},     {.body = LIST(DONE)},
            {.body = LIST(DONE)}, {.manner = SILENT}, {.body = DONE}};
        assert_int_equal(
            change(&s, i ? unknown : known, i ? ARRAY_LEN(unknown) : ARRAY_LEN(known), &r, &err),
            0);
        for (size_t at = 0; at < atomic_load(&s.asked); at++)
            assert_null(strstr(s.request[at], "/exec?"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kubelets_that_ignore_it),  cmocka_unit_test(kubelets_that_act_on_it),
        cmocka_unit_test(the_fault_of_1_35),        cmocka_unit_test(a_node_that_says_nothing),
        cmocka_unit_test(records_that_are_none),    cmocka_unit_test(a_sidecar_is_made_to_end),
        cmocka_unit_test(the_same_command_goes_on), cmocka_unit_test(a_command_that_cannot_run),
        cmocka_unit_test(a_command_that_fails),     cmocka_unit_test(one_that_acts_is_left_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
