/* The contract of driver/storage/ops.h, for each driver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clone/sentinel.h"
#include "driver/storage/ops.h"
#include "sys/file.h"
#include "sys/proc.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int run_ok(const char *script)
{
    struct err err = {0};
    cleanup_proc_result struct proc_result r = {0};
    const char *const argv[] = {"sh", "-ec", script, NULL};
    if (sys_proc_run_ok(&(struct proc_spec){.argv = argv}, &r, &err) == 0)
        return 0;
    print_message("%s\n", err.msg);
    return -1;
}

struct seen {
    int progress;
    double done, total;
};

static void count_event(void *ctx, const struct event *ev)
{
    struct seen *s = ctx;
    if (ev->kind != EVENT_PROGRESS || strcmp(ev->unit, "bytes") != 0)
        return;
    s->progress++;
    s->done = ev->done;
    s->total = ev->total;
}

static int stop_at_once(void *ctx)
{
    return *(int *)ctx;
}

#define CHECK(cond)                                                                               \
    do {                                                                                          \
        if (!(cond)) {                                                                            \
            print_message("%s:%d: %s: %s (%s)\n", __FILE__, __LINE__, ops->name, #cond, err.msg); \
            return 1;                                                                             \
        }                                                                                         \
    } while (0)

struct set {
    struct spec_volume src, dst;
    struct driver_ctx ctx;
    struct seen seen;
    struct sink sink;
};

static void set_init(struct set *s, const struct storage_ops *ops)
{
    *s = (struct set){
        .src = {.name = "data", .driver = ops->name, .path = "green"},
        .dst = {.name = "data", .driver = ops->name, .path = "blue"},
    };
    s->sink = (struct sink){.fn = count_event, .ctx = &s->seen};
    s->ctx = (struct driver_ctx){.service = "demo", .upgrade_id = "u1", .sink = &s->sink};
}

static int make_source(const struct storage_ops *ops)
{
    if (run_ok("rm -rf green blue") < 0 ||
        run_ok(ops == &storage_btrfs ? "btrfs -q subvolume create green" : "mkdir green") < 0)
        return -1;
    return run_ok("mkdir -p green/sub; echo one > green/one; head -c 200000 "
                  "/dev/urandom > green/sub/two;"
                  "chmod 0710 green; touch green/LOCK; touch -d 2001-01-01 green/sub green");
}

static int kept(const struct storage_ops *ops)
{
    return ops->caps & STORAGE_NO_DATA
               ? run_ok("test \"$(ls -A blue)\" = .changeover; test $(stat -c %a blue) = 710")
               : run_ok("cmp green/one blue/one; cmp green/sub/two blue/sub/two; test $(stat -c %a "
                        "blue) = 710;"
                        "test $(stat -c %Y blue) = $(stat -c %Y green)");
}

static int clones_and_settles(const struct storage_ops *ops)
{
    struct err err = {0};
    struct set s;
    struct storage_facts f;
    struct storage_space left, other;
    struct sentinel mark;
    set_init(&s, ops);
    CHECK(make_source(ops) == 0);
    CHECK(ops->mark(&s.ctx, &s.src, GREEN, true, &err) == 0);
    CHECK(ops->mark(&s.ctx, &s.src, GREEN, true, &err) == 0);
    CHECK(ops->inspect(&s.ctx, &s.src, &s.dst, BLUE, true, &f, &err) == 0);
    CHECK(!f.exists && f.supported && f.files == 3 && f.bytes >= 200000 && f.free_bytes &&
          *f.fs_name);
    CHECK(f.owner == OWNER_NONE && f.needed_bytes > 0 && access("blue", F_OK) < 0);
    CHECK((ops->caps & STORAGE_INSTANT) || f.estimate_ns > 0);
    CHECK(ops->begin(&s.ctx, &s.src, &s.dst, BLUE, &err) == 0);
    CHECK(ops->inspect(&s.ctx, &s.src, &s.dst, BLUE, false, &f, &err) == 0);
    CHECK(f.exists && f.owner == OWNER_OURS && !f.complete && strcmp(f.upgrade_id, "u1") == 0);
    CHECK(ops->settle(&s.ctx, &s.dst, BLUE, NULL, &err) < 0);
    CHECK(run_ok("echo left-over > blue/left; mkdir -p blue/sub/deep") == 0); /* interrupted */
    CHECK(ops->clone(&s.ctx, &s.src, &s.dst, BLUE, NULL, &err) == 0);
    CHECK(kept(ops) == 0 && access("blue/left", F_OK) < 0);
    CHECK(ops->inspect(&s.ctx, &s.src, &s.dst, BLUE, false, &f, &err) == 0 && f.copied &&
          !f.complete);
    CHECK((ops->caps & (STORAGE_NO_DATA | STORAGE_AT_ONCE)) ||
          (s.seen.progress && s.seen.done == s.seen.total));
    CHECK(ops->settle(&s.ctx, &s.dst, BLUE, NULL, &err) == 0 &&
          ops->settle(&s.ctx, &s.dst, BLUE, NULL, &err) == 0);
    CHECK(sentinel_read("blue", &mark, &err) == 0 && mark.state == SENTINEL_READY);
    CHECK(ops->space(&s.ctx, &s.src, GREEN, UINT64_MAX, &left, &err) == 0 &&
          ops->space(&s.ctx, &s.dst, BLUE, 0, &other, &err) == 0);
    CHECK(left.free_bytes && *left.store && strcmp(left.store, other.store) == 0 &&
          !strpbrk(left.store, " \n") && left.limit_bytes == UINT64_MAX);
    CHECK(strcmp(mark.colour, "blue") == 0 && strcmp(mark.upgrade, "u1") == 0);
    /* again: kept as it is, also what an instance has written to it since */
    CHECK(run_ok("echo served > blue/new") == 0);
    CHECK(ops->begin(&s.ctx, &s.src, &s.dst, BLUE, &err) == 0 &&
          ops->clone(&s.ctx, &s.src, &s.dst, BLUE, NULL, &err) == 0);
    CHECK(run_ok("test \"$(cat blue/new)\" = served") == 0);
    CHECK(ops->inspect(&s.ctx, &s.src, &s.dst, BLUE, false, &f, &err) == 0 && f.complete);
    CHECK(ops->destroy(&s.ctx, &s.dst, BLUE, &err) == 0 && access("blue", F_OK) < 0);
    CHECK(ops->destroy(&s.ctx, &s.dst, BLUE, &err) == 0);
    CHECK(run_ok("test \"$(cat green/one)\" = one") == 0);
    return 0;
}

