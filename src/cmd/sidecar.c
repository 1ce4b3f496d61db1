/* changeover sidecar: one container of a running pod gets another image, alone. */
#include "driver/sidecar/sidecar.h"
#include "cmd/cmd.h"
#include "format/json.h"
#include "format/rows.h"
#include "observe/jsonlines.h"
#include "observe/terminal.h"
#include "sys/term.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS 32

static const struct cmd_option options[] = {
    {"pod", 0, "POD", "this pod"},
    {"deployment", 0, "NAME", "the pod of this Deployment"},
    {"namespace", 0, "NS", "default: the context's"},
    {"context", 0, "NAME", "of the kubeconfig; default: its current one"},
    {"kubeconfig", 0, "FILE", "default: $KUBECONFIG, ~/.kube/config, or the account of this pod"},
    {"image", 0, "IMAGE", "upgrade: the new image; best a digest or a tag this pod never had"},
    {"timeout", 0, "TIME",
     "until the new container is ready (2m; 6m where it had the image before)"},
    {"settle", 0, "TIME", "how long it must stay so (2s)"},
    {"trust-image", 0, NULL, "do not look first whether the node has the image or can pull it"},
    {"version-command", 0, "COMMAND",
     "must end with 0 in the new container; words without a shell"},
    {"expect", 0, "TEXT", "what the version command must print"},
    {"exit-command", 0, "COMMAND",
     "run in a sidecar whose kubelet ignores a new image (1.29 to 1.31), so that it ends"},
    {"tunnel", 0, "LINK",
     "must be as before, its addresses and routes too, or none (of a doublezerod: doublezero0)"},
    {"update-template", 0, NULL,
     "the Deployment's template gets the image too, and the pod is not made anew"},
    {NULL},
};

static int poll(void *ctx)
{
    (void)ctx;
    return sys_interrupted() > 0;
}

static int open_cluster(const struct cmd_call *call, struct kube **ret, struct err *err)
{
    const struct kube_options o = {.poll = poll};
    struct kubeconfig cfg = {0};
    struct kubeconfig_from from =
        kubeconfig_environment(cmd_option(call, "kubeconfig"), cmd_option(call, "context"));
    if (kubeconfig_load(&from, &cfg, err) < 0)
        return -1;
    return kube_open(&cfg, &o, ret, err);
}

static int take_target(const struct cmd_call *call, struct sidecar_target *ret, struct err *err)
{
    *ret = (struct sidecar_target){.ns = cmd_option(call, "namespace"),
                                   .pod = cmd_option(call, "pod"),
                                   .deployment = cmd_option(call, "deployment")};
    if (!ret->pod != !ret->deployment)
        return 0;
    return err_set(err, ERR_USAGE, "sidecar: name the pod with --pod, or with --deployment");
}

static void print_json(json_t *j)
{
    json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(j);
}

/* --- status ---------------------------------------------------------------------------------- */

enum { NAME, KIND, WANTED, RUNNING, READY, RESTARTS, STARTED, TEMPLATE, IMAGE_ID, WHY };
static const struct rows_column columns[] = {
    {"container", "CONTAINER", ROWS_TEXT}, {"kind", "KIND", ROWS_TEXT},
    {"wanted", "WANTED", ROWS_TEXT},       {"running", "RUNNING", ROWS_TEXT},
    {"ready", "READY", ROWS_BOOL},         {"restarts", "RESTARTS", ROWS_NUMBER},
    {"started", "STARTED", ROWS_TEXT},     {"template", "TEMPLATE", ROWS_TEXT},
    {"image_id", NULL, ROWS_TEXT},         {"why", NULL, ROWS_TEXT},
};

static void add_row(const struct sidecar_pod *p, const char *name, struct rows *t)
{
    struct sidecar_container c;
    const char *template = sidecar_template_image(p, name);
    if (sidecar_find(p->object, name, &c, NULL) < 0)
        return;
    rows_add(t);
    rows_text(t, NAME, "%s", c.name);
    rows_text(t, KIND, "%s", !c.init ? "container" : c.lives ? "sidecar" : "init");
    rows_text(t, WANTED, "%s", c.wanted);
    rows_text(t, RUNNING, "%s", c.running);
    rows_bool(t, READY, c.ready);
    rows_number(t, RESTARTS, c.restarts);
    if (*c.started)
        rows_text(t, STARTED, "%s", c.started);
    if (template)
        rows_text(t, TEMPLATE, "%s", template);
    if (*c.image_id)
        rows_text(t, IMAGE_ID, "%s", c.image_id);
    if (*c.why)
        rows_text(t, WHY, "%s", c.why);
}

