#include "driver/traffic/log.h"

#include "sys/clock.h"
#include "sys/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)1 << 18)
#define READ_MAX ((uint64_t)256 << 20)

/* The JSON of a line is not parsed: 800 requests a second make 8000 lines in ten. A quote within a
 * string is written
 * \", so none of these keys can stand in a value. */
static double line_time(const char *line)
{
    const char *p = strstr(line, "\"ts\":");
    return p ? strtod(p + 5, NULL) : 0.0;
}

static void count_line(const char *line, struct traffic_counts *ret)
{
    const char *headers = strstr(line, "\"resp_headers\":{");
    const char *p = headers ? strstr(headers, "\"X-Changeover-Colour\":[\"") : NULL;
    const char *status = strstr(line, "\"status\":");
    if (!p)
        return; /* a line of another site in the same file */
    p += sizeof("\"X-Changeover-Colour\":[\"") - 1;
    if (str_starts(p, "green\""))
        ret->answered[GREEN]++;
    else if (str_starts(p, "blue\""))
        ret->answered[BLUE]++;
    else
        ret->none++;
    if (status && strtoul(status + 9, NULL, 10) >= 500)
        ret->failed++;
}

/* Counts the lines of buf, last first; false when one is older than `since`. */
static bool count_back(char *buf, size_t n, double since, struct traffic_counts *ret)
{
    while (n) {
        size_t start = n;
        while (start && buf[start - 1] != '\n')
            start--;
        double ts = line_time(buf + start);
        if (ts > 0.0 && ts < since)
            return false;
        if (ts > 0.0)
            count_line(buf + start, ret);
        if (!start)
            break;
        n = start - 1;
        buf[n] = '\0';
    }
    return true;
}

int traffic_show_last(const struct driver_ctx *ctx, double seconds, struct traffic_counts *ret,
                      struct err *err)
{
    const char *path = ctx->side[GREEN]->traffic.access_log;
    struct traffic_counts c = {0};
    if (!path) {
        err_set(err, ERR_USAGE,
                "there is no access log (traffic.access_log), so nothing can be counted");
        return err_hint(err,
                        "set traffic.access_log to a path and run: changeover traffic install");
    }
    cleanup_fd int fd = sys_open(path, O_RDONLY, 0);
    int64_t size = fd < 0 ? -1 : sys_file_size(fd);
    if (size < 0)
        return err_sys(err, ERR_FAILED, "open the access log '%s'", path);
    double since = (double)sys_clock_wall() / 1e9 - seconds;
    uint64_t at = (uint64_t)size, least = at > READ_MAX ? at - READ_MAX : 0;
    cleanup_str struct str tail = {
        .max = CHUNK * 8}; /* the part of a line that starts in an earlier chunk */
    cleanup_free char *buf = x_alloc(CHUNK + tail.max + 1);
    bool more = true;
    while (more && at > least) {
        size_t n = at < CHUNK ? (size_t)at : CHUNK;
        at -= n;
        if (sys_pread(fd, buf, n, at) != (ssize_t)n)
            return err_sys(err, ERR_FAILED, "read the access log '%s'", path);
        memcpy(buf + n, str_cstr(&tail), tail.len);
        size_t total = n + tail.len;
        buf[total] = '\0';
        char *first = at ? memchr(buf, '\n', total) : NULL;
        size_t skip = first ? (size_t)(first + 1 - buf) : 0;
        more = count_back(buf + skip, total - skip, since, &c);
        str_clear(&tail);
        str_add_n(&tail, buf, skip);
    }
    c.cut = more;
    *ret = c;
    return 0;
}
