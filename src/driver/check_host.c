/* What the machine does after a reboot, and whether the flag directory knows another journal of
 * this service. */
#include "driver/check.h"

#include "driver/owner.h"
#include "sys/file.h"

#include <string.h>

#define SYSTEMD "/run/systemd/system" /* there while systemd runs: sd_booted(3) */
#define WANTS "/etc/systemd/system/multi-user.target.wants"

void check_boot(struct check *c)
{
    cleanup_free char *unit = x_asprintf("%s/changeover@%s.service", WANTS, c->ctx->service);
    cleanup_free char *mend =
        x_asprintf("changeover.yml to /etc/changeover/%s.yml, then: systemctl enable changeover@%s",
                   c->ctx->service, c->ctx->service);
    if (sys_path_kind(SYSTEMD) != SYS_DIR)
        findings_add(
            c->f, FINDING_OK, "boot", NULL,
            "systemd does not run here: after a reboot, changeover start --boot is yours to run");
    else if (sys_path_kind(unit) == SYS_MISSING)
        findings_add(c->f, FINDING_WARNING, "boot", mend,
                     "the unit changeover@%s is not enabled: after a reboot neither the instance "
                     "nor the guard comes "
                     "back by itself",
                     c->ctx->service);
    else
        findings_add(c->f, FINDING_OK, "boot", NULL, "changeover@%s brings back what should run",
                     c->ctx->service);
}

void check_owner(struct check *c)
{
    cleanup_str struct str found = {0};
    if (owner_read(c->from->traffic.flag_dir, &found) <= 0 ||
        str_eq(str_cstr(&found), c->ctx->service_dir))
        return;
    cleanup_free char *mend =
        x_asprintf("--state-dir %.*s", (int)(strrchr(str_cstr(&found), '/') - str_cstr(&found)),
                   str_cstr(&found));
    findings_add(c->f, FINDING_ERROR, "state", mend,
                 "the flag directory '%s' belongs to the journal in '%s', not to the one in '%s': "
                 "two journals of one "
                 "service would undo each other's work",
                 c->from->traffic.flag_dir, str_cstr(&found), c->ctx->service_dir);
}
