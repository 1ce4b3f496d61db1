/* `rpcnode init`: the data of a node that has been running for a while, the same each time. */
#include "init.h"

#include "store.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_WORDS 8192u

static void fill_chunk(uint64_t *words, uint64_t seed)
{
    uint64_t x = mix64(seed) | 1;
    for (unsigned i = 0; i < CHUNK_WORDS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        words[i] = x;
    }
}

static int write_data_file(const struct store *s, uint64_t index, uint64_t *words)
{
    char path[64];
    int dir = store_data_path(s, index, path, sizeof(path));
    int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int status = fd < 0 ? -1 : 0;
    uint64_t left = s->layout.file_bytes;
    for (uint64_t part = 0; status == 0 && left > 0; part++) {
        size_t n = left < CHUNK_WORDS * 8 ? (size_t)left : CHUNK_WORDS * 8;
        fill_chunk(words, index * 65536 + part);
        status = write_all(fd, words, n);
        left -= n;
    }
    if (fd >= 0)
        close(fd);
    return status;
}

static int make_data_dirs(const struct store *s, uint64_t files)
{
    if (mkdirat(s->ledger_fd, "rocksdb", 0755) < 0 && errno != EEXIST)
        return -1;
    for (uint64_t i = 0; i * FILES_PER_DIR < files; i++) {
        char name[32];
        snprintf(name, sizeof(name), "rocksdb/%03llu", (unsigned long long)i);
        if (mkdirat(s->ledger_fd, name, 0755) < 0 && errno != EEXIST)
            return -1;
        snprintf(name, sizeof(name), "run/%03llu", (unsigned long long)i);
        if (mkdirat(s->accounts_fd, name, 0755) < 0 && errno != EEXIST)
            return -1;
    }
    return 0;
}

/* Last of all: a node that finds no layout has no data files. */
static int write_layout(const struct store *s)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "ledger %llu accounts %llu bytes %llu\n",
                     (unsigned long long)s->layout.ledger_files,
                     (unsigned long long)s->layout.account_files,
                     (unsigned long long)s->layout.file_bytes);
    int fd = openat(s->ledger_fd, "layout", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int status = fd < 0 ? -1 : write_all(fd, text, (size_t)n);
    if (fd >= 0)
        close(fd);
    return status;
}

static int write_slots(struct store *s, uint64_t slots)
{
    struct block b;
    for (uint64_t slot = 1; slot <= slots; slot++) {
        block_make(slot, &b);
        if (store_write_block(s, &b) < 0)
            return -1;
    }
    return store_write_slot(s, slots);
}

int init_data(const struct options *o)
{
    struct store s;
    int status = store_take(&s, o->ledger, o->accounts);
    if (status != 0)
        return status;
    uint64_t files = o->init_files;
    uint64_t *words = calloc(CHUNK_WORDS, sizeof(*words));
    s.layout.ledger_files = files / 2;
    s.layout.account_files = files - files / 2;
    s.layout.file_bytes = files > 0 ? (o->init_bytes + files - 1) / files : 0;
    status = words == NULL ? -1 : make_data_dirs(&s, files);
    for (uint64_t i = 0; i < files && status == 0; i++)
        status = write_data_file(&s, i, words);
    free(words);
    if (status == 0)
        status = write_slots(&s, o->init_slots);
    if (status == 0)
        status = write_layout(&s);
    if (status != 0) {
        fprintf(stderr, "error: init of '%s': %s\n", o->ledger, strerror(errno));
        return 1;
    }
    printf("%llu files, %llu bytes, slot %llu\n", (unsigned long long)files,
           (unsigned long long)(files * s.layout.file_bytes), (unsigned long long)o->init_slots);
    return 0;
}