static int refuses_what_is_not_ours(const struct storage_ops *ops)
{
    struct err err = {0};
    struct set s;
    struct storage_facts f;
    set_init(&s, ops);
    CHECK(make_source(ops) == 0 && run_ok("mkdir blue; echo precious > blue/f") == 0);
    CHECK(ops->inspect(&s.ctx, &s.src, &s.dst, BLUE, false, &f, &err) == 0);
    CHECK(f.exists && !f.empty && f.owner == OWNER_NONE && *f.owner_text);
    CHECK(ops->begin(&s.ctx, &s.src, &s.dst, BLUE, &err) < 0 && err.code == ERR_FOREIGN);
    CHECK(ops->clone(&s.ctx, &s.src, &s.dst, BLUE, NULL, &err) < 0 && err.code == ERR_FOREIGN);
    CHECK(ops->destroy(&s.ctx, &s.dst, BLUE, &err) < 0 && err.code == ERR_FOREIGN);
    /* live's own data, adopted: neither cloned onto, nor another colour's to destroy */
    CHECK(ops->mark(&s.ctx, &s.dst, BLUE, true, &err) == 0);
    CHECK(ops->clone(&s.ctx, &s.src, &s.dst, BLUE, NULL, &err) < 0 && err.code == ERR_FOREIGN);
    CHECK(ops->destroy(&s.ctx, &s.dst, GREEN, &err) < 0 && err.code == ERR_FOREIGN);
    s.ctx.service = "other";
    CHECK(ops->inspect(&s.ctx, &s.src, &s.dst, BLUE, false, &f, &err) == 0 &&
          f.owner == OWNER_FOREIGN);
    CHECK(strstr(f.owner_text, "demo") != NULL);
    CHECK(ops->destroy(&s.ctx, &s.dst, BLUE, &err) < 0 &&
          ops->mark(&s.ctx, &s.dst, BLUE, true, &err) < 0);
    CHECK(ops->mark(&s.ctx, &s.dst, BLUE, false, &err) < 0);
    s.ctx.service = "demo";
    CHECK(ops->mark(&s.ctx, &s.dst, BLUE, false, &err) == 0 &&
          ops->mark(&s.ctx, &s.dst, BLUE, false, &err) == 0);
    CHECK(run_ok("test \"$(ls -A blue)\" = f; test \"$(cat blue/f)\" = precious") == 0);
    /* another upgrade's clone */
    CHECK(run_ok("rm -r blue") == 0 && ops->clone(&s.ctx, &s.src, &s.dst, BLUE, NULL, &err) == 0);
    s.ctx.upgrade_id = "u2";
    CHECK(ops->begin(&s.ctx, &s.src, &s.dst, BLUE, &err) < 0 && err.code == ERR_FOREIGN);
    CHECK(kept(ops) == 0);
    s.ctx.upgrade_id = "";
    CHECK(ops->clone(&s.ctx, &s.src, &s.dst, BLUE, NULL, &err) < 0);
    CHECK(ops->destroy(&s.ctx, &s.dst, BLUE, &err) == 0);
    s.dst.path = "gone";
    CHECK(ops->mark(&s.ctx, &s.dst, BLUE, true, &err) < 0 && err.code == ERR_NOT_FOUND);
    return 0;
}

