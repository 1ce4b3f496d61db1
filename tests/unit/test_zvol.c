/* What the driver for zvols reads and writes as text: mountinfo, mount options, mount units, fstab.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver/storage/boot_mount.h"
#include "driver/storage/zvol.h"

#include <string.h>
#include <sys/sysmacros.h>

/* As the VM's kernel (6.1) showed it. */
static const char mountinfo[] =
    "22 1 0:20 / / rw,relatime - overlay root rw,lowerdir=/ro\n"
    "35 22 230:16 / /srv/green/led\\040ger rw,noatime shared:3 - xfs /dev/zd16 "
    "rw,attr2,inode64,logbufs=8,logbsize=32k,noquota\n"
    "36 22 230:16 /sub /mnt rw,noatime - xfs /dev/zd16 rw,attr2\n"
    "37 22 nonsense\n"
    "38 22 230:32 / /srv/old ro,relatime - ext4 /dev/zd32 rw,stripe=4\n";

struct seen {
    struct sys_mount m[8];
    size_t n;
};

static int note(void *ctx, const struct sys_mount *m)
{
    struct seen *s = ctx;
    s->m[s->n++] = *m;
    return 0;
}

static void reads_mountinfo(void **state)
{
    (void)state;
    static struct seen s;
    assert_int_equal(sys_mount_parse(mountinfo, note, &s), 0);
    assert_int_equal(s.n, 4);
    assert_int_equal(s.m[1].dev, makedev(230, 16));
    assert_string_equal(s.m[1].point, "/srv/green/led ger");
    assert_string_equal(s.m[1].root, "/");
    assert_string_equal(s.m[1].type, "xfs");
    assert_string_equal(s.m[1].source, "/dev/zd16");
    assert_string_equal(s.m[2].root, "/sub");
    assert_true(sys_mount_has_option(s.m[3].options, "ro"));
    assert_false(sys_mount_has_option(s.m[1].options, "ro")); /* not for "nouuid,robust" either */
    assert_false(sys_mount_has_option("robust,norobust", "ro"));
}

static void a_clone_is_mounted_as_its_source(void **state)
{
    (void)state;
    cleanup_str struct str xfs = {0}, ext4 = {0}, again = {0};
    zvol_mount_options("xfs",
                       "rw,nosuid,noatime,rw,attr2,inode64,logbufs=8,logbsize=256k,sunit=32,"
                       "swidth=32,prjquota",
                       &xfs);
    assert_string_equal(str_cstr(&xfs), "nouuid,nosuid,noatime,logbufs=8,logbsize=256k,prjquota");
    zvol_mount_options("xfs", "rw,noatime,rw,nouuid,noquota", &again);
    assert_string_equal(str_cstr(&again), "nouuid,noatime");
    zvol_mount_options("ext4", "rw,relatime,rw,errors=remount-ro", &ext4);
    assert_string_equal(str_cstr(&ext4), "defaults,relatime,errors=remount-ro");
}

static struct zvol good(void)
{
    return (struct zvol){.there = true,
                         .device = {.path = "/dev/none-such"},
                         .mounted = true,
                         .fs = "xfs",
                         .options = "rw,noatime,rw"};
}

static const char *refusal(const struct zvol *z)
{
    static char text[256];
    zvol_why_not(z, "tank/green", "/srv/green", text, sizeof(text));
    return text;
}

static void says_why_a_volume_cannot_be_cloned(void **state)
{
    (void)state;
    struct zvol z = good();
    assert_string_equal(refusal(&z), "");
    z.there = false;
    assert_non_null(strstr(refusal(&z), "no block device"));
    z = good();
    z.mounted = false;
    assert_non_null(strstr(refusal(&z), "not mounted at '/srv/green'"));
    strcpy(z.elsewhere, "/mnt");
    assert_non_null(strstr(refusal(&z), "mounted at '/mnt'"));
    z = good();
    strcpy(z.fs, "btrfs");
    assert_non_null(strstr(refusal(&z), "holds btrfs, and only XFS and ext4"));
    z = good();
    strcpy(z.options, "rw,noatime,ro");
    assert_non_null(strstr(refusal(&z), "read-only"));
}

static void names_a_unit_as_systemd_escape_does(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"/srv/blue/ledger", "srv-blue-ledger.mount"},
        {"/srv/agave-blue/led ger", "srv-agave\\x2dblue-led\\x20ger.mount"},
        {"/.hidden//x.y/", "\\x2ehidden-x.y.mount"},
        {"/", "-.mount"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cleanup_free char *unit = boot_mount_unit(cases[i][0]);
        assert_string_equal(unit, cases[i][1]);
    }
}

static void writes_a_unit_that_carries_our_mark(void **state)
{
    (void)state;
    struct driver_ctx ctx = {.service = "node", .upgrade_id = "u1"};
    struct spec_volume v = {.name = "ledger", .path = "/srv/100%/ledger"};
    struct boot_mount m = {&v, BLUE, "/dev/zvol/tank/blue", "xfs", "nouuid,noatime"};
    cleanup_str struct str text = {0};
    boot_mount_text(&ctx, &m, &text);
    const char *t = str_cstr(&text);
    assert_true(str_starts(t, "# changeover: service=node colour=blue volume=ledger upgrade=u1\n"));
    assert_non_null(strstr(t, "\nWhat=/dev/zvol/tank/blue\nWhere=/srv/100%%/ledger\nType=xfs\n"
                              "Options=nouuid,noatime\nReadWriteOnly=yes\n"));
    assert_non_null(strstr(t, "\nBefore=local-fs.target\n"));
}

static void reads_fstab(void **state)
{
    (void)state;
    static const char fstab[] = "# /dev/zvol/tank/no /srv/a xfs defaults 0 0\n"
                                "UUID=12-34\t/srv/a\txfs\tnoatime 0 1\n"
                                "/dev/zvol/tank/b  /srv/b\\040c/ xfs nofail,noatime 0 0\n"
                                "/dev/zvol/tank/d /srv/d\n"
                                "short\n";
    struct fstab_line l;
    fstab_find(fstab, "/srv/a", &l);
    assert_int_equal(l.line, 2);
    assert_true(fstab_is_needed(&l) && fstab_is_ambiguous(&l));
    fstab_find(fstab, "/srv/b c", &l);
    assert_int_equal(l.line, 3);
    assert_false(fstab_is_needed(&l) || fstab_is_ambiguous(&l));
    fstab_find(fstab, "/srv/d", &l);
    assert_true(fstab_is_needed(&l));
    fstab_find(fstab, "/srv/e", &l);
    assert_int_equal(l.line, 0);
    assert_false(fstab_is_needed(&l) || fstab_is_ambiguous(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_mountinfo),
        cmocka_unit_test(a_clone_is_mounted_as_its_source),
        cmocka_unit_test(says_why_a_volume_cannot_be_cloned),
        cmocka_unit_test(names_a_unit_as_systemd_escape_does),
        cmocka_unit_test(writes_a_unit_that_carries_our_mark),
        cmocka_unit_test(reads_fstab),
    };
    return cmocka_run_group_tests_name("zvol", tests, NULL, NULL);
}
