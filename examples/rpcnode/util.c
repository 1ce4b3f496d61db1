/* See util.h. */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t now_mono_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t now_real_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

void sleep_ns(uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

uint64_t mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

uint64_t hash_bytes(const void *data, size_t n, uint64_t seed)
{
    const uint8_t *p = data;
    uint64_t h = 0xcbf29ce484222325ull ^ mix64(seed);
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3ull;
    return mix64(h);
}

void base58_encode(const uint8_t *in, size_t n, char *out, size_t cap)
{
    static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    uint8_t work[180] = {0};
    size_t used = 0, zeros = 0, at = 0;
    if (cap == 0 || n > 128)
        return;
    while (zeros < n && in[zeros] == 0)
        zeros++;
    for (size_t i = zeros; i < n; i++) {
        unsigned carry = in[i];
        for (size_t j = 0; j < used || carry != 0; j++) {
            if (j == used)
                used++;
            carry += 256u * work[j];
            work[j] = (uint8_t)(carry % 58);
            carry /= 58;
        }
    }
    for (size_t i = 0; i < zeros && at + 1 < cap; i++)
        out[at++] = digits[0];
    while (used > 0 && at + 1 < cap)
        out[at++] = digits[work[--used]];
    out[at] = '\0';
}

void hex_encode(const uint8_t *in, size_t n, char *out, size_t cap)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < n && at + 2 < cap; i++) {
        out[at++] = digits[in[i] >> 4];
        out[at++] = digits[in[i] & 15];
    }
    out[at] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int hex_decode(const char *in, uint8_t *out, size_t n)
{
    if (strlen(in) != 2 * n)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(in[2 * i]), low = hex_digit(in[2 * i + 1]);
        if (high < 0 || low < 0)
            return -1;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return 0;
}

void buf_reserve(struct buf *b, size_t more)
{
    size_t cap = b->cap != 0 ? b->cap : 1024;
    while (cap - b->n < more)
        cap *= 2;
    if (cap == b->cap)
        return;
    char *p = realloc(b->p, cap);
    if (p == NULL) {
        log_line("ERROR", "out of memory");
        _exit(101);
    }
    b->p = p;
    b->cap = cap;
}

void buf_add(struct buf *b, const void *data, size_t n)
{
    if (n == 0)
        return;
    buf_reserve(b, n);
    memcpy(b->p + b->n, data, n);
    b->n += n;
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    for (size_t room = 256;; room *= 2) {
        buf_reserve(b, room);
        va_start(args, format);
        int n = vsnprintf(b->p + b->n, room, format, args);
        va_end(args);
        if (n >= 0 && (size_t)n < room) {
            b->n += (size_t)n;
            return;
        }
    }
}

void buf_drop_front(struct buf *b, size_t n)
{
    if (n == 0)
        return;
    b->n -= n;
    memmove(b->p, b->p + n, b->n);
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

int write_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

int read_text(int dir_fd, const char *path, char *text, size_t cap)
{
    int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    if (fd < 0)
        return -1;
    while (n < cap) {
        ssize_t got = read(fd, text + n, cap - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    if (n >= cap)
        return -1;
    text[n] = '\0';
    return (int)n;
}

void log_line(const char *level, const char *format, ...)
{
    char text[1024], day[32] = "";
    uint64_t now = now_real_ns();
    time_t seconds = (time_t)(now / NS_PER_S);
    struct tm tm;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    dprintf(STDERR_FILENO, "[%s.%09lluZ %-5s rpcnode] %s\n", day,
            (unsigned long long)(now % NS_PER_S), level, text);
}
