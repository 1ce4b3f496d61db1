/* Who we are: a token of the kubeconfig, one in a file that somebody renews, or what an exec plugin
 * prints (ExecCredential of client.authentication.k8s.io). */
#include "base/base64.h"
#include "format/json.h"
#include "net/kube_internal.h"
#include "net/kubeconfig_internal.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/proc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOKEN_MAX ((size_t)64 << 10)
#define FILE_AGE (60 * NSEC_S) /* a mounted token is renewed long before it ends */
#define EXEC_TIMEOUT (60 * NSEC_S)
#define EXPIRY_MARGIN (10 * NSEC_S)

static void wipe(char **secret)
{
    if (*secret)
        explicit_bzero(*secret, strlen(*secret));
    free(TAKE(*secret));
}

void kube_creds_done(struct kube_creds *c)
{
    wipe(&c->token);
    wipe(&c->key);
    free(TAKE(c->cert));
    *c = (struct kube_creds){0};
}

bool kube_creds_can_change(const struct kube *k)
{
    return k->cfg.exec.argv.n || k->cfg.token_file;
}

/* --- time ------------------------------------------------------------------------------------ */

static int64_t days_before(int year, int month, int day) /* since 1970; Hinnant's algorithm */
{
    year -= month <= 2;
    int era = year / 400, yoe = year - era * 400;
    int doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return (int64_t)era * 146097 + doe - 719468;
}

static bool is_in(int value, int least, int most)
{
    return value >= least && value <= most;
}

/* "Z", "+01:00"; a fraction of a second before it does not count. */
static bool zone_parse(const char *p, int64_t *ret_seconds)
{
    char sign = 0;
    int h = 0, m = 0, n = 0;
    if (*p == '.')
        p += 1 + strspn(p + 1, "0123456789");
    *ret_seconds = 0;
    if (str_eq(p, "Z"))
        return true;
    if (sscanf(p, "%c%2d:%2d%n", &sign, &h, &m, &n) < 3 || p[n] || !is_in(h, 0, 23) ||
        !is_in(m, 0, 59))
        return false;
    *ret_seconds = (h * 3600 + m * 60) * (sign == '-' ? -1 : 1);
    return sign == '+' || sign == '-';
}

bool kube_time_parse(const char *text, nsec_t *ret)
{
    int y, mo, d, h, mi, s, n = 0;
    int64_t zone;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &y, &mo, &d, &h, &mi, &s, &n) < 6 ||
        !is_in(y, 1970, 9999) || !is_in(mo, 1, 12) || !is_in(d, 1, 31) || !is_in(h, 0, 23) ||
        !is_in(mi, 0, 59) || !is_in(s, 0, 60) || !zone_parse(text + n, &zone))
        return false;
    y = y < 2200 ? y : 2200; /* as good as never, and still a number of nanoseconds */
    *ret = (days_before(y, mo, d) * 86400 + h * 3600 + mi * 60 + s - zone) * NSEC_S;
    return true;
}

/* --- a file ---------------------------------------------------------------------------------- */

/* It goes into a header: nothing may end the line there. */
static int take_token(struct kube *k, const char *text, size_t n, const char *where,
                      struct err *err)
{
    while (n && strchr("\r\n \t", text[n - 1]))
        n--;
    char *token = x_strndup(text, n);
    if (!*token || strlen(token) != n || !kubeconfig_clean(token)) {
        wipe(&token);
        return err_set(err, ERR_FAILED, "%s: this is no token", where);
    }
    wipe(&k->creds.token);
    k->creds.token = token;
    return 0;
}

static int from_file(struct kube *k, struct err *err)
{
    cleanup_str struct str text = {0};
    if (sys_file_read(k->cfg.token_file, TOKEN_MAX, &text, err) < 0)
        return err_ctx(err, "the token of context '%s'", k->cfg.context);
    int r = take_token(k, str_cstr(&text), text.len, k->cfg.token_file, err);
    if (text.buf)
        explicit_bzero(text.buf, text.len);
    return r;
}

/* --- a program ------------------------------------------------------------------------------- */

static char *exec_info(const struct kube *k)
{
    json_t *spec = json_pack("{s:b}", "interactive", 0);
    if (k->cfg.exec.provide_cluster) {
        json_t *cluster = json_pack("{s:s, s:b}", "server", k->cfg.server,
                                    "insecure-skip-tls-verify", k->cfg.insecure);
        if (k->cfg.server_name)
            json_object_set_new(cluster, "tls-server-name", json_string(k->cfg.server_name));
        if (k->cfg.proxy)
            json_object_set_new(cluster, "proxy-url", json_string(k->cfg.proxy));
        if (k->cfg.ca) {
            cleanup_str struct str ca = {0};
            base64_encode(k->cfg.ca, strlen(k->cfg.ca), &ca);
            json_object_set_new(cluster, "certificate-authority-data", json_string(str_cstr(&ca)));
        }
        json_object_set_new(spec, "cluster", cluster);
    }
    cleanup_json json_t *j = json_pack("{s:s, s:s, s:o}", "apiVersion", k->cfg.exec.api, "kind",
                                       "ExecCredential", "spec", spec);
    struct str text = {0};
    str_add(&text, "KUBERNETES_EXEC_INFO=");
    json_print(j, 0, &text);
    return str_take(&text);
}

