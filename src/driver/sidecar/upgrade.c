/* Looking first, the change, the proof, and the way back. */
#include "driver/sidecar/internal.h"
#include "format/json.h"
#include "sys/clock.h"

#include <stdlib.h>
#include <string.h>

#define TIMEOUT (2 * NSEC_MIN)
#define TIMEOUT_HELD (6 * NSEC_MIN) /* a restart may be held back for 5 minutes */
#define PULL (15 * NSEC_MIN)
#define SETTLE (2 * NSEC_S)
#define USED_MOST 32
#define ACTS_MOST (10 * NSEC_S)   /* until a kubelet that acts has acted: 1.25 s at most was seen */
#define TUNNEL_MOST (60 * NSEC_S) /* until the daemon has its tunnel again */

/* One change on its way. */
struct change {
    struct kube *k;
    const struct sidecar_change *how;
    struct sidecar_pod pod;
    struct sidecar_container before;
    json_t *record; /* of this change */
    struct sidecar_tunnel tunnel;
    enum sidecar_restart restart;
    char image_id[256];
    nsec_t since;
    bool resumed; /* the patch was an earlier call's */
    bool looked;  /* there may be a pod that looked for the image */
};

static void change_done(struct change *c)
{
    if (c->looked)
        sidecar_image_drop(c->k, &c->pod);
    sidecar_pod_done(&c->pod);
    sidecar_tunnel_done(&c->tunnel);
    json_decref(c->record);
}

static void step(const struct change *c, enum event_kind kind, const char *name, const char *text,
                 nsec_t since)
{
    nsec_t took = kind == EVENT_STEP_START ? 0 : sys_clock_mono() - since;
    event_emit(&c->how->sink,
               &(struct event){.kind = kind, .step = name, .text = text, .took_ns = took});
}

/* --- looking first --------------------------------------------------------------------------- */

/* The restart back-off is kept for each image of a container: one that it had before may have to
 * wait. */
static bool was_used(json_t *record, const char *image)
{
    size_t i;
    json_t *used;
    json_array_foreach(json_object_get(record, "used"), i, used)
    {
        if (str_eq(json_string_value(used), image))
            return true;
    }
    return false;
}

static json_t *new_record(const struct change *c, json_t *old)
{
    json_t *used = json_array(), *item;
    size_t i;
    json_array_append_new(used, json_string(c->how->image));
    json_array_append_new(used, json_string(c->before.wanted));
    json_array_foreach(json_object_get(old, "used"), i, item)
    {
        if (json_array_size(used) < USED_MOST && !str_eq(json_string_value(item), c->how->image) &&
            !str_eq(json_string_value(item), c->before.wanted))
            json_array_append(used, item);
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o*}", "from", c->before.wanted, "to",
                     c->how->image, "id", c->before.id, "others",
                     sidecar_others(c->pod.object, c->how->name), "used", used, "tunnel",
                     sidecar_tunnel_write(&c->tunnel));
}

static int check_container(const struct change *c, struct err *err)
{
    const struct sidecar_container *b = &c->before;
    if (!b->lives)
        return err_set(err, ERR_USAGE,
                       "'%s' is an init container that runs once (no restartPolicy: Always): a new "
                       "image does nothing until the pod is made anew",
                       b->name);
    if (b->up)
        return 0;
    err_set(err, ERR_FAILED, "container '%s' does not run: %s", b->name,
            *b->why ? b->why : "(no words)");
    return err_hint(err, "mend that first; nothing was changed");
}

static int prove_image(struct change *c, struct err *err)
{
    char text[700];
    nsec_t since = sys_clock_mono();
    if (c->how->trust_image)
        return 0;
    str_format(text, sizeof(text), "node %s has or can pull %s", c->pod.node, c->how->image);
    step(c, EVENT_STEP_START, "image", text, since);
    c->looked = true;
    if (sidecar_image_prove(c->k, &c->pod, &c->before, c->how->image,
                            c->how->timeout ? c->how->timeout : PULL, c->image_id, err) < 0) {
        step(c, EVENT_STEP_FAIL, "image", err ? err->msg : "", since);
        return -1;
    }
    step(c, EVENT_STEP_DONE, "image", text, since);
    if (!str_eq(c->image_id, c->before.image_id))
        return 0;
    event_warn(&c->how->sink, "'%s' is the very image that runs (%s)", c->how->image, c->image_id);
    return 0;
}

