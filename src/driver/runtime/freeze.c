/* freeze: a helper process of ours stops the instance, says so, and lets it go on when our end of
 * its socket closes, however we die, or at the ceiling. What it says: "F" frozen, "N" could not,
 * then "T" + ns held (thawed because we asked), or "C" + ns (the ceiling came first). */
#include "driver/runtime/process.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

struct word {
    char what; /* F N T C */
    int sys;
    nsec_t held;
};

struct freezing {
    struct run run;
    nsec_t ceiling;
    struct proc_id stopped[RUN_TREE_MAX];
    size_t n;
};

static bool is_stopped(pid_t pid)
{
    struct sys_task t;
    return !sys_task_read(pid, &t) || t.state == 'T' || t.state == 'Z' || t.state == 'X';
}

/* Until a look finds nobody who runs: a process may fork between the look and its SIGSTOP. */
static int stop_each(struct freezing *f, nsec_t until)
{
    for (;;) {
        bool all = true;
        run_tree(&f->run, f->stopped, RUN_TREE_MAX, &f->n);
        for (size_t i = 0; i < f->n; i++) {
            if (is_stopped(f->stopped[i].pid))
                continue;
            all = false;
            if (sys_proc_signal(f->stopped[i], SIGSTOP) < 0)
                return -1;
        }
        if (all)
            return 0;
        if (sys_clock_mono() >= until) {
            errno = ETIMEDOUT;
            return -1;
        }
        sys_sleep(NSEC_MS);
    }
}

static int thaw_run(const struct run *r)
{
    if (r->cgroup.track[0]) {
        if (!sys_cgroup_frozen(&r->cgroup))
            return 0;
        return sys_cgroup_freeze(&r->cgroup, false, NSEC_S);
    }
    struct proc_id ids[RUN_TREE_MAX];
    size_t n = 0;
    int failed = 0;
    run_tree(r, ids, RUN_TREE_MAX, &n);
    for (size_t i = n; i-- > 0;) { /* children first: a shell notices nothing */
        struct sys_task t;
        if (sys_task_read(ids[i].pid, &t) && t.state == 'T' && sys_proc_signal(ids[i], SIGCONT) < 0)
            failed = errno;
    }
    errno = failed;
    return failed ? -1 : 0;
}

int process_thaw_all(const struct run *r, struct err *err)
{
    if (thaw_run(r) < 0)
        return err_sys(err, ERR_FAILED, "let the frozen instance go on");
    return 0;
}

static void holder(void *ctx, int fd)
{
    struct freezing *f = ctx;
    nsec_t began = sys_clock_mono(), until = began + f->ceiling;
    sys_name_self("changeover-ice");
    int r = f->run.cgroup.track[0] ? sys_cgroup_freeze(&f->run.cgroup, true, f->ceiling)
                                   : stop_each(f, until);
    struct word w = {
        .what = r < 0 ? 'N' : 'F', .sys = r < 0 ? errno : 0, .held = sys_clock_mono() - began};
    if (r < 0)
        (void)thaw_run(&f->run);
    if (sys_send(fd, &w, sizeof(w)) < 0 || r < 0) {
        (void)thaw_run(&f->run);
        return;
    }
    nsec_t left = until - sys_clock_mono();
    bool asked = sys_wait_readable(fd, left > 0 ? left : 0) == 1;
    while (thaw_run(&f->run) < 0)
        sys_sleep(NSEC_MS);
    w = (struct word){.what = asked ? 'T' : 'C', .held = sys_clock_mono() - began};
    (void)sys_send(fd, &w, sizeof(w));
}

/* A whole word, 0 if the helper went away without one. */
static bool hear(const struct driver_ctx *ctx, int fd, nsec_t within, struct word *ret)
{
    nsec_t until = sys_clock_mono() + within;
    char *p = (char *)ret;
    size_t n = 0;
    while (n < sizeof(*ret)) {
        nsec_t left = until - sys_clock_mono();
        if (left <= 0)
            return false;
        (void)driver_poll(ctx);
        if (sys_wait_readable(fd, left < 100 * NSEC_MS ? left : 100 * NSEC_MS) != 1)
            continue;
        ssize_t got = sys_read(fd, p + n, sizeof(*ret) - n);
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    return true;
}

int process_freeze(const struct driver_ctx *ctx, enum colour c, nsec_t ceiling, int *ret_fd,
                   struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    cleanup_free struct process_view *v = x_alloc(sizeof(*v));
    cleanup_free struct freezing *f = x_alloc(sizeof(*f));
    if (process_view(dir, v, err) < 0)
        return -1;
    if (!v->alive) {
        struct instance_facts facts;
        process_facts(dir, v, &facts);
        return err_set(err, ERR_FAILED, "freeze %s: it does not run (%s)", colour_name(c),
                       facts.text);
    }
    f->run = v->run;
    f->ceiling = ceiling;
    int raw = -1;
    struct word w;
    if (sys_helper_start(holder, f, &raw, err) < 0)
        return err_ctx(err, "freeze %s", colour_name(c));
    cleanup_fd int fd = raw;
    if (!hear(ctx, fd, ceiling + NSEC_S, &w)) {
        (void)thaw_run(&v->run);
        return err_set(err, ERR_FAILED, "freeze %s: its holder went away", colour_name(c));
    }
    if (w.what != 'F') {
        char words[24];
        errno = w.sys;
        if (w.sys == ETIMEDOUT)
            return err_set(err, ERR_TIMEOUT, "freeze %s: it did not stop within %s", colour_name(c),
                           clock_words(words, sizeof(words), ceiling));
        return err_sys(err, ERR_FAILED, "freeze %s", colour_name(c));
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int process_thaw(const struct driver_ctx *ctx, enum colour c, int fd, nsec_t *ret_held_ns,
                 struct err *err)
{
    cleanup_free char *dir = run_dir(ctx, c);
    cleanup_fd int held = fd;
    struct word w = {0};
    struct run r;
    bool heard = false;
    if (fd >= 0) {
        sys_end_writing(fd);
        heard = hear(ctx, fd, 5 * NSEC_S, &w);
    }
    /* Whatever the holder did or could not do: nothing stays frozen behind our back. */
    struct err none = {0};
    if (run_read(dir, &r, &none) == 0 && process_thaw_all(&r, err) < 0)
        return -1;
    if (ret_held_ns)
        *ret_held_ns = w.held;
    if (fd < 0)
        return 0;
    if (!heard || w.what == 'C')
        return err_set(err, ERR_TIMEOUT,
                       heard ? "the freeze of %s reached its ceiling and was thawed before the end"
                             : "the holder of the freeze of %s was killed: it was thawed early",
                       colour_name(c));
    return 0;
}
