#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clone/remove.h"
#include "clone/tree.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/proc.h"
#include "sys/tree.h"
#include "tree_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct sentinel owner = {
    .service = "demo", .colour = "blue", .volume = "data", .upgrade = "u1"};

static void make_source(void)
{
    assert_int_equal(
        run_ok(
            "rm -rf src dst; mkdir -p src/a/b/c src/empty src/shut; cd src;"
            "echo one > a/one; head -c 300000 /dev/urandom > a/b/big; : > a/b/none; chmod 0640 "
            "a/one;"
            "ln a/one a/b/c/one-again; ln a/one zero-th; ln -s ../a/one a/link; ln -s /nowhere "
            "a/dangling;"
            "mkfifo a/fifo; chmod 0604 a/fifo; truncate -s 50M a/sparse; printf tail >> a/sparse;"
            "printf mid | dd of=a/sparse bs=1 seek=20000000 conv=notrunc 2>/dev/null;"
            "n=\"$(printf 'odd\\n\\377name')\"; echo odd > \"$n\"; touch -d '1999-12-31 "
            "23:59:58.123456789' a/one;"
            "i=0; while [ $i -lt 300 ]; do echo $i > empty/$i; i=$((i+1)); done; rm -f empty/1*;"
            "touch -h -d '2001-01-01 00:00:00.5' a/link; chmod 4755 a/b/big; touch -d '2002-02-02' "
            "shut a/b a;"
            "chmod 0555 shut; touch -d '1960-05-05 01:02:03' a/b/none"),
        0);
}

static void everything_is_cloned(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    make_source();
    int sock = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "src/admin.rpc"};
    assert_int_equal(bind(sock, (struct sockaddr *)&un, sizeof(un)), 0);
    close(sock);
    assert_int_equal(run_ok("touch -d '2003-03-03 03:03:03.333' src"), 0);
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner};
    OK(tree_clone("src", "dst", &o, &res, &err), err);
    assert_same_tree("src", "dst");
    assert_false(sys_path_exists("dst/admin.rpc"));
    assert_int_equal(res.sockets, 1);
    assert_int_equal(res.links, 2);
    struct stat a, b, c;
    assert_int_equal(
        stat("dst/a/one", &a) | stat("dst/a/b/c/one-again", &b) | stat("dst/zero-th", &c), 0);
    assert_true(a.st_ino == b.st_ino && b.st_ino == c.st_ino && a.st_nlink == 3);
    assert_int_equal(stat("dst/a/sparse", &a), 0);
    assert_true(a.st_size > 50000000 && a.st_blocks * 512 < 1000000);
    struct sentinel s;
    OK(sentinel_read("dst", &s, &err), err);
    assert_int_equal(s.state, SENTINEL_READY);
    assert_string_equal(s.upgrade, "u1");
}

static void attributes_and_acls_are_kept(void **state)
{
    (void)state;
    struct err err = {0};
    /* user::rw- user:1234:rw- group::r-- mask::rw- other::--- as the kernel stores it */
    static const unsigned char acl[] = {2,   0,   0,   0,   1,   0,    6,    0,   255, 255, 255,
                                        255, 2,   0,   6,   0,   0xd2, 4,    0,   0,   4,   0,
                                        4,   0,   255, 255, 255, 255,  0x10, 0,   6,   0,   255,
                                        255, 255, 255, 32,  0,   0,    0,    255, 255, 255, 255};
    assert_int_equal(run_ok("rm -rf src dst; mkdir -p src/d; echo x > src/f; echo y > src/d/plain"),
                     0);
    if (setxattr("src/f", "user.note", "v\0w", 3, 0) < 0 ||
        setxattr("src/f", "system.posix_acl_access", acl, sizeof(acl), 0) < 0 ||
        setxattr("src/d", "system.posix_acl_default", acl, sizeof(acl), 0) < 0)
        skip();
    assert_int_equal(run_ok("rm -rf dst; mkdir dst"), 0);
    assert_int_equal(setxattr("dst", "system.posix_acl_default", acl, sizeof(acl), 0), 0);
    if (geteuid() == 0)
        assert_int_equal(chown("src/f", 1234, 4321), 0);
    struct tree_options o = {.mode = TREE_COPY};
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    assert_same_tree("src", "dst");
    char got[256];
    assert_int_equal(getxattr("dst/f", "user.note", got, sizeof(got)), 3);
    assert_memory_equal(got, "v\0w", 3);
    assert_int_equal(getxattr("dst/f", "system.posix_acl_access", got, sizeof(got)), sizeof(acl));
    assert_memory_equal(got, acl, sizeof(acl));
    assert_int_equal(getxattr("dst/d", "system.posix_acl_default", got, sizeof(got)), sizeof(acl));
    assert_int_equal(getxattr("dst/d/plain", "system.posix_acl_access", got, sizeof(got)), -1);
    assert_int_equal(getxattr("dst", "system.posix_acl_default", got, sizeof(got)), -1);
}

