/* Other services under the same state root: nothing of theirs may be ours as well. */
#include "driver/check.h"

#include "driver/portset.h"
#include "sys/file.h"
#include "sys/path.h"

#include <string.h>

#define SPEC_MAX ((size_t)4 << 20)
#define MEND "change the spec of one of the two services"

static int compare_volumes(struct check *c, const struct spec *ours, const struct spec *theirs)
{
    int bad = 0;
    for (size_t i = 0; i < ours->volumes_n; i++)
        for (size_t k = 0; k < theirs->volumes_n; k++) {
            const struct spec_volume *a = &ours->volumes[i], *b = &theirs->volumes[k];
            if (sys_path_relation(a->path, b->path) == SYS_PATH_APART)
                continue;
            bad++;
            findings_add(
                c->f, FINDING_ERROR, "services", MEND,
                "volume %s of %s ('%s') and volume %s of service %s, %s ('%s') are not apart",
                a->name, colour_name(ours->colour), a->path, b->name, theirs->service,
                colour_name(theirs->colour), b->path);
        }
    return bad;
}

static int compare_ports(struct check *c, const struct spec *ours, const struct spec *theirs)
{
    const struct spec_port *p, *q;
    uint16_t port = portset_overlap(ours, theirs, &p, &q);
    if (!port)
        return 0;
    findings_add(c->f, FINDING_ERROR, "services", MEND,
                 "port %u is %s of %s and %s of service %s, %s", port, p->name,
                 colour_name(ours->colour), q->name, theirs->service, colour_name(theirs->colour));
    return 1;
}

static int compare_traffic(struct check *c, const struct spec *ours, const struct spec *theirs)
{
    const struct spec_traffic *a = &ours->traffic, *b = &theirs->traffic;
    int bad = 0;

    if (a->flag_dir && b->flag_dir &&
        sys_path_relation(a->flag_dir, b->flag_dir) != SYS_PATH_APART) {
        bad++;
        findings_add(c->f, FINDING_ERROR, "services", MEND,
                     "the flag directory '%s' is not apart from '%s' of service %s: one flip would "
                     "move both",
                     a->flag_dir, b->flag_dir, theirs->service);
    }
    const uint16_t own[] = {a->which_port, a->preview_port[GREEN], a->preview_port[BLUE]};
    const uint16_t their[] = {b->which_port, b->preview_port[GREEN], b->preview_port[BLUE]};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        for (size_t k = 0; k < ARRAY_LEN(their); k++)
            if (own[i] && own[i] == their[k]) {
                bad++;
                findings_add(
                    c->f, FINDING_ERROR, "services", MEND,
                    "port %u of traffic (which_port, preview_ports) is service %s's as well",
                    own[i], theirs->service);
            }
    return bad;
}

static void compare(struct check *c, const char *dir, const char *path, const char *text)
{
    int bad = 0;
    for (int k = GREEN; k < COLOURS; k++) {
        cleanup_spec struct spec *theirs = NULL;
        struct err e = {0};
        if (spec_parse(text, path, (enum colour)k, NULL, &theirs, &e) < 0) {
            findings_add(
                c->f, FINDING_WARNING, "services", NULL,
                "the spec of another service, '%s', cannot be read, so nothing is compared: %.300s",
                path, e.msg);
            return;
        }
        if (k == GREEN)
            bad += compare_traffic(c, c->from, theirs);
        for (int i = GREEN; i < COLOURS; i++)
            bad += compare_volumes(c, c->ctx->side[i], theirs) +
                   compare_ports(c, c->ctx->side[i], theirs);
    }
    if (!bad)
        findings_add(c->f, FINDING_OK, "services", NULL, "nothing shared with the service in '%s'",
                     dir);
}

void check_others(struct check *c)
{
    for (const char *const *d = c->rq->other_state_dirs; d && *d; d++) {
        cleanup_free char *path = x_asprintf("%s/spec.yml", *d);
        cleanup_str struct str text = {.max = SPEC_MAX};
        struct err e = {0};
        if (sys_path_kind(*d) != SYS_DIR ||
            sys_path_relation(*d, c->ctx->service_dir) == SYS_PATH_SAME)
            continue;
        if (sys_file_read(path, SPEC_MAX, &text, &e) == 0)
            compare(c, *d, path, str_cstr(&text));
        else if (e.code != ERR_NOT_FOUND)
            findings_add(c->f, FINDING_WARNING, "services", NULL,
                         "another service's spec cannot be read, so nothing is compared: %s",
                         e.msg);
    }
}
