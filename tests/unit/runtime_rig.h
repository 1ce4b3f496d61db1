/* What the tests of the process runtime share: a directory, two specs and a context each, and a
 * program that is its own shim (`shim DIR`) and a listener (`serve FILE`). Everything started is
 * ended, also on failure. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clone/sentinel.h"
#include "driver/runtime/process.h"
#include "driver/runtime/shim.h"
#include "driver/runtime/tail.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE (10 * NSEC_S)

/* Everything a test needs; each one has its own directory and ends all that it started. */
struct rig {
    char dir[64];
    struct spec spec[COLOURS];
    struct driver_ctx ctx;
    struct spec_port port[2];
    struct str said;
    struct proc_id extra[8]; /* started beside the driver */
    size_t extra_n;
};

unused static void hear(void *ctx, const struct event *ev)
{
    struct rig *r = ctx;
    if (ev->text)
        str_addf(&r->said, "%s\n", ev->text);
}

unused static void command(struct spec_command *cmd, const char *script)
{
    strv_done(&cmd->argv);
    strv_add(&cmd->argv, "sh");
    strv_add(&cmd->argv, "-c");
    strv_add(&cmd->argv, script);
    cmd->timeout = 10 * NSEC_S;
}

unused static void run_script(struct rig *r, enum colour c, const char *script)
{
    struct spec_command cmd = {0};
    strv_done(&r->spec[c].runtime.command);
    command(&cmd, script);
    r->spec[c].runtime.command = cmd.argv;
}

unused static int rig_make(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    snprintf(r->dir, sizeof(r->dir), "/tmp/changeover-test-XXXXXX");
    if (!mkdtemp(r->dir) || chdir(r->dir) < 0)
        return -1;
    static struct sink sink;
    sink = (struct sink){hear, r};
    for (int c = GREEN; c < COLOURS; c++) {
        struct spec *s = &r->spec[c];
        s->service = "demo";
        s->path = "changeover.yml";
        s->version = "1.0";
        s->colour = (enum colour)c;
        s->runtime.restart = RESTART_NEVER;
        s->runtime.restart_delay = 10 * NSEC_MS;
        s->runtime.restart_max = 5;
        s->runtime.log_max_bytes = 1 << 20;
        s->runtime.log_keep = 2;
        s->stop.signal = SIGTERM;
        s->stop.grace = 5 * NSEC_S;
        s->stop.kill = false;
        r->ctx.side[c] = s;
        run_script(r, (enum colour)c, "echo hello; exec sleep 600");
    }
    r->ctx.service = "demo";
    r->ctx.service_dir = r->dir;
    r->ctx.upgrade_id = "u1";
    r->ctx.sink = &sink;
    *state = r;
    return 0;
}

unused static int rig_done(void **state)
{
    struct rig *r = *state;
    struct err err = {0};
    for (int c = GREEN; c < COLOURS; c++) {
        cleanup_free char *dir = run_dir(&r->ctx, (enum colour)c);
        struct run run;
        r->spec[c].stop = (struct spec_stop){.signal = SIGKILL, .grace = NSEC_S, .kill = true};
        if (run_read(dir, &run, &err) == 0 && process_stop(&r->ctx, (enum colour)c, &err) < 0) {
            print_error("teardown: %s\n", err.msg);
            if (sys_proc_alive(run.shim))
                kill(run.shim.pid, SIGKILL);
            if (sys_proc_alive(run.pid))
                kill(run.pid.pid, SIGKILL);
        }
    }
    for (size_t i = 0; i < r->extra_n; i++)
        if (sys_proc_alive(r->extra[i])) {
            kill(r->extra[i].pid, SIGKILL);
            kill(r->extra[i].pid, SIGCONT);
        }
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    char cmd[128];
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->dir);
    int bad = chdir("/") || system(cmd);
    str_done(&r->said);
    for (int c = GREEN; c < COLOURS; c++) {
        strv_done(&r->spec[c].runtime.command);
        strv_done(&r->spec[c].identities);
    }
    free(r);
    return bad;
}

unused static struct instance_facts facts(struct rig *r, enum colour c)
{
    struct instance_facts f;
    struct err err = {0};
    if (process_inspect(&r->ctx, c, &f, &err) < 0)
        fail_msg("%s", err.msg);
    return f;
}

unused static struct run record(struct rig *r, enum colour c)
{
    cleanup_free char *dir = run_dir(&r->ctx, c);
    struct run run = {0};
    struct err err = {0};
    if (run_read(dir, &run, &err) < 0)
        fail_msg("%s", err.msg);
    return run;
}

