/* Traffic drivers `service` and `ingress`: one object of Kubernetes says where requests go, and the
 * flip is one write to it. What it says is the truth; nothing of it is kept here. */
#include "driver/traffic/route.h"

#include "base/diff.h"
#include "format/json.h"
#include "plan/words.h"
#include "sys/fault.h"
#include "sys/file.h"

#include <stdlib.h>
#include <string.h>

#define WRITE_PATIENCE NSEC_MIN
#define TRIES 3 /* somebody else may write other parts of the object at the same moment */

/* --- a look ---------------------------------------------------------------------------------- */

static int poll(void *ctx)
{
    return driver_poll(ctx) >= 2;
}

int traffic_route_open(const struct driver_ctx *ctx, nsec_t patience, bool polls,
                       struct traffic_route *ret, struct err *err)
{
    const struct spec_route *s = &ctx->side[GREEN]->traffic.route;
    struct kubeconfig cfg = {0};
    const struct kubeconfig_from from = kubeconfig_environment(s->kubeconfig, s->context);
    const struct kube_options o = {.timeout = patience < 15 * NSEC_S ? patience : 0,
                                   .patience = patience,
                                   .poll = polls ? poll : NULL,
                                   .poll_ctx = (void *)(uintptr_t)ctx};
    *ret = (struct traffic_route){.ctx = ctx, .s = ctx->side[GREEN]};
    if (kubeconfig_load(&from, &cfg, err) < 0)
        return -1;
    if (s->ns) {
        free(cfg.ns);
        cfg.ns = x_strdup(s->ns);
    }
    if (kube_open(&cfg, &o, &ret->k, err) < 0)
        return -1;
    ret->name = route_name(ret->s);
    ret->ref = (struct kube_ref){route_kind(ret->s), NULL, ret->name};
    return 0;
}

static void forget(struct traffic_route *r)
{
    json_decref(r->service);
    json_decref(r->object);
    r->service = r->object = NULL;
}

void traffic_route_close(struct traffic_route *r)
{
    forget(r);
    kube_close(r->k);
    free(r->name);
    *r = (struct traffic_route){0};
}

static int get(struct traffic_route *r, const struct kube_kind *kind, const char *name,
               json_t **ret, struct err *err)
{
    struct err why = {0};
    const struct kube_ref ref = {kind, NULL, name};
    if (kube_get(r->k, &ref, ret, &why) == 0 || why.code == ERR_NOT_FOUND)
        return 0;
    if (err)
        *err = why;
    return -1;
}

/* All slices of the Service: one of somebody else's would get a part of the requests. */
static int read_slices(struct traffic_route *r, struct err *err)
{
    cleanup_json json_t *list = NULL;
    cleanup_free char *labels =
        x_asprintf("kubernetes.io/service-name=%s", r->s->traffic.route.service);
    const struct kube_ref all = {&kube_endpointslice, NULL, NULL};
    const struct kube_select by = {.labels = labels};
    const char *other = NULL;
    size_t i;
    json_t *slice;
    if (kube_list(r->k, &all, &by, &list, NULL, err) < 0)
        return -1;
    json_array_foreach(list, i, slice)
    {
        const char *name = json_string_value(json_at(slice, "metadata.name"));
        if (str_eq(name, r->name))
            r->object = json_incref(slice);
        else if (json_array_size(json_object_get(slice, "endpoints")))
            other = name;
    }
    route_see(r->ctx->side, r->service, r->object, &r->look);
    if (other && r->look.fits) {
        r->look.fits = false;
        str_format(r->look.why, sizeof(r->look.why),
                   "EndpointSlice '%.100s' gets requests of Service '%.100s', too", other,
                   r->s->traffic.route.service);
    }
    return 0;
}

int traffic_route_read(struct traffic_route *r, struct err *err)
{
    const struct spec_route *s = &r->s->traffic.route;
    enum route_form form = route_form(r->s);
    forget(r);
    if (form == ROUTE_BACKEND) {
        if (get(r, &kube_ingress, s->ingress, &r->object, err) < 0)
            return -1;
    } else if (get(r, &kube_service, s->service, &r->service, err) < 0) {
        return -1;
    }
    if (form == ROUTE_SLICE)
        return read_slices(r, err);
    if (form == ROUTE_SELECT)
        r->object = json_incref(r->service);
    route_see(r->ctx->side, r->service, r->object, &r->look);
    return 0;
}

