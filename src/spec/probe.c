/* The section `probe`: what must hold in it, and its defaults that depend on other keys. */
#include "spec/loader.h"

#include <inttypes.h>
#include <string.h>

#define REQUESTS_LEAST 100 /* of a baseline: with fewer, a single slow one is its p99 */

static bool given(const struct yaml_node *map, const char *key)
{
    return map && map->kind == YAML_MAP && yaml_get(map, key);
}

/* A site that says how to reach it here without TLS: ":8080" or "http://...", else NULL. */
static const char *plain_site(struct loader *l)
{
    const struct spec_traffic *t = &l->spec->traffic;
    const char *site = t->sites.n ? t->sites.v[0] : "";
    bool tls = t->tls_internal || t->tls_cert || str_starts(site, ":443");
    bool named = str_starts(site, "http://");
    const char *rest = named ? site + strlen("http://") : site;
    if (str_eq(t->driver, "none") || *rest == '*' || (!named && (*rest != ':' || tls)))
        return NULL;
    return arena_printf(l->arena, "http://%s%.*s/", *rest == ':' ? "127.0.0.1" : "",
                        (int)strcspn(rest, "/"), rest);
}

static void url_rules(struct loader *l, struct spec_probe *p)
{
    struct yaml_mark at = loader_mark(l, "probe.url");
    bool was_given = p->url != NULL;
    if (!was_given)
        p->url = plain_site(l);
    if (!p->url)
        loader_wrong(l, at,
                     "key 'probe.url' is missing, and the site does not say how to reach it from "
                     "here; write for example `url: https://rpc.example.org/`");
    else if (!str_starts(p->url, "http://") && !str_starts(p->url, "https://"))
        loader_wrong(l, at,
                     "probe.url: '%.100s' is no http:// or https:// address; write for example "
                     "`url: http://127.0.0.1:8080/`",
                     p->url);
    if (!p->websockets)
        return;
    if (!p->ws_url && p->url && str_starts(p->url, "http"))
        p->ws_url = arena_printf(l->arena, "ws%s", p->url + strlen("http"));
    if (p->ws_url && !str_starts(p->ws_url, "ws://") && !str_starts(p->ws_url, "wss://"))
        loader_wrong(l, loader_mark(l, "probe.ws_url"),
                     "probe.ws_url: '%.100s' is no ws:// or wss:// address; write for example "
                     "`ws_url: ws://127.0.0.1:8080/`",
                     p->ws_url);
}

/* What is compared has to be comparable: enough requests, and as long after the flip as before. */
static void baseline_rules(struct loader *l, const struct spec_probe *p)
{
    char words[32], baseline[32];
    struct yaml_mark at = loader_mark(l, "probe.baseline");
    int64_t requests = p->baseline / NSEC_MS * p->rate / 1000;
    clock_words(baseline, sizeof(baseline), p->baseline);
    if (requests < REQUESTS_LEAST)
        loader_wrong(l, at,
                     "probe.baseline: %s at %d a second is %" PRId64
                     " requests, and the p99 of so few is the slowest one; write a longer "
                     "`baseline` or a higher `rate`, for %d at least",
                     baseline, p->rate, requests, REQUESTS_LEAST);
    if (l->spec->bake < p->baseline)
        loader_wrong(l, loader_mark(l, "bake"),
                     "bake: %s is shorter than probe.baseline (%s), so that the new colour would "
                     "be judged by less than the old one; write `bake:` as long, or a shorter "
                     "`baseline`",
                     clock_words(words, sizeof(words), l->spec->bake), baseline);
}

static bool listed(const struct strv *list, const char *text)
{
    for (size_t i = 0; i < list->n; i++)
        if (str_eq(list->v[i], text))
            return true;
    return false;
}

static void add_log(struct loader *l, struct strv *list, const struct yaml_node *node)
{
    const char *shown = "probe.executed";
    for (int c = GREEN; c < COLOURS && node->kind == YAML_SCALAR; c++) {
        const char *path = loader_expand(l, (enum colour)c, node->mark, shown, node->text);
        if (path && path[0] != '/')
            loader_wrong(l, node->mark,
                         "probe.executed: '%.100s' is no absolute path; write for example "
                         "`executed: [\"/var/log/node/${colour}-requests.log\"]`",
                         node->text);
        else if (path && !listed(list, path))
            loader_strv_add(l, list, path);
    }
}

/* A request may be executed by the one and by the other: both colours' logs, whoever's spec it is.
 */
static void executed_rules(struct loader *l, struct spec_probe *p, const struct yaml_node *section)
{
    const struct yaml_pair *key = yaml_get(section, "executed");
    struct strv both = {0};
    if (!key || !p->executed.n)
        return;
    if (key->value->kind == YAML_LIST)
        for (size_t i = 0; i < key->value->n; i++)
            add_log(l, &both, key->value->items[i]);
    else
        add_log(l, &both, key->value);
    p->executed = both;
}

void loader_probe_rules(struct loader *l)
{
    struct spec_probe *p = &l->spec->probe;
    const struct yaml_pair *section = yaml_get(l->root, "probe");
    p->on = section != NULL;
    if (!p->on)
        return;
    p->limit_step_back = given(section->value, "max_step_back");
    url_rules(l, p);
    baseline_rules(l, p);
    executed_rules(l, p, section->value);
    for (size_t i = 0; i < p->headers.n; i++)
        if (!strchr(p->headers.v[i], ':'))
            loader_wrong(l, loader_mark(l, "probe.headers"),
                         "probe.headers: '%.60s' is no header; write `\"NAME: VALUE\"`",
                         p->headers.v[i]);
}