unused static void start(struct rig *r, enum colour c)
{
    struct err err = {0};
    if (process_start(&r->ctx, c, false, &err) < 0)
        fail_msg("start: %s", err.msg);
}

unused static void stop(struct rig *r, enum colour c)
{
    struct err err = {0};
    if (process_stop(&r->ctx, c, &err) < 0)
        fail_msg("stop: %s", err.msg);
}

unused static bool log_has(struct rig *r, enum colour c, const char *text)
{
    struct instance_facts f = facts(r, c);
    cleanup_str struct str t = {0};
    runtime_log_tail(f.log_path, 100, 8000, &t);
    return strstr(str_cstr(&t), text) != NULL;
}

unused static off_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Waits until the expression holds. */
#define eventually(expr)                             \
    do {                                             \
        nsec_t until_ = sys_clock_mono() + PATIENCE; \
        while (!(expr)) {                            \
            if (sys_clock_mono() > until_)           \
                fail_msg("not in time: %s", #expr);  \
            sys_sleep(5 * NSEC_MS);                  \
        }                                            \
    } while (0)

/* A program beside the driver, ended by the teardown. */
unused static struct proc_id beside(struct rig *r, const char *file, const char *const *argv)
{
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        execv(file, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    struct proc_id id = {pid, sys_proc_start_ticks(pid)};
    r->extra[r->extra_n++] = id;
    char exe[512];
    eventually(strstr(sys_task_link(pid, "exe", exe, sizeof(exe)), "test_runtime") == NULL ||
               strstr(file, "exe") != NULL);
    return id;
}

unused static bool stopped(struct proc_id id)
{
    struct sys_task t;
    return sys_task_read(id.pid, &t) && t.state == 'T';
}

/* A counter that a running instance moves on. */
unused static bool moves(const char *path)
{
    off_t was = size_of(path);
    for (nsec_t until = sys_clock_mono() + 300 * NSEC_MS; sys_clock_mono() < until;) {
        if (size_of(path) != was)
            return true;
        sys_sleep(5 * NSEC_MS);
    }
    return false;
}
#define TICKS "trap '' HUP; while :; do echo x >>ticks; sleep 0.02; done"

/* A listener of this program: `serve`, which prints its port into a file. */
unused static int serve(const char *file)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof(a);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 5) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        return 1;
    cleanup_free char *tmp = x_asprintf("%s.new", file);
    FILE *f = fopen(tmp, "w");
    fprintf(f, "%d\n", ntohs(a.sin_port));
    fclose(f);
    if (rename(tmp, file) < 0)
        return 1;
    for (;;)
        pause();
}

unused static struct proc_id served(struct rig *r, enum colour c)
{
    static char exe[512];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[n > 0 ? n : 0] = '\0';
    const char *const argv[] = {exe, "serve", "port", NULL};
    struct proc_id id = beside(r, "/proc/self/exe", argv);
    eventually(sys_path_exists("port"));
    cleanup_fclose FILE *f = fopen("port", "r");
    int port = 0;
    assert_int_equal(fscanf(f, "%d", &port), 1);
    r->port[c] = (struct spec_port){"rpc", (uint16_t)port, (uint16_t)port, 1};
    r->spec[c].ports = &r->port[c];
    r->spec[c].ports_n = 1;
    r->spec[c].traffic.port = "rpc";
    strv_done(&r->spec[c].runtime.command);
    for (int i = 0; argv[i]; i++)
        strv_add(&r->spec[c].runtime.command, argv[i]);
    return id;
}

#define rigged(test) cmocka_unit_test_setup_teardown(test, rig_make, rig_done)

/* Runs the group as we are and, where we are root, beside it once more where nothing is allowed: no
 * control groups, no other user, no lower niceness. `run` calls cmocka, which wants the array
 * itself. */
static int rig_main(int argc, char **argv, int (*run)(const char *name))
{
    if (argc == 3 && strcmp(argv[1], "shim") == 0)
        return shim_main(argv[2]);
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    pid_t plain = getuid() == 0 ? fork() : -1;
    if (plain == 0) {
        if (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
            _exit(1);
        prctl(PR_SET_DUMPABLE, 1);
        _exit(run("as an unprivileged user"));
    }
    int failed = run("runtime"), status = 0;
    if (plain > 0 && waitpid(plain, &status, 0) == plain)
        failed += status != 0;
    return failed;
}
