/* See txlog.h. */
#include "txlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t key_of(const char *signature, size_t n)
{
    uint64_t key = hash_bytes(signature, n, 0);
    return key != 0 ? key : 1;
}

static void index_put(struct txlog_entry *entries, size_t room, struct txlog_entry e)
{
    size_t at = (size_t)e.key & (room - 1);
    while (entries[at].key != 0)
        at = (at + 1) & (room - 1);
    entries[at] = e;
}

static int index_add(struct txlog *t, struct txlog_entry e)
{
    if (t->room == 0 || t->used * 2 >= t->room) {
        size_t room = t->room != 0 ? t->room * 2 : 1024;
        struct txlog_entry *entries = calloc(room, sizeof(*entries));
        if (entries == NULL)
            return -1;
        for (size_t i = 0; i < t->room; i++) {
            if (t->entries[i].key != 0)
                index_put(entries, room, t->entries[i]);
        }
        free(t->entries);
        t->entries = entries;
        t->room = room;
    }
    index_put(t->entries, t->room, e);
    t->used++;
    return 0;
}

static int load_lines(struct txlog *t, const char *text, size_t n)
{
    size_t at = 0;
    for (;;) {
        const char *end = memchr(text + at, '\n', n - at);
        if (end == NULL)
            break;
        const char *line = text + at;
        const char *blank = memchr(line, ' ', (size_t)(end - line));
        if (blank != NULL) {
            struct txlog_entry e = {.key = key_of(line, (size_t)(blank - line)),
                                    .offset = t->end + at};
            if (index_add(t, e) < 0)
                return -1;
            t->count++;
        }
        at = (size_t)(end - text) + 1;
    }
    t->end += at;
    return 0;
}

int txlog_open(struct txlog *t, int ledger_fd, bool sync)
{
    struct stat st;
    *t = (struct txlog){.sync = sync};
    t->fd = openat(ledger_fd, "transactions.log", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (t->fd < 0 || fstat(t->fd, &st) < 0)
        return -1;
    size_t size = (size_t)st.st_size;
    char *text = malloc(size + 1);
    int status = text != NULL && pread(t->fd, text, size, 0) == st.st_size ? 0 : -1;
    if (status == 0)
        status = load_lines(t, text, size);
    free(text);
    return status < 0 ? -1 : ftruncate(t->fd, (off_t)t->end);
}

int txlog_append(struct txlog *t, const char *data, uint64_t slot, char signature[SIGNATURE_CAP])
{
    uint8_t bytes[64];
    size_t n = strlen(data);
    uint64_t base = hash_bytes(data, n, 1);
    struct buf line = {0};
    for (unsigned i = 0; i < sizeof(bytes) / 8; i++) {
        uint64_t word = mix64(base + i);
        memcpy(bytes + 8 * i, &word, 8);
    }
    base58_encode(bytes, sizeof(bytes), signature, SIGNATURE_CAP);
    buf_printf(&line, "%s %llu %s\n", signature, (unsigned long long)slot, data);
    ssize_t done = pwrite(t->fd, line.p, line.n, (off_t)t->end);
    int status = done == (ssize_t)line.n ? 0 : -1;
    if (status == 0 && t->sync)
        status = fdatasync(t->fd);
    if (status == 0) {
        struct txlog_entry e = {.key = key_of(signature, strlen(signature)), .offset = t->end};
        status = index_add(t, e);
        t->end += line.n;
        t->count++;
    } else if (done >= 0) {
        errno = ENOSPC;
    }
    buf_free(&line);
    return status;
}

static bool read_entry(const struct txlog *t, uint64_t offset, struct tx *tx)
{
    char line[TX_DATA_MAX + SIGNATURE_CAP + 32];
    unsigned long long slot = 0;
    ssize_t n = pread(t->fd, line, sizeof(line) - 1, (off_t)offset);
    if (n <= 0)
        return false;
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    bool good = sscanf(line, "%95s %llu %4096s", tx->signature, &slot, tx->data) == 3;
    tx->slot = slot;
    return good;
}

bool txlog_find(const struct txlog *t, const char *signature, struct tx *ret)
{
    uint64_t key = key_of(signature, strlen(signature));
    uint64_t times = 0;
    if (t->room == 0)
        return false;
    for (size_t at = (size_t)key & (t->room - 1); t->entries[at].key != 0;
         at = (at + 1) & (t->room - 1)) {
        if (t->entries[at].key == key && read_entry(t, t->entries[at].offset, ret) &&
            strcmp(ret->signature, signature) == 0)
            times++;
    }
    ret->times = times;
    return times > 0;
}
