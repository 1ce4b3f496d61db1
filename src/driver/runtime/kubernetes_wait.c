/* Waiting for a pod, by a watch: what it waits for is said, and the wait ends early where it cannot
 * help. */
#include "driver/runtime/kubernetes.h"
#include "format/json.h"
#include "sys/clock.h"

#include <string.h>

#define LOOK (2 * NSEC_S)      /* how often the events of a pod that hangs are looked at */
#define PATIENCE (20 * NSEC_S) /* for what seldom mends itself */
#define LOG_LINES 8

struct waiting {
    struct kubernetes *u;
    struct pod_view v;
    bool seen;
    nsec_t stuck; /* since when; 0: it is not */
};

static bool is_over(struct waiting *w)
{
    nsec_t now = sys_clock_mono();
    w->stuck = !w->v.stuck ? 0 : w->stuck ? w->stuck : now;
    if (w->stuck && now - w->stuck > PATIENCE)
        w->v.hopeless = true;
    return w->v.hopeless || w->v.stage == POD_READY;
}

static int look(void *ctx, enum kube_seen what, json_t *pod)
{
    struct waiting *w = ctx;
    if (!pod || what == KUBE_DELETED || !kubernetes_is_ours(w->u, pod) ||
        json_at(pod, "metadata.deletionTimestamp"))
        return 0;
    kubernetes_pod_view(pod, w->u->spec->runtime.kubernetes.container, &w->v);
    w->seen = true;
    if (*w->v.why)
        kubernetes_doing(w->u, w->u->limit, "%s starts: %.150s", colour_name(w->u->c), w->v.why);
    return is_over(w);
}

void kubernetes_warning(struct kubernetes *u, const char *uid, char *buf, size_t size)
{
    cleanup_json json_t *events = NULL;
    cleanup_free char *fields = x_asprintf("involvedObject.uid=%s,type=Warning", uid);
    const struct kube_select sel = {.fields = fields};
    const char *newest = "";
    size_t i;
    json_t *event;
    buf[0] = '\0';
    if (kube_list(u->k, &(struct kube_ref){&kube_event, NULL, NULL}, &sel, &events, NULL, NULL) < 0)
        return; /* without the right to look there is less to say */
    json_array_foreach(events, i, event)
    {
        const char *at = json_string_value(json_at(event, "lastTimestamp")),
                   *reason = json_string_value(json_at(event, "reason")),
                   *message = json_string_value(json_at(event, "message"));
        if (!message || strcmp(at ? at : "", newest) < 0)
            continue;
        newest = at ? at : "";
        str_format(buf, size, "%s: %.*s", reason ? reason : "warning", (int)strcspn(message, "\n"),
                   message);
    }
}

/* What the pod itself does not say: a volume that cannot be mounted. */
static void look_at_events(struct waiting *w)
{
    char warning[500];
    if (!w->seen || w->v.stage != POD_WAITS || *w->v.container)
        return;
    kubernetes_warning(w->u, w->v.uid, warning, sizeof(warning));
    if (!str_starts(warning, "FailedMount"))
        return;
    str_format(w->v.why, sizeof(w->v.why), "%s", warning);
    w->v.hopeless = strstr(warning, "hostPath type check failed");
    w->v.stuck = true;
    (void)is_over(w);
}

static void add_log(struct waiting *w, struct str *out)
{
    const struct kube_ref pod = {&kube_pod, NULL, w->v.name};
    cleanup_str struct str log = {.max = 2000};
    for (int previous = 0; previous < 2 && !log.len; previous++) {
        const struct kube_log ask = {
            .container = w->v.container, .previous = previous, .tail = LOG_LINES};
        if (kube_log(w->u->k, &pod, &ask, &log, NULL) < 0)
            str_clear(&log);
    }
    while (log.len && log.buf[log.len - 1] == '\n')
        log.buf[--log.len] = '\0';
    if (log.len)
        str_addf(out, "; its last words:\n%s", str_cstr(&log));
}

static int failed(struct waiting *w, const char *limit, struct err *err)
{
    cleanup_str struct str words = {.max = 3000};
    if (!w->seen)
        str_addf(&words, "Deployment '%s' made no pod%s", w->u->name, limit);
    else
        str_addf(&words, "pod '%s': %s%s", w->v.name, w->v.why, limit);
    char warning[500] = "";
    if (w->seen && !w->v.crashed)
        kubernetes_warning(w->u, w->v.uid, warning, sizeof(warning));
    if (*warning && !strstr(str_cstr(&words), warning))
        str_addf(&words, "; %s", warning);
    if (w->v.crashed && *w->v.container)
        add_log(w, &words);
    err_set(err, *limit ? ERR_TIMEOUT : ERR_FAILED, "%s does not start: %s", colour_name(w->u->c),
            str_cstr(&words));
    return w->seen ? err_hint(err, "kubectl describe pod %s", w->v.name)
                   : err_hint(err, "kubectl describe deployment %s", w->u->name);
}

int kubernetes_wait_ready(struct kubernetes *u, json_t *deployment, struct pod_view *ret,
                          struct err *err)
{
    struct waiting w = {.u = u};
    cleanup_str struct str labels = {0};
    kubernetes_selector(u, deployment, &labels);
    const struct kube_select sel = {.labels = str_cstr(&labels)};
    const struct kube_ref pods = {&kube_pod, NULL, NULL};
    nsec_t begun = sys_clock_mono(), run = u->spec->runtime.kubernetes.start_within;
    u->began = begun;
    kubernetes_doing(u, run, "%s starts", colour_name(u->c));
    for (;;) {
        nsec_t limit = w.v.stage == POD_STARTING ? run + u->spec->gate.deadline : run;
        nsec_t now = sys_clock_mono(), end = begun + limit;
        bool waits = w.v.stage != POD_STARTING || w.v.stuck;
        u->limit = limit;
        if (now >= end) {
            char words[24], over[64];
            str_format(over, sizeof(over), " (after %s)",
                       clock_words(words, sizeof(words), now - begun));
            return failed(&w, over, err);
        }
        int r = kube_watch(u->k, &pods, &sel, waits && end - now > LOOK ? now + LOOK : end, look,
                           &w, err);
        if (r < 0)
            return err_ctx(err, "wait for %s", colour_name(u->c));
        if (r == 0) {
            (void)is_over(&w);
            look_at_events(&w);
        }
        if (w.v.hopeless)
            return failed(&w, "", err);
        if (w.seen && w.v.stage == POD_READY)
            break;
    }
    u->doing[0] = '\0';
    *ret = w.v;
    return 0;
}
