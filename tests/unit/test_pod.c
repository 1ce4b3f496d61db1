/* What a pod's status says about its start: statuses as a kubelet of 1.36 writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/runtime/kubernetes.h"
#include "format/json.h"

#include <string.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_waits_for_is_said),
        cmocka_unit_test(a_running_one_is_known),
        cmocka_unit_test(the_newest_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
