/* What a pod's status says about its start: statuses as a kubelet of 1.36 writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/runtime/kubernetes.h"
#include "format/json.h"
#include "sys/cgroup.h"
#include "sys/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define POD(status)                                                                              \
    "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"nodeName\":\"n\","                 \
    "\"initContainers\":[{\"name\":\"side\",\"restartPolicy\":\"Always\"},{\"name\":\"once\"}]," \
    "\"containers\":[{\"name\":\"app\"}]},\"status\":{" status "}}"
#define APP(state) "\"containerStatuses\":[{\"name\":\"app\",\"restartCount\":" state "}]"
#define UP                                                                            \
    "0,\"containerID\":\"c://1\",\"imageID\":\"i@sha256:1\",\"state\":{\"running\":{" \
    "\"startedAt\":\"2026-11-23T12:00:01Z\"}}"

static struct pod_view view(const char *text)
{
    struct err err = {0};
    struct pod_view v;
    cleanup_json json_t *pod = NULL;
    if (json_read(text, strlen(text), &pod, &err) < 0)
        fail_msg("%s", err.msg);
    kubernetes_pod_view(pod, "app", &v);
    return v;
}

static void what_it_waits_for_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
        enum pod_stage stage;
        bool hopeless, stuck;
    } rows[] = {
        {"{\"metadata\":{\"name\":\"p\"},\"status\":{\"phase\":\"Pending\",\"conditions\":[{"
         "\"type\":"
         "\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":\"0/1 "
         "nodes "
         "are available: 1 Insufficient memory.\"}]}}",
         "Unschedulable: 0/1 nodes are available: 1 Insufficient memory.", POD_WAITS, false, true},
        {POD(APP("0,\"state\":{\"waiting\":{\"reason\":\"ContainerCreating\"}}")),
         "its containers are being made", POD_WAITS, false, false},
        {POD(APP("0,\"state\":{\"waiting\":{\"reason\":\"ErrImagePull\",\"message\":\"not "
                 "found\\nmore\"}}")),
         "container 'app': ErrImagePull: not found", POD_WAITS, false, true},
        {POD(APP("0,\"state\":{\"waiting\":{\"reason\":\"ErrImageNeverPull\"}}")),
         "container 'app': ErrImageNeverPull", POD_WAITS, true, true},
        {POD("\"initContainerStatuses\":[{\"name\":\"once\",\"state\":{\"terminated\":{"
             "\"exitCode\":"
             "3,\"reason\":\"Error\"}}}]," APP("0,\"state\":{\"waiting\":{\"reason\":"
                                               "\"PodInitializing\"}}")),
         "container 'once': Error: it ended with status 3, 1 time", POD_WAITS, false, false},
        {POD("\"initContainerStatuses\":[{\"name\":\"once\",\"state\":{\"terminated\":{"
             "\"exitCode\":"
             "0}}}]," APP(UP)),
         "it runs and is not ready yet", POD_STARTING, false, false},
        {POD("\"initContainerStatuses\":[{\"name\":\"side\",\"state\":{\"terminated\":{"
             "\"exitCode\":"
             "0,\"reason\":\"Completed\"}}}]," APP(UP)),
         "container 'side': Completed: it ended with status 0, 1 time", POD_STARTING, false, false},
        {POD(APP("2,\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}},\"lastState\":{"
                 "\"terminated\":{\"exitCode\":101}}")),
         "container 'app': CrashLoopBackOff: it ended with status 101, 3 times", POD_WAITS, true,
         false},
        {POD("\"phase\":\"Failed\",\"reason\":\"OutOfcpu\",\"message\":\"Node didn't have "
             "enough\""),
         "OutOfcpu: Node didn't have enough", POD_ENDED, true, false},
        {POD("\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]," APP(UP)), "", POD_READY,
         false, false},
        {"{}", "it waits for a node", POD_WAITS, false, false},
        {"[1]", "it waits for a node", POD_WAITS, false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pod_view v = view(rows[i].text);
        assert_string_equal(v.why, rows[i].why);
        assert_int_equal(v.stage, rows[i].stage);
        assert_int_equal(v.hopeless, rows[i].hopeless);
        assert_int_equal(v.stuck, rows[i].stuck);
    }
}

static void a_running_one_is_known(void **state)
{
    (void)state;
    struct pod_view v = view(POD(APP(UP)));
    assert_string_equal(v.id, "c://1");
    assert_string_equal(v.image_id, "i@sha256:1");
    assert_int_equal(v.last_status, -1);
    assert_true(v.started_wall_ns == kubernetes_time("2026-11-23T12:00:01Z"));
    assert_true(kubernetes_time("2026-11-23T12:00:01.5Z") == v.started_wall_ns);
    assert_true(kubernetes_time("yesterday") == 0);
    assert_true(kubernetes_time(NULL) == 0);
}

static void the_newest_counts(void **state)
{
    (void)state;
    static const char text[] =
        "[{\"metadata\":{\"name\":\"a\",\"creationTimestamp\":\"2026-11-23T12:00:01Z\"}},"
        "{\"metadata\":{\"name\":\"b\",\"creationTimestamp\":\"2026-11-23T12:00:03Z\"}},"
        "{\"metadata\":{\"name\":\"c\",\"creationTimestamp\":\"2026-11-23T12:00:05Z\","
        "\"deletionTimestamp\":\"2026-11-23T12:00:06Z\"}}]";
    cleanup_json json_t *pods = NULL;
    assert_int_equal(json_read(text, strlen(text), &pods, NULL), 0);
    assert_string_equal(json_string_value(json_at(kubernetes_pod_current(pods), "metadata.name")),
                        "b");
    cleanup_json json_t *none = json_array();
    assert_null(kubernetes_pod_current(none));
}

/* --- the pause ------------------------------------------------------------------------------- */