static void what_is_excluded_stays_out(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    assert_int_equal(
        run_ok("rm -rf src dst; mkdir -p src/keep src/cache/deep; touch src/LOCK src/keep/LOCK"
               " src/cache/deep/x src/keep/a.tmp; echo foreign > src/.changeover"),
        0);
    const char *const exclude[] = {"LOCK", "cache", "*.tmp", NULL};
    struct tree_options o = {.mode = TREE_COPY, .exclude = exclude};
    OK(tree_clone("src", "dst", &o, &res, &err), err);
    assert_int_equal(run_ok("test -e dst/keep/LOCK; ! test -e dst/LOCK; ! test -e dst/cache;"
                            "! test -e dst/keep/a.tmp; ! test -e dst/.changeover"),
                     0);
    assert_int_equal(res.excluded, 3);
}

static void a_large_directory_is_shared_out(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    assert_int_equal(
        run_ok("rm -rf src dst; mkdir -p src/d; cd src/d; seq 1 10000 | xargs touch; echo z > 77;"
               "mkdir -p x/y; cd x/y; seq 1 400 | xargs mkdir"),
        0);
    struct tree_options o = {.mode = TREE_COPY, .threads = 6, .no_sync = true};
    nsec_t t0 = sys_clock_mono();
    OK(tree_clone("src", "dst", &o, &res, &err), err);
    print_message("10,000 empty files, 6 threads: %.0f ms\n",
                  (double)(sys_clock_mono() - t0) / 1e6);
    assert_int_equal(res.files, 10000);
    assert_int_equal(res.dirs, 404);
    assert_same_tree("src", "dst");
}

static bool cancel_now(void *ctx)
{
    return *(bool *)ctx;
}

static void an_interrupted_clone_goes_on(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    make_source();
    assert_int_equal(run_ok("mkdir src/many; i=0; while [ $i -lt 8 ]; do head -c 30000000 "
                            "/dev/zero > src/many/$i; i=$((i+1)); done"),
                     0);
    bool stop = true;
    struct tree_options o = {.mode = TREE_COPY,
                             .owner = &owner,
                             .cancel = cancel_now,
                             .ctx = &stop,
                             .threads = 2,
                             .resume = true};
    if (tree_clone("src", "dst", &o, &res, &err) ==
        0) { /* faster than the first look: begin again by hand */
        OK(tree_remove("dst", &owner, NULL, &err), err);
        OK(tree_begin("src", "dst", &o, &err), err);
    } else {
        assert_int_equal(err.code, ERR_INTERRUPTED);
    }
    struct sentinel s;
    OK(sentinel_read("dst", &s, &err), err);
    assert_int_equal(s.state, SENTINEL_CLONING);
    /* half a file, and a link that came about the other way round */
    assert_int_equal(
        run_ok("mkdir -p dst/a/b/c; rm -f dst/zero-th dst/a/b/c/one-again; echo half > dst/a/one;"
               "cp -p src/zero-th dst/zero-th; cp -p src/a/one dst/a/b/c/one-again; echo junk > "
               "dst/junk"),
        0);
    stop = false;
    OK(tree_clone("src", "dst", &o, &res, &err), err);
    assert_true(res.reused > 0);
    assert_same_tree("src", "dst");
    struct stat a, b, c;
    assert_int_equal(
        stat("dst/a/one", &a) | stat("dst/a/b/c/one-again", &b) | stat("dst/zero-th", &c), 0);
    assert_true(a.st_ino == b.st_ino && b.st_ino == c.st_ino);
    /* a finished one is not touched again */
    assert_int_equal(tree_clone("src", "dst", &o, &res, &err), -1);
    assert_int_equal(err.code, ERR_EXISTS);
}

