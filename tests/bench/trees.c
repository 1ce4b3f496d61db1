/* What the benchmarks of the cloner compare with, and what they need made.
 *
 *   trees make DIR FILES MIN MAX     that many files of MIN to MAX bytes, 1000 in a directory
 *   trees dirty DIR N                writes 4 KiB into N of them, evenly spread
 *   trees walk DIR THREADS           looks at every entry (statx), prints the seconds
 *   trees memcpy SRC DST THREADS     copies by memcpy into fresh pages of DST's files, prints the
 * seconds */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PER_DIR 1000
#define MAX_BYTES ((size_t)16 << 20)

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void name_of(char *buf, size_t size, const char *dir, unsigned long i)
{
    snprintf(buf, size, "%s/%lu/%lu", dir, i / PER_DIR, i % PER_DIR);
}

static void make(const char *dir, unsigned long files, size_t min, size_t max)
{
    uint64_t state = 88172645463325252u;
    char path[4096], *data = malloc(MAX_BYTES + 8);
    for (size_t i = 0; i < MAX_BYTES; i += 8)
        memcpy(data + i, &(uint64_t){next_random(&state)}, 8);
    for (unsigned long i = 0; i < files; i++) {
        snprintf(path, sizeof(path), "%s/%lu", dir, i / PER_DIR);
        if (i % PER_DIR == 0 && mkdir(path, 0755) < 0)
            fail(path);
        name_of(path, sizeof(path), dir, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        size_t n = min + next_random(&state) % (max - min + 1);
        memcpy(data, &i, sizeof(i));
        if (fd < 0 || write(fd, data, n) != (ssize_t)n)
            fail(path);
        close(fd);
    }
    free(data);
}

static void dirty(const char *dir, unsigned long n)
{
    char path[4096], page[4096];
    unsigned long files = 0, tops = 0;
    struct stat st;
    memset(page, 'x', sizeof(page));
    for (;; tops++) {
        snprintf(path, sizeof(path), "%s/%lu", dir, tops);
        if (stat(path, &st) < 0)
            break;
    }
    files = tops * PER_DIR;
    for (unsigned long i = 0; i < n; i++) {
        name_of(path, sizeof(path), dir, files / n * i);
        int fd = open(path, O_WRONLY);
        if (fd < 0 || pwrite(fd, page, sizeof(page), 0) != sizeof(page))
            fail(path);
        close(fd);
    }
}

/* ---- threads over the directories below one ---- */

struct work {
    const char *src, *dst;
    char **names;
    size_t n;
    atomic_size_t next;
    void (*each)(const struct work *w, const char *name);
    unsigned depth; /* of what is shared out: 1 directories, 2 the files in them */
};

static void *worker(void *arg)
{
    struct work *w = arg;
    for (size_t i; (i = atomic_fetch_add(&w->next, 1)) < w->n;)
        w->each(w, w->names[i]);
    return NULL;
}

static void list(struct work *w, const char *below, unsigned depth)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", w->src, below);
    DIR *d = opendir(path);
    if (!d)
        fail(path);
    for (struct dirent *e; (e = readdir(d));) {
        if (*e->d_name == '.')
            continue;
        snprintf(path, sizeof(path), "%s%s%s", below, *below ? "/" : "", e->d_name);
        if (depth > 1) {
            list(w, path, depth - 1);
            continue;
        }
        w->names = realloc(w->names, (w->n + 1) * sizeof(*w->names));
        w->names[w->n++] = strdup(path);
    }
    closedir(d);
}

static void run(struct work *w, unsigned threads)
{
    pthread_t id[64];
    double began = now();
    list(w, "", w->depth);
    for (unsigned i = 0; i < threads; i++)
        pthread_create(&id[i], NULL, worker, w);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(id[i], NULL);
    printf("%.6f\n", now() - began);
}

static void walk_dir(const struct work *w, const char *name)
{
    char path[4096];
    struct statx x;
    snprintf(path, sizeof(path), "%s/%s", w->src, name);
    DIR *d = opendir(path);
    if (!d)
        fail(path);
    for (struct dirent *e; (e = readdir(d));)
        if (*e->d_name != '.' &&
            statx(dirfd(d), e->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &x) < 0)
            fail(path);
    closedir(d);
}

static void copy_file(const char *from, const char *to)
{
    struct stat st;
    int a = open(from, O_RDONLY), b = open(to, O_RDWR | O_CREAT | O_EXCL, 0644);
    if (a < 0 || b < 0 || fstat(a, &st) < 0 || ftruncate(b, st.st_size) < 0)
        fail(to);
    void *x = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, a, 0);
    void *y = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);
    if (x == MAP_FAILED || y == MAP_FAILED)
        fail(to);
    memcpy(y, x, (size_t)st.st_size);
    munmap(x, (size_t)st.st_size);
    munmap(y, (size_t)st.st_size);
    close(a);
    close(b);
}

static void memcpy_file(const struct work *w, const char *name)
{
    char from[4096], to[4096];
    snprintf(from, sizeof(from), "%s/%s", w->src, name);
    snprintf(to, sizeof(to), "%s/%s", w->dst, name);
    char *slash = strrchr(to, '/');
    *slash = '\0';
    if (mkdir(to, 0755) < 0 && errno != EEXIST)
        fail(to);
    *slash = '/';
    copy_file(from, to);
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[1] : "";
    if (strcmp(what, "make") == 0 && argc == 6)
        make(argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
             strtoul(argv[5], NULL, 10));
    else if (strcmp(what, "dirty") == 0)
        dirty(argv[2], strtoul(argv[3], NULL, 10));
    else if (strcmp(what, "walk") == 0)
        run(&(struct work){.src = argv[2], .each = walk_dir, .depth = 1},
            (unsigned)strtoul(argv[3], NULL, 10));
    else if (strcmp(what, "memcpy") == 0 && argc == 5 && mkdir(argv[3], 0755) == 0)
        run(&(struct work){.src = argv[2], .dst = argv[3], .each = memcpy_file, .depth = 2},
            (unsigned)strtoul(argv[4], NULL, 10));
    else
        return 2;
    return 0;
}
