#include "net/caddy.h"

#include "format/json.h"
#include "net/http.h"
#include "sys/clock.h"
#include "sys/sockdiag.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX ((size_t)16 << 20)

static const char *const caddyfile_headers[] = {"Content-Type: text/caddyfile", NULL};

static int ask(const struct caddy *c, const char *path, const char *caddyfile,
               struct http_answer *ret, struct err *err)
{
    cleanup_free char *url = x_asprintf("http://%s%s", c->admin, path);
    struct http_request rq = {.url = url, .timeout = c->timeout, .max = CONFIG_MAX};
    if (caddyfile) {
        rq.headers = caddyfile_headers;
        rq.body = caddyfile;
        rq.body_len = strlen(caddyfile);
    }
    struct err first = {0};
    int r = http_send(&rq, ret, &first);
    if (r < 0 && first.code != ERR_TIMEOUT && strcmp(path, "/load") != 0) {
        /* for moments after a load Caddy's old admin endpoint accepts and hangs up */
        http_answer_done(ret);
        sys_sleep(20 * NSEC_MS);
        r = http_send(&rq, ret, &first);
    }
    if (r < 0) {
        if (err)
            *err = first;
        err_ctx(err, "Caddy's admin API does not answer");
        return err_hint(err, "start Caddy, or set traffic.admin to its admin address");
    }
    return 0;
}

/* Caddy answers errors as {"error": "..."}. */
static int refused(const struct http_answer *a, enum err_code code, const char *what,
                   struct err *err)
{
    cleanup_json json_t *j = NULL;
    const char *words = str_cstr(&a->body);
    if (json_read(words, a->body.len, &j, NULL) == 0 && json_string_value(json_at(j, "error")))
        words = json_string_value(json_at(j, "error"));
    return err_set(err, code, "%s: Caddy answered %d: %.600s", what, a->status, words);
}

static int ask_json(const struct caddy *c, const char *path, const char *caddyfile,
                    enum err_code refusal, json_t **ret, struct err *err)
{
    cleanup_http_answer struct http_answer a = {0};
    if (ask(c, path, caddyfile, &a, err) < 0)
        return -1;
    if (a.status != 200)
        return refused(&a, refusal, path, err);
    if (json_read(str_cstr(&a.body), a.body.len, ret, err) < 0)
        return err_ctx(err, "http://%s%s", c->admin, path);
    return 0;
}

int caddy_config(const struct caddy *c, json_t **ret, struct err *err)
{
    return ask_json(c, "/config/", NULL, ERR_FAILED, ret, err);
}

int caddy_adapt(const struct caddy *c, const char *caddyfile, json_t **ret, struct err *err)
{
    cleanup_json json_t *j = NULL;
    if (ask_json(c, "/adapt", caddyfile, ERR_USAGE, &j, err) < 0)
        return -1;
    json_t *result = json_at(j, "result");
    if (!result)
        return err_set(err, ERR_FAILED, "http://%s/adapt: the answer has no result", c->admin);
    *ret = json_incref(result);
    return 0;
}

int caddy_load(const struct caddy *c, const char *caddyfile, struct err *err)
{
    cleanup_http_answer struct http_answer a = {0};
    if (ask(c, "/load", caddyfile, &a, err) < 0)
        return -1;
    return a.status == 200 ? 0 : refused(&a, ERR_FAILED, "load the new configuration", err);
}

int caddy_upstreams(const struct caddy *c, struct caddy_upstream *ret, size_t max, size_t *ret_n,
                    struct err *err)
{
    cleanup_json json_t *j = NULL;
    if (ask_json(c, "/reverse_proxy/upstreams", NULL, ERR_FAILED, &j, err) < 0)
        return -1;
    size_t n = 0, i;
    json_t *item;
    json_array_foreach(j, i, item)
    {
        const char *dial = json_string_value(json_at(item, "address"));
        if (!dial || n == max)
            continue;
        snprintf(ret[n].dial, sizeof(ret[n].dial), "%s", dial);
        ret[n++].requests = (int)json_integer_value(json_at(item, "num_requests"));
    }
    *ret_n = n;
    return 0;
}