/* --- the change ------------------------------------------------------------------------------ */

static int run_proof(const struct change *c, struct err *err)
{
    struct kube_exec_result r = {0};
    const struct kube_exec ask = {.container = c->how->name, .argv = c->how->proof};
    const struct kube_ref pod = {&kube_pod, c->pod.ns, c->pod.name};
    const char *text = c->how->proof_text;
    if (!c->how->proof)
        return 0;
    int ok = kube_exec(c->k, &pod, &ask, &r, err);
    if (ok == 0 && r.status != 0)
        ok = err_set(err, ERR_FAILED, "'%s' ends with %d in the new container: %.300s",
                     c->how->proof[0], r.status, r.err.len ? str_cstr(&r.err) : str_cstr(&r.out));
    else if (ok == 0 && text && !strstr(str_cstr(&r.out), text) && !strstr(str_cstr(&r.err), text))
        ok = err_set(err, ERR_FAILED, "'%s' does not say '%s' in the new container, but: %.300s",
                     c->how->proof[0], text, str_cstr(&r.out));
    kube_exec_result_done(&r);
    return ok;
}

static int await(struct change *c, const char *image, const char *old_id, json_t *others, bool held,
                 struct sidecar_container *now, nsec_t *ret_at, struct err *err)
{
    const struct sidecar_goal g = {
        .uid = c->pod.uid,
        .name = c->how->name,
        .image = image,
        .old_id = old_id,
        .image_id = c->image_id,
        .others = others,
        .timeout = c->how->timeout ? c->how->timeout
                   : held          ? TIMEOUT_HELD
                                   : TIMEOUT,
        .settle = c->how->settle ? c->how->settle : SETTLE,
    };
    return sidecar_wait(c->k, &c->pod, &g, now, ret_at, err);
}

/* --- a kubelet that does nothing ------------------------------------------------------------- */

/* The container ends by a command run in it, and its next start has the new image. That the
 * connection ends with it is as it should be. */
static int run_exit(struct change *c, struct err *err)
{
    struct kube_exec_result r = {0};
    const struct kube_exec ask = {.container = c->how->name, .argv = c->how->exit};
    const struct kube_ref pod = {&kube_pod, c->pod.ns, c->pod.name};
    struct err why = {0};
    int status = kube_exec(c->k, &pod, &ask, &r, &why);
    if (status == 0 && r.status != 0)
        event_warn(&c->how->sink, "--exit-command '%s' ended with %d: %.300s", c->how->exit[0],
                   r.status, r.err.len ? str_cstr(&r.err) : str_cstr(&r.out));
    kube_exec_result_done(&r);
    if (status == 0 || kube_status(c->k)->unsure)
        return 0;
    err_ctx(&why, "--exit-command");
    if (err)
        *err = why;
    return -1;
}

/* The patch was taken; where the kubelet does not act on it, the container is made to end. */
static int make_restart(struct change *c, const char *old_id, struct err *err)
{
    struct sidecar_container now = {0};
    const struct sidecar_target same = {.ns = c->pod.ns, .pod = c->pod.name};
    const nsec_t end = sys_clock_mono() + (c->restart == SIDECAR_MAYBE ? ACTS_MOST : 0);
    if (c->restart == SIDECAR_BY_ITSELF)
        return 0;
    for (;;) {
        cleanup_sidecar_pod struct sidecar_pod pod = {0};
        if (sidecar_look(c->k, &same, &pod, err) < 0 ||
            sidecar_find(pod.object, c->how->name, &now, err) < 0)
            return -1;
        if (!now.up || !str_eq(now.id, old_id))
            return 0; /* it has ended */
        if (sys_clock_mono() >= end)
            break;
        if (kube_pause(c->k, 200 * NSEC_MS, err) < 0)
            return -1;
    }
    event_note(&c->how->sink, "this kubelet does nothing for a new image: %s is made to end",
               c->how->name);
    return run_exit(c, err);
}

/* --- the way back ---------------------------------------------------------------------------- */

/* Its words when neither the new nor the old image could be proved. */
static int halfway(const struct change *c, const struct err *first, const struct err *back,
                   struct err *err)
{
    err_set(err, ERR_HALFWAY, "%.3000s; and it is not proved to be back at %s: %.3000s", first->msg,
            c->before.wanted, back->msg);
    return err_hint(err, "changeover sidecar status; then: changeover sidecar rollback %s",
                    c->how->name);
}