static void without_resume_it_begins_again(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    make_source();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner, .no_sync = true};
    OK(tree_begin("src", "dst", &o, &err), err);
    assert_int_equal(run_ok("cp -p src/a/b/big dst/left-over; mkdir -p dst/x/y; touch dst/x/y/z"),
                     0);
    OK(tree_begin("src", "dst", &o, &err), err);
    assert_false(sys_path_exists("dst/x"));
    assert_int_equal(run_ok("touch dst/left-over"), 0);
    OK(tree_clone("src", "dst", &o, &res, &err), err);
    assert_int_equal(res.reused, 0);
    assert_same_tree("src", "dst");
    struct sentinel s;
    OK(sentinel_read("dst", &s, &err), err);
    assert_int_equal(s.state, SENTINEL_COPIED);
    OK(tree_settle("dst", &owner, NULL, &err), err);
    OK(tree_settle("dst", &owner, NULL, &err), err);
    OK(sentinel_read("dst", &s, &err), err);
    assert_int_equal(s.state, SENTINEL_READY);
    /* copied, and then the power went: nobody knows what of it is on disk */
    s.state = SENTINEL_COPIED;
    snprintf(s.boot, sizeof(s.boot), "another");
    OK(sentinel_write("dst", &s, &err), err);
    assert_int_equal(tree_settle("dst", &owner, NULL, &err), -1);
    OK(tree_clone("src", "dst", &o, &res, &err), err);
    assert_int_equal(res.reused, 0);
}

static void nothing_foreign_is_cloned_onto(void **state)
{
    (void)state;
    struct err err = {0};
    make_source();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner};
    assert_int_equal(run_ok("mkdir dst; echo precious > dst/data"), 0);
    assert_int_equal(tree_clone("src", "dst", &o, NULL, &err), -1);
    assert_int_equal(err.code, ERR_FOREIGN);
    assert_non_null(strstr(err.msg, "data"));
    struct sentinel other = owner;
    snprintf(other.upgrade, sizeof(other.upgrade), "u0");
    other.state = SENTINEL_CLONING;
    OK(sentinel_write("dst", &other, &err), err);
    assert_int_equal(tree_clone("src", "dst", &o, NULL, &err), -1);
    assert_int_equal(err.code, ERR_FOREIGN);
    assert_non_null(strstr(err.msg, "u0"));
    assert_int_equal(run_ok("test \"$(cat dst/data)\" = precious; test $(ls -A dst | wc -l) = 2;"
                            "echo nonsense > dst/.changeover"),
                     0);
    assert_int_equal(tree_clone("src", "dst", &o, NULL, &err), -1);
    assert_int_equal(err.code, ERR_FOREIGN);
    assert_int_equal(run_ok("rm -r dst; ln -s src dst"), 0);
    assert_int_equal(tree_clone("src", "dst", &o, NULL, &err), -1);
    assert_int_equal(run_ok("rm dst"), 0);
    assert_int_equal(tree_clone("src", "src/a/new", &o, NULL, &err), -1);
    assert_int_equal(tree_clone("src/a", "src", &o, NULL, &err), -1);
    assert_int_equal(tree_clone("src", "no/such/dst", &o, NULL, &err), -1);
    assert_int_equal(tree_clone("nope", "dst", &o, NULL, &err), -1);
}

