/* What runs and who gets the requests, compared with what the journal claims; and what the machine
 * can do. */
#include "driver/check.h"

#include "sys/feature.h"
#include "sys/file.h"
#include "sys/path.h"

#include <curl/curl.h>
#include <string.h>

/* --- instances ----------------------------------------------------------------------------- */

static void check_live_instance(struct check *c, const struct instance_facts *f)
{
    const char *name = colour_name(c->live), *journal = c->rq->live_version;
    char mend[64], words[64];

    (void)snprintf(mend, sizeof(mend), c->adopted ? "changeover start" : "changeover adopt");
    if (f->state == INSTANCE_UNKNOWN)
        findings_add(c->f, FINDING_ERROR, "instance", "changeover status",
                     "live %s: something runs that is not what was started: %s", name, f->text);
    else if (f->state != INSTANCE_RUNNING)
        findings_add(c->f, check_level(c), "instance", mend, "live %s does not run%s%s", name,
                     f->text[0] ? ": " : "", f->text);
    else if (journal && *journal && f->version[0] && !str_eq(journal, f->version))
        findings_add(c->f, FINDING_ERROR, "instance", "changeover adopt",
                     "live %s runs %s, and the journal says %s: somebody else has changed it", name,
                     f->version, journal);
    else if (f->restarts > 0)
        findings_add(c->f, FINDING_WARNING, "instance", f->log_path[0] ? f->log_path : NULL,
                     "live %s runs (%s), but it had to be started again %d times", name,
                     instance_words(words, sizeof(words), f), f->restarts);
    else
        findings_add(c->f, FINDING_OK, "instance", NULL, "live %s runs%s%s (%s)", name,
                     f->version[0] ? " " : "", f->version, instance_words(words, sizeof(words), f));
}

static void check_standby_instance(struct check *c, const struct instance_facts *f)
{
    const char *name = colour_name(c->standby);
    bool running = f->state == INSTANCE_RUNNING;
    char words[64];

    if (f->state == INSTANCE_UNKNOWN)
        findings_add(c->f, FINDING_ERROR, "instance", "changeover status", "%s: %s", name, f->text);
    else if (running == c->rq->standby_runs)
        findings_add(c->f, FINDING_OK, "instance", NULL, "%s %s, as it should", name,
                     running ? "runs" : "does not run");
    else if (running)
        findings_add(c->f, FINDING_ERROR, "instance",
                     "changeover rollback, or changeover stop with its colour",
                     "%s runs (%s), and no upgrade is open", name,
                     instance_words(words, sizeof(words), f));
    else
        findings_add(c->f, FINDING_ERROR, "instance", "changeover resume",
                     "%s should run and does not%s%s%s%s", name, f->text[0] ? ": " : "", f->text,
                     f->log_path[0] ? "; its log: " : "", f->log_path);
}

void check_instances(struct check *c)
{
    struct err e = {0};
    const struct runtime_ops *ops = c->drivers->runtime(c->from, &e);
    struct instance_facts live = {0}, standby = {0};

    if (!ops) {
        findings_add(c->f, FINDING_ERROR, "instance", *e.hint ? e.hint : NULL, "%s", e.msg);
        return;
    }
    if (ops->inspect(c->ctx, c->live, &live, &e) < 0)
        findings_add(c->f, FINDING_ERROR, "instance", NULL, "live %s: %s", colour_name(c->live),
                     e.msg);
    else
        check_live_instance(c, &live);
    if (ops->inspect(c->ctx, c->standby, &standby, &e) < 0)
        findings_add(c->f, FINDING_ERROR, "instance", NULL, "%s: %s", colour_name(c->standby),
                     e.msg);
    else
        check_standby_instance(c, &standby);
    if (ops->check)
        ops->check(c->ctx, c->live, c->f);
}

/* --- traffic ------------------------------------------------------------------------------- */

static void check_flags(struct check *c, const struct traffic_facts *f)
{
    char mend[160];
    const char *dir = c->from->traffic.flag_dir;

    if (f->flag == COLOUR_NONE) {
        findings_add(c->f, check_level(c), "traffic", "changeover traffic install",
                     "no readable flag in '%s': the proxy answers 503", dir);
    } else if (f->seen != f->flag) {
        (void)snprintf(mend, sizeof(mend), "chmod a+rx '%s' and every directory above it", dir);
        findings_add(
            c->f, FINDING_ERROR, "traffic", mend,
            "the flags in '%s' say %s, and the proxy would choose %s: its user cannot read them",
            dir, colour_name(f->flag), colour_name(f->seen));
    } else if (c->adopted && f->flag != c->rq->live) {
        (void)snprintf(mend, sizeof(mend), "changeover adopt --live %s", colour_name(f->flag));
        findings_add(c->f, FINDING_ERROR, "traffic", mend,
                     "the flags say that %s is live, the journal says %s", colour_name(f->flag),
                     colour_name(c->rq->live));
    } else {
        findings_add(c->f, FINDING_OK, "traffic", NULL,
                     "the traffic is at %s, and the proxy %s sees the flags", colour_name(f->flag),
                     f->version);
    }
    for (int i = GREEN; i < COLOURS; i++)
        if (f->held[i])
            findings_add(c->f, FINDING_WARNING, "traffic", "changeover resume",
                         "requests for %s are being held (flag hold-%s in '%s')",
                         colour_name((enum colour)i), colour_name((enum colour)i), dir);
}

