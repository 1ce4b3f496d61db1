/* Passes over a tree that changes between them, and what each may take for unchanged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clone/measure.h"
#include "clone/tree.h"
#include "sys/clock.h"
#include "sys/tree.h"
#include "sys/watch.h"
#include "tree_rig.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static const struct sentinel owner = {
    .service = "demo", .colour = "blue", .volume = "data", .upgrade = "u1"};

static bool stop_at_once(void *ctx)
{
    return *(bool *)ctx;
}

/* What one pass leaves undone the next one does, however often one is cut short. */
static void passes_end_equal(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    bool stop = false;
    struct seen *seen = seen_new();
    struct tree_options o = {.mode = TREE_COPY,
                             .owner = &owner,
                             .seen = seen,
                             .ahead = true,
                             .cancel = stop_at_once,
                             .ctx = &stop};
    assert_int_equal(run_ok("mkdir -p src/a/b/c src/p src/q; cd src; touch a/b/c/f;"
                            "for i in $(seq 60); do echo $i > a/$i; done; echo k > keep;"
                            "echo p > p/f; echo q > q/f; touch -d 2000-01-01 p/f q/f"),
                     0);
    sys_sleep(60 * NSEC_MS); /* older than the ticks of the clock that ctimes are made of */
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    /* A pass ahead leaves a directory that is gone to the last one, which must find it although
     * nothing changed since. */
    assert_int_equal(run_ok("rm -r src/a/b/c"), 0);
    sys_sleep(60 * NSEC_MS);
    OK(tree_refresh("src", "dst", &o, NULL, &err), err);
    assert_int_equal(run_ok("test -d dst/a/b/c"), 0);
    /* No file of the two says that they were exchanged. */
    assert_int_equal(run_ok("cd src && mv p r && mv q p && mv r q"), 0);
    stop = true;
    o.ahead = false;
    assert_int_equal(tree_refresh("src", "dst", &o, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INTERRUPTED);
    err_clear(&err);
    stop = false;
    assert_int_equal(seen_passes(seen), 2);
    /* A change that nothing tells but its holder. */
    assert_int_equal(run_ok("touch -r src/keep ref; printf X | dd of=dst/keep conv=notrunc "
                            "2>/dev/null; touch -r ref dst/keep"),
                     0);
    struct sys_node keep;
    assert_int_equal(sys_node_at(AT_FDCWD, "src/keep", &keep), 0);
    seen_hold(seen, keep.ino);
    OK(tree_refresh("src", "dst", &o, &res, &err), err);
    assert_same_tree("src", "dst");
    assert_true(res.reused > 50);
    seen_free(seen);
}

/* A file that no time tells of is cloned anew if it was let go of, once; and everything is if
 * nobody knows. */
static void what_was_let_go_is_cloned_anew(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    struct seen *seen = seen_new();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner, .seen = seen, .ahead = true};
    struct sys_node keep;
    assert_int_equal(
        run_ok("rm -rf src dst; mkdir src; for i in $(seq 40); do echo $i > src/$i; done;"
               "echo k > src/keep"),
        0);
    sys_sleep(60 * NSEC_MS);
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    assert_int_equal(sys_node_at(AT_FDCWD, "src/keep", &keep), 0);
    static const char spoil[] = "touch -r src/keep ref; printf X | dd of=dst/keep conv=notrunc "
                                "2>/dev/null; touch -r ref dst/keep";
    assert_int_equal(run_ok(spoil), 0);
    OK(tree_refresh("src", "dst", &o, &res, &err), err);
    assert_int_equal(res.reused, 41);
    seen_let_go(seen, keep.ino);
    OK(tree_refresh("src", "dst", &o, &res, &err), err);
    assert_int_equal(res.reused, 40);
    assert_same_tree("src", "dst");
    assert_int_equal(run_ok(spoil), 0);
    OK(tree_refresh("src", "dst", &o, &res, &err), err);
    assert_int_equal(res.reused, 41);
    seen_forget(seen);
    o.ahead = false;
    OK(tree_refresh("src", "dst", &o, &res, &err), err);
    assert_int_equal(res.reused, 0);
    assert_same_tree("src", "dst");
    seen_free(seen);
}

