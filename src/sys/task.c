#include "sys/task.h"

#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_CLASS_SHIFT 13

static bool read_stat(const char *path, pid_t pid, struct sys_task *ret)
{
    cleanup_str struct str text = {0};
    if (sys_file_read(path, 4096, &text, NULL) < 0)
        return false;
    const char *open = strchr(str_cstr(&text), '('), *close = strrchr(str_cstr(&text), ')');
    if (!open || !close || close < open)
        return false;
    *ret = (struct sys_task){.pid = pid};
    snprintf(ret->comm, sizeof(ret->comm), "%.*s", (int)(close - open - 1), open + 1);
    int ppid = 0, sid = 0;
    unsigned long long start = 0;
    if (sscanf(close + 1,
               " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ret->state, &ppid, &sid, &start) != 4)
        return false;
    ret->ppid = ppid;
    ret->sid = sid;
    ret->start_ticks = start;
    return true;
}

bool sys_task_read(pid_t pid, struct sys_task *ret)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    return read_stat(path, pid, ret);
}

static int runs(void *ctx, const char *name)
{
    const char *dir = ctx;
    char path[128];
    struct sys_task t;
    str_format(path, sizeof(path), "%s/%s/stat", dir, name);
    return read_stat(path, 0, &t) && !strchr("TZX", t.state);
}

bool sys_task_stopped(pid_t pid)
{
    char dir[64];
    struct sys_task t;
    if (!sys_task_read(pid, &t))
        return true;
    if (!strchr("TZX", t.state))
        return false;
    str_format(dir, sizeof(dir), "/proc/%d/task", (int)pid);
    return sys_dir_each(dir, runs, dir, NULL) <= 0;
}

struct each {
    sys_task_fn *fn;
    void *ctx;
};

static int each_name(void *ctx, const char *name)
{
    const struct each *e = ctx;
    struct sys_task t;
    char *end;
    long pid = strtol(name, &end, 10);
    if (end == name || *end || !sys_task_read((pid_t)pid, &t))
        return 0;
    return e->fn(e->ctx, &t);
}

int sys_task_each(sys_task_fn *fn, void *ctx, struct err *err)
{
    return sys_dir_each("/proc", each_name, &(struct each){fn, ctx}, err);
}

static int strings_of(pid_t pid, const char *name, struct strv *ret, struct err *err)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    cleanup_str struct str text = {0};
    if (sys_file_read(path, 8u << 20, &text, err) < 0)
        return -1;
    for (size_t at = 0; at < text.len; at += strlen(text.buf + at) + 1)
        strv_add(ret, text.buf + at);
    return 0;
}

int sys_task_argv(pid_t pid, struct strv *ret, struct err *err)
{
    return strings_of(pid, "cmdline", ret, err);
}

int sys_task_env(pid_t pid, struct strv *ret, struct err *err)
{
    return strings_of(pid, "environ", ret, err);
}

const char *sys_task_link(pid_t pid, const char *name, char *buf, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    ssize_t n = readlink(path, buf, size - 1);
    buf[n > 0 ? n : 0] = '\0';
    return buf;
}

int sys_task_ids(pid_t pid, uid_t *ret_uid, gid_t *ret_gid, mode_t *ret_umask, struct err *err)
{
    char path[64];
    cleanup_str struct str text = {0};
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (sys_file_read(path, 65536, &text, err) < 0)
        return -1;
    const char *uid = strstr(str_cstr(&text), "\nUid:"), *gid = strstr(str_cstr(&text), "\nGid:");
    const char *mask = strstr(str_cstr(&text), "\nUmask:");
    unsigned u = 0, g = 0, m = 022;
    if (!uid || !gid || sscanf(uid, "\nUid: %*u %u", &u) != 1 ||
        sscanf(gid, "\nGid: %*u %u", &g) != 1)
        return err_set(err, ERR_FAILED, "'%s' has no user and group", path);
    if (mask)
        (void)sscanf(mask, "\nUmask: %o", &m);
    *ret_uid = u;
    *ret_gid = g;
    *ret_umask = m;
    return 0;
}

static const struct {
    const char *name;
    int resource;
    const char *label; /* in /proc/PID/limits */
} limits[] = {
    {"as", RLIMIT_AS, "Max address space"},
    {"core", RLIMIT_CORE, "Max core file size"},
    {"cpu", RLIMIT_CPU, "Max cpu time"},
    {"data", RLIMIT_DATA, "Max data size"},
    {"fsize", RLIMIT_FSIZE, "Max file size"},
    {"locks", RLIMIT_LOCKS, "Max file locks"},
    {"memlock", RLIMIT_MEMLOCK, "Max locked memory"},
    {"msgqueue", RLIMIT_MSGQUEUE, "Max msgqueue size"},
    {"nice", RLIMIT_NICE, "Max nice priority"},
    {"nofile", RLIMIT_NOFILE, "Max open files"},
    {"nproc", RLIMIT_NPROC, "Max processes"},
    {"rss", RLIMIT_RSS, "Max resident set"},
    {"rtprio", RLIMIT_RTPRIO, "Max realtime priority"},
    {"rttime", RLIMIT_RTTIME, "Max realtime timeout"},
    {"sigpending", RLIMIT_SIGPENDING, "Max pending signals"},
    {"stack", RLIMIT_STACK, "Max stack size"},
};
_Static_assert(ARRAY_LEN(limits) <= SYS_LIMITS, "room for every limit");