const char *traffic_route_words(const struct traffic_route *r, char *buf, size_t size)
{
    return str_format(buf, size, "%s '%.80s/%.120s'", r->ref.kind->kind, kube_config(r->k)->ns,
                      r->name);
}

static int route_inspect(const struct driver_ctx *ctx, nsec_t within, struct traffic_facts *ret,
                         struct err *err)
{
    cleanup_traffic_route struct traffic_route r = {0};
    char who[128], words[256];
    *ret = (struct traffic_facts){.flag = COLOUR_NONE, .seen = COLOUR_NONE};
    if (traffic_route_open(ctx, within, false, &r, err) < 0 || traffic_route_read(&r, err) < 0)
        return -1;
    route_who(r.s, r.object, who, sizeof(who));
    traffic_route_words(&r, words, sizeof(words));
    if (*who)
        str_format(ret->source, sizeof(ret->source), "%.160s (changed by %s) says", words, who);
    else
        str_format(ret->source, sizeof(ret->source), "%s says", words);
    ret->reachable = true;
    ret->installed = r.look.fits && !r.look.unset;
    ret->flag = ret->seen = r.look.to;
    str_format(ret->text, sizeof(ret->text), "%s", r.look.why);
    return 0;
}

/* --- the flip -------------------------------------------------------------------------------- */

static int refuse_foreign(const struct traffic_route *r, enum colour to, struct err *err)
{
    const char *c = colour_name(to);
    if (r->look.fits && (r->look.to != COLOUR_NONE || r->look.unset))
        return 0;
    err_set(err, r->look.fits ? ERR_FOREIGN : ERR_FAILED, "%s: nothing was changed", r->look.why);
    return r->look.fits
               ? err_hint(err, "find out who; then changeover traffic install --live %s", c)
               : err_hint(err, "changeover traffic render shows what is needed, for kubectl apply");
}

static int ready_pods(struct traffic_route *r, const struct spec *side, size_t *ret,
                      struct err *err)
{
    cleanup_json json_t *pods = NULL;
    cleanup_str struct str labels = {0};
    const struct kube_ref all = {&kube_pod, NULL, NULL};
    size_t i, j;
    json_t *pod, *condition;
    route_selector(r->service, side, &labels);
    const struct kube_select by = {.labels = str_cstr(&labels)};
    *ret = 0;
    if (kube_list(r->k, &all, &by, &pods, NULL, err) < 0)
        return -1;
    json_array_foreach(pods, i, pod)
    {
        json_array_foreach(json_at(pod, "status.conditions"), j, condition)
        {
            *ret += str_eq(json_string_value(json_object_get(condition, "type")), "Ready") &&
                    str_eq(json_string_value(json_object_get(condition, "status")), "True");
        }
    }
    return 0;
}

/* Somebody must be there to answer: an adopted Deployment's pods have no label of a colour, and an
 * Ingress may name a Service that nobody made. */
static int refuse_nobody(struct traffic_route *r, enum colour to, struct err *err)
{
    const struct spec *side = r->ctx->side[to];
    const char *backend = side->traffic.route.backend;
    enum route_form form = route_form(r->s);
    size_t now = 0, then = 0;
    cleanup_json json_t *service = NULL;
    if (form == ROUTE_BACKEND) {
        if (get(r, &kube_service, backend, &service, err) < 0)
            return -1;
        if (service)
            return 0;
        err_set(err, ERR_NOT_FOUND, "there is no Service '%s' to send %s's requests to", backend,
                colour_name(to));
        return err_hint(err, "changeover traffic render shows one, for kubectl apply");
    }
    if (form != ROUTE_SELECT)
        return 0;
    if (ready_pods(r, NULL, &now, err) < 0 || ready_pods(r, side, &then, err) < 0)
        return -1;
    if (then || !now)
        return 0;
    err_set(err, ERR_FAILED,
            "no ready pod has the labels of %s: Service '%s' would send requests to nobody; "
            "nothing was changed",
            colour_name(to), r->s->traffic.route.service);
    return err_hint(err, "a Deployment that was adopted has no label of a colour: write `by: "
                         "endpoints`, with a Service without a selector");
}

