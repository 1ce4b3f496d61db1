/* The Kubernetes client of src/net by hand, for tests: each command is one call, its result one
 * line of JSON on stdout. Exit status 1: an error, as JSON too.
 *
 *   kube-client [--kubeconfig FILE] [--context NAME] [--patience MS] COMMAND ARGUMENT...
 *
 * A kind is API/KIND: v1/Pod, apps/v1/Deployment. "-" stands for an argument that is left out. */
#include "format/json.h"
#include "net/kube.h"
#include "sys/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct call {
    struct kube *k;
    char **arg; /* NULL behind the last */
    int n;
};

static const char *at(const struct call *c, int i)
{
    return i < c->n && !str_eq(c->arg[i], "-") ? c->arg[i] : NULL;
}

static void print(json_t *j)
{
    cleanup_str struct str text = {0};
    json_print(j, 0, &text);
    printf("%s\n", str_cstr(&text));
    fflush(stdout);
    json_decref(j);
}

static json_t *read_json(const char *text)
{
    json_t *j = NULL;
    struct err err = {0};
    if (json_read(text, strlen(text), &j, &err) < 0) {
        fprintf(stderr, "kube-client: %s\n", err.msg);
        exit(2);
    }
    return j;
}

/* Arguments 0 to 2: kind, namespace, name. */
static int ref_of(const struct call *c, struct kube_ref *ret, struct err *err)
{
    static struct kube_kind kind; /* one call a process */
    cleanup_free char *api = x_strdup(c->arg[0]);
    char *slash = strrchr(api, '/');
    if (!slash)
        return err_set(err, ERR_USAGE, "'%s' is no API/KIND", api);
    *slash = '\0';
    if (kube_kind_find(c->k, api, slash + 1, &kind, err) < 0)
        return -1;
    *ret = (struct kube_ref){&kind, at(c, 1), at(c, 2)};
    return 0;
}

static int run_version(const struct call *c, struct err *err)
{
    struct kube_version v;
    if (kube_version(c->k, &v, err) < 0)
        return -1;
    print(json_pack("{s:i, s:i, s:s}", "major", v.major, "minor", v.minor, "text", v.text));
    return 0;
}

static int run_serves(const struct call *c, struct err *err)
{
    const struct kube_kind kind = {c->arg[0], c->arg[1], "", false};
    bool serves;
    if (kube_serves(c->k, &kind, &serves, err) < 0)
        return -1;
    print(json_boolean(serves));
    return 0;
}

static int run_get(const struct call *c, struct err *err)
{
    struct kube_ref ref;
    json_t *j = NULL;
    if (ref_of(c, &ref, err) < 0 || kube_get(c->k, &ref, &j, err) < 0)
        return -1;
    print(j);
    return 0;
}

/* KIND NS NAME LABELS PAGE */
static int run_list(const struct call *c, struct err *err)
{
    struct kube_ref ref;
    char version[64];
    json_t *j = NULL;
    const struct kube_select sel = {.labels = at(c, 3),
                                    .page = at(c, 4) ? (int)strtol(at(c, 4), NULL, 10) : 0};
    if (ref_of(c, &ref, err) < 0 || kube_list(c->k, &ref, &sel, &j, version, err) < 0)
        return -1;
    print(json_pack("{s:o, s:s}", "items", j, "version", version));
    return 0;
}

/* KIND NS NAME OBJECT [force|dry] */
static int run_apply(const struct call *c, struct err *err)
{
    struct kube_ref ref;
    json_t *j = NULL;
    cleanup_json json_t *object = read_json(c->arg[3]);
    const struct kube_apply how = {.force = str_eq(at(c, 4), "force"),
                                   .dry_run = str_eq(at(c, 4), "dry")};
    if (ref_of(c, &ref, err) < 0 || kube_apply(c->k, &ref, object, &how, &j, err) < 0)
        return -1;
    print(j);
    return 0;
}

static int run_patch(const struct call *c, struct err *err)
{
    struct kube_ref ref;
    json_t *j = NULL;
    cleanup_json json_t *ops = read_json(c->arg[3]);
    if (ref_of(c, &ref, err) < 0 ||
        kube_patch(c->k, &ref, ops, str_eq(at(c, 4), "dry"), &j, err) < 0)
        return -1;
    print(j);
    return 0;
}

static int run_create(const struct call *c, struct err *err)
{
    struct kube_ref ref;
    json_t *j = NULL;
    cleanup_json json_t *object = read_json(c->arg[3]);
    if (ref_of(c, &ref, err) < 0 ||
        kube_create(c->k, &ref, object, str_eq(at(c, 4), "dry"), &j, err) < 0)
        return -1;
    print(j);
    return 0;
}

/* KIND NS NAME REPLICAS [VERSION] */
static int run_scale(const struct call *c, struct err *err)
{
    struct kube_ref ref;
    if (ref_of(c, &ref, err) < 0 ||
        kube_scale(c->k, &ref, (int)strtol(c->arg[3], NULL, 10), at(c, 4), false, err) < 0)
        return -1;
    print(json_true());
    return 0;
}

