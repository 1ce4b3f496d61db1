#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_http.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/held.h"
#include "sys/iodevice.h"
#include "sys/lock.h"
#include "sys/portmap.h"
#include "sys/proc.h"
#include "sys/sockdiag.h"
#include "sys/task.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int make_dir(void **state)
{
    char tmpl[] = "/tmp/changeover-test-XXXXXX";
    *state = strdup(mkdtemp(tmpl));
    return chdir(*state);
}

static int remove_dir(void **state)
{
    char cmd[128];
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", (char *)*state);
    free(*state);
    return chdir("/") || system(cmd);
}

static void files_are_replaced_whole(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(sys_dir_make("a/b/c", 0700, &err), 0);
    assert_int_equal(sys_file_write_atomic("a/b/c/f", "one", 3, 0640, &err), 0);
    assert_int_equal(sys_file_write_atomic("a/b/c/f", "two2", 4, 0640, &err), 0);
    cleanup_str struct str s = {0};
    assert_int_equal(sys_file_read("a/b/c/f", 100, &s, &err), 0);
    assert_string_equal(str_cstr(&s), "two2");
    struct stat st;
    assert_int_equal(stat("a/b/c/f", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(sys_file_read("a/b/c/f", 3, &s, &err), -1);
    assert_int_equal(sys_file_read("nope", 3, &s, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static int run(struct proc_result *r, struct err *err, nsec_t timeout, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    return sys_proc_run(&(struct proc_spec){.argv = argv, .timeout = timeout}, r, err);
}

static void programs_run_with_a_deadline(void **state)
{
    (void)state;
    struct err err = {0};
    struct proc_result r = {0};
    assert_int_equal(run(&r, &err, 0, "echo out; echo err >&2; exit 7"), 0);
    assert_int_equal(r.status, 7);
    assert_string_equal(str_cstr(&r.out), "out\n");
    assert_string_equal(str_cstr(&r.err), "err\n");
    proc_result_done(&r);
    nsec_t t0 = sys_clock_mono();
    r = (struct proc_result){0};
    assert_int_equal(run(&r, &err, 100 * NSEC_MS, "sleep 30"), 0);
    assert_true(r.timed_out);
    assert_true(sys_clock_mono() - t0 < 10 * NSEC_S);
    proc_result_done(&r);
    const char *const nope[] = {"/does/not/exist", NULL};
    r = (struct proc_result){0};
    assert_int_equal(sys_proc_run(&(struct proc_spec){.argv = nope}, &r, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    proc_result_done(&r);
}

static int end_it(void *ctx)
{
    return ++*(int *)ctx > 2 ? 2 : 0;
}

static void a_program_is_ended_when_asked(void **state)
{
    (void)state;
    struct err err = {0};
    cleanup_proc_result struct proc_result r = {0};
    const char *const argv[] = {"sleep", "30", NULL};
    int ticks = 0;
    nsec_t t0 = sys_clock_mono();
    assert_int_equal(
        sys_proc_run_ok(&(struct proc_spec){.argv = argv, .tick = end_it, .tick_ctx = &ticks}, &r,
                        &err),
        -1);
    assert_int_equal(err.code, ERR_INTERRUPTED);
    assert_false(r.timed_out);
    assert_true(sys_clock_mono() - t0 < 10 * NSEC_S);
}

static void a_background_child_does_not_hold_us(void **state)
{
    (void)state;
    struct err err = {0};
    cleanup_proc_result struct proc_result r = {0};
    nsec_t t0 = sys_clock_mono();
    assert_int_equal(run(&r, &err, 20 * NSEC_S, "sleep 3 & echo done"), 0);
    assert_int_equal(r.status, 0);
    assert_true(sys_clock_mono() - t0 < 2 * NSEC_S);
}

static int refuse(void *ctx, struct proc_id id, struct err *err)
{
    *(struct proc_id *)ctx = id;
    return err_set(err, ERR_FAILED, "not noted");
}

static void a_program_that_was_not_noted_never_runs(void **state)
{
    (void)state;
    struct err err = {0};
    struct proc_id id = {0};
    cleanup_proc_result struct proc_result r = {0};
    const char *const argv[] = {"touch", "ran", NULL};
    assert_int_equal(
        sys_proc_run(&(struct proc_spec){.argv = argv, .started = refuse, .ctx = &id}, &r, &err),
        -1);
    assert_true(id.pid > 0);
    assert_false(sys_proc_alive(id));
    assert_false(sys_path_exists("ran"));
}

static void detached_programs_are_known_and_ended(void **state)
{
    (void)state;
    struct err err = {0};
    struct proc_id id;
    const char *const argv[] = {"sleep", "60", NULL};
    assert_int_equal(sys_proc_spawn_detached(argv, "log", &id, &err), 0);
    assert_true(sys_proc_alive(id));
    assert_int_not_equal(getsid(id.pid), getsid(0));
    struct proc_id other = id;
    other.start_ticks++;
    assert_int_equal(sys_proc_signal(other, SIGKILL), 0);
    assert_true(sys_proc_alive(id));
    assert_int_equal(sys_proc_signal(id, SIGKILL), 0);
    assert_true(sys_proc_wait_gone(id, sys_clock_mono() + 5 * NSEC_S));
    const char *const nope[] = {"/does/not/exist", NULL};
    assert_int_equal(sys_proc_spawn_detached(nope, NULL, &id, &err), -1);
}

static void locks_exclude_and_name_the_holder(void **state)
{
    (void)state;
    struct err err = {0};
    int a = -1, b = -1;
    assert_int_equal(sys_lock_take("lock", "upgrade 7 (pid 1)", 0, &a, &err), 0);
    assert_int_equal(sys_lock_take("lock", "me", 0, &b, &err), -1);
    assert_int_equal(err.code, ERR_LOCKED);
    assert_non_null(strstr(err.msg, "upgrade 7 (pid 1)"));
    char label[64];
    assert_true(sys_lock_held("lock", label, sizeof(label)));
    assert_string_equal(label, "upgrade 7 (pid 1)");
    close(a);
    assert_false(sys_lock_held("lock", NULL, 0));
    assert_int_equal(sys_lock_take("lock", "me", 0, &b, &err), 0);
    close(b);
}

/* The kernel lists only our own network's sockets: of another, its tables in /proc are read. */
static void the_sockets_of_another_network_are_seen(void **state)
{
    (void)state;
    int up[2], down[2], p = 0;
    struct err err = {0};
    struct sys_port *ports = NULL;
    size_t n = 0;
    assert_int_equal(pipe(up), 0);
    assert_int_equal(pipe(down), 0);
    pid_t child = fork();
    if (child == 0) {
        close(down[1]);
        if (unshare(CLONE_NEWNET) < 0)
            _exit(1); /* not root */
        fake_listen(&p);
        _exit(write(up[1], &p, sizeof(p)) != sizeof(p) || read(down[0], &p, 1) != 0);
    }
    close(up[1]);
    bool there = read(up[0], &p, sizeof(p)) == sizeof(p);
    int r = there ? sys_portmap(&child, 1, &ports, &n, &err) : 0;
    close(down[1]);
    waitpid(child, NULL, 0);
    close(up[0]);
    close(down[0]);
    if (!there)
        skip();
    assert_int_equal(r, 0);
    assert_int_equal(n, 1);
    assert_int_equal(ports[0].port, p);
    assert_true(ports[0].listening && ports[0].pid == child);
    assert_string_equal(ports[0].addr, "127.0.0.1");
    free(ports);
}

static void a_path_lies_in_the_deepest_mount(void **state)
{
    (void)state;
    static const char info[] =
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "30 22 0:40 / /srv rw - zfs tank/srv rw,xattr\n"
        "31 30 0:41 / /srv/with\\040blank rw shared:2 master:1 - btrfs /dev/sdb1 rw\n"
        "32 22 0:42 / /srvother rw - tmpfs tmpfs rw\n"
        "33 30 0:43 / /srv/data rw - ext4 /dev/sdc rw\n"
        "34 30 0:44 / /srv/data rw - xfs /dev/sdd rw\n";
    static const struct {
        const char *path, *fs, *source;
    } cases[] = {
        {"/", "ext4", "/dev/vda"},
        {"/srv", "zfs", "tank/srv"},
        {"/srv/x/y", "zfs", "tank/srv"},
        {"/srvotherwise", "ext4", "/dev/vda"},
        {"/srvother/a", "tmpfs", "tmpfs"},
        {"/srv/with blank/a", "btrfs", "/dev/sdb1"},
        {"/srv/data/green", "xfs", "/dev/sdd"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char fs[32], source[64];
        assert_true(sys_io_mount(info, cases[i].path, fs, sizeof(fs), source, sizeof(source)));
        assert_string_equal(fs, cases[i].fs);
        assert_string_equal(source, cases[i].source);
    }
    char fs[32], source[64], name[32];
    assert_false(sys_io_mount("", "/", fs, sizeof(fs), source, sizeof(source)));
    sys_io_scheduler("none mq-deadline [bfq] kyber\n", name, sizeof(name));
    assert_string_equal(name, "bfq");
    sys_io_scheduler("none\n", name, sizeof(name));
    assert_string_equal(name, "none");
}

static void a_connection_that_was_never_used_waits_for_nothing(void **state)
{
    (void)state;
    struct sock_info s = {.has_tcp_info = true, .sent_ms_ago = 3000, .recv_ms_ago = 3004};
    assert_false(sock_waits(&s)); /* established 3 s ago, a tick between its two clocks */
    s.segments_sent = 1;
    assert_true(sock_waits(&s));
    s.recv_ms_ago = 10;
    assert_false(sock_waits(&s)); /* answered */
    s.has_tcp_info = false;
    assert_false(sock_waits(&s));
}

/* A process that sits on /dev/shm in one way, until it is killed; what is said of it. */
static void sit(char how, const char *path)
{
    int fd = open(path, O_RDWR);
    if (how == 'm')
        (void)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    if (how != 'o')
        close(fd);
    if (how == 'c' && chdir("/dev/shm") < 0)
        _exit(1);
    if (how == 'n' && unshare(CLONE_NEWNS) < 0)
        _exit(1);
    kill(getpid(), SIGSTOP);
    for (;;)
        pause();
}

static void who_is_on_a_file_system_is_named(void **state)
{
    (void)state;
    static const struct {
        char how;
        const char *said;
    } cases[] = {{'o', "an open file"},
                 {'c', "its working directory"},
                 {'m', "a mapped file"},
                 {'n', "mounted in its namespace"},
                 {'-', NULL}};
    char path[] = "/dev/shm/changeover-test-XXXXXX", want[64];
    uint64_t dev, ino;
    int fd = mkstemp(path), status;
    assert_true(fd >= 0 && ftruncate(fd, 4096) == 0 && close(fd) == 0);
    assert_int_equal(sys_path_identity(path, &dev, &ino, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_str struct str users = {0};
        if (cases[i].how == 'n' && geteuid() != 0)
            continue;
        pid_t pid = fork();
        if (pid == 0)
            sit(cases[i].how, path);
        assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
        assert_true(WIFSTOPPED(status));
        sys_device_users(dev, &users);
        snprintf(want, sizeof(want), "pid %d (%s%s", (int)pid, cases[i].said ? "test_sys: " : "",
                 cases[i].said ? cases[i].said : "");
        bool found = strstr(str_cstr(&users), want);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(found, cases[i].said != NULL);
    }
    unlink(path);
}

static int held_by; /* the read end of a pipe: what it waits for in vfork's child */

static void *wait_in_vfork(void *arg)
{
    char end;
    if (vfork() == 0)
        _exit(read(held_by, &end, 1) != 0);
    return arg;
}

/* Its first thread is stopped at once, the second when it comes back from where it cannot be. */
static void a_process_is_stopped_when_all_its_threads_are(void **state)
{
    (void)state;
    int ends[2];
    struct sys_task t;
    assert_int_equal(pipe(ends), 0);
    held_by = ends[0];
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        close(ends[1]);
        if (pthread_create(&thread, NULL, wait_in_vfork, NULL) == 0)
            for (;;)
                pause();
        _exit(1);
    }
    close(ends[0]);
    nsec_t until = sys_clock_mono() + 10 * NSEC_S;
    char children[64];
    snprintf(children, sizeof(children), "grep -q . /proc/%d/task/*/children", (int)pid);
    while (system(children) != 0 && sys_clock_mono() < until)
        sys_sleep(NSEC_MS);
    kill(pid, SIGSTOP);
    while (sys_task_read(pid, &t) && t.state != 'T' && sys_clock_mono() < until)
        sys_sleep(NSEC_MS);
    bool too_soon = sys_task_stopped(pid);
    close(ends[1]);
    while (!sys_task_stopped(pid) && sys_clock_mono() < until)
        sys_sleep(NSEC_MS);
    bool stopped = sys_task_stopped(pid);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(t.state, 'T');
    assert_false(too_soon);
    assert_true(stopped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_lies_in_the_deepest_mount),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(a_connection_that_was_never_used_waits_for_nothing),
        cmocka_unit_test(the_sockets_of_another_network_are_seen),
        cmocka_unit_test(programs_run_with_a_deadline),
        cmocka_unit_test(a_program_is_ended_when_asked),
        cmocka_unit_test(a_background_child_does_not_hold_us),
        cmocka_unit_test(a_program_that_was_not_noted_never_runs),
        cmocka_unit_test(detached_programs_are_known_and_ended),
        cmocka_unit_test(locks_exclude_and_name_the_holder),
        cmocka_unit_test(who_is_on_a_file_system_is_named),
        cmocka_unit_test(a_process_is_stopped_when_all_its_threads_are),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
