/* What zfs(8) prints, as it was recorded from OpenZFS 2.3.2 (2.1.11 prints the same), read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/storage/zfs.h"

#include <string.h>

static void reads_get(void **state)
{
    (void)state;
    struct zfs_dataset d[3] = {
        {.name = "tank/n/green"}, {.name = "tank/n/blue"}, {.name = "tank/n/green@changeover-u1"}};
    zfs_parse_get("tank/n/green\ttype\tfilesystem\t-\n"
                  "tank/n/green\tmountpoint\t/srv/a b/green\tlocal\n"
                  "tank/n/green\tmounted\t"
                  "yes\t-\n"
                  "tank/n/green\torigin\t-\t-\n"
                  "tank/n/green\tavailable\t8109252608\t-\n"
                  "tank/n/green\tchangeover:service\tnode\tlocal\n"
                  "tank/n/green\tchangeover:colour\tgreen\tinherited from tank/n\n"
                  "tank/n/green\tchangeover:upgrade\t-\t-\n"
                  "tank/n/green@changeover-u1\ttype\tsnapshot\t-\n"
                  "tank/n/green@changeover-u1\tmountpoint\t-\t-\n"
                  "tank/n/green@changeover-u1\tclones\ttank/n/blue,tank/n/copy\t-\n"
                  "tank/n/green@changeover-u1\tchangeover:snapshot\tu1\tlocal\n",
                  d, 3);
    assert_true(d[0].exists && !d[1].exists && d[2].exists);
    assert_string_equal(d[0].mountpoint, "/srv/a b/green");
    assert_string_equal(d[0].mounted, "yes");
    assert_string_equal(d[0].origin, "");
    assert_string_equal(d[0].available, "8109252608");
    assert_string_equal(d[0].service, "node");
    assert_string_equal(d[0].colour, ""); /* a parent's mark is not its own */
    assert_string_equal(d[2].clones, "tank/n/blue,tank/n/copy");
    assert_string_equal(d[2].snapshot, "u1");
}

static void reads_list(void **state)
{
    (void)state;
    struct err err = {0};
    cleanup_zfs_list struct zfs_list l = {0};
    assert_int_equal(
        zfs_parse_list("tank/n/green\tfilesystem\t812\t-\t-\t-\ttank/n/blue@x\n"
                       "tank/n/green@changeover-u1\tsnapshot\t901\t1\ttank/n/blue\tu1\t-\n"
                       "tank/n/green@changeover-u2\tsnapshot\t902\t0\t\t-\t-\n"
                       "tank/n/green@daily\tsnapshot\t903\t0\t\t-\t-\n"
                       "tank/n/green#mark\tbookmark\t903\t-\t-\t-\t-\n",
                       &l, &err),
        0);
    assert_int_equal(l.n, 5);
    assert_true(zfs_is_ours(&l.v[1]) && l.v[1].holds == 1 && l.v[1].createtxg == 901);
    assert_string_equal(l.v[1].clones, "tank/n/blue");
    assert_false(zfs_is_ours(&l.v[2])); /* by name, not by mark */
    assert_false(zfs_is_ours(&l.v[0]) || zfs_is_ours(&l.v[3]) || zfs_is_ours(&l.v[4]));
    assert_string_equal(l.v[0].origin, "tank/n/blue@x");
    assert_string_equal(l.v[4].type, "bookmark");
    assert_int_equal(zfs_parse_list("tank/n/green\tfilesystem\n", &l, &err), -1);
}

static void reads_destroy(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(
        zfs_parse_destroy("destroy\ttank/n/blue\nreclaim\t12288\n", "tank/n/blue", &err), 0);
    assert_int_equal(zfs_parse_destroy("destroy\ttank/n/blue@daily\ndestroy\ttank/n/blue\n",
                                       "tank/n/blue", &err),
                     -1);
    assert_non_null(strstr(err.msg, "blue@daily"));
    assert_int_equal(zfs_parse_destroy("reclaim\t0\n", "tank/n/blue", &err), -1);
}

