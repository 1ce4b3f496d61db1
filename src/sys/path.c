#include "sys/path.h"

#include "sys/file.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* Cuts the last part off an absolute path: "/a/b" -> "/a", "/a" -> "/". False at "/". */
static bool to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash || !path[1])
        return false;
    slash[slash == path] = '\0';
    return true;
}

static char *absolute(const char *path)
{
    if (*path == '/')
        return x_strdup(path);
    cleanup_free char *cwd = sys_path_cwd();
    return x_asprintf("%s/%s", cwd, path);
}

char *sys_path_existing(const char *path)
{
    char *p = absolute(path);
    while (!sys_path_exists(p) && to_parent(p))
        ;
    return p;
}

/* If what comes behind `base` in `full` begins with a link (one that leads nowhere yet), the path
 * with the link followed; else NULL. */
static char *follow(const char *base, const char *full)
{
    char target[PATH_MAX];
    const char *rest = full + strlen(base);
    rest += strspn(rest, "/");
    size_t n = strcspn(rest, "/");
    cleanup_free char *link = x_asprintf("%s/%.*s", base, (int)n, rest);
    ssize_t got = readlink(link, target, sizeof(target) - 1);
    if (got <= 0)
        return NULL;
    target[got] = '\0';
    return *target == '/' ? x_asprintf("%s%s", target, rest + n)
                          : x_asprintf("%s/%s%s", base, target, rest + n);
}

char *sys_path_resolve(const char *path)
{
    char real[PATH_MAX];
    cleanup_free char *full = absolute(path);
    cleanup_free char *base = sys_path_existing(full);

    for (int links = 0; links < 40; links++) {
        char *next = follow(base, full);
        if (!next)
            break;
        free(full);
        full = next;
        free(base);
        base = sys_path_existing(full);
    }
    if (!realpath(base, real))
        return x_strdup(full);
    const char *rest = full + strlen(base);
    rest += strspn(rest, "/");
    if (!*rest)
        return x_strdup(real);
    char *all = x_asprintf("%s%s%s", real, real[1] ? "/" : "", rest);
    for (size_t n = strlen(all); n > 1 && all[n - 1] == '/'; n--)
        all[n - 1] = '\0';
    return all;
}

/* Whether a (resolved) is b or lies below it. */
static bool within(const char *a, const char *b)
{
    size_t n = strlen(b);
    if (strncmp(a, b, n) == 0 && (!a[n] || a[n] == '/' || n == 1))
        return true;
    struct stat want, st;
    if (stat(b, &want) < 0)
        return false;
    cleanup_free char *up = x_strdup(a);
    do {
        if (stat(up, &st) == 0 && st.st_dev == want.st_dev && st.st_ino == want.st_ino)
            return true;
    } while (to_parent(up));
    return false;
}

enum sys_path_relation sys_path_relation(const char *a, const char *b)
{
    cleanup_free char *ra = sys_path_resolve(a);
    cleanup_free char *rb = sys_path_resolve(b);
    bool in = within(ra, rb), around = within(rb, ra);
    return in && around ? SYS_PATH_SAME
           : in         ? SYS_PATH_INSIDE
           : around     ? SYS_PATH_AROUND
                        : SYS_PATH_APART;
}