/* A changed file is written over where it lies: whatever it was before, nothing of that stays. */
static void what_is_written_over_is_equal(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    struct stat before, after;
    char value[8];
    struct seen *seen = seen_new();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner, .seen = seen, .ahead = true};
    assert_int_equal(
        run_ok("rm -rf src dst; mkdir -p src/d; cd src/d; for f in same longer shorter empty holes "
               "linked moded typed labelled; do head -c 200000 /dev/urandom > $f; done;"
               "chmod 4755 moded; chmod 0555 ."),
        0);
    bool labels = setxattr("src/d/labelled", "user.note", "old", 3, 0) == 0;
    sys_sleep(60 * NSEC_MS);
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    assert_int_equal(stat("dst/d/longer", &before), 0);
    assert_int_equal(
        run_ok("cd src/d; echo more >> longer; truncate -s 70000 shorter; : > empty; chmod 0755 .;"
               "rm holes; truncate -s 500000 holes; echo x >> holes; ln linked linked2;"
               "printf y | dd of=moded conv=notrunc 2>/dev/null; chmod 6711 moded;"
               "rm typed; mkfifo typed; touch -d 2001-01-01 longer; chmod 0555 ."),
        0);
    assert_true(!labels || removexattr("src/d/labelled", "user.note") == 0);
    for (int last = 0; last < 2; last++) {
        o.ahead = !last;
        OK(tree_refresh("src", "dst", &o, &res, &err), err);
        assert_same_tree("src", "dst");
        assert_int_equal(stat("dst/d/longer", &after), 0);
        assert_true(before.st_ino == after.st_ino);
        assert_int_equal(getxattr("dst/d/labelled", "user.note", value, sizeof(value)), -1);
        assert_int_equal(stat("dst/d/holes", &after), 0);
        assert_true(after.st_blocks * 512 < 200000);
        assert_int_equal(stat("dst/d/linked2", &after), 0);
        assert_int_equal(after.st_nlink, 2);
        assert_int_equal(
            run_ok("cd src/d; printf z | dd of=same conv=notrunc 2>/dev/null; echo 1 >> longer"),
            0);
    }
    seen_free(seen);
}

/* What a look at the contents finds is mended by the next pass, and an error only in the last. */
static void what_differs_is_cloned_anew(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    struct seen *seen = seen_new();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner, .seen = seen, .ahead = true};
    assert_int_equal(run_ok("rm -rf src dst; mkdir src; echo k > src/keep; echo o > src/other"), 0);
    sys_sleep(60 * NSEC_MS);
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    for (int last = 0; last < 2; last++) {
        assert_int_equal(run_ok("printf X | dd of=dst/keep conv=notrunc 2>/dev/null"), 0);
        o.ahead = !last;
        assert_int_equal(tree_verify("src", "dst", &o, NULL, &err), last ? -1 : 0);
        OK(tree_refresh("src", "dst", &o, &res, &err), err);
        assert_int_equal(res.reused, last ? 2 : 1);
        if (!last)
            assert_same_tree("src", "dst");
    }
    seen_free(seen);
}

struct wanted {
    uint64_t ino;
    bool found;
};

static void take(void *ctx, uint64_t ino)
{
    struct wanted *w = ctx;
    w->found |= ino == w->ino;
}

/* Of a mapping that is gone, when the last of it is gone; not of what we write ourselves. */
static void others_are_told(enum sys_watch_kind kind, const char *does, bool is_told)
{
    struct wanted w = {0};
    struct sys_node node;
    assert_int_equal(run_ok("echo 1 > watched"), 0);
    struct sys_watch *watch = sys_watch_open(".", kind);
    if (!watch)
        skip();
    assert_int_equal(sys_node_at(AT_FDCWD, "watched", &node), 0);
    w.ino = node.ino;
    int own = open("watched", O_WRONLY);
    assert_int_equal(write(own, "2", 1), 1);
    close(own);
    assert_int_equal(sys_watch_read(watch, take, &w), 0);
    assert_false(w.found);
    assert_int_equal(run_ok(does), 0);
    assert_int_equal(sys_watch_read(watch, take, &w), 0);
    assert_int_equal(w.found, is_told);
    sys_watch_close(watch);
}

static void what_others_let_go_is_told(void **state)
{
    (void)state;
    others_are_told(SYS_WATCH_LET_GO, "exec 3<>watched; exec 3>&-", true);
    others_are_told(SYS_WATCH_LET_GO, "chmod 600 watched", false);
}