/* What a person should know beside the table: what is not as the template has it, or not proved. */
static void add_words(const struct sidecar_pod *p, const char *name, struct str *out)
{
    struct sidecar_container c;
    char whom[64];
    const char *template = sidecar_template_image(p, name);
    cleanup_json json_t *record = sidecar_record(p->object, name);
    if (sidecar_find(p->object, name, &c, NULL) < 0)
        return;
    if (template && !str_eq(template, c.wanted))
        str_addf(out, "%s: a pod made anew has %s again: that is what %s '%s' says\n", name,
                 template,
                 sidecar_paused(p, whom) ? "the ReplicaSet of the paused Deployment" : "Deployment",
                 p->deployment);
    if (!c.up && c.lives)
        str_addf(out, "%s does not run: %s\n", name, c.why);
    const char *from = json_string_value(json_object_get(record, "from"));
    const char *to = json_string_value(json_object_get(record, "to"));
    if (str_eq(to, c.wanted))
        str_addf(out, "%s was changed from %s%s\n", name, from,
                 json_is_true(json_object_get(record, "proved")) ? "" : ", and it is not proved");
    else if (str_eq(from, c.wanted))
        str_addf(out, "%s went back from %s\n", name, to);
}

static int run_status(const struct cmd_call *call, struct kube *k, struct err *err)
{
    static const char *const lists[] = {"spec.initContainers", "spec.containers"};
    cleanup_sidecar_pod struct sidecar_pod p = {0};
    cleanup_rows struct rows t = rows_new(columns, ARRAY_LEN(columns));
    cleanup_str struct str out = {0}, words = {0};
    struct sidecar_target target;
    struct sidecar_container c;
    char whom[64];
    if (take_target(call, &target, err) < 0 || sidecar_look(k, &target, &p, err) < 0)
        return -1;
    if (call->argc > 1 && sidecar_find(p.object, call->argv[1], &c, err) < 0)
        return -1;
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        size_t i;
        json_t *item;
        json_array_foreach(json_at(p.object, lists[l]), i, item)
        {
            const char *name = json_string_value(json_object_get(item, "name"));
            if (!name || (call->argc > 1 && !str_eq(name, call->argv[1])))
                continue;
            add_row(&p, name, &t);
            add_words(&p, name, &words);
        }
    }
    bool paused = sidecar_paused(&p, whom);
    if (call->json) {
        print_json(json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:o}", "pod", p.name, "namespace",
                             p.ns, "node", p.node, "deployment", p.deployment, "paused", paused,
                             "paused_for", whom, "containers", rows_json(&t)));
        return 0;
    }
    str_addf(&out, "pod %s/%s on node %s\n", p.ns, p.name, p.node);
    if (paused)
        str_addf(&words, "Deployment '%s' is paused by %s%s%s\n", p.deployment,
                 *whom ? "changeover, for " : "somebody else", whom,
                 *whom ? ": the same command with --update-template goes on" : "");
    rows_print(&t, &out);
    printf("%s%s", str_cstr(&out), str_cstr(&words));
    return 0;
}

/* --- upgrade, rollback ----------------------------------------------------------------------- */

static int take_time(const struct cmd_call *call, const char *name, nsec_t *ret, struct err *err)
{
    const char *text = cmd_option(call, name);
    if (text && (clock_parse(text, ret) < 0 || *ret <= 0))
        return err_set(err, ERR_USAGE, "--%s %s: a time such as 30s is needed", name, text);
    return 0;
}

/* A command of the user's, split at blanks. */
struct command {
    char *store;
    const char *words[WORDS + 1];
};

static void command_done(struct command *c)
{
    free(c->store);
}

/* *ret_words stays NULL where the option is not given. */
static int split(const struct cmd_call *call, const char *option, struct command *c,
                 const char *const **ret_words, struct err *err)
{
    size_t n = 0;
    if (!cmd_option(call, option))
        return 0;
    c->store = x_strdup(cmd_option(call, option));
    for (char *p = c->store, *word; (word = strsep(&p, " "));) {
        if (*word && n == WORDS)
            return err_set(err, ERR_USAGE, "--%s: more than %d words", option, WORDS);
        if (*word)
            c->words[n++] = word;
    }
    *ret_words = c->words;
    return n ? 0 : err_set(err, ERR_USAGE, "--%s: which?", option);
}

