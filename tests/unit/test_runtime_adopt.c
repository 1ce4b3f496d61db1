#include "runtime_rig.h"

#include "driver/runtime/keeper.h"

static void freeze_holds_it_and_thaw_says_how_long(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    int fd = -1;
    nsec_t held = 0;
    assert_int_equal(process_freeze(&r->ctx, BLUE, NSEC_S, &fd, &err), -1); /* nothing runs */
    run_script(r, BLUE, TICKS);
    start(r, BLUE);
    eventually(moves("ticks"));
    assert_int_equal(process_freeze(&r->ctx, BLUE, 20 * NSEC_S, &fd, &err), 0);
    assert_false(moves("ticks"));
    assert_true(facts(r, BLUE).state == INSTANCE_RUNNING);
    assert_non_null(strstr(facts(r, BLUE).text, "frozen"));
    assert_int_equal(process_thaw(&r->ctx, BLUE, fd, &held, &err), 0);
    assert_true(held >= 300 * NSEC_MS && held < 20 * NSEC_S);
    assert_true(moves("ticks"));
    assert_int_equal(process_thaw(&r->ctx, BLUE, -1, NULL, &err), 0);
}

static void a_freeze_ends_at_its_ceiling(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    int fd = -1;
    nsec_t held = 0;
    run_script(r, BLUE, TICKS);
    start(r, BLUE);
    eventually(moves("ticks"));
    assert_int_equal(process_freeze(&r->ctx, BLUE, 200 * NSEC_MS, &fd, &err), 0);
    eventually(moves("ticks"));
    assert_int_equal(process_thaw(&r->ctx, BLUE, fd, &held, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_true(held >= 200 * NSEC_MS && held < 5 * NSEC_S);
}

static void a_freeze_ends_with_the_tool(void **state)
{
    struct rig *r = *state;
    run_script(r, BLUE, TICKS);
    start(r, BLUE);
    eventually(moves("ticks"));
    pid_t tool = fork();
    if (tool == 0) {
        int fd = -1;
        struct err err = {0};
        if (process_freeze(&r->ctx, BLUE, 60 * NSEC_S, &fd, &err) < 0)
            _exit(1);
        if (creat("frozen", 0600) < 0)
            _exit(1);
        pause();
        _exit(0);
    }
    eventually(sys_path_exists("frozen"));
    assert_false(moves("ticks"));
    kill(tool, SIGKILL);
    waitpid(tool, NULL, 0);
    eventually(moves("ticks"));
}

static void a_frozen_instance_can_be_stopped(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    int fd = -1;
    start(r, BLUE);
    assert_int_equal(process_freeze(&r->ctx, BLUE, 60 * NSEC_S, &fd, &err), 0);
    stop(r, BLUE);
    close(fd);
    assert_int_equal(facts(r, BLUE).state, INSTANCE_STOPPED);
}

/* Where both hierarchies are there, make() takes v2; v1's freezer is what older hosts have. */
static void a_freezer_of_version_one_works_too(void **state)
{
    struct rig *r = *state;
    struct sys_cgroup cg = {0};
    const char *const argv[] = {"sleep", "607", NULL};
    snprintf(cg.track, sizeof(cg.track), "/sys/fs/cgroup/freezer/changeover-test-%d",
             (int)getpid());
    if (mkdir(cg.track, 0755) < 0)
        skip();
    struct proc_id id = beside(r, "/bin/sleep", argv);
    bool joined = sys_cgroup_join(&cg, id.pid) == 0;
    pid_t pids[4];
    size_t n = 0;
    sys_cgroup_pids(&cg, pids, 4, &n);
    int froze = sys_cgroup_freeze(&cg, true, PATIENCE);
    bool frozen = sys_cgroup_frozen(&cg);
    int thawed = sys_cgroup_freeze(&cg, false, PATIENCE);
    bool still = sys_cgroup_frozen(&cg);
    int killed = sys_cgroup_kill(&cg);
    waitpid(id.pid, NULL, 0);
    for (nsec_t until = sys_clock_mono() + PATIENCE;
         sys_path_exists(cg.track) && sys_clock_mono() < until; sys_sleep(NSEC_MS))
        sys_cgroup_remove(&cg);
    assert_true(joined && n == 1 && pids[0] == id.pid);
    assert_int_equal(froze, 0);
    assert_true(frozen);
    assert_int_equal(thawed, 0);
    assert_false(still);
    assert_int_equal(killed, 0);
    assert_false(sys_path_exists(cg.track));
}

static void what_a_killed_freeze_left_does_not_hang_a_start(void **state)
{
    struct rig *r = *state;
    start(r, BLUE);
    struct run run = record(r, BLUE);
    if (!run.cgroup.track[0])
        skip();
    assert_int_equal(sys_cgroup_freeze(&run.cgroup, true, PATIENCE), 0);
    kill(run.shim.pid, SIGKILL);
    kill(run.pid.pid, SIGKILL);
    eventually(facts(r, BLUE).state == INSTANCE_EXITED);
    start(r, BLUE);
    assert_int_equal(facts(r, BLUE).state, INSTANCE_RUNNING);
}

static void what_runs_is_adopted_untouched(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    cleanup_str struct str text = {0};
    setenv("ADOPTED_VALUE", "kept", 1);
    struct proc_id id = served(r, GREEN);
    unsetenv("ADOPTED_VALUE");
    if (process_adopt(&r->ctx, GREEN, 0, &text, &err) < 0)
        fail_msg("%s", err.msg);
    struct instance_facts f = facts(r, GREEN);
    assert_int_equal(f.state, INSTANCE_RUNNING);
    assert_int_equal(f.pid.pid, id.pid);
    assert_true(f.adopted);
    assert_true(llabs(f.started_wall_ns - sys_clock_wall()) < 60 * NSEC_S);
    assert_non_null(strstr(str_cstr(&text), "can be started again by: cd"));
    assert_null(strstr(str_cstr(&text), "differs"));
    assert_int_equal(process_adopt(&r->ctx, GREEN, id.pid, &text, &err), 0);
    start(r, GREEN); /* it runs: success */
    int fd = -1;
    assert_int_equal(process_freeze(&r->ctx, GREEN, 10 * NSEC_S, &fd, &err), 0);
    assert_true(stopped(id));
    assert_int_equal(process_thaw(&r->ctx, GREEN, fd, NULL, &err), 0);
    assert_false(stopped(id));
    stop(r, GREEN);
    waitpid(id.pid, NULL, 0);
    assert_int_equal(facts(r, GREEN).state, INSTANCE_STOPPED);

    assert_int_equal(unlink("port"), 0); /* ours now, with what it had */
    start(r, GREEN);
    f = facts(r, GREEN);
    assert_false(f.adopted);
    cleanup_strv struct strv env = {0};
    assert_int_equal(sys_task_env(f.pid.pid, &env, &err), 0);
    assert_true(strv_has(&env, "ADOPTED_VALUE=kept"));
}

static void differences_to_the_spec_are_named(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    cleanup_str struct str text = {0};
    struct spec_var env[] = {{"NEWVAR", "secret", 1}};
    struct proc_id id = served(r, GREEN);
    r->spec[GREEN].runtime.env = env;
    r->spec[GREEN].runtime.env_n = 1;
    r->spec[GREEN].runtime.cwd = "/usr";
    strv_add(&r->spec[GREEN].runtime.command, "--more");
    assert_int_equal(process_adopt(&r->ctx, GREEN, id.pid, &text, &err), 0);
    assert_non_null(strstr(str_cstr(&text), "the spec says '--more'"));
    assert_non_null(strstr(str_cstr(&text), "the spec says '/usr'"));
    assert_non_null(strstr(str_cstr(&text), "NEWVAR"));
    assert_null(strstr(str_cstr(&text), "secret"));
}

static void nothing_is_adopted_that_cannot_be(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    cleanup_str struct str text = {0};
    struct proc_id id = served(r, GREEN);
    r->spec[GREEN].runtime.command.v[0][0] = 'x';
    assert_int_equal(process_adopt(&r->ctx, GREEN, id.pid, &text, &err), -1);
    assert_non_null(strstr(err.msg, "could not be started again"));
    assert_int_equal(facts(r, GREEN).state, INSTANCE_STOPPED);
    kill(id.pid, SIGKILL);
    waitpid(id.pid, NULL, 0);
    assert_int_equal(process_adopt(&r->ctx, GREEN, 0, &text, &err), -1);
    assert_non_null(strstr(err.msg, "nobody listens on port"));
}

static void a_supervised_process_is_refused(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    cleanup_str struct str text = {0};
    assert_int_equal(symlink("/bin/sh", "runsv"), 0);
    const char *const argv[] = {"runsv", "-c", "sleep 606 & echo $! >pid; wait", NULL};
    struct proc_id super = beside(r, "./runsv", argv);
    eventually(size_of("pid") > 0);
    cleanup_fclose FILE *f = fopen("pid", "r");
    int pid = 0;
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    r->extra[r->extra_n++] = (struct proc_id){pid, sys_proc_start_ticks(pid)};
    assert_int_equal(process_adopt(&r->ctx, GREEN, pid, &text, &err), -1);
    assert_int_equal(err.code, ERR_FOREIGN);
    assert_non_null(strstr(err.msg, "'runsv'"));
    assert_non_null(strstr(err.hint, "changeover start --live green"));
    assert_true(sys_proc_alive(super));
}

static void keepers_are_read_from_control_groups(void **state)
{
    (void)state;
    static const struct {
        const char *cgroup, *ours, *who;
    } rows[] = {
        {"0::/system.slice/agave.service\n", "0::/\n", "the unit agave.service"},
        {"0::/system.slice/run-12.scope\n", "0::/\n", "the unit run-12.scope"},
        {"0::/user.slice/user-1000.slice/session-3.scope\n", "0::/\n", NULL},
        {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n", "0::/\n",
         "the unit x.service"},
        {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope\n", "0::/\n", NULL},
        {"0::/system.slice/docker-abc.scope\n", "0::/\n", "a Docker container"},
        {"12:pids:/docker/abc\n0::/\n", "0::/\n", "a Docker container"},
        {"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope\n", "0::/\n",
         "a containerd container"},
        {"0::/system.slice/docker.service\n", "0::/\n", "the unit docker.service"},
        {"0::/machine.slice/libpod-1.scope\n", "0::/\n", "a Podman container"},
        {"0::/\n", "0::/\n", NULL},
        {"0::/system.slice/ci.service\n", "0::/system.slice/ci.service\n", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char who[300] = "";
        bool shared = false;
        bool kept = keeper_in_cgroup(rows[i].cgroup, rows[i].ours, who, sizeof(who), &shared);
        assert_int_equal(kept, rows[i].who != NULL);
        if (rows[i].who)
            assert_string_equal(who, rows[i].who);
        assert_int_equal(shared, i + 1 == ARRAY_LEN(rows));
    }
    assert_true(keeper_is_supervisor("containerd-shim"));
    assert_true(keeper_is_supervisor("PM2 v5.3.0: God"));
    assert_false(keeper_is_supervisor("bash"));
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        rigged(freeze_holds_it_and_thaw_says_how_long),
        rigged(a_freeze_ends_at_its_ceiling),
        rigged(a_freeze_ends_with_the_tool),
        rigged(a_frozen_instance_can_be_stopped),
        rigged(a_freezer_of_version_one_works_too),
        rigged(what_a_killed_freeze_left_does_not_hang_a_start),
        rigged(what_runs_is_adopted_untouched),
        rigged(differences_to_the_spec_are_named),
        rigged(nothing_is_adopted_that_cannot_be),
        rigged(a_supervised_process_is_refused),
        rigged(keepers_are_read_from_control_groups),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return rig_main(argc, argv, run);
}
