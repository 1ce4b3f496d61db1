/* Links, addresses and routes, in a network namespace of this program's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sys/clock.h"
#include "sys/link.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool alone; /* in the namespace */

static int ip(const char *args)
{
    char line[300];
    snprintf(line, sizeof(line), "ip %s 2>/dev/null", args);
    return system(line);
}

static int enter(void **state)
{
    (void)state;
    alone = unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) == 0 &&
            ip("link set lo up") == 0;
    return 0;
}

static void make_link(void)
{
    if (!alone)
        skip(); /* no right to a namespace, or no `ip` here */
    (void)ip("link del dz0");
    assert_int_equal(ip("link add dz0 type veth peer name dz1"), 0);
    assert_int_equal(ip("link set dz0 up"), 0);
    assert_int_equal(ip("link set dz1 up"), 0);
}

/* Exactly these lines, soon: the kernel tells of a carrier a moment later. */
static void assert_lines(const char *name, const char *const *want, size_t n)
{
    for (const nsec_t end = sys_clock_mono() + 10 * NSEC_S;; sys_sleep(10 * NSEC_MS)) {
        cleanup_strv struct strv got = {0};
        char difference[400] = "";
        assert_int_equal(sys_link_read(name, &got, NULL), 0);
        for (size_t i = 0; !*difference && (i < got.n || i < n); i++)
            if (i >= n || !str_eq(got.v ? got.v[i] : NULL, want[i]))
                snprintf(difference, sizeof(difference), "'%s', not '%s'",
                         i < got.n ? got.v[i] : "(nothing)", i < n ? want[i] : "(nothing)");
        if (!*difference)
            return;
        if (sys_clock_mono() > end)
            fail_msg("%s", difference);
    }
}
#define ASSERT_LINES(name, ...)                      \
    do {                                             \
        const char *const want_[] = {__VA_ARGS__};   \
        assert_lines(name, want_, ARRAY_LEN(want_)); \
    } while (0)

static void a_link_with_all_it_has(void **state)
{
    (void)state;
    make_link();
    static const char *const setup[] = {
        "address add 10.7.0.2/31 dev dz0",
        "address add 10.8.0.1 peer 10.8.0.2/32 dev dz0",
        "-6 address add 2001:db8::1/64 dev dz0 nodad",
        "route add 203.0.113.0/24 via 10.7.0.3 src 10.7.0.2 metric 20 proto 186",
        "route add default via 10.7.0.3 table 300",
        "-6 route add 2001:db8:1::/48 via 2001:db8::2 metric 30",
        "address add 10.9.0.2/24 dev dz1",
        "route add 198.51.100.0/24 nexthop via 10.9.0.3 dev dz1 nexthop via 10.7.0.3 dev dz0",
        "route add 192.0.2.0/24 dev lo", /* not by this link */
    };
    for (size_t i = 0; i < ARRAY_LEN(setup); i++)
        if (ip(setup[i]) != 0)
            fail_msg("ip %s", setup[i]);
    ASSERT_LINES("dz0", "address 10.7.0.2/31", "address 10.8.0.1 peer 10.8.0.2/32",
                 "address 2001:db8::1/64", "link veth, mtu 1500, up",
                 "route 10.7.0.2/31 src 10.7.0.2 proto 2", "route 10.8.0.2/32 src 10.8.0.1 proto 2",
                 "route 198.51.100.0/24 via 10.7.0.3 proto 3",
                 "route 2001:db8:1::/48 via 2001:db8::2 proto 3 metric 30",
                 "route 2001:db8::/64 proto 2 metric 256",
                 "route 203.0.113.0/24 via 10.7.0.3 src 10.7.0.2 proto 186 metric 20",
                 "route default via 10.7.0.3 proto 3 table 300");
}

static void what_becomes_of_a_link(void **state)
{
    (void)state;
    make_link();
    ASSERT_LINES("dz0", "link veth, mtu 1500, up");
    assert_int_equal(ip("link set dz1 down"), 0);
    ASSERT_LINES("dz0", "link veth, mtu 1500, up without a carrier");
    assert_int_equal(ip("link set dz0 down mtu 1476"), 0);
    ASSERT_LINES("dz0", "link veth, mtu 1476, down");
    assert_int_equal(ip("link del dz0"), 0);
    cleanup_strv struct strv none = {0};
    assert_int_equal(sys_link_read("dz0", &none, NULL), 0);
    assert_int_equal(none.n, 0);
}

/* The same whenever it was made: no index, no address of the hardware. */
static void a_link_made_anew_is_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        make_link();
        assert_int_equal(ip("address add 10.7.0.2/31 dev dz0"), 0);
        ASSERT_LINES("dz0", "address 10.7.0.2/31", "link veth, mtu 1500, up",
                     "route 10.7.0.2/31 src 10.7.0.2 proto 2");
    }
}

/* Its ends are those of the tunnel, and other ends another tunnel. */
static void a_tunnel_has_ends(void **state)
{
    (void)state;
    make_link();
    if (ip("link add gre7 type gre local 192.0.2.1 remote 192.0.2.2") != 0)
        skip(); /* this kernel has none */
    assert_int_equal(ip("link set gre7 up"), 0);
    ASSERT_LINES("gre7", "link gre 192.0.2.1 peer 192.0.2.2, mtu 1476, up");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_with_all_it_has),
        cmocka_unit_test(what_becomes_of_a_link),
        cmocka_unit_test(a_link_made_anew_is_the_same),
        cmocka_unit_test(a_tunnel_has_ends),
    };
    return cmocka_run_group_tests(tests, enter, NULL);
}