static void the_second_pass_makes_equal(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    make_source();
    struct seen *seen = seen_new();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner, .seen = seen, .ahead = true};
    sys_sleep(60 * NSEC_MS); /* older than the ticks of the clock that ctimes are made of */
    OK(tree_clone("src", "dst", &o, &res, &err), err);
    o.ahead = false;
    assert_int_equal(
        run_ok(
            "cd src; rm empty/2 a/dangling; rm -r a/b/c; echo new > a/new; mkdir -p n/e/w;"
            "echo ONE > keep; cp -p a/one keep2; printf two | dd of=a/one conv=notrunc 2>/dev/null;"
            "touch -d '1999-12-31 23:59:58.123456789' a/one; rm empty/3; mkdir empty/3"),
        0);
    OK(tree_refresh("src", "dst", &o, &res, &err), err);
    assert_same_tree("src", "dst");
    assert_true(res.removed >= 3);
    assert_true(res.reused > 100);
    seen_free(seen);
}

static void only_ours_is_removed(void **state)
{
    (void)state;
    struct err err = {0};
    make_source();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner};
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    assert_int_equal(
        run_ok("mkdir -p out; echo keep > out/f; ln -s ../out dst/out; ln -s ../../out dst/a/out"),
        0);
    struct sentinel other = owner;
    snprintf(other.colour, sizeof(other.colour), "green");
    assert_int_equal(tree_remove("dst", &other, NULL, &err), -1);
    assert_int_equal(err.code, ERR_FOREIGN);
    assert_true(sys_path_exists("dst/a/one"));
    struct sentinel want = {.service = "demo", .colour = "blue"};
    OK(tree_remove("dst", &want, NULL, &err), err);
    assert_false(sys_path_exists("dst"));
    OK(tree_remove("dst", &want, NULL, &err), err);
    assert_int_equal(run_ok("test \"$(cat out/f)\" = keep; mkdir dst; echo x > dst/x"), 0);
    assert_int_equal(tree_remove("dst", &want, NULL, &err), -1);
    assert_int_equal(err.code, ERR_FOREIGN);
    assert_true(sys_path_exists("dst/x"));
    assert_int_equal(tree_remove("src", &(struct sentinel){.service = "demo"}, NULL, &err), -1);
}

static void the_mark_goes_last(void **state)
{
    (void)state;
    struct err err = {0};
    make_source();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner};
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    bool stop = true;
    assert_int_equal(
        run_ok("cd dst; for d in 1 2 3 4; do mkdir d$d; (cd d$d; seq 1 10000 | xargs touch); done"),
        0);
    struct tree_remove_options ro = {.cancel = cancel_now, .ctx = &stop};
    if (tree_remove("dst", &owner, &ro, &err) < 0)
        OK(sentinel_check("dst", &owner, &err), err);
    stop = false;
    OK(tree_remove("dst", &owner, &ro, &err), err);
    assert_false(sys_path_exists("dst"));
}

/* ---- with mounts of our own, in a mount namespace of our own: gone with the child ---- */

