/* What the last pass over a tree only reads, and settle writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clone/tree.h"
#include "sys/clock.h"
#include "tree_rig.h"

#include <sys/xattr.h>

static const struct sentinel owner = {
    .service = "demo", .colour = "blue", .volume = "data", .upgrade = "u1"};

static bool something_is_kept(void *ctx)
{
    return late_any(seen_late(ctx, 0));
}

/* Small files of the last pass are only read in it: the clone is of that moment all the same. */
static void what_is_kept_is_written_by_settle(void **state)
{
    (void)state;
    struct err err = {0};
    struct sentinel mark;
    struct seen *seen = seen_new();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner, .seen = seen, .ahead = true};
    assert_int_equal(
        run_ok("rm -rf src dst moment; mkdir -p src/d/e; cd src/d; for f in same longer "
               "shorter moded e/deep labelled named gone; do echo $f $f > $f; done;"
               "head -c 200000 /dev/urandom > large; chmod 0555 e"),
        0);
    bool labels = setxattr("src/d/labelled", "user.note", "old", 3, 0) == 0;
    sys_sleep(60 * NSEC_MS);
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    assert_true(!labels || removexattr("src/d/labelled", "user.note") == 0);
    assert_true(!labels || setxattr("src/d/named", "user.note", "new", 3, 0) == 0);
    assert_int_equal(
        run_ok("cd src/d; echo SAME SAME > same; echo more >> longer; echo s > shorter;"
               "chmod 6711 moded; chown 7:8 moded 2>/dev/null; chmod 6711 moded;"
               "echo D >> e/deep; echo x >> named; echo x >> labelled; echo x >> gone;"
               "echo x >> large; touch -d 2001-01-01 longer"),
        0);
    o.ahead = false;
    o.no_sync = true;
    o.late = (size_t)64 << 20;

    /* Not a whole pass: forgotten, and the next one looks again. */
    o.cancel = something_is_kept;
    o.ctx = seen;
    assert_int_equal(tree_refresh("src", "dst", &o, NULL, &err), -1);
    assert_int_equal(err.code, ERR_INTERRUPTED);
    err_clear(&err);
    o.cancel = NULL;
    assert_int_equal(run_ok("rm src/d/gone"), 0);

    OK(tree_refresh("src", "dst", &o, NULL, &err), err);
    assert_int_equal(run_ok("cp -a src moment; grep -q same dst/d/same; echo later > src/d/same;"
                            "echo later > src/d/shorter; rm src/d/longer; mv src/d/e src/d/f"),
                     0);
    OK(sentinel_read("dst", &mark, &err), err);
    assert_int_equal(mark.state, SENTINEL_CLONING);
    assert_int_equal(tree_settle("dst", &owner, NULL, &err),
                     -1); /* another process: not finished */
    err_clear(&err);
    assert_int_equal(run_ok("mv dst/d/same kept; mkdir dst/d/same"), 0);
    assert_int_equal(tree_settle("dst", &owner, seen, &err), -1);
    assert_non_null(strstr(err.msg, "'d/same'"));
    err_clear(&err);
    assert_int_equal(run_ok("rmdir dst/d/same; mv kept dst/d/same; touch -r moment/d dst/d"), 0);
    OK(tree_settle("dst", &owner, seen, &err), err);
    assert_same_tree("moment", "dst");
    OK(sentinel_read("dst", &mark, &err), err);
    assert_int_equal(mark.state, SENTINEL_READY);
    assert_int_equal(mark.files, 8);
    seen_free(seen);
}

/* The source went on too soon: what the pass has kept is written before the next one. */
static void what_is_kept_is_not_lost_to_another_pass(void **state)
{
    (void)state;
    struct err err = {0};
    struct seen *seen = seen_new();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner, .seen = seen, .ahead = true};
    assert_int_equal(run_ok("rm -rf src dst; mkdir src; for i in $(seq 40); do echo $i > src/$i; "
                            "done"),
                     0);
    sys_sleep(60 * NSEC_MS);
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    assert_int_equal(run_ok("for i in $(seq 20); do echo new >> src/$i; done"), 0);
    o.ahead = false;
    o.no_sync = true;
    o.late = (size_t)64 << 20;
    sys_sleep(60 * NSEC_MS);
    OK(tree_refresh("src", "dst", &o, NULL, &err), err);
    assert_true(something_is_kept(seen));
    assert_int_equal(
        run_ok("! grep -q new dst/1; for i in $(seq 10 30); do echo more >> src/$i; done"), 0);
    o.ahead = true;
    OK(tree_refresh("src", "dst", &o, NULL, &err), err);
    assert_same_tree("src", "dst");
    seen_free(seen);
}

/* No more is kept than there is memory for, and no large file takes it all: the rest is written at
 * once. */
static void memory_is_bounded(void **state)
{
    (void)state;
    struct err err = {0};
    struct seen *seen = seen_new();
    struct tree_options o = {.mode = TREE_COPY, .owner = &owner, .seen = seen, .ahead = true};
    assert_int_equal(run_ok("rm -rf src dst; mkdir src; for i in $(seq 2000); do echo $i > src/$i; "
                            "done; head -c 5000 /dev/zero > src/large"),
                     0);
    sys_sleep(60 * NSEC_MS);
    OK(tree_clone("src", "dst", &o, NULL, &err), err);
    assert_int_equal(run_ok("echo new >> src/large"), 0);
    o.ahead = false;
    o.no_sync = true;
    o.late = 100000; /* some 600 of the small ones */
    OK(tree_refresh("src", "dst", &o, NULL, &err), err);
    assert_false(something_is_kept(seen));
    assert_int_equal(run_ok("for i in $(seq 2000); do echo new >> src/$i; done"), 0);
    OK(tree_refresh("src", "dst", &o, NULL, &err), err);
    assert_int_equal(
        run_ok("n=$(grep -l new dst/[0-9]* | wc -l); test $n -gt 1000 && test $n -lt 1900"), 0);
    OK(tree_settle("dst", &owner, seen, &err), err);
    assert_same_tree("src", "dst");
    seen_free(seen);
}

/* tmpfs does not say what of a file is in memory. */
static int set_up_on_disk(void **state)
{
    return set_up_in(state, "/var/tmp");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_written_by_settle),
        cmocka_unit_test(what_is_kept_is_not_lost_to_another_pass),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, set_up_on_disk, tear_down);
}
