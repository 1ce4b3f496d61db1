/* PURE: what a pod's status says about its start, in words. */
#include "driver/runtime/kubernetes.h"
#include "format/json.h"

#include <string.h>
#include <time.h>

static void take(json_t *object, const char *path, char *buf, size_t size)
{
    const char *text = json_string_value(json_at(object, path));
    str_format(buf, size, "%s", text ? text : "");
}

nsec_t kubernetes_time(const char *text)
{
    struct tm t = {0};
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &t) : NULL;
    return end && (*end == 'Z' || *end == '.') ? (nsec_t)timegm(&t) * NSEC_S : 0;
}

/* Reasons of a waiting container that no time mends, and those that it seldom does. */
static const struct {
    const char *reason;
    bool hopeless;
} reasons[] = {
    {"ErrImageNeverPull", true},          {"InvalidImageName", true},
    {"CreateContainerConfigError", true}, {"CreateContainerError", true},
    {"RunContainerError", false},         {"ErrImagePull", false},
    {"ImagePullBackOff", false},          {"ImageInspectError", false},
    {"RegistryUnavailable", false},
};

static void say(struct pod_view *v, const char *container, const char *reason, const char *message)
{
    str_format(v->container, sizeof(v->container), "%s", container);
    str_format(v->why, sizeof(v->why), "%s%s%s%s%s%.*s", *container ? "container '" : "", container,
               *container ? "': " : "", reason, *message ? ": " : "", (int)strcspn(message, "\n"),
               message);
}

/* One container that does not run as it should: false if it does. */
static bool held_up(json_t *status, bool once, struct pod_view *v)
{
    char name[64], reason[100], message[400];
    json_t *waiting = json_at(status, "state.waiting"),
           *ended = json_at(status, "state.terminated");
    take(status, "name", name, sizeof(name));
    int restarts = (int)json_integer_value(json_object_get(status, "restartCount"));
    if (ended && once && json_integer_value(json_object_get(ended, "exitCode")) == 0)
        return false;
    if (!waiting && !ended)
        return false;
    take(waiting ? waiting : ended, "reason", reason, sizeof(reason));
    take(waiting ? waiting : ended, "message", message, sizeof(message));
    if (str_eq(reason, "ContainerCreating") || str_eq(reason, "PodInitializing"))
        return false; /* nothing is known of it yet: what holds it up is in the events */
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (str_eq(reasons[i].reason, reason)) {
            v->hopeless = v->hopeless || reasons[i].hopeless;
            v->stuck = true;
        }
    if (str_eq(reason, "CrashLoopBackOff") || ended) {
        int code = (int)json_integer_value(
            json_at(status, ended ? "state.terminated.exitCode" : "lastState.terminated.exitCode"));
        v->crashed = true;
        v->last_status = code;
        str_format(message, sizeof(message), "it ended with status %d, %d time%s", code,
                   restarts + 1, restarts ? "s" : "");
        v->hopeless = v->hopeless || (!ended && restarts > 0);
    }
    say(v, name, *reason ? reason : "waiting", message);
    return true;
}

static bool is_sidecar(json_t *pod, const char *name)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_at(pod, "spec.initContainers"), i, c)
    {
        if (str_eq(json_string_value(json_object_get(c, "name")), name))
            return str_eq(json_string_value(json_object_get(c, "restartPolicy")), "Always");
    }
    return false;
}

static bool look_at_containers(json_t *pod, struct pod_view *v)
{
    size_t i;
    json_t *s;
    json_array_foreach(json_at(pod, "status.initContainerStatuses"), i, s)
    {
        if (held_up(s, !is_sidecar(pod, json_string_value(json_object_get(s, "name"))), v))
            return true;
    }
    json_array_foreach(json_at(pod, "status.containerStatuses"), i, s)
    {
        if (held_up(s, false, v))
            return true;
    }
    return false;
}

static json_t *condition(json_t *pod, const char *type)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_at(pod, "status.conditions"), i, c)
    {
        if (str_eq(json_string_value(json_object_get(c, "type")), type))
            return c;
    }
    return NULL;
}

static bool is_true(json_t *pod, const char *type)
{
    return str_eq(json_string_value(json_object_get(condition(pod, type), "status")), "True");
}

static void take_service(json_t *pod, const char *service, struct pod_view *v, bool *ret_up)
{
    size_t i;
    json_t *s;
    json_array_foreach(json_at(pod, "status.containerStatuses"), i, s)
    {
        if (!str_eq(json_string_value(json_object_get(s, "name")), service))
            continue;
        take(s, "imageID", v->image_id, sizeof(v->image_id));
        take(s, "containerID", v->id, sizeof(v->id));
        v->restarts = (int)json_integer_value(json_object_get(s, "restartCount"));
        v->started_wall_ns =
            kubernetes_time(json_string_value(json_at(s, "state.running.startedAt")));
        json_t *last = json_at(s, "lastState.terminated.exitCode");
        v->last_status = last ? (int)json_integer_value(last) : -1;
        *ret_up = json_is_object(json_at(s, "state.running"));
    }
}

void kubernetes_pod_view(json_t *pod, const char *service, struct pod_view *v)
{
    char phase[24], reason[100], message[400];
    bool up = false;
    json_t *placed = condition(pod, "PodScheduled");
    *v = (struct pod_view){.stage = POD_WAITS, .last_status = -1};
    take(pod, "metadata.name", v->name, sizeof(v->name));
    take(pod, "metadata.uid", v->uid, sizeof(v->uid));
    take(pod, "spec.nodeName", v->node, sizeof(v->node));
    take(pod, "status.phase", phase, sizeof(phase));
    take(pod, "status.reason", reason, sizeof(reason));
    take(pod, "status.message", message, sizeof(message));
    v->ending = json_at(pod, "metadata.deletionTimestamp");
    if (!service)
        service = json_string_value(json_at(pod, "spec.containers.0.name"));
    take_service(pod, service, v, &up);
    if (str_eq(phase, "Failed") || str_eq(phase, "Succeeded")) {
        v->stage = POD_ENDED;
        v->hopeless = true; /* the kubelet refused it ("OutOfcpu"), or it was evicted */
        say(v, "", *reason ? reason : phase, message);
    } else if (!*v->node && str_eq(json_string_value(json_object_get(placed, "status")), "False")) {
        take(placed, "reason", reason, sizeof(reason));
        take(placed, "message", message, sizeof(message));
        v->stuck = true;
        say(v, "", reason, message);
    } else if (look_at_containers(pod, v)) {
        v->stage = up ? POD_STARTING : POD_WAITS;
    } else if (!up) {
        say(v, "", *v->node ? "its containers are being made" : "it waits for a node", "");
    } else {
        v->stage = is_true(pod, "Ready") ? POD_READY : POD_STARTING;
        if (v->stage == POD_STARTING)
            say(v, "", "it runs and is not ready yet", "");
    }
}

json_t *kubernetes_pod_current(json_t *pods)
{
    json_t *found = NULL, *pod;
    size_t i;
    json_array_foreach(pods, i, pod)
    {
        const char *a = json_string_value(json_at(found, "metadata.creationTimestamp")),
                   *b = json_string_value(json_at(pod, "metadata.creationTimestamp"));
        if (!json_at(pod, "metadata.deletionTimestamp") && (!a || !b || strcmp(b, a) >= 0))
            found = pod;
    }
    return found;
}