static void in_namespace(int (*body)(void))
{
    if (geteuid() != 0)
        skip();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(77);
        _exit(body());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define CHECK(cond)                                                                \
    do {                                                                           \
        if (!(cond)) {                                                             \
            print_message("%s:%d: %s (%s)\n", __FILE__, __LINE__, #cond, err.msg); \
            return 1;                                                              \
        }                                                                          \
    } while (0)

static int full_disk(void)
{
    struct err err = {0};
    if (run_ok("rm -rf src small; mkdir -p src small; head -c 20000000 /dev/urandom > src/a; cp "
               "src/a src/b"
               " && mount -t tmpfs -o size=24m tmpfs small && mkdir small/other && echo keep > "
               "small/other/f") < 0)
        return 77;
    struct tree_options o = {.mode = TREE_COPY,
                             .owner = &owner,
                             .bytes_total = 40000000,
                             .files_total = 2,
                             .threads = 1};
    CHECK(tree_clone("src", "small/dst", &o, NULL, &err) < 0);
    print_message("%s\n  %s\n", err.msg, err.hint);
    CHECK(err.sys == ENOSPC && strstr(err.msg, "40.0 MB") && *err.hint);
    struct sentinel s;
    CHECK(sentinel_read("small/dst", &s, &err) == 0 && s.state == SENTINEL_CLONING);
    CHECK(run_ok("test \"$(cat small/other/f)\" = keep") == 0);
    CHECK(tree_remove("small/dst", &owner, NULL, &err) == 0);
    CHECK(run_ok("test \"$(ls small)\" = other") == 0);
    return 0;
}

static void a_full_disk_is_said_plainly(void **state)
{
    (void)state;
    in_namespace(full_disk);
}

static int mount_inside(void)
{
    struct err err = {0};
    if (run_ok("rm -rf src dst; mkdir -p src/a/mnt; touch src/a/f src/a/g; echo out > bound") < 0 ||
        run_ok("mount -t tmpfs tmpfs src/a/mnt && echo keep > src/a/mnt/f") < 0)
        return 77;
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner};
    CHECK(tree_clone("src", "dst", &o, NULL, &err) < 0);
    CHECK(strstr(err.msg, "a/mnt") && strstr(err.msg, "mount point"));
    const char *const exclude[] = {"a/mnt", NULL};
    o.exclude = exclude;
    CHECK(tree_clone("src", "dst", &o, NULL, &err) == 0);
    CHECK(
        run_ok("umount src/a/mnt; mkdir dst/m; mount -t tmpfs tmpfs dst/m; echo keep > dst/m/f") ==
        0);
    CHECK(tree_remove("dst", &owner, NULL, &err) < 0 && strstr(err.msg, "/m'"));
    CHECK(run_ok("test -e dst/a/f; test -e dst/m/f; umount dst/m; mount --bind bound src/a/f") ==
          0);
    CHECK(tree_remove("dst", &owner, NULL, &err) == 0);
    CHECK(tree_clone("src", "dst", &o, NULL, &err) < 0 && strstr(err.msg, "a/f"));
    CHECK(run_ok("umount src/a/f") == 0);
    CHECK(tree_remove("dst", &owner, NULL, &err) == 0);
    /* a volume that is a mount point keeps its directory */
    CHECK(run_ok("mkdir dst; mount -t tmpfs tmpfs dst") == 0);
    CHECK(tree_clone("src", "dst", &o, NULL, &err) == 0);
    CHECK(tree_remove("dst", &owner, NULL, &err) == 0);
    CHECK(run_ok("test -d dst; test -z \"$(ls -A dst)\"; umount dst") == 0);
    return 0;
}

static void mounts_are_not_crossed(void **state)
{
    (void)state;
    in_namespace(mount_inside);
}

static int on_xfs(void)
{
    struct err err = {0};
    struct tree_result res;
    if (run_ok("rm -rf x img; mkdir x; truncate -s 1G img; mkfs.xfs -q -m reflink=1 img && mount "
               "-o loop img x") < 0)
        return 77;
    CHECK(run_ok("mkdir x/src; cd x/src; mkdir -p d/0 d/1 d/2 d/3 d/4; for d in 0 1 2 3 4; do i=0;"
                 "while [ $i -lt 2000 ]; do echo $d$i > d/$d/$i; i=$((i+1)); done; done;"
                 "head -c 100000000 /dev/urandom > big; truncate -s 10M hole; echo end >> hole; ln "
                 "big big2") == 0);
    CHECK(tree_can_reflink("x/src", "x/new/dst", &err) == 0);
    CHECK(tree_can_reflink("x/src", "dst", &err) < 0 && err.code == ERR_UNSUPPORTED);
    print_message("%s\n", err.msg);
    struct sys_space before, after;
    CHECK(run_ok("sync") == 0 && sys_path_space("x", &before, &err) == 0);
    struct tree_options o = {.mode = TREE_REFLINK, .owner = &owner};
    CHECK(tree_clone("x/src", "x/dst", &o, &res, &err) == 0);
    CHECK(sys_path_space("x", &after, &err) == 0);
    print_message("10,002 files reflinked and synced on XFS: %.0f ms, %llu KB\n",
                  (double)res.took / 1e6,
                  (unsigned long long)(before.free_bytes - after.free_bytes) / 1000);
    CHECK(before.free_bytes - after.free_bytes < 50000000);
    CHECK(same_tree("x/src", "x/dst"));
    CHECK(run_ok("echo changed > x/dst/d/0/0; test \"$(cat x/src/d/0/0)\" = 00") == 0);
    CHECK(tree_remove("x/dst", &owner, NULL, &err) == 0);
    CHECK(tree_clone("x/src", "y", &o, &res, &err) < 0 && err.code == ERR_UNSUPPORTED && *err.hint);
    CHECK(tree_remove("y", &owner, NULL, &err) == 0);
    return 0;
}

static int on_xfs_and_away(void)
{
    int r = on_xfs();
    return run_ok("! mountpoint -q x || umount x; rm -f img") < 0 ? 1 : r;
}

static void reflinks_share_blocks(void **state)
{
    (void)state;
    in_namespace(on_xfs_and_away);
}

static void marks_are_compared(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(run_ok("rm -rf v; mkdir v"), 0);
    struct sentinel want = owner;
    assert_int_equal(sentinel_look("v", &want, NULL, &err), SENTINEL_EMPTY);
    assert_int_equal(sentinel_look("w", &want, NULL, &err), SENTINEL_ABSENT);
    assert_int_equal(sentinel_check("v", &want, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    struct sentinel s = owner, got;
    s.state = SENTINEL_LIVE;
    OK(sentinel_write("v", &s, &err), err);
    OK(sentinel_check("v", &want, &err), err);
    OK(sentinel_read("v", &got, &err), err);
    assert_true(got.created > 0 && *got.boot && got.state == SENTINEL_LIVE);
    snprintf(want.service, sizeof(want.service), "else");
    assert_int_equal(sentinel_check("v", &want, &err), -1);
    assert_int_equal(err.code, ERR_FOREIGN);
    assert_true(strstr(err.msg, "demo") && strstr(err.msg, "else"));
    assert_int_equal(run_ok("rm v/.changeover; mkfifo v/.changeover"), 0);
    assert_int_equal(sentinel_look("v", &want, NULL, &err), SENTINEL_FOREIGN);
    assert_int_equal(run_ok("rm v/.changeover; ln -s /etc/passwd v/.changeover"), 0);
    assert_int_equal(sentinel_look("v", &want, NULL, &err), SENTINEL_FOREIGN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_are_compared),
        cmocka_unit_test(everything_is_cloned),
        cmocka_unit_test(attributes_and_acls_are_kept),
        cmocka_unit_test(what_is_excluded_stays_out),
        cmocka_unit_test(a_large_directory_is_shared_out),
        cmocka_unit_test(an_interrupted_clone_goes_on),
        cmocka_unit_test(without_resume_it_begins_again),
        cmocka_unit_test(nothing_foreign_is_cloned_onto),
        cmocka_unit_test(the_second_pass_makes_equal),
        cmocka_unit_test(only_ours_is_removed),
        cmocka_unit_test(the_mark_goes_last),
        cmocka_unit_test(a_full_disk_is_said_plainly),
        cmocka_unit_test(mounts_are_not_crossed),
        cmocka_unit_test(reflinks_share_blocks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
