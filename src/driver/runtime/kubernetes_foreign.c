/* Has somebody else changed a colour's Deployment since we did? */
#include "driver/runtime/kubernetes.h"
#include "format/json.h"
#include "translate/deployment.h"

#include <string.h>

static const char *image_of(const struct kubernetes *u, json_t *deployment)
{
    json_t *c = deployment_container(json_at(deployment, "spec.template.spec"),
                                     u->spec->runtime.kubernetes.container, NULL);
    return json_string_value(json_object_get(c, "image"));
}

int kubernetes_record_seen(struct kubernetes *u, json_t *deployment, struct err *err)
{
    const char *uid = json_string_value(json_at(deployment, "metadata.uid")),
               *image = image_of(u, deployment);
    str_format(u->rec.uid, sizeof(u->rec.uid), "%s", uid ? uid : "");
    str_format(u->rec.name, sizeof(u->rec.name), "%s", u->name);
    str_format(u->rec.image, sizeof(u->rec.image), "%s", image ? image : "");
    u->rec.generation = json_integer_value(json_at(deployment, "metadata.generation"));
    return kubernetes_record_write(u, err);
}

/* Who wrote the spec last, by the server's books; our own writes are not counted. */
static const char *who(json_t *deployment, char *buf, size_t size)
{
    const char *newest = "";
    size_t i;
    json_t *m;
    buf[0] = '\0';
    json_array_foreach(json_at(deployment, "metadata.managedFields"), i, m)
    {
        const char *name = json_string_value(json_object_get(m, "manager")),
                   *at = json_string_value(json_object_get(m, "time")),
                   *sub = json_string_value(json_object_get(m, "subresource"));
        bool spec = json_object_get(json_object_get(m, "fieldsV1"), "f:spec");
        if (!name || !at || !spec || str_eq(sub, "status") || strcmp(at, newest) < 0)
            continue;
        newest = at;
        str_format(buf, size, "%s at %s", name, at);
    }
    return buf;
}

static void what(const struct kubernetes *u, json_t *now, struct str *ret)
{
    const char *image = image_of(u, now);
    if (!str_eq(json_string_value(json_at(now, "metadata.uid")), u->rec.uid))
        str_addf(ret, "it is another object of the same name");
    else if (!str_eq(image, u->rec.image))
        str_addf(ret, "its image is '%s', it was '%s'", image ? image : "", u->rec.image);
    else if (kubernetes_replicas(now) != !u->rec.stopped)
        str_addf(ret, "it has %d replicas", kubernetes_replicas(now));
    else
        str_addf(ret, "its generation is %lld, it was %lld",
                 (long long)json_integer_value(json_at(now, "metadata.generation")),
                 (long long)u->rec.generation);
}

int kubernetes_unchanged(const struct driver_ctx *ctx, enum colour c, struct err *err)
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *now = NULL;
    cleanup_str struct str words = {.max = 1000};
    char by[300];
    struct err why = {0};
    if (kubernetes_open(ctx, c, KUBERNETES_PATIENCE, &u, err) < 0)
        return -1;
    if (!*u.rec.uid)
        return 0;
    if (kubernetes_deployment(&u, &now, &why) < 0 && why.code != ERR_FOREIGN) {
        if (err)
            *err = why;
        return -1;
    }
    if (!now) {
        err_set(err, ERR_FOREIGN,
                "Deployment '%s' of %s is gone, or another has its name: "
                "somebody else is at work",
                u.name, colour_name(c));
        return err_hint(err, "find out who; then changeover rollback");
    }
    bool one = str_eq(json_string_value(json_at(now, "metadata.uid")), u.rec.uid);
    bool same = one && json_integer_value(json_at(now, "metadata.generation")) == u.rec.generation;
    /* a run of ours that was killed between its change and its record, or `sidecar upgrade` */
    bool ours = str_starts(who(now, by, sizeof(by)), "changeover at ") && one;
    if (same || ours)
        return 0;
    what(&u, now, &words);
    err_set(err, ERR_FOREIGN, "Deployment '%s' of %s was changed by %s: %s", u.name, colour_name(c),
            *by ? by : "somebody", str_cstr(&words));
    return err_hint(err, "make sure that they are done; then changeover rollback");
}

int kubernetes_settle(const struct driver_ctx *ctx, enum colour c, struct err *err)
{
    cleanup_kubernetes struct kubernetes u = {0};
    cleanup_json json_t *now = NULL;
    if (kubernetes_open(ctx, c, KUBERNETES_PATIENCE, &u, err) < 0 ||
        kubernetes_deployment(&u, &now, err) < 0)
        return -1;
    return now ? kubernetes_record_seen(&u, now, err) : 0;
}
