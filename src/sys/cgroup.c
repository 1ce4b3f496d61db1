#include "sys/cgroup.h"

#include "base/str.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PARENT "changeover"
#define OUTLIVING "shims"

/* A hierarchy that is mounted here: where, and where in it we are. */
struct hierarchy {
    char mount[256];
    char own[256];
};

static bool word_in(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, word, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return true;
    }
    return false;
}

/* "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw": the mount point of the hierarchy that has
 * `controller` (NULL: v2). */
static bool mount_line(char *line, const char *controller, char *mount, size_t size)
{
    char *type = strstr(line, " - ");
    if (!type)
        return false;
    char *save = NULL;
    const char *fs = strtok_r(type + 3, " ", &save);
    (void)strtok_r(NULL, " ", &save);
    const char *options = strtok_r(NULL, " ", &save);
    if (!fs || !options || strcmp(fs, controller ? "cgroup" : "cgroup2") != 0 ||
        (controller && !word_in(options, controller)))
        return false;
    *type = '\0';
    const char *point = NULL;
    char *part = strtok_r(line, " ", &save);
    for (int i = 0; part && i < 5; i++, part = strtok_r(NULL, " ", &save))
        point = part;
    return point && snprintf(mount, size, "%s", point) < (int)size;
}

/* "6:freezer:/path" or "0::/path" */
static void own_path(const char *controller, char *own, size_t size)
{
    cleanup_str struct str text = {0};
    own[0] = '\0';
    if (sys_file_read("/proc/self/cgroup", 65536, &text, NULL) < 0)
        return;
    char *save = NULL;
    for (char *l = strtok_r(text.buf, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
        char *names = strchr(l, ':');
        char *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        names++;
        if (controller ? word_in(names, controller) : *names == '\0')
            snprintf(own, size, "%s", strcmp(path, "/") == 0 ? "" : path);
    }
}

static bool find_hierarchy(const char *controller, struct hierarchy *ret)
{
    cleanup_str struct str text = {0};
    if (sys_file_read("/proc/self/mountinfo", 4u << 20, &text, NULL) < 0)
        return false;
    char *save = NULL;
    for (char *l = strtok_r(text.buf, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        if (mount_line(l, controller, ret->mount, sizeof(ret->mount))) {
            own_path(controller, ret->own, sizeof(ret->own));
            return true;
        }
    return false;
}

static int put(const char *dir, const char *file, const char *value)
{
    char path[512];
    if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    cleanup_fd int fd = sys_open(path, O_WRONLY, 0);
    return fd < 0 || sys_write_all(fd, value, strlen(value)) < 0 ? -1 : 0;
}

static bool has(const char *dir, const char *file)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    return access(path, W_OK) == 0;
}

static void remove_with_parent(const char *dir);

static bool make_below(const char *parent, const char *name, bool v2, char *ret, size_t size)
{
    if (snprintf(ret, size, "%s/%s", parent, name) >= (int)size)
        return false;
    for (int tries = 0; tries < 3; tries++) { /* the last one of others may take the parent away */
        if (mkdir(parent, 0755) < 0 && errno != EEXIST)
            return false;
        if (v2) { /* each by itself: one that is v1's here would refuse both */
            (void)put(parent, "cgroup.subtree_control", "+cpu");
            (void)put(parent, "cgroup.subtree_control", "+io");
        }
        if (mkdir(ret, 0755) == 0 || errno == EEXIST)
            return has(ret, "cgroup.procs");
        if (errno != ENOENT)
            return false;
    }
    return false;
}

/* The top of the hierarchy first: a login session's group may be ended with all in it. */
static bool make_in(const struct hierarchy *h, const char *name, bool v2, char *ret, size_t size)
{
    for (int i = 0; i < 2; i++) {
        char parent[600];
        snprintf(parent, sizeof(parent), "%s%s/" PARENT, h->mount, i == 0 ? "" : h->own);
        if (make_below(parent, name, v2, ret, size))
            return true;
    }
    ret[0] = '\0';
    return false;
}

/* Whose files weigh io: of the scheduler bfq, of the controller itself (v2's io.cost, v1's cfq). */
static const struct io_file {
    const char *name;
    int most; /* of its scale; 100 is normal in each */
} io_files[] = {{"io.bfq.weight", 1000},
                {"io.weight", 10000},
                {"blkio.bfq.weight", 1000},
                {"blkio.weight", 1000}};

static bool weighs_io(const char *dir)
{
    for (size_t i = 0; i < ARRAY_LEN(io_files); i++)
        if (has(dir, io_files[i].name))
            return true;
    return false;
}

static void make_io(const char *name, struct sys_cgroup *ret)
{
    struct hierarchy h;
    if (ret->v2 && weighs_io(ret->track)) {
        memcpy(ret->io, ret->track, sizeof(ret->io));
        ret->io_v2 = true;
        return;
    }
    if (!find_hierarchy("blkio", &h) || !make_in(&h, name, false, ret->io, sizeof(ret->io)) ||
        weighs_io(ret->io))
        return;
    remove_with_parent(ret->io);
    ret->io[0] = '\0';
}

bool sys_cgroup_make(const char *name, bool io, struct sys_cgroup *ret)
{
    struct hierarchy h;
    *ret = (struct sys_cgroup){0};
    if (find_hierarchy(NULL, &h) && make_in(&h, name, true, ret->track, sizeof(ret->track))) {
        ret->v2 = has(ret->track, "cgroup.freeze"); /* Linux 5.2 */
        if (!ret->v2) {
            (void)rmdir(ret->track);
            ret->track[0] = '\0';
        } else if (has(ret->track, "cpu.weight")) {
            memcpy(ret->cpu, ret->track, sizeof(ret->cpu));
            ret->cpu_v2 = true;
        }
    }
    if (!ret->track[0] && find_hierarchy("freezer", &h))
        (void)make_in(&h, name, false, ret->track, sizeof(ret->track));
    if (ret->track[0] && !ret->cpu[0] && find_hierarchy("cpu", &h))
        (void)make_in(&h, name, false, ret->cpu, sizeof(ret->cpu));
    if (ret->track[0] && io)
        make_io(name, ret);
    return ret->track[0] != '\0';
}

/* v2: a group at the top has a controller's files only if the top hands it on to its groups. That
 * is the whole machine's business: it is looked at, never changed. */
static bool handed_on(const char *controller)
{
    struct hierarchy h;
    char path[300];
    cleanup_str struct str text = {0};
    if (!find_hierarchy(NULL, &h))
        return false;
    snprintf(path, sizeof(path), "%s/cgroup.subtree_control", h.mount);
    if (sys_file_read(path, 4096, &text, NULL) < 0 || !has(h.mount, "cgroup.subtree_control"))
        return false;
    size_t n = strlen(controller);
    for (const char *p = str_cstr(&text); *p; p += strcspn(p, " \n"), p += strspn(p, " \n"))
        if (strcspn(p, " \n") == n && strncmp(p, controller, n) == 0)
            return true;
    return false;
}

bool sys_cgroup_weighs_cpu(void)
{
    struct hierarchy h;
    return find_hierarchy("cpu", &h) ? has(h.mount, "cgroup.procs") : handed_on("cpu");
}

bool sys_cgroup_weighs_io(void)
{
    struct hierarchy h;
    return find_hierarchy("blkio", &h) ? has(h.mount, "cgroup.procs") : handed_on("io");
}

bool sys_cgroup_top(char *buf, size_t size)
{
    struct hierarchy h;
    return find_hierarchy(NULL, &h) && snprintf(buf, size, "%s", h.mount) < (int)size;
}

void sys_cgroup_leave_unit(void)
{
    struct hierarchy h;
    char dir[700], parent[600], self[24];
    snprintf(self, sizeof(self), "%d", (int)getpid());
    if (!find_hierarchy(NULL, &h))
        return;
    snprintf(parent, sizeof(parent), "%s/" PARENT, h.mount);
    if (make_below(parent, OUTLIVING, false, dir, sizeof(dir)))
        (void)put(dir, "cgroup.procs", self);
}

static bool has_word(const char *name, const char *const *words)
{
    while (*words && !strstr(name, *words))
        words++;
    return *words;
}

/* One directory of those in it, after each other, as path's last part; NULL: no more. */
static const char *next_dir(struct sys_names *list, char *path, size_t used, size_t size)
{
    const char *name;
    unsigned char type;
    while (sys_names_next(list, &name, &type) > 0)
        if (type == DT_DIR && snprintf(path + used, size - used, "/%s", name) < (int)(size - used))
            return name;
    path[used] = '\0';
    return NULL;
}

/* Makes path (`used` of it) that of a group below whose name has a word: all names of a level are
 * read before one of its groups is entered. */
static bool find_below(char *path, size_t used, size_t size, int depth, const char *const *words)
{
    cleanup_fd int fd = sys_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0 || depth > 10)
        return false;
    cleanup_free struct sys_names *names = sys_names_open(fd);
    const char *name;
    while ((name = next_dir(names, path, used, size)))
        if (has_word(name, words))
            return true;
    free(names);
    names = sys_names_open(fd);
    while (next_dir(names, path, used, size))
        if (find_below(path, strlen(path), size, depth + 1, words))
            return true;
    return false;
}

bool sys_cgroup_find(const char *const *words, struct sys_cgroup *ret)
{
    static const char *const controllers[] = {NULL, "freezer"};
    for (size_t i = 0; i < ARRAY_LEN(controllers); i++) {
        struct hierarchy h;
        pid_t pid;
        size_t n = 0;
        *ret = (struct sys_cgroup){.v2 = !controllers[i]};
        if (!find_hierarchy(controllers[i], &h))
            continue;
        str_format(ret->track, sizeof(ret->track), "%s", h.mount);
        if (find_below(ret->track, strlen(ret->track), sizeof(ret->track), 0, words))
            sys_cgroup_pids(ret, &pid, 1, &n);
        if (n)
            return true;
    }
    *ret = (struct sys_cgroup){0};
    return false;
}

int sys_cgroup_join(const struct sys_cgroup *cg, pid_t pid)
{
    char text[24];
    snprintf(text, sizeof(text), "%d", (int)pid);
    if (put(cg->track, "cgroup.procs", text) < 0)
        return -1;
    if (cg->cpu[0] && !cg->cpu_v2)
        (void)put(cg->cpu, "cgroup.procs", text);
    if (cg->io[0] && !cg->io_v2)
        (void)put(cg->io, "cgroup.procs", text);
    return 0;
}

struct pid_list {
    pid_t *pids;
    size_t max, n;
};

static void take_pids(struct pid_list *l, const char *text)
{
    char *end;
    for (const char *p = text; *p && l->n < l->max; p = *end ? end + 1 : end) {
        long pid = strtol(p, &end, 10);
        if (end == p)
            break;
        if (pid > 0)
            l->pids[l->n++] = (pid_t)pid;
    }
}

static void list_dir(struct pid_list *l, const char *dir, int depth)
{
    char path[512];
    cleanup_str struct str text = {0};
    const char *name;
    unsigned char type;
    snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
    if (depth > 8 || sys_file_read(path, 4u << 20, &text, NULL) < 0)
        return;
    take_pids(l, str_cstr(&text));
    cleanup_fd int fd = sys_open(dir, O_RDONLY | O_DIRECTORY, 0);
    cleanup_free struct sys_names *list = fd < 0 ? NULL : sys_names_open(fd);
    while (list && sys_names_next(list, &name, &type) > 0)
        if (type == DT_DIR && snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path))
            list_dir(l, path, depth + 1);
}