/* The patch back, and its proof. A container that the kubelet had not replaced yet just stays. */
static int patch_back(struct change *c, const char *from, struct err *err)
{
    cleanup_sidecar_pod struct sidecar_pod pod = {0};
    struct sidecar_container now = {0}, back = {0};
    const struct sidecar_target same = {.ns = c->pod.ns, .pod = c->pod.name};
    nsec_t at;
    if (sidecar_look(c->k, &same, &pod, err) < 0 ||
        sidecar_find(pod.object, c->how->name, &now, err) < 0)
        return -1;
    if (!str_eq(pod.uid, c->pod.uid))
        return err_set(err, ERR_FAILED, "the pod was made anew by somebody");
    if (sidecar_patch(c->k, &pod, &now, from, NULL, false, err) < 0)
        return -1;
    bool never_left = now.up && str_eq(now.id, json_string_value(json_object_get(c->record, "id")));
    c->image_id[0] = '\0';
    if (never_left)
        return 0;
    if (make_restart(c, now.id, err) < 0)
        return -1;
    return await(c, from, now.id, json_object_get(c->record, "others"), true, &back, &at, err);
}

static nsec_t tunnel_most(const struct change *c)
{
    return c->how->timeout && c->how->timeout < TUNNEL_MOST ? c->how->timeout : TUNNEL_MOST;
}

/* The old image again, in the pod that this began with; the others' proof goes on from before the
 * change. */
static int go_back(struct change *c, const struct err *first, struct err *err)
{
    struct err why = {0};
    nsec_t since = sys_clock_mono();
    const char *from = json_string_value(json_object_get(c->record, "from"));
    char text[700];
    str_format(text, sizeof(text), "back to %s", from);
    step(c, EVENT_STEP_START, "go-back", text, since);
    int r = patch_back(c, from, &why);
    step(c, r < 0 ? EVENT_STEP_FAIL : EVENT_STEP_DONE, "go-back", r < 0 ? why.msg : text, since);
    if (r < 0)
        return halfway(c, first, &why, err);
    /* the old one, too, was stopped and started again */
    r = *c->tunnel.name ? sidecar_tunnel_wait(c->k, &c->tunnel, tunnel_most(c), &c->how->sink, &why)
                        : 0;
    err_set(err, ERR_FAILED, "%.6000s; it is back at %s, and no other container was touched%s%s",
            first->msg, from, r < 0 ? "; but " : "", r < 0 ? why.msg : "");
    return err_hint(err, "look at what %s says and wants; nothing else is to be done",
                    c->how->image);
}

/* What keeps this from being taken for unproved when it is looked at again. */
static void note_proof(struct change *c)
{
    struct err why = {0};
    json_object_set_new(c->record, "proved", json_true());
    json_object_del(c->record, "tunnel");
    if (sidecar_note(c->k, &c->pod, c->how->name, c->record, &why) < 0)
        event_warn(&c->how->sink, "that it was proved could not be written into the pod: %s",
                   why.msg);
}

/* The containers are proved. Another start of the daemon would not bring its tunnel back: what can
 * be done is for the operator to say. */
static int prove_tunnel(struct change *c, struct sidecar_result *ret, struct err *err)
{
    char text[80];
    nsec_t since = sys_clock_mono();
    if (!*c->tunnel.name)
        return 0;
    str_format(text, sizeof(text), "%s: its link, addresses and routes (%zu)", c->tunnel.name,
               c->tunnel.lines.n);
    step(c, EVENT_STEP_START, "tunnel", text, since);
    if (sidecar_tunnel_wait(c->k, &c->tunnel, tunnel_most(c), &c->how->sink, err) == 0) {
        step(c, EVENT_STEP_DONE, "tunnel", "as before", since);
        memcpy(ret->tunnel, c->tunnel.name, sizeof(ret->tunnel));
        ret->tunnel_lines = c->tunnel.lines.n;
        return 0;
    }
    step(c, EVENT_STEP_FAIL, "tunnel", err ? err->msg : "", since);
    err_ctx(err, "the new container runs, every other one is as before");
    err_hint(err,
             "bring it back (doublezero connect), then the same command looks again; "
             "changeover sidecar rollback %s goes back",
             c->how->name);
    if (err)
        err->code = ERR_HALFWAY;
    return -1;
}

