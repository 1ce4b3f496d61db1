/* What only reads: version, discovery, objects, lists, logs. */
#include "format/json.h"
#include "net/kube_internal.h"

#include <stdlib.h>
#include <string.h>

#define PAGE 250
#define LIST_TRIES 3
#define LOG_MAX ((size_t)256 << 10)

/* --- version and discovery ------------------------------------------------------------------- */

bool kube_version_parse(const char *text, struct kube_version *ret)
{
    struct kube_version v = {0};
    int n = 0;
    if (sscanf(text, "v%4d.%4d.%n", &v.major, &v.minor, &n) < 2 || !n || v.major < 1 || v.minor < 0)
        return false;
    str_format(v.text, sizeof(v.text), "%s", text);
    *ret = v;
    return true;
}

int kube_version(struct kube *k, struct kube_version *ret, struct err *err)
{
    struct kube_request rq = {.what = "ask for the version", .path = "/version"};
    cleanup_json json_t *j = NULL;
    if (kube_ask(k, &rq, &j, err) < 0)
        return -1;
    const char *text = json_string_value(json_at(j, "gitVersion"));
    if (text && kube_version_parse(text, ret))
        return 0;
    return err_set(err, ERR_FAILED, "%s/version: '%.60s' is no version of Kubernetes",
                   k->cfg.server, text ? text : "");
}

/* The resources of an API, from the server at most once; borrowed. NULL without error: it has no
 * such API. */
static int resources(struct kube *k, const char *api, const json_t **ret, struct err *err)
{
    json_t *known = json_object_get(k->kinds, api);
    if (known) {
        *ret = known;
        return 0;
    }
    cleanup_json json_t *j = NULL;
    cleanup_free char *path = x_asprintf("%s/%s", strchr(api, '/') ? "/apis" : "/api", api);
    cleanup_free char *what = x_asprintf("discover '%s'", api);
    struct kube_request rq = {.what = what, .path = path};
    struct err why = {0};
    *ret = NULL;
    if (!*api || strpbrk(api, " ?#%") || strstr(api, ".."))
        return err_set(err, ERR_USAGE, "'%.100s' is no apiVersion", api);
    if (kube_ask(k, &rq, &j, &why) < 0) {
        if (why.code == ERR_NOT_FOUND)
            return 0;
        if (err)
            *err = why;
        return -1;
    }
    json_t *list = json_at(j, "resources");
    if (!str_eq(json_string_value(json_at(j, "kind")), "APIResourceList") || !json_is_array(list))
        return err_set(err, ERR_FAILED, "%s: the answer is no APIResourceList", what);
    json_object_set(k->kinds, api, list);
    *ret = list;
    return 0;
}

int kube_serves(struct kube *k, const struct kube_kind *kind, bool *ret, struct err *err)
{
    const json_t *list;
    size_t i;
    json_t *item;
    if (resources(k, kind->api, &list, err) < 0)
        return -1;
    *ret = false;
    json_array_foreach(list, i, item) *ret =
        *ret || str_eq(json_string_value(json_object_get(item, "name")), kind->plural);
    return 0;
}

int kube_kind_find(struct kube *k, const char *api, const char *kind, struct kube_kind *ret,
                   struct err *err)
{
    const json_t *list;
    size_t i;
    json_t *item;
    if (resources(k, api, &list, err) < 0)
        return -1;
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *is = json_string_value(json_object_get(item, "kind"));
        if (!name || strchr(name, '/') || !str_eq(is, kind))
            continue;
        *ret = (struct kube_kind){
            .api = json_object_iter_key(json_object_iter_at(k->kinds, api)),
            .plural = name,
            .kind = is,
            .cluster = !json_is_true(json_object_get(item, "namespaced")),
        };
        return 0;
    }
    return err_set(err, ERR_NOT_FOUND, "%s has no kind '%.100s' in '%.100s'", k->cfg.server, kind,
                   api);
}

/* --- objects --------------------------------------------------------------------------------- */

int kube_get(struct kube *k, const struct kube_ref *ref, json_t **ret, struct err *err)
{
    cleanup_free char *what = kube_words(k, "get", ref);
    cleanup_str struct str path = {0};
    cleanup_json json_t *j = NULL;
    if (kube_path(k, ref, NULL, &path, err) < 0)
        return -1;
    struct kube_request rq = {.what = what, .path = str_cstr(&path)};
    if (kube_ask(k, &rq, &j, err) < 0 || kube_kind_check(what, j, ref->kind, false, err) < 0)
        return -1;
    const char *name = json_string_value(json_at(j, "metadata.name"));
    if (!str_eq(name, ref->name))
        return err_set(err, ERR_FAILED, "%s: the answer is about '%.260s'", what, name ? name : "");
    *ret = TAKE(j);
    return 0;
}

