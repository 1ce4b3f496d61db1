/* Merging kubeconfig files and resolving a context; kubeconfig_user.c reads what a user has. */
#include "net/kubeconfig_internal.h"
#include "sys/file.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define FILES_MAX 64

struct merged {
    struct arena arena;
    struct kubeconfig_file files[FILES_MAX];
    size_t n;
    struct str wrong; /* what the YAML reader said of the file that is being read */
};

static void merged_done(struct merged *m)
{
    arena_done(&m->arena);
    str_done(&m->wrong);
}

void kubeconfig_done(struct kubeconfig *c)
{
    char **const texts[] = {&c->context,    &c->where,    &c->server,   &c->server_name,
                            &c->proxy,      &c->ns,       &c->ca,       &c->cert,
                            &c->key,        &c->token,    &c->as,       &c->as_uid,
                            &c->token_file, &c->exec.api, &c->exec.hint};
    if (c->key)
        explicit_bzero(c->key, strlen(c->key));
    if (c->token)
        explicit_bzero(c->token, strlen(c->token));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(TAKE(*texts[i]));
    strv_done(&c->as_groups);
    strv_done(&c->exec.argv);
    strv_done(&c->exec.env);
}

struct kubeconfig_from kubeconfig_environment(const char *path, const char *context)
{
    return (struct kubeconfig_from){
        .path = path,
        .list = getenv("KUBECONFIG"),
        .home = getenv("HOME"),
        .context = context,
        .service_host = getenv("KUBERNETES_SERVICE_HOST"),
        .service_port = getenv("KUBERNETES_SERVICE_PORT"),
    };
}

/* --- values of an entry ---------------------------------------------------------------------- */

int kubeconfig_wrong(const struct kubeconfig_file *f, const struct yaml_node *at, struct err *err,
                     const char *fmt, ...)
{
    char words[600];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(words, sizeof(words), fmt, ap);
    va_end(ap);
    return err_set(err, ERR_USAGE, "%s:%d:%d: %s", f->path, at->mark.line, at->mark.column, words);
}

int kubeconfig_text(const struct kubeconfig_entry *e, const char *key, const char **ret,
                    struct err *err)
{
    const struct yaml_pair *p = yaml_get(e->node, key);
    *ret = NULL;
    if (!p || p->value->kind == YAML_NULL)
        return 0;
    if (p->value->kind != YAML_SCALAR)
        return kubeconfig_wrong(e->file, p->value, err, "'%s' must be a text, it is %s", key,
                                yaml_kind_words(p->value));
    *ret = *p->value->text ? p->value->text : NULL;
    return 0;
}

int kubeconfig_copy(const struct kubeconfig_entry *e, const char *key, char **ret, struct err *err)
{
    const char *text = NULL;
    if (kubeconfig_text(e, key, &text, err) < 0)
        return -1;
    if (text && !kubeconfig_clean(text))
        return kubeconfig_wrong(e->file, e->node, err, "'%s' has a control character in it", key);
    free(*ret);
    *ret = text ? x_strdup(text) : NULL;
    return 0;
}

int kubeconfig_bool(const struct kubeconfig_entry *e, const char *key, bool *ret, struct err *err)
{
    const char *text = NULL;
    if (kubeconfig_text(e, key, &text, err) < 0)
        return -1;
    *ret = str_eq(text, "true");
    if (text && !*ret && !str_eq(text, "false"))
        return kubeconfig_wrong(e->file, e->node, err, "'%s' must be true or false, it is '%.40s'",
                                key, text);
    return 0;
}

bool kubeconfig_clean(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            return false;
    return true;
}

/* --- reading and merging --------------------------------------------------------------------- */

static void note_wrong(void *ctx, struct yaml_mark at, const char *text)
{
    struct merged *m = ctx;
    if (!m->wrong.len)
        str_addf(&m->wrong, "%d:%d: %s", at.line, at.column, text);
}

/* The list of named entries (clusters, users, contexts), or NULL if there is none. */
static int list_of(const struct kubeconfig_file *f, const char *lists, const struct yaml_node **ret,
                   struct err *err)
{
    const struct yaml_pair *p = yaml_get(f->root, lists);
    *ret = NULL;
    if (!p || p->value->kind == YAML_NULL)
        return 0;
    if (p->value->kind != YAML_LIST)
        return kubeconfig_wrong(f, p->value, err, "'%s' must be a list, it is %s", lists,
                                yaml_kind_words(p->value));
    *ret = p->value;
    return 0;
}

static const char *name_of(const struct yaml_node *item)
{
    const struct yaml_pair *p = yaml_get(item, "name");
    return p && p->value->kind == YAML_SCALAR ? p->value->text : NULL;
}

static int check_names(const struct kubeconfig_file *f, const char *lists, struct err *err)
{
    const struct yaml_node *list = NULL;
    if (list_of(f, lists, &list, err) < 0)
        return -1;
    for (size_t i = 0; list && i < list->n; i++) {
        const char *name = name_of(list->items[i]);
        if (!name)
            return kubeconfig_wrong(f, list->items[i], err, "an entry of '%s' has no name", lists);
        for (size_t k = 0; k < i; k++)
            if (str_eq(name_of(list->items[k]), name))
                return kubeconfig_wrong(f, list->items[i], err, "'%s' has '%.100s' twice", lists,
                                        name);
    }
    return 0;
}

