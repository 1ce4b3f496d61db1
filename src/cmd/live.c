#include "cmd/live.h"

#include "driver/ask.h"
#include "driver/owner.h"
#include "driver/storage/ops.h"
#include "engine/gate.h"

#include <string.h>

static const struct spec_gate *version_gate(const struct spec *s)
{
    for (size_t i = 0; i < s->gate.n; i++)
        if (s->gate.gates[i].kind == GATE_VERSION)
            return &s->gate.gates[i];
    return NULL;
}

int live_version(struct session *s, enum colour c, const char *given, char ret[64], struct err *err)
{
    ret[0] = '\0';
    const struct spec_gate *g = version_gate(s->side[c]);
    if (given || !g) {
        str_format(ret, 64, "%s", given ? given : "");
        return 0;
    }
    struct query q = {.ask = query_of_spec(&g->query), .timeout = g->timeout};
    const char *port = g->query.port ? g->query.port : s->side[c]->traffic.port;
    query_local(&q, spec_port_number(s->side[c], port));
    int r = query_run(&q, 1, NULL, NULL, err);
    if (r == 0 && !q.found) {
        err_set(err, ERR_FAILED, "%s does not say its version: %s", colour_name(c), q.why);
        err_hint(err, "is it running, on %s's ports? then: --version VERSION", colour_name(c));
        r = -1;
    }
    if (r == 0)
        str_format(ret, 64, "%s", str_cstr(&q.value));
    query_done(&q, 1);
    return r;
}

int live_choose(struct session *s, const char *text, enum colour *ret, struct err *err)
{
    struct traffic_facts f = {.flag = COLOUR_NONE};
    enum colour c = text ? colour_parse(text) : COLOUR_NONE;
    if (text && c == COLOUR_NONE)
        return err_set(err, ERR_USAGE, "--live takes green or blue, not '%s'", text);
    if (s->engine.traffic &&
        s->engine.traffic->inspect(&s->engine.ctx, TRAFFIC_PATIENT, &f, err) < 0)
        return -1;
    *ret = c != COLOUR_NONE ? c : f.flag != COLOUR_NONE ? f.flag : GREEN;
    if (f.flag == COLOUR_NONE || f.flag == *ret)
        return 0;
    err_set(err, ERR_FAILED, "%s that the traffic goes to %s, not to %s: nothing was changed",
            f.source, colour_name(f.flag), colour_name(*ret));
    return err_hint(err, "--live %s; or flip first, by the README in '%s'", colour_name(f.flag),
                    s->side[GREEN]->traffic.flag_dir);
}

static int mark_all(struct session *s, enum colour c, bool on, struct err *err)
{
    const struct spec *spec = s->side[c], *other = s->side[colour_other(c)];
    for (size_t i = 0; i < spec->volumes_n; i++) {
        const struct spec_volume *v = &spec->volumes[i], *o = spec_volume(other, v->name);
        const struct storage_ops *ops = storage_find(v, o ? o : v, err);
        if (!ops || ops->mark(&s->engine.ctx, v, c, on, err) < 0)
            return err_ctx(err, "volume %s", v->name);
        event_note(&s->out,
                   on ? "marked %s as the data of %s (.changeover)" : "took the mark off %s (%s)",
                   v->path, colour_name(c));
    }
    return 0;
}

int live_unmark(struct session *s, enum colour c, struct err *err)
{
    return mark_all(s, c, false, err);
}

int live_settle_in(struct session *s, enum colour c, const char *version, struct err *err)
{
    if (mark_all(s, c, true, err) < 0 || session_store(s, c, version, err) < 0)
        return -1;
    if (s->engine.traffic && (s->engine.traffic->point(&s->engine.ctx, c, err) < 0 ||
                              s->engine.traffic->readme(&s->engine.ctx, "steady", err) < 0))
        return -1;
    if (owner_write(s->side[c]->traffic.flag_dir, s->service_dir, err) < 0 ||
        journal_live_set(s->j, c, err) < 0)
        return -1;
    s->live = c;
    return 0;
}

int live_gate(struct session *s, enum colour c, struct err *err)
{
    struct instance_facts other = {0};
    if (s->engine.runtime->inspect(&s->engine.ctx, colour_other(c), &other, err) < 0)
        return -1;
    const char *version = s->has_gen[c] && *s->gen[c].version ? s->gen[c].version : NULL;
    struct gate_request rq = {
        .colour = c,
        .reference = other.state == INSTANCE_RUNNING ? colour_other(c) : COLOUR_NONE,
        .target_version = version,
        .what = "waiting at the gate",
    };
    return gate_wait(&s->engine.ctx, &rq, err);
}