static int stops_when_asked(const struct storage_ops *ops)
{
    struct err err = {0};
    struct set s;
    int stop = 1;
    set_init(&s, ops);
    s.ctx.poll = stop_at_once;
    s.ctx.poll_ctx = &stop;
    s.src.rate_limit = 1000000;
    CHECK(make_source(ops) == 0 && run_ok("head -c 5000000 /dev/zero > green/large") == 0);
    if (ops == &storage_copy) {
        CHECK(ops->clone(&s.ctx, &s.src, &s.dst, BLUE, NULL, &err) < 0 &&
              err.code == ERR_INTERRUPTED);
        struct sentinel mark;
        CHECK(sentinel_read("blue", &mark, &err) == 0 && mark.state == SENTINEL_CLONING);
    }
    stop = 0;
    s.src.rate_limit = 0;
    s.src.verify = true;
    CHECK(ops->clone(&s.ctx, &s.src, &s.dst, BLUE, NULL, &err) == 0 && kept(ops) == 0);
    CHECK(ops->destroy(&s.ctx, &s.dst, BLUE, &err) == 0);
    return 0;
}

static int contract(const struct storage_ops *ops)
{
    return clones_and_settles(ops) || refuses_what_is_not_ours(ops) || stops_when_asked(ops);
}

static void copy_keeps_the_contract(void **state)
{
    (void)state;
    assert_int_equal(contract(&storage_copy), 0);
}

static void empty_keeps_the_contract(void **state)
{
    (void)state;
    assert_int_equal(contract(&storage_empty), 0);
}

/* In x, a file system of its own on a loop device; 77: there is none here. */
static int in_file_system(const char *mkfs, int (*test)(const struct storage_ops *ops),
                          const struct storage_ops *ops)
{
    cleanup_free char *script =
        x_asprintf("mkdir x && truncate -s 400M img && %s img && mount -o loop img x", mkfs);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        run_ok(script) < 0)
        return 77;
    int r = chdir("x") || test(ops);
    return chdir("..") || run_ok("umount x; rm img; rmdir x") ? 1 : r;
}

static void run_in(const char *mkfs, int (*test)(const struct storage_ops *ops),
                   const struct storage_ops *ops)
{
    if (geteuid() != 0)
        skip();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_file_system(mkfs, test, ops));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void reflink_keeps_the_contract(void **state)
{
    (void)state;
    run_in("mkfs.xfs -q -m reflink=1", contract, &storage_reflink);
}

static void btrfs_keeps_the_contract(void **state)
{
    (void)state;
    run_in("mkfs.btrfs -q", contract, &storage_btrfs);
}

static void reflink_says_where_it_cannot(void **state)
{
    (void)state;
    struct err err = {0};
    struct set s;
    struct storage_facts f;
    set_init(&s, &storage_reflink);
    assert_int_equal(make_source(&storage_reflink), 0);
    assert_int_equal(storage_reflink.inspect(&s.ctx, &s.src, &s.dst, BLUE, true, &f, &err), 0);
    if (f.supported)
        skip();
    assert_true(*f.why_not && f.files == 3);
    s.src.driver = "auto";
    assert_ptr_equal(storage_find(&s.src, &s.dst, &err), &storage_copy);
    assert_ptr_equal(storage_find(&s.dst, &s.dst, &err), &storage_empty);
    assert_int_equal(storage_empty.begin(&s.ctx, &s.dst, &s.dst, BLUE, &err), 0);
    assert_int_equal(storage_empty.clone(&s.ctx, &s.dst, &s.dst, BLUE, NULL, &err), 0);
    assert_int_equal(storage_empty.settle(&s.ctx, &s.dst, BLUE, NULL, &err), 0);
    assert_int_equal(storage_empty.destroy(&s.ctx, &s.dst, BLUE, &err), 0);
    assert_int_equal(storage_empty.inspect(&s.ctx, &s.dst, &s.dst, BLUE, true, &f, &err), 0);
    s.src.driver = "zsf";
    assert_null(storage_find(&s.src, &s.dst, &err));
    assert_non_null(strstr(err.msg, "reflink, btrfs, copy, zfs, empty"));
    s.src.driver = "empty";
    assert_ptr_equal(storage_find(&s.src, &s.dst, &err), &storage_empty);
}

static int set_up(void **state)
{
    const char *base = getenv("TMPDIR");
    if (!base)
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    char *dir = x_asprintf("%s/changeover-storage-XXXXXX", base);
    *state = dir;
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    cleanup_free char *dir = *state;
    cleanup_free char *script = x_asprintf("rm -rf --one-file-system '%s'", dir);
    return chdir("/") || run_ok(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copy_keeps_the_contract),
        cmocka_unit_test(empty_keeps_the_contract),
        cmocka_unit_test(reflink_keeps_the_contract),
        cmocka_unit_test(reflink_says_where_it_cannot),
        cmocka_unit_test(btrfs_keeps_the_contract),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