static bool same_variable(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return strncmp(a, b, n) == 0 && b[n] == '=';
}

/* Ours, less what the plugin's own replaces. */
static void exec_env(const struct kube *k, struct strv *ret)
{
    cleanup_strv struct strv own = {0};
    strv_copy(&own, &k->cfg.exec.env);
    strv_take(&own, exec_info(k));
    for (char **e = environ; e && *e; e++) {
        bool replaced = false;
        for (size_t i = 0; i < own.n && !replaced; i++)
            replaced = same_variable(own.v[i], *e);
        if (!replaced)
            strv_add(ret, *e);
    }
    for (size_t i = 0; i < own.n; i++)
        strv_add(ret, own.v[i]);
}

static int take_pair(struct kube *k, const json_t *status, struct err *err)
{
    const char *cert = json_string_value(json_object_get(status, "clientCertificateData"));
    const char *key = json_string_value(json_object_get(status, "clientKeyData"));
    if (!cert && !key)
        return 0;
    if (!cert || !key || strstr(key, "ENCRYPTED"))
        return err_set(err, ERR_FAILED, "a certificate without its key, or an encrypted one");
    free(k->creds.cert);
    wipe(&k->creds.key);
    k->creds.cert = x_strdup(cert);
    k->creds.key = x_strdup(key);
    return 0;
}

static int take_credential(struct kube *k, const struct str *out, struct err *err)
{
    cleanup_json json_t *j = NULL;
    if (json_read(str_cstr(out), out->len, &j, err) < 0)
        return -1;
    const json_t *status = json_at(j, "status");
    const json_t *token = json_object_get(status, "token");
    const char *until = json_string_value(json_object_get(status, "expirationTimestamp"));
    if (!str_eq(json_string_value(json_at(j, "kind")), "ExecCredential") ||
        !str_eq(json_string_value(json_at(j, "apiVersion")), k->cfg.exec.api))
        return err_set(err, ERR_FAILED, "its output is no ExecCredential of %s", k->cfg.exec.api);
    if (take_pair(k, status, err) < 0)
        return -1;
    if (json_is_string(token) && take_token(k, json_string_value(token), json_string_length(token),
                                            "its status.token", err) < 0)
        return -1;
    if (!json_is_string(token) && !k->creds.cert)
        return err_set(err, ERR_FAILED, "its output has neither a token nor a certificate");
    k->creds.expires = 0;
    if (until && !kube_time_parse(until, &k->creds.expires))
        return err_set(err, ERR_FAILED, "its expirationTimestamp '%.60s' is no time", until);
    return 0;
}

static int from_exec(struct kube *k, struct err *err)
{
    const struct kubeconfig_exec *x = &k->cfg.exec;
    cleanup_strv struct strv env = {0};
    exec_env(k, &env);
    struct proc_spec run = {.argv = (const char *const *)x->argv.v,
                            .envp = (const char *const *)env.v,
                            .timeout = EXEC_TIMEOUT,
                            .max_output = TOKEN_MAX,
                            .tick = k->o.poll,
                            .tick_ctx = k->o.poll_ctx};
    cleanup_proc_result struct proc_result r = {0};
    if (sys_proc_run_ok(&run, &r, err) < 0 || take_credential(k, &r.out, err) < 0) {
        err_ctx(err, "the credentials of context '%s', by '%s'", k->cfg.context, x->argv.v[0]);
        return x->hint ? err_hint(err, "%.500s", x->hint) : -1;
    }
    explicit_bzero(r.out.buf, r.out.len);
    return 0;
}

int kube_creds_get(struct kube *k, bool fresh, struct err *err)
{
    struct kube_creds *c = &k->creds;
    const nsec_t now = sys_clock_mono();
    int r = 0;
    if (k->cfg.exec.argv.n) {
        if (fresh || !c->read_at || (c->expires && sys_clock_wall() > c->expires - EXPIRY_MARGIN))
            r = from_exec(k, err);
        else
            return 0;
    } else if (k->cfg.token_file) {
        if (!fresh && c->read_at && now - c->read_at < FILE_AGE)
            return 0;
        r = from_file(k, err);
    } else if (k->cfg.token && !c->token) {
        r = take_token(k, k->cfg.token, strlen(k->cfg.token), k->cfg.where, err);
    }
    if (r == 0)
        c->read_at = now;
    return r;
}
