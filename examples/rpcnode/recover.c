/* Opening a ledger: lock, empty the accounts, find the newest whole block, apply the last slots
 * again. Also what a first start on an empty directory makes. */
#include "store.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int fault(const char *what, const char *path)
{
    fprintf(stderr, "Error: %s %s: %s\n", what, path, strerror(errno));
    return 1;
}

static int make_dirs(const char *path)
{
    char text[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(text))
        return -1;
    memcpy(text, path, n + 1);
    for (char *p = text + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(text, 0755) < 0 && errno != EEXIST)
            return -1;
        *p = '/';
    }
    return mkdir(text, 0755) < 0 && errno != EEXIST ? -1 : 0;
}

static int open_dir(const char *path)
{
    return make_dirs(path) < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int lock_ledger(int ledger_fd, const char *ledger)
{
    int fd = openat(ledger_fd, "ledger.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return fault("Unable to open lock file in", ledger);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return 0; /* the descriptor stays open for the life of the process */
    fprintf(stderr, "Error: Unable to lock %s directory. Check if another validator is running\n",
            ledger);
    return 1;
}

/* Remove what is under the directory `name` of dir_fd, two levels deep as we make it. */
static void empty_dir(int dir_fd, const char *name, int depth)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL)
        return;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) == 0 || depth == 0)
            continue;
        empty_dir(fd, e->d_name, depth - 1);
        unlinkat(fd, e->d_name, AT_REMOVEDIR);
    }
    closedir(dir);
}

static void read_layout(struct store *s)
{
    char text[256];
    unsigned long long a = 0, b = 0, c = 0;
    if (read_text(s->ledger_fd, "layout", text, sizeof(text)) < 0)
        return;
    if (sscanf(text, "ledger %llu accounts %llu bytes %llu", &a, &b, &c) == 3)
        s->layout = (struct layout){.ledger_files = a, .account_files = b, .file_bytes = c};
}

static int make_genesis(struct store *s)
{
    struct block b;
    int fd = openat(s->ledger_fd, "genesis.bin", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return errno == EEXIST ? 0 : -1;
    int status = write_all(fd, GENESIS_TEXT, strlen(GENESIS_TEXT));
    close(fd);
    log_line("WARN", "no genesis in the ledger directory: made one, starting from slot 0");
    block_make(0, &b);
    return status < 0 ? -1 : store_write_block(s, &b);
}

int store_take(struct store *s, const char *ledger, const char *accounts)
{
    char below[4096];
    *s = (struct store){.ledger_fd = -1, .accounts_fd = -1, .slot_fd = -1, .segment_fd = -1};
    if (accounts == NULL) {
        snprintf(below, sizeof(below), "%.4000s/accounts", ledger);
        accounts = below;
    }
    s->ledger_fd = open_dir(ledger);
    if (s->ledger_fd < 0)
        return fault("Unable to open ledger directory", ledger);
    int status = lock_ledger(s->ledger_fd, ledger);
    if (status != 0)
        return status;
    s->accounts_fd = open_dir(accounts);
    if (s->accounts_fd < 0 || (mkdirat(s->accounts_fd, "run", 0755) < 0 && errno != EEXIST))
        return fault("Unable to open accounts directory", accounts);
    s->slot_fd = openat(s->ledger_fd, "slot", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (s->slot_fd < 0 || (mkdirat(s->ledger_fd, "blocks", 0755) < 0 && errno != EEXIST) ||
        make_genesis(s) < 0)
        return fault("Unable to write ledger directory", ledger);
    read_layout(s);
    return 0;
}

/* `slot` may be newer or older than the blocks of a copy: what counts is a whole block. */
static uint64_t find_tip(const struct store *s)
{
    struct block b;
    uint64_t slot = 0;
    bool known = store_read_slot(s, &slot);
    while (slot > 0 && !(store_read_block(s, slot, &b) && block_is_whole(&b, slot)))
        slot--;
    if (known)
        return slot;
    while (store_read_block(s, slot + 1, &b) && block_is_whole(&b, slot + 1))
        slot++;
    return slot;
}

static int replay(struct store *s)
{
    struct block b;
    uint64_t tip = atomic_load(&s->tip);
    uint64_t slot = tip > REPLAY_SLOTS ? tip - REPLAY_SLOTS : 0;
    for (; slot <= tip; slot++) {
        if (!store_read_block(s, slot, &b) || !block_is_whole(&b, slot))
            continue;
        if (store_apply(s, &b) < 0)
            return -1;
    }
    return store_write_slot(s, tip);
}

int store_open(struct store *s, const char *ledger, const char *accounts, bool wipe_accounts,
               uint64_t writes_per_slot)
{
    int status = store_take(s, ledger, accounts);
    if (status != 0)
        return status;
    s->writes_per_slot = writes_per_slot;
    if (wipe_accounts)
        empty_dir(s->accounts_fd, "run", 2);
    atomic_store(&s->tip, find_tip(s));
    if (replay(s) < 0)
        return fault("Failed to process blockstore in", ledger);
    log_line("INFO", "ledger at slot %llu", (unsigned long long)atomic_load(&s->tip));
    return 0;
}