void sys_cgroup_pids(const struct sys_cgroup *cg, pid_t *pids, size_t max, size_t *ret_n)
{
    struct pid_list l = {.pids = pids, .max = max};
    if (cg->track[0])
        list_dir(&l, cg->track, 0);
    *ret_n = l.n;
}

static bool says(const struct sys_cgroup *cg, const char *file, const char *what)
{
    char path[512];
    cleanup_str struct str text = {0};
    snprintf(path, sizeof(path), "%s/%s", cg->track, file);
    return sys_file_read(path, 4096, &text, NULL) == 0 && strstr(str_cstr(&text), what);
}

bool sys_cgroup_frozen(const struct sys_cgroup *cg)
{
    if (!cg->track[0])
        return false;
    /* What was asked for, not what is reached: also a half frozen one must be thawed. */
    return cg->v2 ? says(cg, "cgroup.freeze", "1") : !says(cg, "freezer.state", "THAWED");
}

int sys_cgroup_freeze(const struct sys_cgroup *cg, bool on, nsec_t within)
{
    nsec_t deadline = sys_clock_mono() + within;
    int r = cg->v2 ? put(cg->track, "cgroup.freeze", on ? "1" : "0")
                   : put(cg->track, "freezer.state", on ? "FROZEN" : "THAWED");
    if (r < 0)
        return -1;
    const char *file = cg->v2 ? "cgroup.events" : "freezer.state";
    const char *want = cg->v2 ? (on ? "frozen 1" : "frozen 0") : (on ? "FROZEN" : "THAWED");
    while (!says(cg, file, want)) {
        if (sys_clock_mono() >= deadline) {
            errno = ETIMEDOUT;
            return -1;
        }
        sys_sleep(NSEC_MS);
    }
    return 0;
}

