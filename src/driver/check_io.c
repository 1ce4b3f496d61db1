/* Whether what the spec asks for to keep the standby from disturbing live has an effect here. */
#include "driver/check.h"

#include "sys/cgroup.h"
#include "sys/iodevice.h"

#define BRAKE "runtime.standby.brake (pauses the standby while live is slow)"

/* Which schedulers look at what. The others take io as it comes. */
static const struct {
    const char *name;
    bool ionice, weight;
} schedulers[] = {{"bfq", true, true}, {"cfq", true, true}, {"mq-deadline", true, false}};

static bool honours(const char *scheduler, bool ionice, bool weight)
{
    for (size_t i = 0; i < ARRAY_LEN(schedulers); i++)
        if (str_eq(schedulers[i].name, scheduler))
            return (!ionice || schedulers[i].ionice) && (!weight || schedulers[i].weight);
    return false;
}

static void check_volume_io(struct check *c, const struct spec_volume *v)
{
    const struct spec_runtime *r = &c->to->runtime;
    bool weight = r->standby_io_weight > 0 && sys_cgroup_weighs_io();
    const char *what = weight && r->standby_ionice ? "io_weight and ionice"
                       : weight                    ? "io_weight"
                                                   : "ionice";
    struct sys_io_device d;
    cleanup_free char *mend = NULL;
    if (!sys_io_device(v->path, &d) || str_eq(d.fs, "tmpfs") || str_eq(d.fs, "ramfs"))
        return; /* memory has no queue */
    if (str_eq(d.fs, "zfs")) {
        findings_add(c->f, FINDING_WARNING, "io", BRAKE,
                     "volume %s: ZFS orders its io by itself, so %s of the standby has no effect "
                     "there",
                     v->name, what);
    } else if (!d.name[0]) {
        findings_add(c->f, FINDING_WARNING, "io", BRAKE,
                     "volume %s: what device is behind %s is not known, so neither is whether %s "
                     "of the standby has an effect",
                     v->name, d.fs, what);
    } else if (!honours(d.scheduler, r->standby_ionice > 0, weight)) {
        mend = x_asprintf("echo bfq >/sys/block/%s/queue/scheduler (of a partition: its disk), or "
                          "in the spec " BRAKE,
                          d.name);
        findings_add(c->f, FINDING_WARNING, "io", mend,
                     "volume %s: the scheduler of %s is '%s', and %s of the standby has no effect "
                     "with it",
                     v->name, d.name, d.scheduler, what);
    } else {
        findings_add(c->f, FINDING_OK, "io", NULL, "volume %s: %s (%s) honours %s of the standby",
                     v->name, d.name, d.scheduler, what);
    }
}

static void no_group(struct check *c, const char *topic, const char *controller, const char *what,
                     const char *instead)
{
    char top[256];
    cleanup_free char *mend =
        sys_cgroup_top(top, sizeof(top))
            ? x_asprintf("echo +%s >%s/cgroup.subtree_control (for the whole machine, until the "
                         "next boot), or in the spec %s",
                         controller, top, instead)
            : x_strdup(instead);
    findings_add(c->f, FINDING_WARNING, topic, mend,
                 "no control group here weighs %s: runtime.standby.%s_weight has no effect", what,
                 topic);
}

void check_io(struct check *c)
{
    const struct spec_runtime *r = &c->to->runtime;
    if (r->standby_cpu_weight > 0 && !sys_cgroup_weighs_cpu())
        no_group(c, "cpu", "cpu", "cpu time", "runtime.standby.nice");
    if (r->standby_io_weight > 0 && !sys_cgroup_weighs_io()) {
        no_group(c, "io", "io", "io", BRAKE);
        if (!r->standby_ionice)
            return;
    }
    for (size_t i = 0; (r->standby_io_weight > 0 || r->standby_ionice) && i < c->to->volumes_n; i++)
        check_volume_io(c, &c->to->volumes[i]);
}
