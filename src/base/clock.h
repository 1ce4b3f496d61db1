/* The one time type. Reading a clock is sys/clock.h; here are the units and the words. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int64_t nsec_t; /* nanoseconds: a duration, or since an epoch that the name tells */

#define NSEC_MS ((nsec_t)1000000)
#define NSEC_S ((nsec_t)1000000000)
#define NSEC_MIN (60 * NSEC_S)
#define NSEC_HOUR (3600 * NSEC_S)

/* 3725 s -> "1 h 2 m", 12.3 s -> "12.3 s", 4 ms -> "4.0 ms"; into buf (>= 24 bytes), returned. */
const char *clock_words(char *buf, size_t size, nsec_t ns);

/* "300ms" "10s" "5m" "24h" "2d" -> ns; 0 and *ret set, or -1. A bare number is refused. */
int clock_parse(const char *text, nsec_t *ret);
