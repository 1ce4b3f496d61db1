#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/diff.h"

#include <stdio.h>
#include <string.h>

static void expect(const char *old_text, const char *new_text, const char *want)
{
    cleanup_str struct str got = {0};
    diff_unified(old_text, new_text, "a", "b", &got);
    assert_string_equal(str_cstr(&got), want);
}

static void changes_come_with_their_surroundings(void **state)
{
    (void)state;
    expect("x\n", "x\n", "");
    expect("", "x\n", "--- a\n+++ b\n@@ -0,0 +1,1 @@\n+x\n");
    expect("x\n", "", "--- a\n+++ b\n@@ -1,1 +0,0 @@\n-x\n");
    expect("1\n2\n3\n4\n5\n", "1\n2\n3\nX\n4\n5\n",
           "--- a\n+++ b\n@@ -1,5 +1,6 @@\n 1\n 2\n 3\n+X\n 4\n 5\n");
    expect("a\nb", "a\nc\n",
           "--- a\n+++ b\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n");
}

static void distant_changes_are_apart(void **state)
{
    (void)state;
    expect("A\n1\n2\n3\n4\n5\n6\n7\nB\n", "a\n1\n2\n3\n4\n5\n6\n7\nb\n",
           "--- a\n+++ b\n@@ -1,4 +1,4 @@\n-A\n+a\n 1\n 2\n 3\n"
           "@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-B\n+b\n");
    expect("A\n1\n2\n3\n4\n5\n6\nB\n", "a\n1\n2\n3\n4\n5\n6\nb\n",
           "--- a\n+++ b\n@@ -1,8 +1,8 @@\n-A\n+a\n 1\n 2\n 3\n 4\n 5\n 6\n-B\n+b\n");
}

static void long_texts_are_one_change(void **state)
{
    (void)state;
    cleanup_str struct str a = {0}, b = {0}, got = {0};
    for (int i = 0; i < 5000; i++) {
        str_addf(&a, "old %d\n", i);
        str_addf(&b, "new %d\n", i);
    }
    diff_unified(str_cstr(&a), str_cstr(&b), "a", "b", &got);
    assert_non_null(strstr(str_cstr(&got), "@@ -1,5000 +1,5000 @@\n-old 0\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_come_with_their_surroundings),
        cmocka_unit_test(distant_changes_are_apart),
        cmocka_unit_test(long_texts_are_one_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