int caddy_process(const struct caddy *c, struct proc_id *ret, struct err *err)
{
    cleanup_sock_list struct sock_list l = {0};
    const char *colon = strrchr(c->admin, ':');
    unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : 0;
    if (port == 0 || port > UINT16_MAX)
        return err_set(err, ERR_USAGE, "'%s' is no host:port", c->admin);
    struct sock_filter_by by = {
        .protocol = IPPROTO_TCP, .states = 1u << SOCK_LISTEN, .local = (uint16_t)port};
    if (sys_sockets(&by, &l, err) < 0)
        return -1;
    for (size_t i = 0; i < l.n; i++) {
        pid_t pid = sys_sock_owner(l.items[i].inode);
        if (pid <= 0)
            continue;
        *ret = (struct proc_id){.pid = pid, .start_ticks = sys_proc_start_ticks(pid)};
        return 0;
    }
    return err_set(err, ERR_NOT_FOUND,
                   l.n ? "the process that listens at %s may not be looked at: "
                         "it is another user's, and this is not root"
                       : "nobody listens at %s",
                   c->admin);
}

/* "v2.11.4 h1:..." or "2.6.2" -> "2.6.2" */
static int take_version(const char *text, char ret[32])
{
    const char *p = *text == 'v' ? text + 1 : text;
    size_t n = strcspn(p, " \"\n");
    if (n == 0 || n >= 32 || *p < '0' || *p > '9')
        return -1;
    memcpy(ret, p, n);
    ret[n] = '\0';
    return 0;
}

/* Never as root when the process is not: whoever listens there chose that program. */
static int version_of_program(struct proc_id id, char ret[32], struct err *err)
{
    char exe[64];
    snprintf(exe, sizeof(exe), "/proc/%d/exe", (int)id.pid);
    const char *const argv[] = {exe, "version", NULL};
    const char *const envp[] = {"PATH=/usr/bin:/bin", "HOME=/nonexistent", NULL};
    struct proc_spec run = {.argv = argv, .envp = envp, .cwd = "/", .timeout = 5 * NSEC_S};
    cleanup_proc_result struct proc_result r = {0};
    if (sys_proc_ids(id.pid, &run.uid, &run.gid, err) < 0)
        return -1;
    run.set_ids = sys_uid() == 0 && run.uid != 0;
    if (sys_proc_run_ok(&run, &r, err) < 0)
        return -1;
    if (take_version(str_cstr(&r.out), ret) < 0)
        return err_set(err, ERR_FAILED, "'%s version' says '%.60s', which is no version", exe,
                       str_cstr(&r.out));
    return 0;
}

static int version_of_metrics(const struct caddy *c, char ret[32], struct err *err)
{
    cleanup_http_answer struct http_answer a = {0};
    if (ask(c, "/metrics", NULL, &a, err) < 0)
        return -1;
    static const char key[] = "path=\"github.com/caddyserver/caddy/v2\",version=\"";
    const char *p = a.status == 200 ? strstr(str_cstr(&a.body), key) : NULL;
    if (!p || take_version(p + sizeof(key) - 1, ret) < 0)
        return err_set(err, ERR_FAILED, "Caddy at %s does not say its version", c->admin);
    return 0;
}

int caddy_version(const struct caddy *c, char ret[32], struct err *err)
{
    struct proc_id id = {0};
    struct err why = {0};
    if (caddy_process(c, &id, &why) == 0 && version_of_program(id, ret, &why) == 0)
        return 0;
    if (version_of_metrics(c, ret, NULL) == 0)
        return 0;
    *err = why;
    err_ctx(err, "find out the version of the Caddy at %s", c->admin);
    return err_hint(err, "run this as root or as Caddy's user");
}
