#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const int exit_status[ERR_CODE_MAX] = {
    [ERR_NONE] = 0,    [ERR_FAILED] = 1,  [ERR_USAGE] = 2,       [ERR_HALFWAY] = 3,
    [ERR_GATE] = 4,    [ERR_LOCKED] = 5,  [ERR_NOT_FOUND] = 1,   [ERR_EXISTS] = 1,
    [ERR_FOREIGN] = 1, [ERR_TIMEOUT] = 1, [ERR_INTERRUPTED] = 3, [ERR_UNSUPPORTED] = 1,
};

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (!err)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    char msg[sizeof(err->msg)];
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    err->code = code;
    err->sys = 0;
    memcpy(err->msg, msg, sizeof(msg));
    err->hint[0] = '\0';
    return -1;
}

int err_sys(struct err *err, enum err_code code, const char *fmt, ...)
{
    int saved = errno;
    if (!err)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    char msg[sizeof(err->msg)];
    int n = vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(msg))
        snprintf(msg + n, sizeof(msg) - (size_t)n, ": %s", strerror(saved));
    err->code = code;
    err->sys = saved;
    memcpy(err->msg, msg, sizeof(msg));
    err->hint[0] = '\0';
    return -1;
}

int err_ctx(struct err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char old[sizeof(err->msg)];
    memcpy(old, err->msg, sizeof(old));
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(err->msg))
        snprintf(err->msg + n, sizeof(err->msg) - (size_t)n, ": %s", old);
    return -1;
}

int err_hint(struct err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->hint, sizeof(err->hint), fmt, ap);
    va_end(ap);
    return -1;
}

void err_clear(struct err *err)
{
    err->code = ERR_NONE;
    err->sys = 0;
    err->msg[0] = '\0';
    err->hint[0] = '\0';
}

int err_exit_status(enum err_code code)
{
    return code < ERR_CODE_MAX ? exit_status[code] : 1;
}
