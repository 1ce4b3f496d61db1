/* The freeze of a file system: on a real one (ext4 on a loop device, in a mount namespace of ours);
 * skipped where there is none to be had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/storage/fsfreeze.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const paths[] = {"x"};

static int set_up(void **state)
{
    static char dir[] = "/tmp/changeover-fsfreeze-XXXXXX";
    *state = dir;
    if (!mkdtemp(dir) || chdir(dir) < 0 || unshare(CLONE_NEWNS) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        system("mkdir x && truncate -s 32M img && mkfs.ext4 -q -F img && mount -o loop img x") != 0)
        *state = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)umount("x");
    (void)unlink("img");
    (void)rmdir("x");
    if (chdir("/") == 0 && *state)
        (void)rmdir(*state);
    return 0;
}

/* A process that writes into the file system, and ends when that is through. */
static pid_t writer(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open("x/file", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        _exit(fd >= 0 && write(fd, "x", 1) == 1 ? 0 : 1);
    }
    return pid;
}

/* Whether it ends well within that time; else it is left waiting. */
static bool ends(pid_t pid, nsec_t within)
{
    int status = -1;
    for (nsec_t until = sys_clock_mono() + within; sys_clock_mono() < until; sys_sleep(5 * NSEC_MS))
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status == 0;
    return false;
}

static struct driver_ctx nobody;

static void is_frozen_until_the_end(void **state)
{
    int fd = -1;
    nsec_t held = 0;
    struct err err = {0};
    if (!*state)
        skip();
    assert_int_equal(fsfreeze_begin(&nobody, paths, 1, 10 * NSEC_S, &fd, &err), 0);
    pid_t pid = writer();
    assert_false(ends(pid, 300 * NSEC_MS));
    assert_int_equal(fsfreeze_end(&nobody, paths, 1, 10 * NSEC_S, fd, &held, &err), 0);
    assert_true(ends(pid, 5 * NSEC_S));
    assert_true(held > 250 * NSEC_MS && held < 9 * NSEC_S);
}

static void is_thawed_at_the_ceiling(void **state)
{
    int fd = -1;
    nsec_t held = 0;
    struct err err = {0};
    if (!*state)
        skip();
    assert_int_equal(fsfreeze_begin(&nobody, paths, 1, 300 * NSEC_MS, &fd, &err), 0);
    assert_true(ends(writer(), 5 * NSEC_S)); /* though nobody has ended it */
    assert_int_equal(fsfreeze_end(&nobody, paths, 1, 300 * NSEC_MS, fd, &held, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_non_null(strstr(err.msg, "'x' reached freeze.max (300 ms)"));
}

static void is_thawed_when_we_are_killed(void **state)
{
    if (!*state)
        skip();
    pid_t tool = fork();
    if (tool == 0) {
        int fd = -1;
        struct err err = {0};
        if (fsfreeze_begin(&nobody, paths, 1, NSEC_MIN, &fd, &err) == 0)
            (void)kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status = 0;
    assert_int_equal(waitpid(tool, &status, 0), tool);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(ends(writer(), 5 * NSEC_S));
}

static void what_somebody_else_froze_stays_so(void **state)
{
    int fd = -1;
    struct err err = {0};
    if (!*state)
        skip();
    cleanup_fd int other = sys_open("x", O_RDONLY | O_DIRECTORY, 0);
    assert_int_equal(sys_fs_freeze(other), 0);
    int r = fsfreeze_begin(&nobody, paths, 1, NSEC_S, &fd, &err);
    pid_t pid = writer();
    bool through = ends(pid, 200 * NSEC_MS);
    assert_int_equal(sys_fs_thaw(other), 0);
    assert_int_equal(r, -1);
    assert_int_equal(err.sys, EBUSY);
    assert_false(through);
    assert_true(ends(pid, 5 * NSEC_S));
    assert_int_equal(sys_fs_thaw(other), -1);
    assert_int_equal(errno, EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_frozen_until_the_end),
        cmocka_unit_test(is_thawed_at_the_ceiling),
        cmocka_unit_test(is_thawed_when_we_are_killed),
        cmocka_unit_test(what_somebody_else_froze_stays_so),
    };
    return cmocka_run_group_tests_name("fsfreeze", tests, set_up, tear_down);
}
