/* What the server answers when it does not do what it was asked, as words for people. */
#include "format/json.h"
#include "net/kube_internal.h"

#include <ctype.h>
#include <string.h>

static void take_text(char *buf, size_t size, const json_t *text)
{
    const char *s = json_string_value(text);
    str_format(buf, size, "%.*s", (int)(s ? strcspn(s, "\r\n") : 0), s ? s : "");
}

static void take_causes(struct kube_status *ret, const json_t *causes)
{
    cleanup_str struct str out = {.max = sizeof(ret->causes) - 1};
    size_t i;
    json_t *cause;
    json_array_foreach(causes, i, cause)
    {
        char field[200], message[400];
        take_text(field, sizeof(field), json_object_get(cause, "field"));
        take_text(message, sizeof(message), json_object_get(cause, "message"));
        str_addf(&out, "%s%s%s%s", out.len ? "; " : "", field, *field && *message ? ": " : "",
                 message);
    }
    str_format(ret->causes, sizeof(ret->causes), "%s", str_cstr(&out));
}

void kube_status_read(const json_t *status, struct kube_status *ret)
{
    take_text(ret->reason, sizeof(ret->reason), json_object_get(status, "reason"));
    take_text(ret->message, sizeof(ret->message), json_object_get(status, "message"));
    take_causes(ret, json_object_get(json_object_get(status, "details"), "causes"));
    const json_t *code = json_object_get(status, "code");
    if (json_is_integer(code))
        ret->code = (int)json_integer_value(code);
}

static enum err_code code_of(const struct kube_status *st)
{
    if (st->code == 404)
        return ERR_NOT_FOUND;
    if (st->code == 409 && str_eq(st->reason, "AlreadyExists"))
        return ERR_EXISTS;
    return st->code == 504 || st->code == 408 ? ERR_TIMEOUT : ERR_FAILED;
}

int kube_status_error(const struct kube_status *st, const char *what, struct err *err)
{
    /* the message repeats its causes when there is one, and not when there are many */
    bool more = *st->causes && !strstr(st->message, st->causes) && strchr(st->causes, ';');
    err_set(err, code_of(st), "%s: the API server answered %d%s%s: %s%s%s%s", what, st->code,
            *st->reason ? " " : "", st->reason, *st->message ? st->message : "(no words)",
            more ? " (" : "", more ? st->causes : "", more ? ")" : "");
    if (st->code == 401)
        return err_hint(err, "the credentials of this context are not taken any more; renew them");
    if (st->code == 403)
        return err_hint(err, "give this user or service account that right (RBAC)");
    return -1;
}

/* How an answer that is no JSON begins, on one line. */
static const char *beginning(const char *body, size_t n, char *buf, size_t size)
{
    size_t out = 0;
    for (size_t i = 0; i < n && out + 1 < size && i < 400; i++) {
        bool blank = isspace((unsigned char)body[i]);
        if (blank && (!out || buf[out - 1] == ' '))
            continue;
        buf[out++] = blank ? ' ' : isprint((unsigned char)body[i]) ? body[i] : '?';
    }
    buf[out] = '\0';
    return buf;
}

int kube_refused(struct kube *k, const char *what, int code, const char *body, size_t n,
                 struct err *err)
{
    cleanup_json json_t *j = NULL;
    char begin[120];
    bool unsure = k->status.unsure;
    k->status = (struct kube_status){.code = code, .unsure = unsure};
    if (json_read(body, n, &j, NULL) == 0 &&
        str_eq(json_string_value(json_at(j, "kind")), "Status")) {
        kube_status_read(j, &k->status);
        k->status.code = code;
        return kube_status_error(&k->status, what, err);
    }
    str_format(k->status.message, sizeof(k->status.message), "%s",
               beginning(body, n, begin, sizeof(begin)));
    err_set(err, code_of(&k->status), "%s: %s answered %d, and not as a Kubernetes API does: '%s'",
            what, k->cfg.server, code, begin);
    return err_hint(err, "is that the API server, or a proxy in front of it?");
}

int kube_json(const char *what, const char *type, const char *body, size_t n, json_t **ret,
              struct err *err)
{
    char begin[120];
    struct err why = {0};
    if (str_starts(type, "application/json")) {
        if (json_read(body, n, ret, &why) == 0)
            return 0;
        return err_set(err, ERR_FAILED, "%s: the answer is %s", what, why.msg);
    }
    err_set(err, ERR_FAILED, "%s: an answer of type '%s' and not as a Kubernetes API gives: '%s'",
            what, *type ? type : "(none)", beginning(body, n, begin, sizeof(begin)));
    return err_hint(err, "is that the API server, or a proxy in front of it?");
}

int kube_kind_check(const char *what, const json_t *object, const struct kube_kind *kind, bool list,
                    struct err *err)
{
    const char *got = json_string_value(json_object_get(object, "kind"));
    const char *api = json_string_value(json_object_get(object, "apiVersion"));
    size_t n = strlen(kind->kind);
    if (got && str_starts(got, kind->kind) && str_eq(got + n, list ? "List" : "") &&
        str_eq(api, kind->api))
        return 0;
    return err_set(err, ERR_FAILED, "%s: the answer is of kind '%.60s' (%.60s), not '%s%s' (%s)",
                   what, got ? got : "", api ? api : "", kind->kind, list ? "List" : "", kind->api);
}
