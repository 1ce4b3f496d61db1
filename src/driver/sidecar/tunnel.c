/* The tunnel that a sidecar's daemon keeps: a link of the host with its addresses and routes, as it
 * was before. A daemon that ends gracefully may take its link along, whatever its image is. */
#include "driver/sidecar/internal.h"
#include "format/json.h"
#include "sys/clock.h"
#include "sys/link.h"

#include <string.h>

#define DAEMON "doublezerod"
#define LINK "doublezero0"
#define RECORDED_MAX ((size_t)48 << 10) /* all annotations of an object together: 256 KiB */
#define STEP (200 * NSEC_MS)

void sidecar_tunnel_done(struct sidecar_tunnel *t)
{
    strv_done(&t->lines);
    t->name[0] = '\0';
}

/* --- before ---------------------------------------------------------------------------------- */

/* Why the link that the pod sees cannot be looked at from here; NULL: it can. */
static const char *elsewhere(const struct sidecar_pod *p, const struct sidecar_node *n, bool asked)
{
    char here[40];
    sys_boot_id(here);
    if (!json_is_true(json_at(p->object, "spec.hostNetwork")))
        return "the pod has a network of its own (no hostNetwork)";
    if (n->known ? str_eq(n->boot_id, here) : asked)
        return NULL;
    return n->known ? "the pod's node is another host" : "there is no right to read nodes";
}

int sidecar_tunnel_before(const struct sidecar_change *how, const struct sidecar_pod *p,
                          const struct sidecar_node *n, struct sidecar_tunnel *ret, struct err *err)
{
    bool asked = how->tunnel != NULL;
    const char *name = asked ? how->tunnel : str_eq(how->name, DAEMON) ? LINK : "";
    if (!*name)
        return 0;
    if (strlen(name) >= sizeof(ret->name))
        return err_set(err, ERR_USAGE, "'%.60s' is no name of a link: 15 letters at most", name);
    const char *why = elsewhere(p, n, asked);
    if (why && asked) {
        err_set(err, ERR_USAGE, "the link '%s' of pod '%s' cannot be looked at from here: %s", name,
                p->name, why);
        return err_hint(err, "nothing was changed; run it on the pod's node, or without --tunnel");
    }
    if (why) {
        event_note(&how->sink, "%s: whether its tunnel is kept is not looked at: %s", how->name,
                   why);
        return 0;
    }
    if (asked && !n->known)
        event_warn(&how->sink,
                   "no right to read nodes: that the pod's node is this host is taken on trust");
    if (sys_link_read(name, &ret->lines, err) < 0)
        return -1;
    if (ret->lines.n) {
        str_format(ret->name, sizeof(ret->name), "%s", name);
        return 0;
    }
    if (asked)
        return err_set(err, ERR_NOT_FOUND,
                       "there is no link '%s' on this host; nothing was changed", name);
    event_note(&how->sink, "%s: there is no link '%s' that could be lost", how->name, name);
    return 0;
}

/* --- the record ------------------------------------------------------------------------------ */

json_t *sidecar_tunnel_write(const struct sidecar_tunnel *t)
{
    size_t bytes = 0;
    if (!*t->name)
        return NULL;
    json_t *lines = json_array();
    for (size_t i = 0; i < t->lines.n && bytes < RECORDED_MAX; i++) {
        bytes += strlen(t->lines.v[i]) + 3;
        json_array_append_new(lines, json_string(t->lines.v[i]));
    }
    return json_pack("{s:s, s:o}", "name", t->name, "lines", lines);
}

void sidecar_tunnel_read(json_t *written, struct sidecar_tunnel *ret)
{
    size_t i;
    json_t *line;
    sidecar_text(written, "name", ret->name, sizeof(ret->name));
    json_array_foreach(json_object_get(written, "lines"), i, line)
    {
        if (json_is_string(line))
            strv_add(&ret->lines, json_string_value(line));
    }
    if (!ret->lines.n)
        ret->name[0] = '\0';
}

/* --- after ----------------------------------------------------------------------------------- */

/* How many lines are missing; the first of them as words. */
static size_t missing(const struct sidecar_tunnel *t, const struct strv *now, struct str *words)
{
    enum { SHOWN = 4 };
    size_t n = 0;
    str_clear(words);
    if (!now->n) {
        str_add(words, "there is no such link any more");
        return t->lines.n;
    }
    for (size_t i = 0; i < t->lines.n; i++) {
        if (strv_has(now, t->lines.v[i]))
            continue;
        if (n < SHOWN)
            str_addf(words, "%s'%s'", n ? ", " : "missing: ", t->lines.v[i]);
        n++;
    }
    if (n > SHOWN)
        str_addf(words, " and %zu more", n - SHOWN);
    return n;
}

int sidecar_tunnel_wait(struct kube *k, const struct sidecar_tunnel *t, nsec_t timeout,
                        const struct sink *sink, struct err *err)
{
    const nsec_t end = sys_clock_mono() + timeout;
    cleanup_str struct str words = {0};
    for (bool said = false;; said = true) {
        cleanup_strv struct strv now = {0};
        if (sys_link_read(t->name, &now, err) < 0)
            return -1;
        size_t n = missing(t, &now, &words);
        if (!n)
            return 0;
        if (sys_clock_mono() >= end)
            return err_set(err, ERR_TIMEOUT, "the tunnel '%s' is not as before: %s", t->name,
                           str_cstr(&words));
        if (!said)
            event_note(sink, "tunnel %s: %s; waiting for it", t->name, str_cstr(&words));
        if (kube_pause(k, STEP, err) < 0)
            return -1;
    }
}
