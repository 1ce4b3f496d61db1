#include "sys/proc.h"

#include "sys/clock.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_DEFAULT (60 * NSEC_S)
#define TERM_GRACE (2 * NSEC_S)
#define TICK (200 * NSEC_MS)
#define OUTPUT_DEFAULT ((size_t)65536)

/* What a child tells its parent when exec did not happen. */
struct spawn_failure {
    int sys;
    int stage; /* 0: never let go, 1: chdir, 2: user, 3: exec */
};

void proc_result_done(struct proc_result *r)
{
    str_done(&r->out);
    str_done(&r->err);
}

uint64_t sys_proc_start_ticks(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    cleanup_str struct str text = {0};
    if (sys_file_read(path, 4096, &text, NULL) < 0)
        return 0;
    const char *p = strrchr(str_cstr(&text), ')'); /* the name may hold blanks and brackets */
    if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
        return 0;
    p += 2;
    for (int field = 3; field < 22 && p; field++)
        if ((p = strchr(p, ' ')))
            p++;
    return p ? strtoull(p, NULL, 10) : 0;
}

bool sys_proc_alive(struct proc_id id)
{
    if (id.pid <= 0)
        return false;
    uint64_t now = sys_proc_start_ticks(id.pid);
    return now && (id.start_ticks == 0 || now == id.start_ticks);
}

struct proc_id sys_proc_self(void)
{
    pid_t pid = getpid();
    return (struct proc_id){.pid = pid, .start_ticks = sys_proc_start_ticks(pid)};
}

pid_t sys_proc_parent(void)
{
    return getppid();
}

int sys_proc_signal(struct proc_id id, int sig)
{
    if (!sys_proc_alive(id))
        return 0;
    cleanup_fd int fd = pidfd_open(id.pid, 0);
    if (fd < 0)
        return errno == ESRCH ? 0 : -1;
    if (!sys_proc_alive(id)) /* the pid was given away before pidfd_open */
        return 0;
    if (pidfd_send_signal(fd, sig, NULL, 0) < 0 && errno != ESRCH)
        return -1;
    return 0;
}

bool sys_proc_wait_gone(struct proc_id id, nsec_t deadline)
{
    cleanup_fd int fd = id.pid > 0 ? pidfd_open(id.pid, 0) : -1;
    while (sys_proc_alive(id)) {
        nsec_t left = deadline ? deadline - sys_clock_mono() : NSEC_S;
        if (left <= 0)
            return false;
        int ms = left > NSEC_S ? 1000 : (int)(left / NSEC_MS) + 1;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, fd >= 0 ? 1 : 0, fd >= 0 ? ms : 20) > 0 && !sys_proc_alive(id))
            return true;
    }
    return true;
}

static void child_fail(int report, int stage)
{
    struct spawn_failure f = {.sys = errno, .stage = stage};
    if (write(report, &f, sizeof(f)) < 0)
        _exit(126);
    _exit(127);
}

static void child_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            (void)sigaction(sig, &dfl, NULL);
}

/* Between fork and exec. `go` gives one byte when the parent has noted who we are. */
static void child_exec(const struct proc_spec *spec, int go, int report, const int std[3])
{
    char byte;
    setpgid(0, 0);
    for (int i = 0; i < 3; i++)
        if (dup2(std[i], i) < 0)
            _exit(126);
    child_signals();
    if (sys_read(go, &byte, 1) != 1)
        child_fail(report, 0);
    if (spec->cwd && chdir(spec->cwd) < 0)
        child_fail(report, 1);
    if (spec->set_ids && (setgroups(0, NULL) < 0 || setgid(spec->gid) < 0 || setuid(spec->uid) < 0))
        child_fail(report, 2);
    char *const *argv = (char *const *)(uintptr_t)spec->argv;
    if (spec->envp)
        execvpe(argv[0], argv, (char *const *)(uintptr_t)spec->envp);
    else
        execvp(argv[0], argv);
    child_fail(report, 3);
}

static int spawn_error(const struct proc_spec *spec, const struct spawn_failure *f, struct err *err)
{
    static const char *const what[] = {"start", "change the directory for", "change the user for",
                                       "execute"};
    errno = f->sys;
    return err_sys(err, f->sys == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "%s '%s'", what[f->stage],
                   f->stage == 1 ? spec->cwd : spec->argv[0]);
}

/* One of the two output streams. */
struct stream {
    int fd;
    struct str *to;
    size_t max;
};

