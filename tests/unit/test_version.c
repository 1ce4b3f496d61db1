#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "plan/version.h"

#include <string.h>

static void versions_are_ordered_as_semver_says(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        enum version_step step;
    } rows[] = {
        {"3.1.11", "3.1.11", VERSION_SAME},
        {"v3.1.11", "3.1.11", VERSION_SAME},
        {"3.1", "3.1.0", VERSION_SAME},
        {"3.1.9", "3.1.10", VERSION_UP},
        {"3.1.10", "3.1.9", VERSION_DOWN_PATCH},
        {"3.1.11", "3.0.12", VERSION_DOWN_MINOR},
        {"v3.1.11", "v2.2.1", VERSION_DOWN_MAJOR},
        {"2.9.9", "10.0.0", VERSION_UP},
        {"3.1.0-rc.1", "3.1.0", VERSION_UP},
        {"3.1.0", "3.1.0-rc.1", VERSION_DOWN_PATCH},
        {"3.1.0-rc.2", "3.1.0-rc.11", VERSION_UP},
        {"3.1.0-alpha", "3.1.0-beta", VERSION_UP},
        {"3.1.0-alpha.1", "3.1.0-alpha.beta", VERSION_UP},
        {"3.1.0-alpha.1", "3.1.0-alpha", VERSION_DOWN_PATCH},
        {"2.42.0+ds", "2.42.0", VERSION_SAME},
        {"1.2.3.4", "1.2.3.3", VERSION_DOWN_PATCH},
        {"3.1.11", "deadbeef", VERSION_UNKNOWN},
        {"", "3.1", VERSION_UNKNOWN},
        {NULL, "3.1", VERSION_UNKNOWN},
        {"3.", "3.1", VERSION_UNKNOWN},
        {"3.1-", "3.1", VERSION_UNKNOWN},
        {"3.1 (src:1)", "3.1", VERSION_UNKNOWN},
        {"1.2.3.4.5.6.7.8.9", "3.1", VERSION_UNKNOWN},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (version_step(rows[i].from, rows[i].to) != rows[i].step)
            fail_msg("%s -> %s: %d", rows[i].from, rows[i].to,
                     version_step(rows[i].from, rows[i].to));
}

static void the_policy_limits_the_way_down(void **state)
{
    (void)state;
    static const struct {
        const char *to;
        enum spec_downgrade least;
    } rows[] = {{"3.1.12", DOWNGRADE_NONE},
                {"3.1.10", DOWNGRADE_PATCH},
                {"3.0.9", DOWNGRADE_MINOR},
                {"2.2.1", DOWNGRADE_ANY},
                {"main", DOWNGRADE_NONE}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int policy = DOWNGRADE_NONE; policy <= DOWNGRADE_ANY; policy++) {
            struct err err = {0};
            int rc = version_allowed("3.1.11", rows[i].to, policy, &err);
            assert_int_equal(rc, policy >= (int)rows[i].least ? 0 : -1);
            if (rc == 0)
                continue;
            assert_non_null(strstr(err.msg, rows[i].to));
            assert_non_null(strstr(err.hint, "downgrade: "));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_ordered_as_semver_says),
        cmocka_unit_test(the_policy_limits_the_way_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
