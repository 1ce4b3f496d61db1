#include "driver/runtime/keeper.h"

#include "base/str.h"
#include "sys/file.h"
#include "sys/task.h"

#include <string.h>

/* Parts of a control group's path that containers leave there, and what they are called. */
static const struct {
    const char *part, *what;
} containers[] = {
    {"docker", "a Docker container"},    {"containerd", "a containerd container"},
    {"libpod", "a Podman container"},    {"kubepods", "a Kubernetes pod"},
    {"crio-", "a CRI-O container"},      {"/lxc/", "an LXC container"},
    {"lxc.payload", "an LXC container"}, {"/machine.slice/", "a virtual machine or container"},
};

/* /system.slice/docker.service is the daemon itself: a unit, not a container. */
static const char *container_of(const char *path)
{
    if (str_ends(path, ".service"))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(containers); i++)
        if (strstr(path, containers[i].part))
            return containers[i].what;
    return NULL;
}

/* The innermost part that systemd keeps: a service, or a scope of the system (a session's is a
 * login). */
static bool unit_of(const char *path, char *unit, size_t size)
{
    bool found = false;
    for (const char *p = path; p && *p; p = strchr(p + 1, '/')) {
        const char *name = p + (*p == '/');
        size_t n = strcspn(name, "/");
        bool service =
            n > 8 && strncmp(name + n - 8, ".service", 8) == 0 && !str_starts(name, "user@");
        bool scope =
            n > 6 && strncmp(name + n - 6, ".scope", 6) == 0 && str_starts(path, "/system.slice/");
        if (service || scope) {
            snprintf(unit, size, "%.*s", (int)n, name);
            found = true;
        }
    }
    return found;
}

static bool has_line(const char *text, const char *line, size_t n)
{
    for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n')
        if (strcspn(p, "\n") == n && strncmp(p, line, n) == 0)
            return true;
    return false;
}

bool keeper_in_cgroup(const char *cgroup, const char *ours, char *who, size_t size,
                      bool *ret_shared)
{
    *ret_shared = false;
    for (const char *p = cgroup; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        char path[1024], unit[256];
        size_t n = strcspn(p, "\n");
        const char *colon = memchr(p, ':', n);
        colon = colon ? memchr(colon + 1, ':', n - (size_t)(colon + 1 - p)) : NULL;
        if (!colon)
            continue;
        snprintf(path, sizeof(path), "%.*s", (int)(n - (size_t)(colon + 1 - p)), colon + 1);
        const char *container = container_of(path);
        bool is_unit = !container && unit_of(path, unit, sizeof(unit));
        if (!container && !is_unit)
            continue;
        if (has_line(ours, p, n)) {
            *ret_shared = true;
            continue;
        }
        snprintf(who, size, "%s%s", container ? container : "the unit ", container ? "" : unit);
        return true;
    }
    return false;
}

bool keeper_is_supervisor(const char *comm)
{
    static const char *const whole[] = {
        "runsv",     "supervisord", "s6-supervise", "supervise",       "perpd", "circusd",
        "dockerd",   "conmon",      "monit",        "nomad",           "god",   "dinit",
        "daemonize", "immortal",    "svscan",       "bluepill",        "pm2",   "changeover-shim",
        "finit",     "procd",       "openrc-run",   "supervise-daemo", /* 15 characters */
    };
    static const char *const begin[] = {"containerd-shim", "PM2 ", "crun", "runc", "lxc-start"};
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        if (strcmp(comm, whole[i]) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_LEN(begin); i++)
        if (str_starts(comm, begin[i]))
            return true;
    return false;
}

static int namespaces(pid_t pid, struct err *err)
{
    static const char *const names[] = {"ns/mnt", "ns/pid"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char its[64], ours[64];
        sys_task_link(pid, names[i], its, sizeof(its));
        sys_task_link(sys_proc_self().pid, names[i], ours, sizeof(ours));
        if (*its && *ours && strcmp(its, ours) != 0)
            return err_set(err, ERR_FOREIGN,
                           "process %d runs in a namespace of its own (%s): a container keeps it",
                           (int)pid, names[i] + 3);
    }
    return 0;
}

static int ancestors(pid_t pid, struct err *err)
{
    struct sys_task t;
    if (!sys_task_read(pid, &t))
        return err_set(err, ERR_NOT_FOUND, "there is no process %d", (int)pid);
    for (int i = 0; i < 64 && t.ppid > 1; i++) {
        if (!sys_task_read(t.ppid, &t))
            break;
        if (keeper_is_supervisor(t.comm))
            return err_set(err, ERR_FOREIGN,
                           "process %d is kept by the supervisor '%s' (process %d), which would "
                           "start it again behind our back",
                           (int)pid, t.comm, (int)t.pid);
    }
    return 0;
}

int keeper_none(pid_t pid, bool *ret_shared, struct err *err)
{
    char path[64], who[300];
    cleanup_str struct str its = {0}, ours = {0};
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    if (sys_file_read(path, 65536, &its, err) < 0 ||
        sys_file_read("/proc/self/cgroup", 65536, &ours, err) < 0)
        return -1;
    if (keeper_in_cgroup(str_cstr(&its), str_cstr(&ours), who, sizeof(who), ret_shared))
        return err_set(err, ERR_FOREIGN, "process %d is kept by %s, which may start or end it",
                       (int)pid, who);
    return namespaces(pid, err) < 0 ? -1 : ancestors(pid, err);
}
