/* busy A B -- PROGRAM ...: writes known patterns below A and B at full speed, and becomes PROGRAM.
 *
 * Each pattern has one order over both directories, so that a copy of them tells whether it is of
 * one moment. Writers: stores into shared mappings, write(2), and names. They end with us. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define FILES 8
#define SLOTS 64 /* number n goes to slot n % SLOTS, in file n % FILES */
#define STRIDE 131072

static const char *dirs[2];

static void fail(const char *what)
{
    perror(what);
    _exit(1);
}

static void name(char *buf, size_t size, const char *kind, unsigned i)
{
    snprintf(buf, size, "%s/%s.%u", dirs[i % 2], kind, i);
}

/* Half of them lie where no name comes or goes, so that the directory tells of nothing. */
static void place(char *buf, size_t size, const char *kind, unsigned i)
{
    snprintf(buf, size, "%s/%s%s.%u", dirs[i % 2], i % 4 < 2 ? "" : "still/", kind, i);
}

static int opened(const char *kind, unsigned i)
{
    char path[4096];
    place(path, sizeof(path), kind, i);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fail(path);
    return fd;
}

static void store(void)
{
    volatile uint64_t *slot[SLOTS];
    char *base[FILES];
    for (unsigned i = 0; i < FILES; i++) {
        base[i] = mmap(NULL, SLOTS / FILES * STRIDE, PROT_READ | PROT_WRITE, MAP_SHARED,
                       opened("stored", i), 0);
        if (base[i] == MAP_FAILED)
            fail("mmap");
    }
    for (unsigned i = 0; i < SLOTS; i++)
        slot[i] = (volatile uint64_t *)(void *)(base[i % FILES] + i / FILES * STRIDE);
    for (uint64_t n = 0;; n++)
        *slot[n % SLOTS] = n;
}

static void writes(void)
{
    int kept[FILES];
    for (unsigned i = 0; i < FILES; i++)
        kept[i] = i < FILES / 2 ? opened("written", i) : -1;
    for (uint64_t n = 0;; n++) {
        unsigned i = n % FILES;
        int fd = kept[i] < 0 ? opened("written", i) : kept[i];
        if (pwrite(fd, &n, sizeof(n), (off_t)(n % SLOTS / FILES * STRIDE)) != sizeof(n))
            fail("pwrite");
        if (kept[i] < 0)
            close(fd);
    }
}

/* Files so small that a pass may only read them: number n is all that file n % FILES holds, but for
 * its tail. */
static void small(void)
{
    for (uint64_t n = 0;; n++) {
        int fd = opened("small", n % FILES);
        if (pwrite(fd, &n, sizeof(n), 0) != sizeof(n))
            fail("pwrite");
        close(fd);
    }
}

/* As store(), but each mapping lives for one store only; what is read first is mapped by that, so
 * that on tmpfs the store is no fault and moves no time. */
static void brief(void)
{
    for (uint64_t n = 0;; n++) {
        int fd = opened("brief", n % FILES);
        char *base = mmap(NULL, SLOTS / FILES * STRIDE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (base == MAP_FAILED)
            fail("mmap");
        volatile uint64_t *slot = (volatile uint64_t *)(void *)(base + n % SLOTS / FILES * STRIDE);
        if (*slot != n)
            *slot = n;
        munmap(base, SLOTS / FILES * STRIDE);
        close(fd);
    }
}

/* Generation n: every 16th exchanges the directories x and y, then A/gen.n or B/gen.n appears, and
 * the third before it goes. */
static void names(void)
{
    char x[4096], y[4096], path[4096];
    snprintf(x, sizeof(x), "%s/x", dirs[0]);
    snprintf(y, sizeof(y), "%s/y", dirs[0]);
    for (unsigned n = 1;; n++) {
        if (n % 16 == 0 && renameat2(AT_FDCWD, x, AT_FDCWD, y, RENAME_EXCHANGE) < 0)
            fail("renameat2");
        name(path, sizeof(path), "gen", n);
        close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
        name(path, sizeof(path), "gen", n - 3);
        if (n > 3)
            unlink(path);
    }
}

int main(int argc, char **argv)
{
    if (argc < 5 || strcmp(argv[3], "--") != 0)
        return 2;
    dirs[0] = argv[1];
    dirs[1] = argv[2];
    static void (*const writers[])(void) = {store, brief, writes, small, names};
    for (unsigned i = 0; i < 5 && strstr(argv[1], "/green/"); i++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            writers[i]();
        }
    execv(argv[4], argv + 4);
    fail(argv[4]);
}