static void print_result(const struct cmd_call *call, const struct sidecar_result *r)
{
    char took[24];
    const char *name = call->argv[1];
    if (call->json) {
        print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:f, s:b, s:b, s:s*, s:b, s:s*}",
                             "pod", r->pod, "container", name, "from", r->from, "to", r->to, "id",
                             r->id, "image_id", r->image_id, "restarts", r->restarts, "seconds",
                             (double)r->took / 1e9, "changed", !r->nothing && !call->dry_run,
                             "dry_run", call->dry_run, "template",
                             *r->template_image ? r->template_image : NULL, "template_updated",
                             r->template_updated, "tunnel", *r->tunnel ? r->tunnel : NULL));
        return;
    }
    if (call->dry_run && !r->nothing)
        printf("%s of pod %s: %s -> %s would be taken; nothing was changed\n", name, r->pod,
               r->from, r->to);
    else if (r->nothing)
        printf("%s of pod %s runs %s already\n", name, r->pod, r->to);
    else
        printf("%s of pod %s: %s -> %s, ready after %s; every other container as before\n", name,
               r->pod, r->from, r->to, clock_words(took, sizeof(took), r->took));
    if (*r->tunnel)
        printf("tunnel %s: its link, addresses and routes as before (%zu)\n", r->tunnel,
               r->tunnel_lines);
    if (r->template_updated)
        printf("the Deployment's template has it too, and the pod was not made anew\n");
    else if (*r->template_image)
        printf("a pod made anew runs %s again: so the Deployment's template says%s\n",
               r->template_image,
               call->dry_run ? "" : " (--update-template changes it, and keeps the pod)");
}

typedef int change_fn(struct kube *k, const struct sidecar_target *t,
                      const struct sidecar_change *how, struct sidecar_result *ret,
                      struct err *err);

static int run_change(const struct cmd_call *call, struct kube *k, change_fn *fn, struct err *err)
{
    struct sidecar_target target;
    struct sidecar_result r = {0};
    struct sidecar_change how = {.name = call->argc > 1 ? call->argv[1] : NULL,
                                 .image = cmd_option(call, "image"),
                                 .trust_image = cmd_option(call, "trust-image"),
                                 .proof_text = cmd_option(call, "expect"),
                                 .tunnel = cmd_option(call, "tunnel"),
                                 .update_template = cmd_option(call, "update-template"),
                                 .dry_run = call->dry_run};
    cleanup(command_done) struct command proof = {0}, end = {0};
    struct terminal term;
    if (!how.name)
        return err_set(err, ERR_USAGE, "sidecar %s: which container?", call->argv[0]);
    if ((fn == sidecar_upgrade) != (how.image != NULL))
        return err_set(err, ERR_USAGE, "sidecar %s: %s", call->argv[0],
                       how.image ? "--image belongs to upgrade" : "--image IMAGE is missing");
    if (how.proof_text && !cmd_option(call, "version-command"))
        return err_set(err, ERR_USAGE, "--expect belongs to --version-command");
    if (take_target(call, &target, err) < 0 || take_time(call, "timeout", &how.timeout, err) < 0 ||
        take_time(call, "settle", &how.settle, err) < 0 ||
        split(call, "version-command", &proof, &how.proof, err) < 0 ||
        split(call, "exit-command", &end, &how.exit, err) < 0)
        return -1;
    if (str_eq(how.tunnel, "none"))
        how.tunnel = "";
    terminal_init(&term, stderr, call->quiet, call->verbose > 0);
    how.sink = call->json ? jsonlines_sink(stderr) : terminal_sink(&term);
    int status = fn(k, &target, &how, &r, err);
    terminal_done(&term);
    if (status == 0)
        print_result(call, &r);
    return status;
}

static int run(const struct cmd_call *call, struct err *err)
{
    static const struct {
        const char *name;
        change_fn *change;
    } verbs[] = {{"status", NULL}, {"upgrade", sidecar_upgrade}, {"rollback", sidecar_rollback}};
    cleanup_kube struct kube *k = NULL;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!str_eq(verbs[i].name, call->argv[0]))
            continue;
        sys_signals_init();
        if (open_cluster(call, &k, err) < 0)
            return -1;
        return verbs[i].change ? run_change(call, k, verbs[i].change, err)
                               : run_status(call, k, err);
    }
    return err_set(err, ERR_USAGE, "sidecar %s: status, upgrade or rollback", call->argv[0]);
}

const struct cmd_row cmd_sidecar = {
    .name = "sidecar",
    .args = "status [NAME] | upgrade NAME | rollback NAME",
    .summary = "give one container of a running pod another image, and touch nothing else",
    .min_args = 1,
    .max_args = 2,
    .flags = CMD_JSON | CMD_DRY_RUN,
    .options = options,
    .help = "NAME: a native sidecar (an init container with restartPolicy: Always), or any other "
            "container that lives.\n"
            "The node's kubelet must be 1.32 or later for a sidecar, or --exit-command be given. "
            "If the new one does not come\n"
            "up, the old image goes back by itself. What the Deployment's template says is changed "
            "by --update-template only:\n"
            "else a pod made anew has that image again.",
    .run = run,
};