static void reads_local_properties(void **state)
{
    (void)state;
    cleanup_strv struct strv args = {0};
    zfs_parse_local("t/a\tquota\t1073741824\nt/a\trecordsize\t16384\nt/a\tmountpoint\t/srv/green\n"
                    "t/b\tquota\t1\nt/a\treservation\t1048576\nt/a\tchangeover:service\tnode\n"
                    "t/a\tcom.sun:auto-snapshot\tfalse\nt/a\tsharenfs\ton\n"
                    "t/a\trefquota\t0\n",
                    "t/a", &args);
    assert_int_equal(args.n, 8);
    assert_string_equal(args.v[7], "refquota=none"); /* 0 is what it prints, and refuses */
    assert_string_equal(args.v[5], "com.sun:auto-snapshot=false");
    assert_string_equal(args.v[0], "-o");
    assert_string_equal(args.v[1], "quota=1073741824");
    assert_string_equal(args.v[3], "recordsize=16384");
}

static void reads_allow(void **state)
{
    (void)state;
    cleanup_zfs_grants struct zfs_grants g = {0};
    cleanup_strv struct strv groups = {0}, none = {0};
    strv_add(&groups, "staff");
    zfs_parse_allow("---- Permissions on tank/n/green ------------------------------------\n"
                    "Permission sets:\n\t@keep hold,snapshot\n"
                    "Create time permissions:\n\tdestroy\n"
                    "Local permissions:\n\tuser bob @keep,send\n"
                    "Descendent permissions:\n\tgroup staff mount\n"
                    "Local+Descendent permissions:\n\tuser (unknown: 4711) promote\n"
                    "\teveryone diff\n"
                    "---- Permissions on tank/n ------------------------------------------\n"
                    "Local+Descendent permissions:\n\tuser bob clone\n",
                    &g);
    assert_int_equal(g.n, 7);
    assert_int_equal(g.v[0].scope, ZFS_ON_SET);
    assert_string_equal(g.v[0].who, "@keep");
    assert_string_equal(g.v[1].what, "destroy");
    assert_string_equal(g.v[4].who, "4711");
    assert_string_equal(g.v[4].what, "promote");
    assert_string_equal(g.v[5].kind, "everyone");
    assert_string_equal(g.v[5].what, "diff");
    assert_string_equal(g.v[6].on, "tank/n");
    assert_true(zfs_granted(&g, "tank/n/green", "hold", "bob", &none)); /* by the set */
    assert_true(zfs_granted(&g, "tank/n/green", "send", "bob", &none));
    assert_true(zfs_granted(&g, "tank/n/green", "clone", "bob", &none));    /* from above */
    assert_false(zfs_granted(&g, "tank/n/green", "mount", "bob", &groups)); /* for what is below */
    assert_true(zfs_granted(&g, "tank/n/green/child", "mount", "bob", &groups));
    assert_false(zfs_granted(&g, "tank/n/green/child", "mount", "bob", &none));
    assert_true(zfs_granted(&g, "tank/n/green", "diff", "eve", &none));
    assert_false(zfs_granted(&g, "tank/n/green", "hol", "bob", &none));
    assert_false(zfs_granted(&g, "tank/n/green", "destroy", "bob", &none)); /* for what is made */
}

static void knows_what_is_only_missing(void **state)
{
    (void)state;
    assert_true(
        zfs_only_missing("cannot open 'tank/n/blue': dataset does not exist\n"
                         "cannot open 'tank/n/green@changeover-u1': dataset does not exist\n"));
    assert_false(zfs_only_missing(""));
    assert_false(zfs_only_missing("cannot open 'tank/n/blue': dataset does not exist\n"
                                  "cannot open 'tank/x': I/O error\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_get),     cmocka_unit_test(reads_list),
        cmocka_unit_test(reads_destroy), cmocka_unit_test(reads_local_properties),
        cmocka_unit_test(reads_allow),   cmocka_unit_test(knows_what_is_only_missing),
    };
    return cmocka_run_group_tests_name("zfs", tests, NULL, NULL);
}
