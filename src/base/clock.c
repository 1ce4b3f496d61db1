#include "base/clock.h"

#include "base/clean.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "30.0 s" says no more than "30 s". */
static void drop_zero(char *buf)
{
    char *p = strstr(buf, ".0 ");
    if (p)
        memmove(p, p + 2, strlen(p + 2) + 1);
}

const char *clock_words(char *buf, size_t size, nsec_t ns)
{
    double s = (double)ns / 1e9;
    long long whole = ((long long)ns + NSEC_S / 2) / NSEC_S; /* 59.96 s is a minute */
    if (ns < 0)
        snprintf(buf, size, "0 s");
    else if (s < 0.0000995)
        snprintf(buf, size, "%.1f us", s * 1e6);
    else if (s < 0.9995)
        snprintf(buf, size, s < 0.09995 ? "%.1f ms" : "%.0f ms", s * 1e3);
    else if (s < 59.95)
        snprintf(buf, size, "%.1f s", s);
    else if (whole < 3600)
        snprintf(buf, size, whole % 60 ? "%lld m %lld s" : "%lld m", whole / 60, whole % 60);
    else if (whole < 2 * 86400)
        snprintf(buf, size, whole % 3600 / 60 ? "%lld h %lld m" : "%lld h", whole / 3600,
                 whole % 3600 / 60);
    else
        snprintf(buf, size, whole % 86400 / 3600 ? "%lld d %lld h" : "%lld d", whole / 86400,
                 whole % 86400 / 3600);
    drop_zero(buf);
    return buf;
}

int clock_parse(const char *text, nsec_t *ret)
{
    static const struct {
        const char *suffix;
        nsec_t ns;
    } unit[] = {
        {"ms", NSEC_MS}, {"s", NSEC_S}, {"m", NSEC_MIN}, {"h", NSEC_HOUR}, {"d", 24 * NSEC_HOUR}};
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (end == text || errno || v < 0 || !isfinite(v))
        return -1;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < ARRAY_LEN(unit); i++)
        if (strcmp(end, unit[i].suffix) == 0) {
            double ns = v * (double)unit[i].ns;
            if (ns > 9e18)
                return -1;
            *ret = (nsec_t)ns;
            return 0;
        }
    return -1;
}
