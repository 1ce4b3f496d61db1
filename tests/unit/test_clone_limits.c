/* What a clone is reckoned to take, that its copy is proven, and the limits that it keeps to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clone/measure.h"
#include "clone/tree.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "tree_rig.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void sizes_are_measured_and_times_estimated(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_size z;
    nsec_t estimate = 0;
    assert_int_equal(run_ok("rm -rf src dst; mkdir -p src/d; cd src/d; i=0; while [ $i -lt 3000 ]; "
                            "do echo $i > $i; i=$((i+1)); done;"
                            "head -c 40000000 /dev/urandom > big; ln big big2; truncate -s 1G "
                            "hole; ln -s x y; echo z > LOCK"),
                     0);
    const char *const exclude[] = {"d/LOCK", NULL};
    struct tree_options o = {.mode = TREE_COPY, .exclude = exclude};
    OK(tree_measure("src", &o, &z, &err), err);
    assert_int_equal(z.files, 3003);
    assert_int_equal(z.dirs, 2);
    assert_int_equal(z.others, 1);
    assert_true(z.data > 40000000 && z.data < 40100000);
    assert_true(z.blocks > z.data + 3000 * 4000);
    nsec_t t0 = sys_clock_mono();
    OK(tree_estimate("src", "dst", &o, 200 * NSEC_MS, &z, &estimate, &err), err);
    nsec_t asked = sys_clock_mono() - t0;
    assert_false(sys_path_exists("dst"));
    struct tree_result res;
    struct tree_digest before, after;
    OK(tree_clone("src", "dst", &o, &res, &err), err);
    print_message("estimated %.0f ms in %.0f ms, took %.0f ms\n", (double)estimate / 1e6,
                  (double)asked / 1e6, (double)res.took / 1e6);
    assert_true(estimate > 0);
    OK(tree_verify("src", "dst", &o, &before, &err), err);
    OK(tree_verify("dst", "src", &o, &after, &err), err);
    assert_true(before.high == after.high && before.low == after.low && before.low);
    assert_int_equal(
        run_ok("printf X | dd of=dst/d/big bs=1 seek=39999999 conv=notrunc 2>/dev/null"), 0);
    assert_int_equal(tree_verify("src", "dst", &o, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "d/big"));
    assert_int_equal(run_ok("rm dst/d/77"), 0);
    assert_int_equal(tree_verify("src", "dst", &o, NULL, &err), -1);
}

static void a_rate_is_kept(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    assert_int_equal(
        run_ok("rm -rf src dst; mkdir src; head -c 3000000 /dev/urandom > src/f; cp src/f src/g"),
        0);
    struct tree_options o = {.mode = TREE_COPY, .rate_limit = 20000000};
    OK(tree_clone("src", "dst", &o, &res, &err), err);
    assert_true(res.took >= 290 * NSEC_MS);
    assert_same_tree("src", "dst");
}

static void put(const char *path, long long total)
{
    FILE *f = fopen("p/tmp", "w");
    fprintf(f, "some avg10=0.00 avg60=0.00 avg300=0.00 total=%lld\n", total);
    fclose(f);
    assert_int_equal(rename("p/tmp", path), 0);
}

/* A machine on which everything stands still for 1.2 s, and then nothing. */
static pid_t stall(void)
{
    put("p/io", 1);
    put("p/memory", 1);
    pid_t pid = fork();
    if (pid)
        return pid;
    nsec_t t0 = sys_clock_mono(), now;
    while ((now = sys_clock_mono()) < t0 + 1200 * NSEC_MS) {
        put("p/io", 1 + (now - t0) / 1000);
        sys_sleep(20 * NSEC_MS);
    }
    _exit(0);
}

static void others_under_pressure_are_let_by(void **state)
{
    (void)state;
    struct err err = {0};
    struct tree_result res;
    int status;
    assert_int_equal(run_ok("rm -rf src dst p; mkdir src p; head -c 4000000 /dev/urandom > src/f"),
                     0);
    struct tree_options o = {.mode = TREE_COPY,
                             .rate_limit = 8000000, /* half a second: long enough for two looks */
                             .pressure = 50,
                             .pressure_dir = "p",
                             .no_sync = true};
    for (int limited = 0; limited < 2; limited++) {
        pid_t pid = stall();
        o.pressure = limited ? 50 : 100;
        OK(tree_clone("src", "dst", &o, &res, &err), err);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        print_message("%s pressure: %.0f ms\n", limited ? "under" : "whatever the",
                      (double)res.took / 1e6);
        if (limited)
            assert_true(res.took > 1200 * NSEC_MS);
        assert_same_tree("src", "dst");
        assert_int_equal(run_ok("rm -r dst"), 0);
    }
    o.pressure_dir = "nowhere";
    assert_int_equal(tree_clone("src", "dst", &o, &res, &err), -1);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_measured_and_times_estimated),
        cmocka_unit_test(a_rate_is_kept),
        cmocka_unit_test(others_under_pressure_are_let_by),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