static const char *dir_of(struct arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? "/" : slash ? arena_strndup(a, path, (size_t)(slash - path)) : ".";
}

static int read_one(struct merged *m, const char *path, bool must, struct err *err)
{
    cleanup_str struct str text = {0};
    struct err why = {0};
    if (m->n == FILES_MAX)
        return err_set(err, ERR_USAGE, "KUBECONFIG names more than %d files", FILES_MAX);
    if (sys_file_read(path, YAML_MAX_BYTES, &text, &why) < 0) {
        if (why.code == ERR_NOT_FOUND && !must)
            return 0;
        if (err)
            *err = why;
        return err_ctx(err, "kubeconfig");
    }
    struct kubeconfig_file *f = &m->files[m->n];
    f->path = arena_strdup(&m->arena, path);
    f->dir = dir_of(&m->arena, path);
    str_clear(&m->wrong);
    if (yaml_parse(&m->arena, str_cstr(&text), text.len, note_wrong, m, &f->root) < 0)
        return err_set(err, ERR_USAGE, "%s:%s", path, str_cstr(&m->wrong));
    if (f->root->kind == YAML_NULL)
        return 0; /* kubectl takes an empty file for none */
    const char *kind =
        yaml_get(f->root, "kind") ? yaml_get(f->root, "kind")->value->text : "Config";
    if (f->root->kind != YAML_MAP || !str_eq(kind, "Config"))
        return err_set(err, ERR_USAGE, "%s: this is no kubeconfig (kind: Config)", path);
    m->n++;
    return check_names(f, "clusters", err) || check_names(f, "users", err) ||
                   check_names(f, "contexts", err)
               ? -1
               : 0;
}

static int read_list(struct merged *m, const char *list, struct err *err)
{
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ":");
        cleanup_free char *path = x_strndup(p, n);
        if (n && read_one(m, path, false, err) < 0)
            return -1;
        p += n + (p[n] == ':');
    }
    return 0;
}

static int read_all(struct merged *m, const struct kubeconfig_from *from, struct err *err)
{
    if (from->path)
        return read_one(m, from->path, true, err);
    if (from->list && *from->list)
        return read_list(m, from->list, err);
    if (!from->home || !*from->home)
        return 0;
    cleanup_free char *path = x_asprintf("%s/.kube/config", from->home);
    return read_one(m, path, false, err);
}

/* The first file that has it counts. `one` is the key below the name. ERR_NOT_FOUND: none has it.
 */
static int find(const struct merged *m, const char *lists, const char *one, const char *name,
                struct kubeconfig_entry *ret, struct err *err)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct yaml_node *list = NULL;
        if (list_of(&m->files[i], lists, &list, err) < 0)
            return -1;
        for (size_t k = 0; list && k < list->n; k++) {
            if (!str_eq(name_of(list->items[k]), name))
                continue;
            const struct yaml_pair *p = yaml_get(list->items[k], one);
            *ret = (struct kubeconfig_entry){&m->files[i], p ? p->value : list->items[k]};
            if (p && p->value->kind != YAML_MAP && p->value->kind != YAML_NULL)
                return kubeconfig_wrong(ret->file, p->value, err, "'%s' must be a map, it is %s",
                                        one, yaml_kind_words(p->value));
            return 0;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "there is no %s '%.200s' in the kubeconfig", one, name);
}

/* --- a context ------------------------------------------------------------------------------- */

static int take_server(const struct kubeconfig_entry *e, struct kubeconfig *c, struct err *err)
{
    if (kubeconfig_copy(e, "server", &c->server, err) < 0)
        return -1;
    if (!c->server)
        return kubeconfig_wrong(e->file, e->node, err, "this cluster has no server");
    if (!(str_starts(c->server, "https://") || str_starts(c->server, "http://")) ||
        strpbrk(c->server, " ?#@\\"))
        return kubeconfig_wrong(e->file, e->node, err,
                                "server: '%.200s' must be https://HOST[:PORT][/PATH]", c->server);
    for (size_t n = strlen(c->server); n && c->server[n - 1] == '/'; n--)
        c->server[n - 1] = '\0';
    return 0;
}

static int take_cluster(const struct kubeconfig_entry *e, struct kubeconfig *c, struct err *err)
{
    if (take_server(e, c, err) < 0 ||
        kubeconfig_copy(e, "tls-server-name", &c->server_name, err) < 0 ||
        kubeconfig_copy(e, "proxy-url", &c->proxy, err) < 0 ||
        kubeconfig_bool(e, "insecure-skip-tls-verify", &c->insecure, err) < 0 ||
        kubeconfig_pem(e, "certificate-authority", &c->ca, err) < 0)
        return -1;
    if (c->insecure && c->ca)
        return kubeconfig_wrong(e->file, e->node, err,
                                "insecure-skip-tls-verify beside a certificate authority: "
                                "remove one of the two");
    if (c->proxy && !str_starts(c->proxy, "http://") && !str_starts(c->proxy, "https://") &&
        !str_starts(c->proxy, "socks5://"))
        return kubeconfig_wrong(e->file, e->node, err,
                                "proxy-url: '%.200s' must begin with http://, https:// or "
                                "socks5://",
                                c->proxy);
    return 0;
}

