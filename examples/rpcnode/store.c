/* Reading and writing the files of a node. See store.h for the layout and the order of writing. */
#include "store.h"

#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_CAP 64
#define STAMP_BYTES 64
#define SLOT_LINE "%020llu %016llx\n"
#define SLOT_LINE_BYTES 38

static uint64_t slot_check(uint64_t slot)
{
    return mix64(slot ^ 0x736c6f74ull);
}

int store_write_slot(struct store *s, uint64_t slot)
{
    char line[SLOT_LINE_BYTES + 1];
    snprintf(line, sizeof(line), SLOT_LINE, (unsigned long long)slot,
             (unsigned long long)slot_check(slot));
    return pwrite(s->slot_fd, line, SLOT_LINE_BYTES, 0) == SLOT_LINE_BYTES ? 0 : -1;
}

bool store_read_slot(const struct store *s, uint64_t *ret_slot)
{
    char line[SLOT_LINE_BYTES + 1];
    if (pread(s->slot_fd, line, SLOT_LINE_BYTES, 0) != SLOT_LINE_BYTES)
        return false;
    line[SLOT_LINE_BYTES] = '\0';
    char *end = NULL;
    uint64_t slot = strtoull(line, &end, 10);
    if (*end != ' ' || strtoull(end + 1, NULL, 16) != slot_check(slot))
        return false;
    *ret_slot = slot;
    return true;
}

static int open_segment(const struct store *s, uint64_t segment, int flags)
{
    char path[PATH_CAP];
    snprintf(path, sizeof(path), "blocks/%06llu.seg", (unsigned long long)segment);
    return openat(s->ledger_fd, path, flags | O_CLOEXEC, 0644);
}

bool store_read_block(const struct store *s, uint64_t slot, struct block *b)
{
    int fd = open_segment(s, slot / SEGMENT_SLOTS, O_RDONLY);
    if (fd < 0)
        return false;
    off_t at = (off_t)(slot % SEGMENT_SLOTS * sizeof(*b));
    ssize_t n = pread(fd, b, sizeof(*b), at);
    close(fd);
    return n == (ssize_t)sizeof(*b) && b->magic != 0 && b->slot == slot;
}

int store_write_block(struct store *s, const struct block *b)
{
    uint64_t segment = b->slot / SEGMENT_SLOTS;
    if (s->segment_fd < 0 || s->segment != segment) {
        if (s->segment_fd >= 0)
            close(s->segment_fd);
        s->segment_fd = open_segment(s, segment, O_WRONLY | O_CREAT);
        s->segment = segment;
    }
    off_t at = (off_t)(b->slot % SEGMENT_SLOTS * sizeof(*b));
    return pwrite(s->segment_fd, b, sizeof(*b), at) == (ssize_t)sizeof(*b) ? 0 : -1;
}

static void account_path(uint64_t index, char path[PATH_CAP])
{
    snprintf(path, PATH_CAP, "run/account-%05llu", (unsigned long long)index);
}

bool store_read_account(const struct store *s, uint64_t index, struct account *a)
{
    char path[PATH_CAP];
    account_path(index % ACCOUNT_COUNT, path);
    int fd = openat(s->accounts_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = pread(fd, a, sizeof(*a), 0);
    close(fd);
    return n == (ssize_t)sizeof(*a);
}

static int write_account(const struct store *s, const struct block *b)
{
    char path[PATH_CAP];
    struct account a = {.slot = b->slot, .lamports = mix64(b->slot) % 1000000000};
    memcpy(a.data, b->payload, sizeof(a.data));
    account_path(b->slot % ACCOUNT_COUNT, path);
    int fd = openat(s->accounts_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    ssize_t n = pwrite(fd, &a, sizeof(a), 0);
    close(fd);
    return n == (ssize_t)sizeof(a) ? 0 : -1;
}

int store_data_path(const struct store *s, uint64_t index, char *path, unsigned cap)
{
    bool in_ledger = index < s->layout.ledger_files;
    snprintf(path, cap, in_ledger ? "rocksdb/%03llu/%06llu.sst" : "run/%03llu/%06llu.av",
             (unsigned long long)(index / FILES_PER_DIR), (unsigned long long)index);
    return in_ledger ? s->ledger_fd : s->accounts_fd;
}

/* Change one data file. One that is gone (accounts wiped) stays gone: agave makes new ones too. */
static int write_stamp(const struct store *s, const struct block *b, uint64_t nth)
{
    uint64_t files = s->layout.ledger_files + s->layout.account_files;
    char path[PATH_CAP];
    if (files == 0 || s->layout.file_bytes < STAMP_BYTES)
        return 0;
    uint64_t index = mix64(b->slot * 16 + nth) % files;
    uint64_t places = s->layout.file_bytes / STAMP_BYTES;
    int dir = store_data_path(s, index, path, sizeof(path));
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    ssize_t n = pwrite(fd, b->payload, STAMP_BYTES, (off_t)(b->slot % places * STAMP_BYTES));
    close(fd);
    return n == STAMP_BYTES ? 0 : -1;
}

int store_apply(struct store *s, const struct block *b)
{
    if (write_account(s, b) < 0)
        return -1;
    for (uint64_t i = 0; i < s->writes_per_slot; i++) {
        if (write_stamp(s, b, i) < 0)
            return -1;
    }
    if (store_write_block(s, b) < 0)
        return -1;
    if (b->slot < atomic_load(&s->tip))
        return 0; /* a replay */
    if (store_write_slot(s, b->slot) < 0)
        return -1;
    atomic_store(&s->tip, b->slot);
    return 0;
}

bool store_hash_data(const struct store *s, uint64_t index, uint64_t *ret_bytes, uint64_t *ret_hash)
{
    char path[PATH_CAP], chunk[4096];
    int dir = store_data_path(s, index, path, sizeof(path));
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    uint64_t bytes = 0, hash = 0;
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n <= 0)
            break;
        hash = hash_bytes(chunk, (size_t)n, hash);
        bytes += (uint64_t)n;
    }
    close(fd);
    *ret_bytes = bytes;
    *ret_hash = hash;
    return true;
}
