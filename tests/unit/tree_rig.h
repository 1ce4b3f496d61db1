/* For tests of trees: a directory of their own, a shell for the set-up, and the whole state of a
 * tree as text. */
#pragma once

#include "base/str.h"
#include "sys/proc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unused int run_ok(const char *script)
{
    struct err err = {0};
    cleanup_proc_result struct proc_result r = {0};
    const char *const argv[] = {"sh", "-ec", script, NULL};
    if (sys_proc_run_ok(&(struct proc_spec){.argv = argv}, &r, &err) == 0)
        return 0;
    print_message("%s\n", err.msg);
    return -1;
}

/* The whole state of a tree as text: what a clone must have the same. */
static unused char *fingerprint(const char *dir)
{
    struct err err = {0};
    struct proc_result r = {0};
    cleanup_free char *script =
        x_asprintf("cd '%s' && { find . -type d -printf '%%P %%y %%m %%U %%G %%T@\\n';"
                   "find . -name .changeover -prune -o ! -type s ! -type d -printf '%%P %%y %%m "
                   "%%U %%G %%s %%T@ %%l\\n'; }"
                   " | LC_ALL=C sort;"
                   "find . -name .changeover -prune -o -type f -print0 | LC_ALL=C sort -z | xargs "
                   "-0 -r sha256sum",
                   dir);
    const char *const argv[] = {"sh", "-c", script, NULL};
    assert_int_equal(
        sys_proc_run_ok(&(struct proc_spec){.argv = argv, .max_output = 1 << 23}, &r, &err), 0);
    str_done(&r.err);
    return str_take(&r.out);
}

static unused bool same_tree(const char *a, const char *b)
{
    cleanup_free char *fa = fingerprint(a), *fb = fingerprint(b);
    return str_eq(fa, fb);
}

static unused void assert_same_tree(const char *a, const char *b)
{
    cleanup_free char *fa = fingerprint(a), *fb = fingerprint(b);
    assert_string_equal(fa, fb);
}

#define OK(call, err)                             \
    do {                                          \
        if ((call) != 0)                          \
            fail_msg("%s: %s", #call, (err).msg); \
    } while (0)

static unused int set_up_in(void **state, const char *base)
{
    char *dir = x_asprintf("%s/changeover-clone-XXXXXX", base);
    *state = dir;
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static unused int set_up(void **state)
{
    const char *base = getenv("TMPDIR");
    if (!base)
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    return set_up_in(state, base);
}

static unused int tear_down(void **state)
{
    cleanup_free char *dir = *state;
    cleanup_free char *script =
        x_asprintf("chmod -R u+rwx '%s'; rm -rf --one-file-system '%s'", dir, dir);
    return chdir("/") || run_ok(script);
}
