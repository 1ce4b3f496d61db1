/* start: everything that may refuse comes before the shim is spawned; from then on it is a matter
 * of one answer on a socket. See shim.h for what is said on it. */
#include "driver/runtime/process.h"
#include "driver/runtime/safety.h"
#include "driver/runtime/tail.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"

#include <string.h>

#define SHIM_PATIENCE (20 * NSEC_S)

/* One line from the shim, without its end; -1: it went away or took too long. */
static int shim_line(const struct driver_ctx *ctx, int fd, char *buf, size_t size, struct err *err)
{
    nsec_t deadline = sys_clock_mono() + SHIM_PATIENCE;
    size_t n = 0;
    while (n + 1 < size) {
        int ready = sys_wait_readable(fd, 100 * NSEC_MS);
        if (ready == 0 && driver_poll(ctx) >= 2)
            return err_set(err, ERR_INTERRUPTED, "interrupted while the shim started");
        if (ready == 0 && sys_clock_mono() >= deadline)
            return err_set(err, ERR_TIMEOUT, "the shim did not answer within 20 s");
        if (ready == 0)
            continue;
        if (sys_read(fd, buf + n, 1) != 1)
            return err_set(err, ERR_FAILED, "the shim ended without a word");
        if (buf[n] == '\n')
            break;
        n++;
    }
    buf[n] = '\0';
    return 0;
}

static int shim_start(const struct driver_ctx *ctx, const char *dir, struct err *err)
{
    const char *const argv[] = {"changeover", "shim", dir, NULL};
    char line[2048] = "";
    struct proc_id id;
    int raw = -1;
    if (sys_spawn_connected(SYS_SELF, argv, "/dev/null", &raw, &id, err) < 0)
        return err_ctx(err, "start the shim");
    cleanup_fd int fd = raw;
    if (shim_line(ctx, fd, line, sizeof(line), err) < 0)
        return -1;
    if (line[0] == 'E')
        return err_set(err, ERR_FAILED, "%s", line + 1);
    /* Its pid is on disk now; our death up to here means that it never ran. */
    if (sys_fault_point("runtime/start:committed") < 0 || sys_send(fd, "g", 1) < 0)
        return err_sys(err, ERR_FAILED, "let the instance go");
    if (shim_line(ctx, fd, line, sizeof(line), err) < 0)
        return -1;
    return line[0] == 'R' ? 0 : err_set(err, ERR_FAILED, "%s", line + 1);
}

static int absolute_dir(const struct driver_ctx *ctx, enum colour c, char **ret, struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    if (sys_dir_make(dir, 0700, err) < 0)
        return -1;
    return sys_path_real(dir, ret, err);
}

/* 1: it runs as asked; 0: nothing runs; -1: something does that is in the way. */
static int already(const struct driver_ctx *ctx, enum colour c, const char *dir,
                   const struct launch *l, struct err *err)
{
    cleanup_free struct process_view *v = x_alloc(sizeof(*v));
    struct instance_facts f;
    for (nsec_t until = sys_clock_mono() + SHIM_PATIENCE;;) {
        if (process_view(dir, v, err) < 0)
            return -1;
        process_facts(dir, v, &f);
        /* A starter that was killed may have left a shim half way: it ends in one of the other
         * states. */
        bool half = v->shim_alive && f.state == INSTANCE_UNKNOWN && !v->left_n;
        if (!half || sys_clock_mono() >= until)
            break;
        if (driver_poll(ctx) >= 2)
            return err_set(err, ERR_INTERRUPTED, "interrupted");
        sys_sleep(20 * NSEC_MS);
    }
    if (f.state == INSTANCE_UNKNOWN) {
        err_set(err, ERR_EXISTS, "%s: %s", colour_name(c), f.text);
        return err_hint(err, "changeover stop %s", colour_name(c));
    }
    if (f.state != INSTANCE_RUNNING)
        return 0;
    if (!v->run.adopted && strcmp(v->run.spec_hash, l->spec_hash) != 0) {
        err_set(err, ERR_EXISTS,
                "%s runs already (process %d), started from another spec or version",
                colour_name(c), (int)f.pid.pid);
        return err_hint(err, "changeover stop %s", colour_name(c));
    }
    return 1;
}

int process_start(const struct driver_ctx *ctx, enum colour c, bool standby, struct err *err)
{
    cleanup_free char *dir = NULL;
    cleanup_launch struct launch l = {0};
    if (absolute_dir(ctx, c, &dir, err) < 0 || launch_build(ctx, c, standby, &l, err) < 0)
        return -1;
    cleanup_free char *stop = run_path(dir, "stop");
    int runs = already(ctx, c, dir, &l, err);
    if (runs < 0)
        return -1;
    if (runs)
        return sys_file_remove(stop, err);
    if (safety_sentinels(ctx, c, err) < 0 || safety_identities(ctx, c, err) < 0)
        return err_ctx(err, "start %s", colour_name(c));
    if (!l.version[0] && process_version(ctx, c, &l, l.version, sizeof(l.version), err) < 0)
        return -1;
    if (sys_file_remove(stop, err) < 0 || launch_write(dir, &l, err) < 0)
        return -1;
    if (shim_start(ctx, dir, err) < 0)
        return err_ctx(err, "start %s", colour_name(c));
    return 0;
}
