/* What is left, and for how long: samples as text, the rate they tell, and what zfs(8) says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/storage/zfs_space.h"
#include "engine/space.h"

#include <string.h>

#define MB (1000.0 * 1000.0)

/* One look: the store that both share, and a limit of live's own. */
static void look(struct str *text, nsec_t wall, double left, double green, double blue)
{
    struct space_view v = {.n = 2};
    v.store[0] = (struct space_store){.wall = wall,
                                      .name = "zfs-tank",
                                      .left = (uint64_t)left,
                                      .side = GREEN,
                                      .volume = "ledger",
                                      .holds = {true, true},
                                      .used = {(int64_t)green, (int64_t)blue}};
    v.store[1] = (struct space_store){.wall = wall,
                                      .name = "limit:refquota:ledger",
                                      .left = 900000000000,
                                      .side = GREEN,
                                      .volume = "ledger",
                                      .holds = {true, false},
                                      .used = {-1, -1}};
    space_print(&v, "u1", text);
}

static void tells_when_it_is_full(void **state)
{
    (void)state;
    cleanup_str struct str text = {0};
    struct space_view v;
    const struct space_rate *r = NULL;
    char words[320];
    for (int i = 0; i < 20; i++)
        look(&text, NSEC_HOUR + i * 2 * NSEC_S, 12.54e9 - i * 2.2 * MB, 5e9 + i * 2 * MB,
             1e9 + i * 0.2 * MB);
    space_parse(str_cstr(&text), "u1", &v);
    assert_int_equal(v.n, 2);
    const struct space_store *s = space_tightest(&v, &r);
    assert_string_equal(s->name, "zfs-tank");
    assert_true(s->holds[GREEN] && s->holds[BLUE]);
    assert_true(r->valid && r->shrinks > 1.09 * MB && r->shrinks < 1.11 * MB);
    assert_true(r->known[GREEN] && r->known[BLUE]);
    space_words(s, r, "/srv/green/ledger", words, sizeof(words));
    assert_string_equal(words, "12.5 GB free at '/srv/green/ledger' (volume ledger), 1.1 MB/s less "
                               "(green +1.0 MB/s, blue +100 kB/s): full in 3 h 9 m at this rate");
}

/* What is not of this upgrade, is torn, or too old or too short to tell anything, tells nothing. */
static void goes_by_nothing_else(void **state)
{
    (void)state;
    cleanup_str struct str text = {0};
    struct space_view v;
    const struct space_rate *r = NULL;
    space_parse("", "u1", &v);
    assert_int_equal(v.n, 0);
    assert_null(space_tightest(&v, &r));
    for (int i = 0; i < 30; i++) /* shrank fast, long ago */
        look(&text, i * 2 * NSEC_S, 50e9 - i * 1e9, -1, -1);
    for (int i = 0; i < 30; i++)
        look(&text, NSEC_HOUR + i * 2 * NSEC_S, 20e9, -1, -1);
    str_add(&text, "3660000000000 u1 zfs-tank 12");
    space_parse(str_cstr(&text), "u1", &v);
    const struct space_store *s = space_tightest(&v, &r);
    assert_int_equal(s->left, 20000000000);
    assert_true(r->valid && r->shrinks < 1 && r->full_in == -1 && !r->known[GREEN]);
    space_parse(str_cstr(&text), "u2", &v);
    assert_int_equal(v.n, 0);
    str_clear(&text);
    look(&text, NSEC_HOUR, 20e9, 0, 0);
    look(&text, NSEC_HOUR + NSEC_S, 10e9, 0, 0);
    look(&text, NSEC_HOUR + 2 * NSEC_S, 5e9, 0, 0);
    space_parse(str_cstr(&text), "u1", &v);
    s = space_tightest(&v, &r);
    assert_true(s->left == 5000000000 && !r->valid && r->full_in == -1);
}

/* A limit that fills up first is the tightest, and is called what it is. */
static void a_limit_is_said_to_be_one(void **state)
{
    (void)state;
    char words[320];
    const struct space_rate *r = NULL;
    struct space_view v = {.n = 2};
    v.store[0] = (struct space_store){.name = "zfs-tank", .left = 5000000, .volume = "ledger"};
    v.rate[0] = (struct space_rate){.full_in = -1};
    v.store[1] = (struct space_store){
        .name = "limit:refquota:accounts", .left = 3000000000, .side = BLUE, .volume = "accounts"};
    v.rate[1] = (struct space_rate){.valid = true, .shrinks = 1e6, .full_in = 3000 * NSEC_S};
    const struct space_store *s = space_tightest(&v, &r);
    assert_ptr_equal(s, &v.store[1]);
    space_words(s, r, "?", words, sizeof(words));
    assert_string_equal(words, "3.0 GB left under the refquota of blue's volume accounts, 1.0 MB/s "
                               "less: full in 50 m at this rate");
    /* But one that hardly has anything left comes before one that is full in some days. */
    v.rate[1].full_in = 30 * NSEC_HOUR;
    assert_ptr_equal(space_tightest(&v, &r), &v.store[0]);
}

static void reads_what_zfs_says(void **state)
{
    (void)state;
    struct storage_space s = {0};
    bool volume;
    static const char text[] = "tank/n\ttype\tfilesystem\n"
                               "tank/n/green\ttype\tvolume\n"
                               "tank/n\tavailable\t8000000000\n"
                               "tank/n\tused\t3000000000\n"
                               "tank/n\tquota\t0\n"
                               "tank/n\trefquota\t0\n"
                               "tank/n/green\tavailable\t200000000\n"
                               "tank/n/green\tused\t1500000000\n"
                               "tank/n/green\treferenced\t800000000\n"
                               "tank/n/green\tquota\t2000000000\n"
                               "tank/n/green\trefquota\t1000000000\n"
                               "tank/n/green\treservation\t0\n"
                               "tank/n/green\tusedbyrefreservation\t100000000\n";
    assert_true(zfs_parse_space(text, "tank/n/green", &s, &volume) && volume);
    assert_int_equal(s.free_bytes, 8100000000); /* the pool's, and what is reserved for it */
    assert_int_equal(s.quota_bytes, 600000000); /* snapshots count */
    assert_int_equal(s.limit_bytes, 200000000); /* they do not */
    assert_int_equal(s.used_bytes, 1400000000);
    assert_string_equal(s.limit, "refquota");
    /* the answer is of all volumes at once */
    assert_true(zfs_parse_space("tank/n\tavailable\t8\ntank/n/other\tavailable\t9\n"
                                "tank/n/other\tquota\t5\ntank/m\tavailable\t7\n"
                                "tank/n/blue\trefquota\t0\ntank/n/blue\tquota\tnone\n",
                                "tank/n/blue", &s, &volume));
    assert_true(!volume && s.quota_bytes == UINT64_MAX && s.limit_bytes == UINT64_MAX &&
                s.free_bytes == 8);
    assert_false(zfs_parse_space("tank/n/blue\tquota\t0\n", "tank/n/blue", &s, &volume));
    assert_false(
        zfs_parse_space("tank\tavailable\t9\ntank/n/blue\tquota\t0\n", "tank/n/blue", &s, &volume));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_when_it_is_full),
        cmocka_unit_test(goes_by_nothing_else),
        cmocka_unit_test(a_limit_is_said_to_be_one),
        cmocka_unit_test(reads_what_zfs_says),
    };
    return cmocka_run_group_tests_name("space", tests, NULL, NULL);
}