static int put(struct traffic_route *r, enum colour to, bool force, bool dry, json_t **ret,
               struct err *err)
{
    const struct spec *side = r->ctx->side[to];
    cleanup_json json_t *change = NULL;
    char words[256];
    traffic_route_words(r, words, sizeof(words));
    if (route_form(r->s) == ROUTE_SLICE) {
        const struct kube_apply how = {.force = force, .dry_run = dry};
        return route_slice(side, r->service, &change, err) < 0 ||
                       kube_apply(r->k, &r->ref, change, &how, ret, err) < 0
                   ? err_ctx(err, "point %s to %s", words, colour_name(to))
                   : 0;
    }
    return route_patch(side, r->object, &change, err) < 0 ||
                   kube_patch(r->k, &r->ref, change, dry, ret, err) < 0
               ? err_ctx(err, "point %s to %s", words, colour_name(to))
               : 0;
}

/* Written, or another look says why not: an answer may be lost on its way, and a test of the patch
 * may have failed over something that is none of our business. */
static int put_surely(struct traffic_route *r, enum colour to, bool force, struct err *err)
{
    for (int try = 1;; try++) {
        enum colour was = r->look.to;
        struct err look = {0};
        if (put(r, to, force, false, NULL, err) == 0)
            return 0;
        if (traffic_route_read(r, &look) < 0)
            return -1;
        if (r->look.to == to)
            break;
        if (try == TRIES || r->look.to != was || kube_status(r->k)->code == 0)
            return -1;
    }
    err_clear(err);
    return 0;
}

static int route_point(const struct driver_ctx *ctx, enum colour to, struct err *err)
{
    cleanup_traffic_route struct traffic_route r = {0};
    if (traffic_route_open(ctx, WRITE_PATIENCE, true, &r, err) < 0 ||
        traffic_route_read(&r, err) < 0)
        return -1;
    if (r.look.fits && r.look.to == to)
        return 0;
    if (refuse_foreign(&r, to, err) < 0 || refuse_nobody(&r, to, err) < 0 ||
        put_surely(&r, to, false, err) < 0)
        return -1;
    if (sys_fault_point("flip:written") < 0)
        return err_sys(err, ERR_FAILED, "fault point 'flip:written'");
    return 0;
}

/* --- the first time -------------------------------------------------------------------------- */

static int route_render_all(const struct driver_ctx *ctx, struct str *ret, struct err *err unused)
{
    route_manifests(ctx->side, ret);
    return 0;
}

/* Somebody has read the difference and said yes: what is there is overruled. */
static int route_install(const struct driver_ctx *ctx, enum colour live, bool dry,
                         struct str *ret_diff, struct err *err)
{
    cleanup_traffic_route struct traffic_route r = {0};
    cleanup_json json_t *then = NULL;
    cleanup_str struct str before = {0}, after = {0};
    char words[256];
    if (traffic_route_open(ctx, WRITE_PATIENCE, true, &r, err) < 0 ||
        traffic_route_read(&r, err) < 0)
        return -1;
    if (r.look.fits && r.look.to == live)
        return 0;
    if (!r.look.fits)
        return refuse_foreign(&r, live, err);
    if (refuse_nobody(&r, live, err) < 0 || put(&r, live, true, true, &then, err) < 0)
        return -1;
    route_text(r.s, r.object, &before);
    route_text(r.s, then, &after);
    traffic_route_words(&r, words, sizeof(words));
    diff_unified(str_cstr(&before), str_cstr(&after), words, words, ret_diff);
    return dry ? 0 : put_surely(&r, live, true, err);
}

static int route_uninstall(const struct driver_ctx *ctx, struct err *err)
{
    char *name = route_name(ctx->side[GREEN]);
    err_set(
        err, ERR_UNSUPPORTED,
        "there is nothing to take out: %s '%s' decides where requests go, and without it nobody "
        "is served",
        route_kind(ctx->side[GREEN])->kind, name);
    free(name);
    return err_hint(err, "changeover forget; then change it with kubectl as you like");
}

/* --- what this cannot do --------------------------------------------------------------------- */

static int cannot(const struct driver_ctx *ctx, const char *what, struct err *err)
{
    err_set(err, ERR_UNSUPPORTED, "driver %s cannot %s", ctx->side[GREEN]->traffic.driver, what);
    return err_hint(err, "a Caddy of your own in front can: driver: caddy (docs/kubernetes.md)");
}

static int route_failover(const struct driver_ctx *ctx, bool on, struct err *err)
{
    return on ? cannot(ctx, "send requests to the other colour while live fails", err) : 0;
}