static int prove_change(struct change *c, bool held, struct sidecar_result *ret, struct err *err)
{
    struct sidecar_container now = {0};
    struct err why = {0};
    nsec_t at = c->since;
    const char *old_id = json_string_value(json_object_get(c->record, "id"));
    json_t *others = json_object_get(c->record, "others");
    step(c, EVENT_STEP_START, "replace", "only this container restarts", c->since);
    int r = make_restart(c, old_id, &why);
    if (r == 0)
        r = await(c, c->how->image, old_id, others, held, &now, &at, &why);
    if (r == 0)
        r = run_proof(c, &why);
    if (r == 0) {
        step(c, EVENT_STEP_DONE, "replace", "a new container runs, all others as before", c->since);
        memcpy(ret->id, now.id, sizeof(ret->id));
        memcpy(ret->image_id, now.image_id, sizeof(ret->image_id));
        ret->restarts = now.restarts;
        ret->took = at - c->since;
        if (prove_tunnel(c, ret, err) < 0)
            return -1;
        note_proof(c);
        return 0;
    }
    step(c, EVENT_STEP_FAIL, "replace", why.msg, c->since);
    if (why.code != ERR_INTERRUPTED && !c->resumed)
        return go_back(c, &why, err);
    err_set(err, ERR_HALFWAY, "%.6000s%s", why.msg,
            c->resumed ? "; an earlier call changed it and did not live to prove it" : "");
    return err_hint(err, "the same command looks again; changeover sidecar rollback %s goes back",
                    c->how->name);
}

/* An earlier call of the same change did the patch, and did not live to see what came of it. */
static bool goes_on(const struct change *c, json_t *old)
{
    return str_eq(c->before.wanted, c->how->image) &&
           str_eq(json_string_value(json_object_get(old, "to")), c->how->image) &&
           !json_is_true(json_object_get(old, "proved"));
}

static int patch(struct change *c, json_t *old, struct err *err)
{
    if (was_used(old, c->how->image))
        event_warn(
            &c->how->sink,
            "this pod had '%s' before: the kubelet may hold the start back, for 5 minutes at "
            "most; a fresh tag or a digest is never held back",
            c->how->image);
    if (!c->how->dry_run && prove_image(c, err) < 0)
        return -1;
    c->since = sys_clock_mono();
    if (sidecar_patch(c->k, &c->pod, &c->before, c->how->image, c->record, c->how->dry_run, err) ==
        0)
        return 0;
    if (!kube_status(c->k)->unsure)
        return -1;
    err_hint(err, "whether it was done is unknown: the same command again finds out and goes on");
    if (err)
        err->code = ERR_HALFWAY;
    return -1;
}

static void say_result(const struct change *c, const char *from, struct sidecar_result *ret)
{
    const char *template = sidecar_template_image(&c->pod, c->how->name);
    str_format(ret->pod, sizeof(ret->pod), "%s", c->pod.name);
    str_format(ret->from, sizeof(ret->from), "%s", from);
    str_format(ret->to, sizeof(ret->to), "%s", c->how->image);
    if (template && !str_eq(template, c->how->image))
        str_format(ret->template_image, sizeof(ret->template_image), "%s", template);
}

/* The spec has that image already. */
static int say_nothing_to_do(const struct change *c, struct sidecar_result *ret, struct err *err)
{
    const struct sidecar_container *b = &c->before;
    ret->nothing = true;
    memcpy(ret->id, b->id, sizeof(ret->id));
    memcpy(ret->image_id, b->image_id, sizeof(ret->image_id));
    ret->restarts = b->restarts;
    if (b->up && sidecar_same_image(b->running, b->wanted))
        return 0;
    return err_set(err, ERR_FAILED, "container '%s' is to have %s already, and %s%s", b->name,
                   b->wanted, b->up ? "runs " : "does not run: ", b->up ? b->running : b->why);
}

