/* Small things that every file here needs: clocks, hashes, base58, a bounded buffer, log lines.
 * Nothing in here knows about slots, requests or nodes. */
#ifndef RPCNODE_UTIL_H
#define RPCNODE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

struct buf {
    char *p;
    size_t n;
    size_t cap;
};

uint64_t now_mono_ns(void);
uint64_t now_real_ns(void);
void sleep_ns(uint64_t ns);

/* A good 64 bit mix (splitmix64): the source of everything deterministic. */
uint64_t mix64(uint64_t x);
uint64_t hash_bytes(const void *data, size_t n, uint64_t seed);

/* Write the text of `in` into `out` (always terminated); at most 128 bytes of input. */
void base58_encode(const uint8_t *in, size_t n, char *out, size_t cap);
void hex_encode(const uint8_t *in, size_t n, char *out, size_t cap);
int hex_decode(const char *in, uint8_t *out, size_t n);

/* Out of memory ends the process: this is a stand-in. */
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *data, size_t n);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_drop_front(struct buf *b, size_t n);
void buf_free(struct buf *b);

int write_all(int fd, const void *data, size_t n);
/* Read a whole small file into text (terminated). Returns its length, or -1 (absent, too long). */
int read_text(int dir_fd, const char *path, char *text, size_t cap);

/* One line on stderr in agave's form: [time LEVEL rpcnode] text. */
void log_line(const char *level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