int sys_limit_number(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (strcmp(limits[i].name, name) == 0)
            return limits[i].resource;
    return -1;
}

const char *sys_limit_name(int resource)
{
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        if (limits[i].resource == resource)
            return limits[i].name;
    return "?";
}

/* "unlimited" or a number; *p goes on behind it. */
static bool limit_value(const char **p, uint64_t *ret)
{
    static const char word[] = "unlimited";
    char *end = NULL;
    *p += strspn(*p, " ");
    if (strncmp(*p, word, sizeof(word) - 1) == 0) {
        *p += sizeof(word) - 1;
        *ret = UINT64_MAX;
        return true;
    }
    *ret = strtoull(*p, &end, 10);
    bool found = end != *p;
    *p = end;
    return found;
}

/* From /proc: prlimit() of another user's process needs CAP_SYS_RESOURCE, which root in a container
 * lacks. */
size_t sys_task_limits(pid_t pid, struct sys_limit ret[SYS_LIMITS])
{
    char path[64];
    cleanup_str struct str text = {0};
    size_t n = 0;
    snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
    if (sys_file_read(path, 65536, &text, NULL) < 0)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct sys_limit l = {.resource = limits[i].resource};
        const char *p = strstr(str_cstr(&text), limits[i].label);
        if (!p)
            continue;
        p += strlen(limits[i].label);
        if (limit_value(&p, &l.soft) && limit_value(&p, &l.hard))
            ret[n++] = l;
    }
    return n;
}

/* Niceness and io class are a thread's own on Linux, whatever POSIX says. */
struct set {
    int value, failed;
    bool io;
};

static int set_thread(void *ctx, const char *name)
{
    struct set *s = ctx;
    id_t tid = (id_t)strtoul(name, NULL, 10);
    errno = 0;
    if (s->io) {
        long now = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid);
        int level = s->value == 1 || s->value == 2 ? 4 : 0;
        long want = ((long)s->value << IOPRIO_CLASS_SHIFT) | level;
        if (now >= 0 && (now >> IOPRIO_CLASS_SHIFT) == s->value)
            return 0;
        if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, tid, want) < 0 && errno != ESRCH)
            s->failed = errno;
        return 0;
    }
    int now = getpriority(PRIO_PROCESS, tid);
    if (errno == 0 && now == s->value)
        return 0;
    if (setpriority(PRIO_PROCESS, tid, s->value) < 0 && errno != ESRCH)
        s->failed = errno;
    return 0;
}

static int set_all(pid_t pid, struct set s)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    if (sys_dir_each(path, set_thread, &s, NULL) < 0 && errno != ENOENT)
        return -1;
    errno = s.failed;
    return s.failed ? -1 : 0;
}

int sys_task_nice(pid_t pid, int nice)
{
    return set_all(pid, (struct set){.value = nice});
}

int sys_task_ionice(pid_t pid, int class)
{
    return set_all(pid, (struct set){.value = class, .io = true});
}

int sys_task_nice_of(pid_t pid)
{
    return getpriority(PRIO_PROCESS, (id_t)pid);
}

bool sys_user_find(const char *name, uid_t *ret_uid, gid_t *ret_gid, char *home, size_t home_size)
{
    char buf[4096], *end;
    struct passwd pw, *found = NULL;
    unsigned long number = strtoul(name, &end, 10);
    if (*name && !*end)
        (void)getpwuid_r((uid_t)number, &pw, buf, sizeof(buf), &found);
    else
        (void)getpwnam_r(name, &pw, buf, sizeof(buf), &found);
    if (!found)
        return false;
    *ret_uid = found->pw_uid;
    *ret_gid = found->pw_gid;
    if (home)
        snprintf(home, home_size, "%s", found->pw_dir);
    return true;
}

bool sys_group_find(const char *name, gid_t *ret_gid)
{
    char buf[16384], *end;
    struct group gr, *found = NULL;
    unsigned long number = strtoul(name, &end, 10);
    if (*name && !*end) {
        *ret_gid = (gid_t)number;
        return true;
    }
    (void)getgrnam_r(name, &gr, buf, sizeof(buf), &found);
    if (found)
        *ret_gid = found->gr_gid;
    return found != NULL;
}

size_t sys_user_groups(const char *name, gid_t gid, gid_t *ret, size_t max)
{
    int n = (int)max;
    return getgrouplist(name, gid, ret, &n) < 0 ? max : (size_t)n;
}

const char *sys_user_name(uid_t uid, char *buf, size_t size)
{
    char mem[4096];
    struct passwd pw, *found = NULL;
    (void)getpwuid_r(uid, &pw, mem, sizeof(mem), &found);
    if (found)
        snprintf(buf, size, "%s", found->pw_name);
    else
        snprintf(buf, size, "%u", (unsigned)uid);
    return buf;
}

static bool program_at(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

bool sys_path_program(const char *name, const char *path_list, char *buf, size_t size)
{
    if (strchr(name, '/'))
        return snprintf(buf, size, "%s", name) < (int)size && program_at(buf);
    const char *p = path_list ? path_list : getenv("PATH");
    for (p = p ? p : "/usr/bin:/bin"; p; p = strchr(p, ':')) {
        p += *p == ':';
        int n = (int)strcspn(p, ":");
        if (n && snprintf(buf, size, "%.*s/%s", n, p, name) < (int)size && program_at(buf))
            return true;
    }
    return false;
}
