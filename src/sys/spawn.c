#include "sys/spawn.h"

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
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child tells when it could not exec. */
struct launch_failure {
    int sys;
    int stage;
    int detail;
};
enum { AT_START, AT_LIMIT, AT_USER, AT_CWD, AT_EXEC };

static void signals_default(void)
{
    sigset_t none;
    sigemptyset(&none);
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            (void)sigaction(sig, &dfl, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child_fail(int report, int stage, int detail)
{
    struct launch_failure f = {.sys = errno, .stage = stage, .detail = detail};
    (void)!write(report, &f, sizeof(f));
    _exit(127);
}

static void child_stdio(int out)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
}

static void child_limits(const struct sys_launch *l, int report)
{
    for (size_t i = 0; i < l->limits_n; i++) {
        struct rlimit r = {
            .rlim_cur = l->limits[i].soft == UINT64_MAX ? RLIM_INFINITY : l->limits[i].soft,
            .rlim_max = l->limits[i].hard == UINT64_MAX ? RLIM_INFINITY : l->limits[i].hard};
        if (setrlimit((__rlimit_resource_t)l->limits[i].resource, &r) < 0)
            child_fail(report, AT_LIMIT, l->limits[i].resource);
    }
}

static void child_run(const struct sys_launch *l, int go, int report)
{
    char byte;
    setsid();
    child_stdio(l->out_fd);
    signals_default();
    umask(l->umask);
    if (sys_read(go, &byte, 1) != 1)
        _exit(126);
    pid_t self = getpid();
    (void)sys_task_nice(self, l->nice);
    (void)sys_task_ionice(self, l->ioclass);
    child_limits(l, report);
    if (l->set_ids &&
        (setgroups(l->groups_n, l->groups) < 0 || setgid(l->gid) < 0 || setuid(l->uid) < 0))
        child_fail(report, AT_USER, 0);
    if (chdir(l->cwd ? l->cwd : "/") < 0)
        child_fail(report, AT_CWD, 0);
    execve(l->exe, l->argv, l->envp);
    child_fail(report, AT_EXEC, 0);
}

int sys_launch_held(const struct sys_launch *l, struct sys_held *ret, struct err *err)
{
    int go[2] = {-1, -1}, report[2] = {-1, -1};
    if (sys_pipe(go) < 0 || sys_pipe(report) < 0)
        return err_sys(err, ERR_FAILED, "make a pipe");
    pid_t pid = fork();
    if (pid == 0) {
        sys_close_p(&go[1]);
        sys_close_p(&report[0]);
        child_run(l, go[0], report[1]);
    }
    int saved = errno;
    sys_close_p(&go[0]);
    sys_close_p(&report[1]);
    errno = saved;
    if (pid < 0) {
        sys_close_p(&go[1]);
        sys_close_p(&report[0]);
        return err_sys(err, ERR_FAILED, "fork");
    }
    *ret = (struct sys_held){.id = {pid, sys_proc_start_ticks(pid)}, go[1], report[0]};
    return 0;
}

static void held_close(struct sys_held *h)
{
    sys_close_p(&h->go_fd);
    sys_close_p(&h->report_fd);
}

void sys_held_drop(struct sys_held *h)
{
    held_close(h);
    while (waitpid(h->id.pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static int launch_error(const struct sys_launch *l, const struct launch_failure *f, struct err *err)
{
    errno = f->sys;
    switch (f->stage) {
    case AT_LIMIT:
        return err_sys(err, ERR_FAILED, "set the limit '%s'", sys_limit_name(f->detail));
    case AT_USER:
        return err_sys(err, ERR_FAILED, "become user %u, group %u", (unsigned)l->uid,
                       (unsigned)l->gid);
    case AT_CWD:
        return err_sys(err, ERR_FAILED, "enter the directory '%s' as its user", l->cwd);
    default:
        return err_sys(err, f->sys == ENOENT ? ERR_NOT_FOUND : ERR_FAILED, "execute '%s'", l->exe);
    }
}

int sys_held_go(struct sys_held *h, const struct sys_launch *l, struct err *err)
{
    struct launch_failure f = {0};
    if (sys_write_all(h->go_fd, "g", 1) < 0) {
        err_sys(err, ERR_FAILED, "let process %d go", (int)h->id.pid);
        sys_held_drop(h);
        return -1;
    }
    if (sys_read(h->report_fd, &f, sizeof(f)) == (ssize_t)sizeof(f)) {
        sys_held_drop(h);
        return launch_error(l, &f, err);
    }
    held_close(h);
    return 0;
}

/* Keeps 0..2 and fd, which becomes 3. */
static void keep_only(int fd)
{
    if (fd != 3 && dup2(fd, 3) < 0)
        _exit(126);
    if (fd == 3)
        (void)fcntl(3, F_SETFD, 0);
    (void)close_range(4, ~0U, 0);
}

struct connected {
    const char *exe;
    const char *const *argv;
    int log, report;
};

static void connected_child(void *ctx, int fd)
{
    const struct connected *c = ctx;
    struct proc_id self = sys_proc_self();
    child_stdio(c->log);
    if (write(c->report, &self, sizeof(self)) < 0 || chdir("/") < 0)
        _exit(126);
    signals_default();
    int report = fcntl(c->report, F_DUPFD_CLOEXEC, 10); /* out of the way of 3 */
    if (fd != 3 && dup2(fd, 3) < 0)
        _exit(126);
    if (fd == 3)
        (void)fcntl(3, F_SETFD, 0);
    (void)close_range(4, ~0U, CLOSE_RANGE_CLOEXEC);
    execv(c->exe, (char *const *)(uintptr_t)c->argv);
    child_fail(report, AT_EXEC, 0);
}

static void helper_signals(void)
{
    struct sigaction ign = {.sa_handler = SIG_IGN};
    static const int deaf[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGTSTP, SIGTTOU};
    for (size_t i = 0; i < ARRAY_LEN(deaf); i++)
        (void)sigaction(deaf[i], &ign, NULL);
}

/* fork, setsid, fork: the grandchild runs fn on its end of the pair and ends. */
static int start_apart(void (*fn)(void *ctx, int fd), void *ctx, bool bare, int *ret_fd,
                       struct err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_sys(err, ERR_FAILED, "make a socket pair");
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        pid_t second = fork();
        if (second != 0)
            _exit(second < 0 ? 126 : 0);
        (void)close(pair[0]);
        if (bare) {
            helper_signals();
            keep_only(pair[1]);
            pair[1] = 3;
        }
        fn(ctx, pair[1]);
        _exit(0);
    }
    (void)close(pair[1]);
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || status) {
        (void)close(pair[0]);
        return err_sys(err, ERR_FAILED, "fork");
    }
    *ret_fd = pair[0];
    return 0;
}

int sys_helper_start(void (*fn)(void *ctx, int fd), void *ctx, int *ret_fd, struct err *err)
{
    return start_apart(fn, ctx, true, ret_fd, err);
}

int sys_spawn_connected(const char *exe, const char *const *argv, const char *log_path, int *ret_fd,
                        struct proc_id *ret, struct err *err)
{
    int report[2];
    cleanup_fd int log = sys_open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log < 0)
        return err_sys(err, ERR_FAILED, "open '%s'", log_path);
    if (sys_pipe(report) < 0)
        return err_sys(err, ERR_FAILED, "make a pipe");
    cleanup_fd int report_r = report[0];
    struct connected c = {exe, argv, log, report[1]};
    int fd = -1, r = start_apart(connected_child, &c, false, &fd, err);
    sys_close_p(&report[1]);
    if (r < 0)
        return -1;
    struct proc_id id;
    struct launch_failure f;
    if (sys_read(report_r, &id, sizeof(id)) != (ssize_t)sizeof(id)) {
        sys_close_p(&fd);
        return err_set(err, ERR_FAILED, "'%s' could not be started", argv[0]);
    }
    if (sys_read(report_r, &f, sizeof(f)) == (ssize_t)sizeof(f)) {
        sys_close_p(&fd);
        errno = f.sys;
        return err_sys(err, ERR_FAILED, "execute '%s'", argv[0]);
    }
    *ret = id;
    *ret_fd = fd;
    return 0;
}

pid_t sys_child_start(void (*fn)(void *ctx, int fd), void *ctx, int fd)
{
    pid_t pid = fork();
    if (pid == 0) {
        keep_only(fd);
        fn(ctx, 3);
        _exit(0);
    }
    return pid;
}

pid_t sys_wait_any(int *ret_status)
{
    int status;
    pid_t pid;
    do
        pid = waitpid(-1, &status, WNOHANG);
    while (pid < 0 && errno == EINTR);
    if (pid > 0)
        *ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return pid;
}

void sys_keep_from_children(int fd)
{
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void sys_become_subreaper(void)
{
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
}

void sys_name_self(const char *name)
{
    (void)prctl(PR_SET_NAME, name);
}

static void held_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGCHLD);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void sys_signals_hold(void)
{
    sigset_t set;
    struct sigaction ign = {.sa_handler = SIG_IGN};
    held_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    (void)sigaction(SIGPIPE, &ign, NULL);
}

int sys_signal_next(nsec_t within)
{
    sigset_t set;
    held_signals(&set);
    struct timespec t = {.tv_sec = (time_t)(within / NSEC_S), .tv_nsec = (long)(within % NSEC_S)};
    int sig = sigtimedwait(&set, NULL, &t);
    return sig > 0 ? sig : 0;
}

int sys_send(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -1;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

int sys_wait_readable(int fd, nsec_t within)
{
    nsec_t deadline = sys_clock_mono() + within;
    for (;;) {
        nsec_t left = deadline - sys_clock_mono();
        struct timespec t = {.tv_sec = (time_t)(left > 0 ? left / NSEC_S : 0),
                             .tv_nsec = (long)(left > 0 ? left % NSEC_S : 0)};
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int r = ppoll(&p, 1, &t, NULL);
        if (r > 0)
            return 1;
        if (r == 0)
            return 0;
        if (errno != EINTR)
            return -1;
    }
}

void sys_end_writing(int fd)
{
    (void)shutdown(fd, SHUT_WR);
}

size_t sys_pipe_waiting(int fd)
{
    int n = 0;
    return ioctl(fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

bool sys_file_rename(const char *from, const char *to)
{
    return rename(from, to) == 0;
}