static void what_others_change_is_told(void **state)
{
    (void)state;
    char dir[] = "/var/tmp/changeover-watch-XXXXXX"; /* the tests' own may be in memory */
    struct sys_watch *watch = sys_watch_open("/var/tmp", SYS_WATCH_CHANGES);
    if (!watch)
        skip();
    sys_watch_close(watch);
    cleanup_free char *before = getcwd(NULL, 0);
    assert_true(mkdtemp(dir) && chdir(dir) == 0);
    static const char *const changes[] = {"exec 3<>watched; exec 3>&-",
                                          "chmod 600 watched",
                                          "touch -d 2000-01-01 watched",
                                          "chown 1:1 watched",
                                          "echo 3 > watched",
                                          "truncate -s 9 watched",
                                          "ln watched other; rm other",
                                          "echo 1 > new; mv new watched"};
    for (size_t i = 0; i + 1 < ARRAY_LEN(changes); i++)
        others_are_told(SYS_WATCH_CHANGES, changes[i], true);
    others_are_told(SYS_WATCH_CHANGES, "cat watched", false);
    others_are_told(SYS_WATCH_CHANGES, changes[ARRAY_LEN(changes) - 1], false); /* another one */
    assert_int_equal(run_ok("rm watched"), 0);
    assert_int_equal(chdir(before) || rmdir(dir), 0);
}

/* With everything told, the last pass does not look at files; and how it comes to look again. */
static void what_nobody_told_of_is_not_looked_at(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    struct seen *seen = seen_new();
    const char *const exclude[] = {"a/LOCK", NULL};
    struct tree_options o = {.mode = TREE_COPY,
                             .owner = &owner,
                             .seen = seen,
                             .ahead = true,
                             .threads = 1,
                             .exclude = exclude};
    struct sys_node node;
    assert_int_equal(
        run_ok("rm -rf src dst; mkdir -p src/a; cd src/a; echo 1 > f; echo 1 > g; echo 1 > h"), 0);
    assert_int_equal(run_ok("echo l > src/a/LOCK"), 0);
    sys_sleep(60 * NSEC_MS);
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    seen_told(seen);
    assert_int_equal(run_ok("echo 2 > src/a/f"), 0);
    sys_sleep(60 * NSEC_MS);
    OK(tree_refresh("src", "dst", &o, &res, &err), err); /* not told before it began: looks */
    assert_int_equal(run_ok("grep -q 2 dst/a/f && test ! -e dst/a/LOCK"), 0);
    uint64_t bytes = res.bytes;

    assert_int_equal(run_ok("echo 3 > src/a/f; echo 3 > src/a/g"), 0);
    assert_int_equal(sys_node_at(AT_FDCWD, "src/a/f", &node), 0);
    seen_let_go(seen, node.ino);
    OK(tree_refresh("src", "dst", &o, &res, &err), err);
    assert_int_equal(run_ok("grep -q 3 dst/a/f && grep -q 1 dst/a/g"), 0);
    assert_int_equal(res.files, 3);
    assert_int_equal(res.reused, 2);
    assert_int_equal(res.excluded, 1);
    assert_int_equal(res.bytes, bytes);

    seen_told_lost(seen); /* some were missed: it looks at each */
    assert_int_equal(run_ok("echo 4 > src/a/h"), 0);
    OK(tree_refresh("src", "dst", &o, &res, &err), err);
    assert_int_equal(run_ok("grep -q 4 dst/a/h"), 0);

    assert_int_equal(run_ok("mv src/a/f src/a/k"), 0); /* the directory has changed */
    o.ahead = false;
    OK(tree_refresh("src", "dst", &o, &res, &err), err);
    assert_int_equal(run_ok("test -e dst/a/k && test ! -e dst/a/f"), 0);
    seen_free(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(passes_end_equal),
                                       cmocka_unit_test(what_was_let_go_is_cloned_anew),
                                       cmocka_unit_test(what_differs_is_cloned_anew),
                                       cmocka_unit_test(what_is_written_over_is_equal),
                                       cmocka_unit_test(what_others_let_go_is_told),
                                       cmocka_unit_test(what_others_change_is_told),
                                       cmocka_unit_test(what_nobody_told_of_is_not_looked_at)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