/* KIND NS NAME UID VERSION PROPAGATION [GRACE] */
static int run_delete(const struct call *c, struct err *err)
{
    struct kube_ref ref;
    const struct kube_delete how = {.uid = at(c, 3),
                                    .version = at(c, 4),
                                    .propagation = at(c, 5),
                                    .grace_s = at(c, 6) ? (int)strtol(at(c, 6), NULL, 10) : -1};
    if (ref_of(c, &ref, err) < 0 || kube_delete(c->k, &ref, &how, err) < 0)
        return -1;
    print(json_true());
    return 0;
}

/* NS POD CONTAINER [TAIL] [previous] */
static int run_log(const struct call *c, struct err *err)
{
    const struct kube_ref pod = {&kube_pod, at(c, 0), c->arg[1]};
    const struct kube_log ask = {.container = at(c, 2),
                                 .tail = at(c, 3) ? (int)strtol(at(c, 3), NULL, 10) : 0,
                                 .previous = str_eq(at(c, 4), "previous")};
    cleanup_str struct str out = {0};
    if (kube_log(c->k, &pod, &ask, &out, err) < 0)
        return -1;
    print(json_string(str_cstr(&out)));
    return 0;
}

static int tell(void *ctx, enum kube_seen seen, json_t *object)
{
    static const char *const words[] = {[KUBE_BEGIN] = "begin",
                                        [KUBE_SYNCED] = "synced",
                                        [KUBE_ADDED] = "added",
                                        [KUBE_MODIFIED] = "modified",
                                        [KUBE_DELETED] = "deleted"};
    (void)ctx;
    print(json_pack("{s:s, s:O*}", "seen", words[seen], "object", object));
    return 0;
}

/* KIND NS NAME SECONDS: a line an event */
static int run_watch(const struct call *c, struct err *err)
{
    struct kube_ref ref;
    if (ref_of(c, &ref, err) < 0)
        return -1;
    return kube_watch(c->k, &ref, NULL, sys_clock_mono() + strtol(c->arg[3], NULL, 10) * NSEC_S,
                      tell, NULL, err);
}

/* NS POD CONTAINER INPUT ARGV... */
static int run_exec(const struct call *c, struct err *err)
{
    const struct kube_ref pod = {&kube_pod, at(c, 0), c->arg[1]};
    const struct kube_exec ask = {.container = at(c, 2),
                                  .input = at(c, 3),
                                  .input_len = at(c, 3) ? strlen(at(c, 3)) : 0,
                                  .argv = (const char *const *)&c->arg[4],
                                  .max = 1 << 20};
    struct kube_exec_result r = {0};
    int status = kube_exec(c->k, &pod, &ask, &r, err);
    if (status == 0)
        print(json_pack("{s:i, s:s, s:s}", "status", r.status, "out", str_cstr(&r.out), "err",
                        str_cstr(&r.err)));
    kube_exec_result_done(&r);
    return status;
}

static const struct {
    const char *name;
    int least;
    int (*run)(const struct call *c, struct err *err);
} commands[] = {
    {"version", 0, run_version}, {"serves", 2, run_serves}, {"get", 3, run_get},
    {"list", 3, run_list},       {"apply", 4, run_apply},   {"patch", 4, run_patch},
    {"create", 4, run_create},   {"scale", 4, run_scale},   {"delete", 3, run_delete},
    {"log", 2, run_log},         {"watch", 4, run_watch},   {"exec", 5, run_exec},
};

static int usage(void)
{
    fprintf(stderr, "usage: kube-client [--kubeconfig FILE] [--context NAME] [--patience MS] "
                    "COMMAND ARGUMENT...\n");
    return 2;
}

static int run(int argc, char **argv, const struct kubeconfig_from *from,
               const struct kube_options *o, struct kube **k, struct err *err)
{
    struct kubeconfig cfg = {0};
    const struct call c = {NULL, argv + 1, argc - 1};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, argv[0]) != 0 || c.n < commands[i].least)
            continue;
        if (kubeconfig_load(from, &cfg, err) < 0 || kube_open(&cfg, o, k, err) < 0)
            return 1;
        return commands[i].run(&(struct call){*k, c.arg, c.n}, err) < 0;
    }
    return usage();
}

int main(int argc, char **argv)
{
    const char *path = NULL, *context = NULL;
    struct kube_options o = {0};
    struct err err = {0};
    int i = 1;
    for (; i + 1 < argc && str_starts(argv[i], "--"); i += 2) {
        if (str_eq(argv[i], "--kubeconfig"))
            path = argv[i + 1];
        else if (str_eq(argv[i], "--context"))
            context = argv[i + 1];
        else if (str_eq(argv[i], "--patience"))
            o.patience = strtol(argv[i + 1], NULL, 10) * NSEC_MS;
        else
            return usage();
    }
    if (i >= argc)
        return usage();
    struct kubeconfig_from from = kubeconfig_environment(path, context);
    cleanup_kube struct kube *k = NULL;
    int r = run(argc - i, argv + i, &from, &o, &k, &err);
    if (r != 1)
        return r;
    static const struct kube_status none;
    const struct kube_status *st = k ? kube_status(k) : &none;
    print(json_pack("{s:s, s:s, s:i, s:{s:i, s:s, s:s, s:b}}", "error", err.msg, "hint", err.hint,
                    "exit", err_exit_status(err.code), "status", "code", st->code, "reason",
                    st->reason, "causes", st->causes, "unsure", st->unsure));
    return 1;
}