static void check_route(struct check *c, const struct traffic_facts *f)
{
    char mend[64];
    (void)snprintf(mend, sizeof(mend), "changeover adopt --live %s", colour_name(f->flag));
    if (!f->installed || f->flag == COLOUR_NONE)
        findings_add(c->f, check_level(c), "traffic", "changeover traffic install", "%s", f->text);
    else if (c->adopted && f->flag != c->rq->live)
        findings_add(c->f, FINDING_ERROR, "traffic", mend, "%s %s, the journal says %s", f->source,
                     colour_name(f->flag), colour_name(c->rq->live));
    else
        findings_add(c->f, FINDING_OK, "traffic", NULL, "%s %s", f->source, colour_name(f->flag));
}

void check_traffic(struct check *c)
{
    struct err e = {0};
    struct traffic_facts f = {.flag = COLOUR_NONE, .seen = COLOUR_NONE};

    if (str_eq(c->from->traffic.driver, "none")) {
        findings_add(c->f, FINDING_OK, "traffic", NULL, "the spec has no traffic driver");
        return;
    }
    const struct traffic_ops *ops = c->drivers->traffic(c->from, &e);
    if (!ops || ops->inspect(c->ctx, TRAFFIC_PATIENT, &f, &e) < 0)
        findings_add(c->f, FINDING_ERROR, "traffic", *e.hint ? e.hint : NULL, "%s", e.msg);
    else if (ops->loses)
        check_route(c, &f);
    else if (!f.reachable)
        findings_add(c->f, FINDING_ERROR, "traffic",
                     "start it, or correct traffic.admin in the spec",
                     "the proxy does not answer at %s%s%s", c->from->traffic.admin,
                     f.text[0] ? ": " : "", f.text);
    else if (!f.installed)
        findings_add(c->f, check_level(c), "traffic", "changeover traffic install",
                     "the proxy does not run with our block%s%s", f.text[0] ? ": " : "", f.text);
    else
        check_flags(c, &f);
}

/* --- the machine --------------------------------------------------------------------------- */

static void check_state_dir(struct check *c)
{
    cleanup_free char *dir = sys_path_existing(c->ctx->service_dir);
    if (sys_path_kind(dir) != SYS_DIR)
        findings_add(c->f, FINDING_ERROR, "state", "name another with --state-dir",
                     "the state directory '%s' cannot be: '%s' is no directory",
                     c->ctx->service_dir, dir);
    else if (!sys_path_writable(dir))
        findings_add(
            c->f, FINDING_ERROR, "state", "run as root, or name another with --state-dir",
            "the state directory '%s' cannot be written: without the journal nothing is begun",
            dir);
    else
        findings_add(c->f, FINDING_OK, "state", NULL, "the state directory '%s' can be written",
                     c->ctx->service_dir);
}

static bool wants_tls(const struct spec *s)
{
    for (size_t i = 0; i < s->traffic.sites.n; i++)
        if (str_starts(s->traffic.sites.v[i], "https:"))
            return true;
    return s->traffic.tls_cert || s->traffic.tls_internal;
}

void check_system(struct check *c)
{
    char kernel[160], why[600];
    const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);

    check_state_dir(c);
    sys_kernel(kernel, sizeof(kernel));
    if (!sys_has_ofd_locks())
        findings_add(c->f, FINDING_ERROR, "kernel", "run on Linux 3.15 or later",
                     "%s has no open file description locks: two runs could not be kept apart",
                     kernel);
    else if (!sys_has_pidfd())
        findings_add(c->f, FINDING_WARNING, "kernel", "run on Linux 5.3 or later",
                     "%s has no pidfd_open: the end of a process is polled for", kernel);
    else
        findings_add(c->f, FINDING_OK, "kernel", NULL, "%s: locks and pidfd as needed", kernel);
    if (sys_can_cgroup(why, sizeof(why)))
        findings_add(c->f, FINDING_OK, "kernel", NULL,
                     "an instance gets a control group of its own");
    else
        findings_add(c->f, FINDING_WARNING, "kernel", "run as root, with control groups mounted",
                     "no control group for an instance (%s): its processes are found by descent",
                     why);
    if (wants_tls(c->from) && !(curl->features & CURL_VERSION_SSL))
        findings_add(c->f, FINDING_ERROR, "library", "apt-get install libcurl4",
                     "libcurl %s cannot speak TLS, and the site needs it", curl->version);
    else
        findings_add(c->f, FINDING_OK, "library", NULL, "libcurl %s%s%s", curl->version,
                     curl->ssl_version ? ", " : "", curl->ssl_version ? curl->ssl_version : "");
}