int sys_cgroup_kill(const struct sys_cgroup *cg)
{
    if (cg->v2 && put(cg->track, "cgroup.kill", "1") == 0) /* Linux 5.14 */
        return 0;
    pid_t pids[1024];
    size_t n;
    sys_cgroup_pids(cg, pids, ARRAY_LEN(pids), &n);
    for (size_t i = 0; i < n; i++)
        if (kill(pids[i], SIGKILL) < 0 && errno != ESRCH)
            return -1;
    return 0;
}

int sys_cgroup_weight(const struct sys_cgroup *cg, int weight)
{
    char text[24];
    if (!cg->cpu[0]) {
        errno = ENOTSUP;
        return -1;
    }
    int shares = (int)((int64_t)weight * 1024 / 100);
    snprintf(text, sizeof(text), "%d", cg->cpu_v2 ? weight : shares < 2 ? 2 : shares);
    return put(cg->cpu, cg->cpu_v2 ? "cpu.weight" : "cpu.shares", text);
}

/* 100..10000 onto 100..most, so that 100 stays what everybody else has. */
static int scaled(int weight, int most)
{
    return weight <= 100 ? weight : 100 + (int)((int64_t)(weight - 100) * (most - 100) / 9900);
}

int sys_cgroup_io_weight(const struct sys_cgroup *cg, int weight)
{
    int done = 0, failed = ENOTSUP;
    for (size_t i = 0; cg->io[0] && i < ARRAY_LEN(io_files); i++) {
        char text[24];
        if (!has(cg->io, io_files[i].name))
            continue;
        int w = scaled(weight, io_files[i].most);
        snprintf(text, sizeof(text), "%d",
                 w < 10 && str_eq(io_files[i].name, "blkio.weight") ? 10 : w);
        if (put(cg->io, io_files[i].name, text) == 0)
            done++;
        else
            failed = errno;
    }
    errno = failed;
    return done ? 0 : -1;
}

