/* changeover kubernetes: what a cluster's administrator is asked for. */
#include "cmd/cmd.h"
#include "format/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cmd_option options[] = {
    {"namespace", 0, "NS", "where the service runs (default: default)"},
    {"account", 0, "NAME", "the service account (default: changeover)"},
    {NULL},
};

/* Each right that some call needs, and no other: a test runs under exactly these. */
static const struct {
    const char *group, *resource, *verbs;
    bool nodes; /* of the whole cluster, not of the namespace */
} rights[] = {
    /* the pod and its containers; a sidecar's image and the record of it; the pod that looks
     * whether the node has an image */
    {"", "pods", "get list watch patch create delete"},
    {"", "pods/exec", "get create"}, /* the version command; older servers ask for get */
    {"", "pods/log", "get"},         /* the last words of one that does not start */
    /* does one send requests to a standby? and traffic.driver service */
    {"", "services", "get list patch"},
    {"", "events", "list"}, /* why one is not made: a volume that is not there */
    /* a colour is one: applied, removed by uid; a sidecar's template (--update-template) */
    {"apps", "deployments", "get create patch delete"},
    {"apps", "deployments/scale", "update"}, /* start and stop */
    {"apps", "replicasets", "get patch"},
    {"discovery.k8s.io", "endpointslices", "list create patch"},
    {"networking.k8s.io", "ingresses", "get patch"}, /* traffic.driver ingress */
    {"", "nodes", "get", true},                      /* the kubelet's version */
};

static json_t *words(const char *text)
{
    json_t *list = json_array();
    for (size_t n; *text; text += n + (text[n] == ' ')) {
        n = strcspn(text, " ");
        json_array_append_new(list, json_stringn(text, n));
    }
    return list;
}

static json_t *rules(bool nodes)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(rights); i++)
        if (rights[i].nodes == nodes)
            json_array_append_new(list, json_pack("{s:[s], s:[s], s:o}", "apiGroups",
                                                  rights[i].group, "resources", rights[i].resource,
                                                  "verbs", words(rights[i].verbs)));
    return list;
}

static json_t *meta(const char *name, const char *ns)
{
    return json_pack("{s:s, s:s*}", "name", name, "namespace", ns);
}

static void add_role(json_t *items, bool nodes, const char *name, const char *ns)
{
    static const char api[] = "rbac.authorization.k8s.io/v1", group[] = "rbac.authorization.k8s.io";
    const char *role = nodes ? "ClusterRole" : "Role", *where = nodes ? NULL : ns;
    /* a cluster-wide name, so that two namespaces do not share one */
    cleanup_free char *own = nodes ? x_asprintf("%s-%s", name, ns) : x_strdup(name);
    json_array_append_new(items, json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", api, "kind", role,
                                           "metadata", meta(own, where), "rules", rules(nodes)));
    json_array_append_new(
        items, json_pack("{s:s, s:s, s:o, s:{s:s, s:s, s:s}, s:[{s:s, s:s, s:s}]}", "apiVersion",
                         api, "kind", nodes ? "ClusterRoleBinding" : "RoleBinding", "metadata",
                         meta(own, where), "roleRef", "apiGroup", group, "kind", role, "name", own,
                         "subjects", "kind", "ServiceAccount", "name", name, "namespace", ns));
}

/* --- as YAML --------------------------------------------------------------------------------- */

/* A word that no reader of YAML takes for anything else; the rest goes into quotes, as JSON. */
static bool is_plain(const char *text)
{
    static const char *const others[] = {"true", "false", "null", "yes", "no",
                                         "on",   "off",   "y",    "n"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (str_eq(text, others[i]))
            return false;
    return isalpha((unsigned char)*text) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-./") ==
               strlen(text);
}

static void put_text(struct str *out, json_t *text)
{
    if (is_plain(json_string_value(text)))
        str_add(out, json_string_value(text));
    else
        json_print(text, 0, out);
}

static void put_value(struct str *out, json_t *value, int indent);

static void put_map(struct str *out, json_t *map, int indent, bool inline_first)
{
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value)
    {
        str_addf(out, "%*s%s:", inline_first ? 0 : indent, "", key);
        put_value(out, value, indent);
        inline_first = false;
    }
}

static void put_texts(struct str *out, json_t *list)
{
    size_t i;
    json_t *item;
    str_add_c(out, '[');
    json_array_foreach(list, i, item)
    {
        str_add(out, i ? ", " : "");
        put_text(out, item);
    }
    str_add_c(out, ']');
}

/* Behind a key: a text, or texts, on the same line, else lines of its own. */
static void put_value(struct str *out, json_t *value, int indent)
{
    size_t i;
    json_t *item;
    bool texts = json_is_array(value) && json_is_string(json_array_get(value, 0));
    if (!json_is_object(value) && !(json_is_array(value) && !texts)) {
        str_add_c(out, ' ');
        (texts ? put_texts : put_text)(out, value);
        str_add_c(out, '\n');
        return;
    }
    str_add_c(out, '\n');
    if (json_is_object(value))
        put_map(out, value, indent + 2, false);
    json_array_foreach(value, i, item)
    {
        str_addf(out, "%*s- ", indent, "");
        put_map(out, item, indent + 2, true);
    }
}

static bool is_name(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) && name[i] != '-')
            return false;
    return n > 0 && n <= 63 && name[0] != '-' && name[n - 1] != '-';
}

static int run(const struct cmd_call *call, struct err *err)
{
    const char *ns = cmd_option(call, "namespace"), *name = cmd_option(call, "account");
    ns = ns ? ns : "default";
    name = name ? name : "changeover";
    if (!str_eq(call->argv[0], "rbac"))
        return err_set(err, ERR_USAGE, "kubernetes %s: rbac is what there is", call->argv[0]);
    if (!is_name(ns) || !is_name(name))
        return err_set(err, ERR_USAGE, "'%.100s' is no name of a %s", is_name(ns) ? name : ns,
                       is_name(ns) ? "service account" : "namespace");
    cleanup_json json_t *items = json_array();
    json_array_append_new(items, json_pack("{s:s, s:s, s:o}", "apiVersion", "v1", "kind",
                                           "ServiceAccount", "metadata", meta(name, ns)));
    add_role(items, false, name, ns);
    add_role(items, true, name, ns);
    cleanup_str struct str out = {0};
    size_t i;
    json_t *item;
    if (call->json) {
        cleanup_json json_t *list =
            json_pack("{s:s, s:s, s:O}", "apiVersion", "v1", "kind", "List", "items", items);
        json_print(list, 2, &out);
        str_add_c(&out, '\n');
    }
    json_array_foreach(items, i, item)
    {
        if (call->json)
            break;
        str_add(&out, i ? "---\n" : "");
        put_map(&out, item, 0, false);
    }
    fputs(str_cstr(&out), stdout);
    return 0;
}

const struct cmd_row cmd_kubernetes = {
    .name = "kubernetes",
    .args = "rbac",
    .summary = "print the rights that changeover needs in a cluster",
    .min_args = 1,
    .max_args = 1,
    .flags = CMD_JSON,
    .options = options,
    .help =
        "rbac: manifests for `kubectl apply -f -`: a service account, a Role in its namespace "
        "with what the commands\n"
        "need and nothing more, and a ClusterRole that reads nodes (without it everything works; "
        "whether a kubelet is\n"
        "new enough then shows only afterwards).",
    .run = run,
};