/* A page's objects do not say what they are; the list does. */
static int take_page(json_t *page, const char *what, const struct kube_ref *ref, json_t *items,
                     struct err *err)
{
    json_t *list = json_at(page, "items"), *item;
    size_t i;
    if (kube_kind_check(what, page, ref->kind, true, err) < 0)
        return -1;
    if (!json_is_array(list) && !json_is_null(list))
        return err_set(err, ERR_FAILED, "%s: the answer has no items", what);
    json_array_foreach(list, i, item)
    {
        if (!json_is_object(item))
            return err_set(err, ERR_FAILED, "%s: an item is no object", what);
        json_object_set_new(item, "kind", json_string(ref->kind->kind));
        json_object_set_new(item, "apiVersion", json_string(ref->kind->api));
        json_array_append(items, item);
    }
    return 0;
}

/* -1 with k->status.code 410: the server has forgotten where we were. */
static int read_pages(struct kube *k, const struct kube_ref *ref, const struct kube_select *sel,
                      const char *what, json_t *items, char version[64], struct err *err)
{
    char limit[16];
    cleanup_free char *more = NULL;
    size_t total = 0;
    str_format(limit, sizeof(limit), "%d", sel && sel->page > 0 ? sel->page : PAGE);
    do {
        cleanup_str struct str path = {0};
        cleanup_json json_t *page = NULL;
        const struct kube_ref all = {ref->kind, ref->ns, NULL};
        if (kube_path(k, &all, NULL, &path, err) < 0)
            return -1;
        kube_query(&path, "limit", limit);
        kube_query_select(&path, ref, sel);
        kube_query(&path, "continue", more);
        struct kube_request rq = {.what = what, .path = str_cstr(&path)};
        if (kube_ask(k, &rq, &page, err) < 0 || take_page(page, what, ref, items, err) < 0)
            return -1;
        total += k->received + 256;
        const char *next = json_string_value(json_at(page, "metadata.continue"));
        const char *now = json_string_value(json_at(page, "metadata.resourceVersion"));
        if (total > KUBE_LIST_MAX || (next && str_eq(next, more)))
            return err_set(err, ERR_FAILED, "%s: %zu bytes and no end; name a narrower selector",
                           what, total);
        free(more);
        more = next && *next ? x_strdup(next) : NULL;
        str_format(version, 64, "%s", now ? now : "");
    } while (more);
    return 0;
}

int kube_list(struct kube *k, const struct kube_ref *ref, const struct kube_select *sel,
              json_t **ret, char version[64], struct err *err)
{
    cleanup_free char *what = kube_words(k, "list", ref);
    char as_of[64];
    for (int tries = 1;; tries++) {
        cleanup_json json_t *items = json_array();
        int r = read_pages(k, ref, sel, what, items, as_of, err);
        if (r < 0 && k->status.code == 410 && tries < LIST_TRIES)
            continue;
        if (r < 0)
            return -1;
        *ret = TAKE(items);
        if (version)
            memcpy(version, as_of, sizeof(as_of));
        return 0;
    }
}

/* --- logs ------------------------------------------------------------------------------------ */

static void query_number(struct str *path, const char *name, size_t value)
{
    char text[24];
    str_format(text, sizeof(text), "%zu", value);
    kube_query(path, name, value ? text : NULL);
}

int kube_log(struct kube *k, const struct kube_ref *pod, const struct kube_log *ask,
             struct str *ret, struct err *err)
{
    cleanup_free char *what = kube_words(k, "read the log of", pod);
    cleanup_str struct str path = {0};
    size_t max = ask->max ? ask->max : LOG_MAX;
    if (kube_path(k, pod, "log", &path, err) < 0)
        return -1;
    kube_query(&path, "container", ask->container);
    kube_query(&path, "previous", ask->previous ? "true" : NULL);
    query_number(&path, "tailLines", ask->tail > 0 ? (size_t)ask->tail : 0);
    query_number(&path, "sinceSeconds", ask->since_s > 0 ? (size_t)ask->since_s : 0);
    query_number(&path, "limitBytes", max);
    struct kube_request rq = {.what = what, .path = str_cstr(&path), .max = max, .text = true};
    return kube_ask_text(k, &rq, ret, err);
}