static void remove_dir(const char *dir, int depth);

struct removal {
    const char *dir;
    int depth;
};

static int remove_sub(void *ctx, const char *name)
{
    const struct removal *r = ctx;
    char sub[512];
    if (snprintf(sub, sizeof(sub), "%s/%s", r->dir, name) < (int)sizeof(sub) &&
        sys_path_kind(sub) == SYS_DIR)
        remove_dir(sub, r->depth + 1);
    return 0;
}

static void remove_dir(const char *dir, int depth)
{
    if (depth <= 8)
        (void)sys_dir_each(dir, remove_sub, &(struct removal){dir, depth}, NULL);
    (void)rmdir(dir);
}

/* Our parent group goes with the last of us; it stays while it has others. */
static void remove_with_parent(const char *dir)
{
    char parent[512];
    remove_dir(dir, 0);
    int n = snprintf(parent, sizeof(parent), "%s", dir);
    char *slash = n > 0 ? strrchr(parent, '/') : NULL;
    if (slash)
        *slash = '\0';
    if (slash && str_ends(parent, "/" PARENT)) {
        char outliving[600];
        snprintf(outliving, sizeof(outliving), "%s/" OUTLIVING, parent);
        (void)rmdir(outliving);
        (void)rmdir(parent);
    }
}

void sys_cgroup_remove(const struct sys_cgroup *cg)
{
    if (cg->track[0])
        remove_with_parent(cg->track);
    if (cg->cpu[0] && !cg->cpu_v2)
        remove_with_parent(cg->cpu);
    if (cg->io[0] && !cg->io_v2)
        remove_with_parent(cg->io);
}