static const char *current_context(const struct merged *m)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct yaml_pair *p = yaml_get(m->files[i].root, "current-context");
        if (p && p->value->kind == YAML_SCALAR && *p->value->text)
            return p->value->text;
    }
    return NULL;
}

static int no_context(const struct merged *m, struct err *err)
{
    cleanup_str struct str names = {.max = 400};
    for (size_t i = 0; i < m->n; i++) {
        const struct yaml_node *list = NULL;
        if (list_of(&m->files[i], "contexts", &list, err) < 0)
            return -1;
        for (size_t k = 0; list && k < list->n; k++)
            str_addf(&names, "%s%s", names.len ? ", " : "", name_of(list->items[k]));
    }
    err_set(err, ERR_USAGE, "%s: no current-context is set", m->files[0].path);
    return err_hint(err, "name a context: %s", names.len ? str_cstr(&names) : "(there is none)");
}

static int resolve(const struct merged *m, const char *wanted, struct kubeconfig *c,
                   struct err *err)
{
    struct kubeconfig_entry context = {0}, cluster = {0}, user = {0};
    const char *name = wanted ? wanted : current_context(m);
    const char *cluster_name = NULL, *user_name = NULL;
    if (!name)
        return no_context(m, err);
    if (find(m, "contexts", "context", name, &context, err) < 0 || !context.file)
        return -1;
    c->context = x_strdup(name);
    c->where = x_strdup(context.file->path);
    if (kubeconfig_copy(&context, "namespace", &c->ns, err) < 0 ||
        kubeconfig_text(&context, "cluster", &cluster_name, err) < 0 ||
        kubeconfig_text(&context, "user", &user_name, err) < 0)
        return -1;
    if (!cluster_name)
        return kubeconfig_wrong(context.file, context.node, err, "context '%.200s' has no cluster",
                                name);
    if (find(m, "clusters", "cluster", cluster_name, &cluster, err) < 0 ||
        take_cluster(&cluster, c, err) < 0)
        return err_ctx(err, "context '%.200s'", name);
    if (user_name &&
        (find(m, "users", "user", user_name, &user, err) < 0 || kubeconfig_user(&user, c, err) < 0))
        return err_ctx(err, "context '%.200s'", name);
    return 0;
}

/* --- in a pod -------------------------------------------------------------------------------- */

static int in_cluster(const struct kubeconfig_from *from, struct kubeconfig *c, struct err *err)
{
    const char *dir = from->account ? from->account : ACCOUNT;
    const char *host = from->service_host, *port = from->service_port;
    cleanup_free char *ca_path = x_asprintf("%s/ca.crt", dir);
    cleanup_free char *ns_path = x_asprintf("%s/namespace", dir);
    cleanup_str struct str ca = {0}, ns = {0};
    bool six = strchr(host, ':');
    c->context = x_strdup("in-cluster");
    c->where = x_strdup(dir);
    c->token_file = x_asprintf("%s/token", dir);
    c->server = x_asprintf("https://%s%s%s:%s", six ? "[" : "", host, six ? "]" : "", port);
    if (sys_file_read(ca_path, YAML_MAX_BYTES, &ca, err) < 0)
        return err_ctx(err, "the pod's service account");
    c->ca = str_take(&ca);
    if (sys_file_read(ns_path, 1024, &ns, NULL) == 0 && ns.len) {
        c->ns = str_take(&ns);
        c->ns[strcspn(c->ns, "\r\n ")] = '\0';
    }
    return 0;
}

int kubeconfig_load(const struct kubeconfig_from *from, struct kubeconfig *ret, struct err *err)
{
    cleanup(merged_done) struct merged m = {0};
    struct kubeconfig c = {0};
    int r;
    if (read_all(&m, from, err) < 0)
        return -1;
    if (m.n) {
        r = resolve(&m, from->context, &c, err);
    } else if (from->service_host && *from->service_host && from->service_port && !from->path) {
        r = in_cluster(from, &c, err);
    } else {
        err_set(err, ERR_NOT_FOUND, "no kubeconfig says where a cluster is (%s%s)",
                from->list && *from->list ? "KUBECONFIG=" : "~/.kube/config",
                from->list ? from->list : "");
        return err_hint(err, "set KUBECONFIG to a kubeconfig file");
    }
    if (r < 0) {
        kubeconfig_done(&c);
        return -1;
    }
    if (!c.ns || !*c.ns) {
        free(c.ns);
        c.ns = x_strdup("default");
    }
    *ret = c;
    return 0;
}