#define UID "5f1d-7"

static void put_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

#define RELAYS 3
#define RELAY_FOR (30 * NSEC_S) /* whatever becomes of the test */

/* One that stays, and some that are never there for long: each has a child and ends, and the child
 * likewise. */
static pid_t relay(const struct sys_cgroup *cg)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (sys_cgroup_join(cg, getpid()) < 0)
            _exit(1);
        const nsec_t until = sys_clock_mono() + RELAY_FOR;
        int n = 0;
        while (n < RELAYS && fork())
            n++;
        while (sys_clock_mono() < until) {
            sys_sleep(6 * NSEC_MS);
            if (n < RELAYS && fork())
                break;
        }
        _exit(0);
    }
    return pid;
}

struct members {
    pid_t pids[64];
    size_t n;
};

static struct members members(const struct sys_cgroup *cg)
{
    struct members m = {.n = 0};
    sys_cgroup_pids(cg, m.pids, ARRAY_LEN(m.pids), &m.n);
    return m;
}

/* Other relays by now, or more of them. A frozen one looks asleep, so its state tells nothing. */
static bool moves(const struct sys_cgroup *cg)
{
    struct members a = members(cg), b = a;
    for (int i = 0; i < 100 && a.n == b.n && !memcmp(a.pids, b.pids, a.n * sizeof(pid_t)); i++) {
        sys_sleep(NSEC_MS);
        b = members(cg);
    }
    return a.n != b.n || memcmp(a.pids, b.pids, a.n * sizeof(pid_t)) != 0;
}

/* Known by its pod's uid in the control group's path; no server is asked. */
static void who_is_forked_meanwhile_stands_still_too(void **state)
{
    (void)state;
    char dir[] = "/tmp/changeover-pod-XXXXXX", sub[64], config[64], name[64];
    struct sys_cgroup cg;
    struct err err = {0};
    nsec_t held;
    int fd = -1;
    snprintf(name, sizeof(name), "changeover-test-%d-pod" UID, (int)getpid());
    if (!sys_cgroup_make(name, false, &cg))
        skip();
    assert_non_null(mkdtemp(dir));
    snprintf(sub, sizeof(sub), "%s/runtime", dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    snprintf(sub, sizeof(sub), "%s/runtime/green", dir);
    assert_int_equal(mkdir(sub, 0700), 0);
    put_file(sub, "kubernetes.json", "{\"name\":\"d\",\"uid\":\"u\",\"pod\":\"" UID "\"}");
    snprintf(config, sizeof(config), "%s/config", dir);
    put_file(
        dir, "config",
        "{clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], current-context: x,"
        " contexts: [{name: x, context: {cluster: c, user: u}}], users: [{name: u, user: {}}]}");
    struct spec spec = {.runtime.kubernetes = {.kubeconfig = config, .name = "d"}};
    const struct driver_ctx ctx = {.service_dir = dir, .service = "s", .side = {[GREEN] = &spec}};
    pid_t first = relay(&cg);
    while (!moves(&cg) && kill(first, 0) == 0)
        sys_sleep(NSEC_MS);
    int r = kubernetes_freeze(&ctx, GREEN, 20 * NSEC_S, &fd, &err);
    bool still = r == 0 && !moves(&cg);
    int thawed = r == 0 ? kubernetes_thaw(&ctx, GREEN, fd, &held, &err) : -1;
    bool again = moves(&cg);
    const nsec_t until = sys_clock_mono() + RELAY_FOR;
    while (members(&cg).n && sys_clock_mono() < until) {
        (void)sys_cgroup_kill(&cg);
        sys_sleep(NSEC_MS);
    }
    assert_int_equal(waitpid(first, NULL, 0), first);
    sys_cgroup_remove(&cg);
    snprintf(name, sizeof(name), "rm -r %s", dir);
    assert_int_equal(system(name), 0);
    if (r < 0 || thawed < 0)
        fail_msg("%s", err.msg);
    assert_true(still);
    assert_true(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_waits_for_is_said),
        cmocka_unit_test(a_running_one_is_known),
        cmocka_unit_test(the_newest_counts),
        cmocka_unit_test(who_is_forked_meanwhile_stands_still_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
