#include "engine/guard.h"

#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/proc.h"
#include "sys/term.h"

#include <stdio.h>
#include <string.h>

#define ROUND (300 * NSEC_MS)
#define START_MAX \
    (20 * NSEC_S) /* two programs begin, maybe on a machine that is busy to the brim */

static const char *const role_name[GUARD_ROLES] = {"a", "b"};

static char *lock_path(const struct guard_place *place, enum guard_role role)
{
    return x_asprintf("%s/guard-%s.lock", place->service_dir, role_name[role]);
}

static bool lives(const struct guard_place *place, enum guard_role role)
{
    cleanup_free char *path = lock_path(place, role);
    return sys_lock_held(path, NULL, 0);
}

int guard_alive(const struct guard_place *place)
{
    return lives(place, GUARD_A) + lives(place, GUARD_B);
}

static int spawn(const struct guard_place *place, enum guard_role role, struct err *err)
{
    char exe[4096];
    cleanup_free char *log = x_asprintf("%s/guard.log", place->service_dir);
    const char *const argv[] = {sys_self_exe(exe, sizeof(exe)),
                                "guard",
                                "-f",
                                place->spec_path,
                                "--state-dir",
                                place->state_root,
                                role_name[role],
                                NULL};
    struct proc_id id;
    return sys_proc_spawn_detached(argv, log, &id, err);
}

int guard_ensure(const struct guard_place *place, struct err *err)
{
    for (int r = 0; r < GUARD_ROLES; r++)
        if (!lives(place, (enum guard_role)r) && spawn(place, (enum guard_role)r, err) < 0)
            return err_ctx(err, "start the guard");
    nsec_t deadline = sys_clock_mono() + START_MAX;
    while (guard_alive(place) < GUARD_ROLES) {
        if (sys_clock_mono() > deadline) {
            err_set(err, ERR_FAILED, "the guard does not come up");
            return err_hint(err, "look at %s/guard.log", place->service_dir);
        }
        sys_sleep(5 * NSEC_MS);
    }
    return 0;
}

static void rounds(const struct guard_place *place, enum guard_role role, guard_duty_fn *duty,
                   void *ctx, const struct sink *log)
{
    enum guard_role other = role == GUARD_A ? GUARD_B : GUARD_A;
    while (!sys_interrupted()) {
        struct err round = {0};
        int r = duty(ctx, &round);
        if (r > 0)
            break;
        if (r < 0)
            event_warn(log, "guard %s: %s", role_name[role], round.msg);
        if (!lives(place, other) && spawn(place, other, &round) < 0)
            event_warn(log, "guard %s: %s", role_name[role], round.msg);
        sys_sleep(ROUND);
    }
}

int guard_live(const struct guard_place *place, enum guard_role role, guard_duty_fn *duty,
               void *ctx, const struct sink *log, struct err *err)
{
    cleanup_free char *path = lock_path(place, role);
    char label[64];
    snprintf(label, sizeof(label), "guard %s, pid %d", role_name[role], (int)sys_proc_self().pid);
    for (bool again = false;; again = true) {
        cleanup_fd int fd = -1;
        if (sys_lock_take(path, label, 0, &fd, err) < 0)
            return again && err->code == ERR_LOCKED ? 0 : -1; /* a new one has come meanwhile */
        rounds(place, role, duty, ctx, log);
        sys_close_p(&fd);
        /* Whoever has begun an upgrade since our last look may have seen our lock, and counts on
         * us. */
        struct err ignored = {0};
        if (sys_interrupted() || duty(ctx, &ignored) > 0)
            return 0;
    }
}