static int route_hold(const struct driver_ctx *ctx, enum colour c unused, enum traffic_hold to,
                      struct err *err)
{
    return to == HOLD_NONE ? 0 : cannot(ctx, "let requests wait", err);
}

static int route_give_back(const struct driver_ctx *ctx, enum colour c unused, struct err *err)
{
    return cannot(ctx, "hand requests over that wait", err);
}

static void route_loses(const struct driver_ctx *ctx, enum colour from, char *buf, size_t size)
{
    struct traffic_load l;
    struct err ignored = {0};
    char now[200] = "";
    if (traffic_direct_load(ctx, from, &l, &ignored) == 0 && l.listed)
        str_format(now, sizeof(now), " (now %d connections and %d websockets are open to it)",
                   l.foreign, l.websockets);
    cleanup_str struct str words = {.max = size - 1};
    plan_flip_loss_words(&words, ctx->side[from], from);
    str_format(buf, size, "%s%s", str_cstr(&words), now);
}

/* --- by hand, when the tool is gone ---------------------------------------------------------- */

static void add_flip(struct str *t, const struct traffic_route *r, enum colour to)
{
    const struct spec *side = r->ctx->side[to];
    cleanup_json json_t *change = NULL;
    struct err ignored = {0};
    bool slice = route_form(r->s) == ROUTE_SLICE;
    if (!r->look.fits || (slice ? route_slice(side, r->service, &change, &ignored)
                                : route_patch(side, r->object, &change, &ignored)) < 0)
        return;
    str_addf(t, "To send the traffic to %s by hand (only when %s works):\n\n    ", colour_name(to),
             colour_name(to));
    if (slice)
        str_addf(t, "kubectl -n %s apply --server-side --force-conflicts -f - <<'END'\n",
                 kube_config(r->k)->ns);
    else
        str_addf(t, "kubectl -n %s patch %s %s --type json -p '", kube_config(r->k)->ns,
                 r->ref.kind->plural, r->name);
    json_print(change, 0, t);
    str_add(t, slice ? "\nEND\n\n" : "'\n\n");
}

static int route_readme(const struct driver_ctx *ctx, const char *state_line, struct err *err)
{
    const struct spec *s = ctx->side[GREEN];
    cleanup_str struct str t = {0};
    cleanup_free char *path = traffic_flag_path(s, "README");
    cleanup_traffic_route struct traffic_route r = {0};
    char words[256];
    if (traffic_route_open(ctx, TRAFFIC_PATIENT, true, &r, err) < 0 ||
        traffic_route_read(&r, err) < 0)
        return -1;
    traffic_route_words(&r, words, sizeof(words));
    str_addf(&t, "changeover, service %s\n\n%s\n\nThe traffic goes to: %s, by %s.\n\n", s->service,
             state_line, colour_name(r.look.to), words);
    for (int c = GREEN; c < COLOURS; c++)
        if ((enum colour)c != r.look.to)
            add_flip(&t, &r, (enum colour)c);
    if (r.look.to != COLOUR_NONE) {
        const struct spec *live = ctx->side[r.look.to];
        str_addf(&t, "What %s serves from, and must not be destroyed:\n", colour_name(r.look.to));
        for (size_t i = 0; i < live->volumes_n; i++)
            str_addf(&t, "    %s\n", live->volumes[i].path);
        str_add_c(&t, '\n');
    }
    str_addf(&t, "After a flip by hand: `changeover adopt --live COLOUR`. Before anything else: "
                 "`changeover status`.\nRewritten by changeover at each step.\n");
    if (sys_dir_make(s->traffic.flag_dir, 0755, err) < 0)
        return -1;
    return sys_file_write_atomic(path, str_cstr(&t), t.len, 0644, err);
}

#define OPERATIONS                                                                                 \
    .loses = route_loses, .inspect = route_inspect, .render = route_render_all,                    \
    .install = route_install, .uninstall = route_uninstall, .point = route_point,                  \
    .preview = traffic_route_preview, .verify = traffic_route_verify, .load = traffic_direct_load, \
    .loads = traffic_direct_loads, .readme = route_readme, .failover = route_failover,             \
    .hold = route_hold, .give_back = route_give_back

const struct traffic_ops traffic_service = {.name = "service", OPERATIONS};
const struct traffic_ops traffic_ingress = {.name = "ingress", OPERATIONS};