static void stream_read(struct stream *s)
{
    char buf[8192];
    ssize_t n = sys_read(s->fd, buf, sizeof(buf));
    if (n <= 0) {
        sys_close_p(&s->fd);
        return;
    }
    size_t room = s->max > s->to->len ? s->max - s->to->len : 0;
    str_add_n(s->to, buf, (size_t)n < room ? (size_t)n : room);
}

/* Time is up, or it was asked to end: SIGTERM to its group, and SIGKILL when the grace is over too.
 */
struct ending {
    nsec_t deadline;
    int sent;
};

static void end_in_time(struct ending *e, pid_t pid, const struct proc_spec *spec,
                        struct proc_result *ret)
{
    bool asked = spec->tick && spec->tick(spec->tick_ctx) >= 2 && e->sent == 0;
    if (e->sent >= 2 || (!asked && sys_clock_mono() < e->deadline))
        return;
    ret->interrupted = ret->interrupted || asked;
    ret->timed_out = !ret->interrupted;
    kill(-pid, e->sent == 0 ? SIGTERM : SIGKILL);
    e->deadline = sys_clock_mono() + TERM_GRACE;
    e->sent++;
}

/* Reads both streams until the child is gone; a grandchild that keeps them open does not hold us.
 */
static int collect(pid_t pid, int pidfd, struct stream s[2], const struct proc_spec *spec,
                   struct proc_result *ret)
{
    struct ending e = {.deadline =
                           sys_clock_mono() + (spec->timeout ? spec->timeout : TIMEOUT_DEFAULT)};
    int status = 0;
    for (;;) {
        struct pollfd p[3] = {{.fd = s[0].fd, .events = POLLIN},
                              {.fd = s[1].fd, .events = POLLIN},
                              {.fd = pidfd, .events = POLLIN}};
        nsec_t left = e.deadline - sys_clock_mono();
        bool near = left > 0 && left < TICK && e.sent < 2;
        int ready = poll(p, 3, (int)((near ? left : TICK) / NSEC_MS) + 1);
        for (int i = 0; i < 2; i++)
            if (ready > 0 && p[i].revents)
                stream_read(&s[i]);
        if (ready > 0 && p[2].revents && !(p[0].revents & POLLIN) && !(p[1].revents & POLLIN))
            break;
        end_in_time(&e, pid, spec, ret);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (e.sent)
        kill(-pid, SIGKILL); /* what it left in its group */
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

int sys_proc_run(const struct proc_spec *spec, struct proc_result *ret, struct err *err)
{
    int out[2] = {-1, -1}, errs[2] = {-1, -1}, go[2] = {-1, -1}, report[2] = {-1, -1};
    cleanup_fd int null = sys_open("/dev/null", O_RDWR, 0);
    if (null < 0 || sys_pipe(out) < 0 || sys_pipe(errs) < 0 || sys_pipe(go) < 0 ||
        sys_pipe(report) < 0)
        return err_sys(err, ERR_FAILED, "make pipes for '%s'", spec->argv[0]);
    cleanup_fd int out_r = out[0], err_r = errs[0], go_w = go[1], report_r = report[0];
    pid_t pid = fork();
    if (pid == 0) {
        sys_close_p(&go[1]);
        child_exec(spec, go[0], report[1], (int[]){null, out[1], errs[1]});
    }
    int saved = errno;
    sys_close_p(&out[1]);
    sys_close_p(&errs[1]);
    sys_close_p(&go[0]);
    sys_close_p(&report[1]);
    errno = saved;
    if (pid < 0)
        return err_sys(err, ERR_FAILED, "fork for '%s'", spec->argv[0]);
    setpgid(pid, pid);
    struct proc_id id = {.pid = pid, .start_ticks = sys_proc_start_ticks(pid)};
    if (spec->started && spec->started(spec->ctx, id, err) < 0) {
        sys_close_p(&go_w);
        reap(pid);
        return -1;
    }
    struct spawn_failure f = {.sys = EPIPE};
    if (sys_write_all(go_w, "g", 1) < 0 || sys_read(report_r, &f, sizeof(f)) == sizeof(f)) {
        reap(pid);
        return spawn_error(spec, &f, err);
    }
    cleanup_fd int pidfd = pidfd_open(pid, 0);
    size_t max = spec->max_output ? spec->max_output : OUTPUT_DEFAULT;
    struct stream s[2] = {{out_r, &ret->out, max}, {err_r, &ret->err, max}};
    out_r = err_r = -1;
    ret->timed_out = ret->interrupted = false;
    ret->status = collect(pid, pidfd, s, spec, ret);
    sys_close_p(&s[0].fd);
    sys_close_p(&s[1].fd);
    return 0;
}

/* The last non-empty line. */
static const char *last_line(struct str *s)
{
    while (s->len && (s->buf[s->len - 1] == '\n' || s->buf[s->len - 1] == ' '))
        s->buf[--s->len] = '\0';
    const char *nl = strrchr(str_cstr(s), '\n');
    return nl ? nl + 1 : str_cstr(s);
}

int sys_proc_run_ok(const struct proc_spec *spec, struct proc_result *ret, struct err *err)
{
    if (sys_proc_run(spec, ret, err) < 0)
        return -1;
    char words[24];
    if (ret->interrupted)
        return err_set(err, ERR_INTERRUPTED, "'%s' was ended, as asked", spec->argv[0]);
    if (ret->timed_out)
        return err_set(
            err, ERR_TIMEOUT, "'%s' did not end within %s and was killed", spec->argv[0],
            clock_words(words, sizeof(words), spec->timeout ? spec->timeout : TIMEOUT_DEFAULT));
    if (ret->status != 0)
        return err_set(err, ERR_FAILED, "'%s' ended with status %d: %s", spec->argv[0], ret->status,
                       last_line(ret->err.len ? &ret->err : &ret->out));
    return 0;
}

/* Second child of the double fork: own session, then exec; its pid goes up the pipe. */
static void detached_child(const char *const *argv, const int std[3], int report)
{
    setsid();
    pid_t pid = fork();
    if (pid != 0)
        _exit(pid < 0 ? 126 : 0);
    struct proc_id self = sys_proc_self();
    for (int i = 0; i < 3; i++)
        if (dup2(std[i], i) < 0)
            _exit(126);
    child_signals();
    if (write(report, &self, sizeof(self)) < 0)
        _exit(126);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    child_fail(report, 3);
}

int sys_proc_spawn_detached(const char *const *argv, const char *log_path, struct proc_id *ret,
                            struct err *err)
{
    int report[2];
    cleanup_fd int null = sys_open("/dev/null", O_RDWR, 0);
    cleanup_fd int log =
        sys_open(log_path ? log_path : "/dev/null", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (null < 0 || log < 0 || sys_pipe(report) < 0)
        return err_sys(err, ERR_FAILED, "open '%s' for the output of '%s'",
                       log_path ? log_path : "/dev/null", argv[0]);
    pid_t pid = fork();
    if (pid == 0) {
        sys_close_p(&report[0]);
        detached_child(argv, (int[]){null, log, log}, report[1]);
    }
    sys_close_p(&report[1]);
    cleanup_fd int report_r = report[0];
    if (pid < 0)
        return err_sys(err, ERR_FAILED, "fork for '%s'", argv[0]);
    reap(pid);
    struct proc_id id;
    struct spawn_failure f;
    if (sys_read(report_r, &id, sizeof(id)) != sizeof(id))
        return err_set(err, ERR_FAILED, "'%s' could not be started", argv[0]);
    if (sys_read(report_r, &f, sizeof(f)) == sizeof(f)) {
        errno = f.sys;
        return err_sys(err, f.sys == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "execute '%s'", argv[0]);
    }
    *ret = id;
    return 0;
}

int sys_proc_run_foreground(const char *const *argv, struct err *err)
{
    int report[2], status = 0;
    if (sys_pipe(report) < 0)
        return err_sys(err, ERR_FAILED, "make a pipe for '%s'", argv[0]);
    pid_t pid = fork();
    if (pid == 0) {
        child_signals();
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        child_fail(report[1], 3);
    }
    sys_close_p(&report[1]);
    cleanup_fd int report_r = report[0];
    if (pid < 0)
        return err_sys(err, ERR_FAILED, "fork for '%s'", argv[0]);
    struct spawn_failure f;
    if (sys_read(report_r, &f, sizeof(f)) == sizeof(f)) {
        reap(pid);
        errno = f.sys;
        return err_sys(err, ERR_NOT_FOUND, "execute '%s'", argv[0]);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

const char *sys_self_exe(char *buf, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", buf, size - 1);
    if (n < 0)
        n = 0;
    buf[n] = '\0';
    return buf;
}

int sys_uid(void)
{
    return (int)geteuid();
}