/* What is looked at before anything is changed, or before an earlier call's change is proved. */
static int look_around(struct change *c, json_t *old, struct err *err)
{
    struct sidecar_node node;
    if (!c->resumed && check_container(c, err) < 0)
        return -1;
    if (sidecar_node_look(c->k, &c->pod, &node, err) < 0 ||
        sidecar_kubelet(&node, &c->pod, &c->before, c->how, &c->restart, err) < 0)
        return -1;
    if (!c->resumed)
        return sidecar_tunnel_before(c->how, &c->pod, &node, &c->tunnel, err);
    sidecar_tunnel_read(json_object_get(old, "tunnel"), &c->tunnel);
    return 0;
}

static int run_container(struct change *c, struct sidecar_result *ret, struct err *err)
{
    cleanup_json json_t *old = sidecar_record(c->pod.object, c->how->name);
    bool held = was_used(old, c->how->image);
    c->resumed = goes_on(c, old);
    /* an earlier call may have left the pod that looked for the image */
    c->looked = str_eq(json_string_value(json_object_get(old, "to")), c->how->image);
    c->since = sys_clock_mono();
    *ret = (struct sidecar_result){0};
    say_result(c, c->resumed ? json_string_value(json_object_get(old, "from")) : c->before.wanted,
               ret);
    if (!c->resumed && str_eq(c->before.wanted, c->how->image))
        return say_nothing_to_do(c, ret, err);
    if (look_around(c, old, err) < 0)
        return -1;
    c->record = c->resumed ? json_incref(old) : new_record(c, old);
    if (!c->resumed && patch(c, old, err) < 0)
        return -1;
    return c->how->dry_run ? 0 : prove_change(c, held, ret, err);
}

/* After the proof: what did not prove itself does not get into a template. */
static int update_template(struct change *c, struct sidecar_result *ret, struct err *err)
{
    char text[700];
    nsec_t since = sys_clock_mono();
    str_format(text, sizeof(text), "Deployment %s gets %s, paused meanwhile", c->pod.deployment,
               c->how->image);
    step(c, EVENT_STEP_START, "template", text, since);
    if (sidecar_template_update(c->k, &c->pod, c->how->name, c->how->image,
                                c->how->settle ? c->how->settle : SETTLE, &ret->template_updated,
                                err) == 0) {
        step(c, ret->template_updated ? EVENT_STEP_DONE : EVENT_STEP_SKIP, "template",
             "the pod was not made anew", since);
        ret->template_image[0] = '\0';
        return 0;
    }
    step(c, EVENT_STEP_FAIL, "template", err ? err->msg : "", since);
    err_ctx(err, "'%s' runs %s in pod '%s'; the Deployment's template", c->how->name, c->how->image,
            c->pod.name);
    err_hint(err, "changeover sidecar status; the same command goes on with the template alone");
    if (err)
        err->code = ERR_HALFWAY;
    return -1;
}

static int run(struct change *c, struct sidecar_result *ret, struct err *err)
{
    bool template = c->how->update_template;
    if (template && sidecar_template_ready(c->k, &c->pod, c->how->name, c->how->image, err) < 0)
        return -1;
    if (run_container(c, ret, err) < 0)
        return -1;
    return template && !c->how->dry_run ? update_template(c, ret, err) : 0;
}

int sidecar_upgrade(struct kube *k, const struct sidecar_target *t,
                    const struct sidecar_change *how, struct sidecar_result *ret, struct err *err)
{
    cleanup(change_done) struct change c = {.k = k, .how = how};
    if (sidecar_look(k, t, &c.pod, err) < 0 ||
        sidecar_find(c.pod.object, how->name, &c.before, err) < 0)
        return -1;
    return run(&c, ret, err);
}

int sidecar_rollback(struct kube *k, const struct sidecar_target *t,
                     const struct sidecar_change *how, struct sidecar_result *ret, struct err *err)
{
    cleanup(change_done) struct change c = {.k = k};
    struct sidecar_change back = *how;
    if (sidecar_look(k, t, &c.pod, err) < 0 ||
        sidecar_find(c.pod.object, how->name, &c.before, err) < 0)
        return -1;
    cleanup_json json_t *record = sidecar_record(c.pod.object, how->name);
    back.image = json_string_value(json_object_get(record, "from"));
    c.how = &back;
    if (back.image)
        return run(&c, ret, err);
    err_set(err, ERR_NOT_FOUND, "pod '%s' has no record of an earlier image of '%s'", c.pod.name,
            how->name);
    return err_hint(err, "changeover sidecar upgrade %s --image IMAGE", how->name);
}
