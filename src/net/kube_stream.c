/* A watch's bytes as lines, and a line as an event. Pure. */
#include "format/json.h"
#include "net/kube_internal.h"

#include <string.h>

/* a buffer that a long line has blown up further is given back */
#define KEEP ((size_t)256 << 10)

void kube_stream_done(struct kube_stream *s)
{
    str_done(&s->rest);
}

int kube_stream_feed(struct kube_stream *s, const char *bytes, size_t n, kube_line_fn *fn,
                     void *ctx)
{
    s->rest.max = KUBE_EVENT_MAX + 1;
    while (n) {
        const char *eol = memchr(bytes, '\n', n);
        size_t len = eol ? (size_t)(eol - bytes) : n;
        if (s->rest.len + len > KUBE_EVENT_MAX)
            return -1;
        if (!eol || s->rest.len)
            str_add_n(&s->rest, bytes, len);
        if (!eol)
            return 0;
        const char *line = s->rest.len ? str_cstr(&s->rest) : bytes;
        size_t line_n = s->rest.len ? s->rest.len : len;
        int r = line_n ? fn(ctx, line, line_n) : 0;
        if (s->rest.cap > KEEP)
            str_done(&s->rest);
        else
            str_clear(&s->rest);
        if (r)
            return r;
        bytes += len + 1;
        n -= len + 1;
    }
    return 0;
}

int kube_line_read(const char *line, size_t n, const struct kube_kind *kind, struct kube_line *ret,
                   struct err *err)
{
    cleanup_json json_t *j = NULL;
    struct kube_line l = {0};
    if (json_read(line, n, &j, err) < 0)
        return err_ctx(err, "an event of a watch");
    const char *type = json_string_value(json_object_get(j, "type"));
    json_t *object = json_object_get(j, "object");
    if (!type || !*type || !json_is_object(object))
        return err_set(err, ERR_FAILED, "an event of a watch has no type, or no object: '%.*s'",
                       (int)(n < 80 ? n : 80), line);
    str_format(l.type, sizeof(l.type), "%s", type);
    if (str_eq(type, "ERROR")) {
        l.code = (int)json_integer_value(json_object_get(object, "code"));
    } else if (kind && kube_kind_check("an event of a watch", object, kind, false, err) < 0) {
        return -1;
    }
    const char *version = json_string_value(json_at(object, "metadata.resourceVersion"));
    str_format(l.version, sizeof(l.version), "%s", version ? version : "");
    l.object = json_incref(object);
    *ret = l;
    return 0;
}
