/* What a user of a kubeconfig has: certificate, token, a program that hands them out. */
#include "base/base64.h"
#include "net/kubeconfig_internal.h"
#include "sys/file.h"

#include <stdlib.h>
#include <string.h>

#define PEM_MAX ((size_t)1 << 20)

char *kubeconfig_path(const struct kubeconfig_file *f, const char *path)
{
    return *path == '/' ? x_strdup(path) : x_asprintf("%s/%s", f->dir, path);
}

static int pem_inline(const struct kubeconfig_entry *e, const char *key, const char *data,
                      struct str *ret, struct err *err)
{
    if (base64_decode(data, strlen(data), ret) && strlen(str_cstr(ret)) == ret->len)
        return 0;
    return kubeconfig_wrong(e->file, e->node, err, "'%s' is not base64 of a PEM text", key);
}

int kubeconfig_pem(const struct kubeconfig_entry *e, const char *key, char **ret, struct err *err)
{
    cleanup_str struct str text = {0};
    char data_key[64];
    const char *data = NULL, *file = NULL;
    str_format(data_key, sizeof(data_key), "%s-data", key);
    if (kubeconfig_text(e, data_key, &data, err) < 0 || kubeconfig_text(e, key, &file, err) < 0)
        return -1;
    if (!data && !file)
        return 0;
    if (data && pem_inline(e, data_key, data, &text, err) < 0)
        return -1;
    if (!data) {
        cleanup_free char *path = kubeconfig_path(e->file, file);
        if (sys_file_read(path, PEM_MAX, &text, err) < 0)
            return err_ctx(err, "%s: %s", e->file->path, key);
    }
    if (!strstr(str_cstr(&text), "-----BEGIN "))
        return kubeconfig_wrong(e->file, e->node, err, "'%s' holds no PEM text (-----BEGIN ...)",
                                data ? data_key : key);
    *ret = str_take(&text);
    return 0;
}

static int take_certificate(const struct kubeconfig_entry *e, struct kubeconfig *c, struct err *err)
{
    if (kubeconfig_pem(e, "client-certificate", &c->cert, err) < 0 ||
        kubeconfig_pem(e, "client-key", &c->key, err) < 0)
        return -1;
    if (!c->cert != !c->key)
        return kubeconfig_wrong(e->file, e->node, err, "client-%s without client-%s",
                                c->cert ? "certificate" : "key", c->cert ? "key" : "certificate");
    /* OpenSSL would ask the terminal for its passphrase */
    if (c->key && strstr(c->key, "ENCRYPTED"))
        return kubeconfig_wrong(e->file, e->node, err,
                                "client-key is encrypted, and nobody is asked for its passphrase");
    return 0;
}

/* `env: [{name: A, value: b}]` */
static int take_env(const struct kubeconfig_entry *exec, struct strv *ret, struct err *err)
{
    const struct yaml_pair *p = yaml_get(exec->node, "env");
    for (size_t i = 0; p && p->value->kind == YAML_LIST && i < p->value->n; i++) {
        struct kubeconfig_entry item = {exec->file, p->value->items[i]};
        const char *name = NULL, *value = NULL;
        if (kubeconfig_text(&item, "name", &name, err) < 0 ||
            kubeconfig_text(&item, "value", &value, err) < 0)
            return -1;
        if (!name || strchr(name, '='))
            return kubeconfig_wrong(exec->file, item.node, err, "this variable has no good name");
        strv_take(ret, x_asprintf("%s=%s", name, value ? value : ""));
    }
    return 0;
}

static int texts(const struct kubeconfig_entry *e, const char *key, struct strv *ret,
                 struct err *err)
{
    const struct yaml_pair *p = yaml_get(e->node, key);
    if (!p || p->value->kind == YAML_NULL)
        return 0;
    if (p->value->kind != YAML_LIST)
        return kubeconfig_wrong(e->file, p->value, err, "'%s' must be a list", key);
    for (size_t i = 0; i < p->value->n; i++) {
        const struct yaml_node *item = p->value->items[i];
        if (item->kind != YAML_SCALAR)
            return kubeconfig_wrong(e->file, item, err, "'%s' must be a list of texts", key);
        strv_add(ret, item->text);
    }
    return 0;
}

static int take_exec(const struct kubeconfig_entry *e, struct kubeconfig_exec *x, struct err *err)
{
    static const char v1[] = "client.authentication.k8s.io/v1";
    const char *command = NULL, *mode = NULL;
    if (kubeconfig_copy(e, "apiVersion", &x->api, err) < 0 ||
        kubeconfig_copy(e, "installHint", &x->hint, err) < 0 ||
        kubeconfig_text(e, "command", &command, err) < 0 ||
        kubeconfig_text(e, "interactiveMode", &mode, err) < 0 ||
        kubeconfig_bool(e, "provideClusterInfo", &x->provide_cluster, err) < 0)
        return -1;
    if (!command)
        return kubeconfig_wrong(e->file, e->node, err, "exec: the command is missing");
    if (!x->api || (!str_eq(x->api, v1) && !str_eq(x->api, "client.authentication.k8s.io/v1beta1")))
        return kubeconfig_wrong(e->file, e->node, err,
                                "exec: apiVersion must be %s, it is '%.100s'", v1,
                                x->api ? x->api : "");
    if (str_eq(mode, "Always"))
        return kubeconfig_wrong(e->file, e->node, err,
                                "exec: '%.200s' wants a terminal (interactiveMode: Always), and "
                                "nobody is asked here",
                                command);
    strv_take(&x->argv,
              strchr(command, '/') ? kubeconfig_path(e->file, command) : x_strdup(command));
    return texts(e, "args", &x->argv, err) < 0 ? -1 : take_env(e, &x->env, err);
}

/* Ways to be somebody that we would otherwise leave out, and then be somebody else. */
static int refuse_others(const struct kubeconfig_entry *e, struct err *err)
{
    static const char *const others[] = {"username", "password", "auth-provider", "as-user-extra"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        const struct yaml_pair *p = yaml_get(e->node, others[i]);
        if (p && p->value->kind != YAML_NULL && (p->value->kind != YAML_SCALAR || *p->value->text))
            return kubeconfig_wrong(e->file, p->value, err,
                                    "'%s' is not taken; use a certificate, a token or exec",
                                    others[i]);
    }
    return 0;
}

int kubeconfig_user(const struct kubeconfig_entry *e, struct kubeconfig *c, struct err *err)
{
    const struct yaml_pair *exec = yaml_get(e->node, "exec");
    const char *file = NULL;
    if (refuse_others(e, err) < 0 || take_certificate(e, c, err) < 0 ||
        kubeconfig_copy(e, "token", &c->token, err) < 0 ||
        kubeconfig_text(e, "tokenFile", &file, err) < 0 ||
        kubeconfig_copy(e, "as", &c->as, err) < 0 ||
        kubeconfig_copy(e, "as-uid", &c->as_uid, err) < 0 ||
        texts(e, "as-groups", &c->as_groups, err) < 0)
        return -1;
    if (file)
        c->token_file = kubeconfig_path(e->file, file);
    for (size_t i = 0; i < c->as_groups.n; i++)
        if (!kubeconfig_clean(c->as_groups.v[i]))
            return kubeconfig_wrong(e->file, e->node, err, "'as-groups' has a control character");
    if (!exec || exec->value->kind == YAML_NULL)
        return 0;
    struct kubeconfig_entry x = {e->file, exec->value};
    if (exec->value->kind != YAML_MAP)
        return kubeconfig_wrong(e->file, exec->value, err, "'exec' must be a map");
    return take_exec(&x, &c->exec, err);
}
