#include "sys/clock.h"

#include "base/str.h"
#include "sys/file.h"

#include <string.h>
#include <time.h>

static nsec_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (nsec_t)ts.tv_sec * NSEC_S + ts.tv_nsec;
}

nsec_t sys_clock_mono(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

nsec_t sys_clock_wall(void)
{
    return read_clock(CLOCK_REALTIME);
}

nsec_t sys_clock_boottime(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

void sys_sleep(nsec_t ns)
{
    if (ns <= 0)
        return;
    struct timespec ts = {.tv_sec = ns / NSEC_S, .tv_nsec = ns % NSEC_S};
    nanosleep(&ts, NULL);
}

void sys_boot_id(char id[40])
{
    cleanup_str struct str text = {0};
    id[0] = '\0';
    if (sys_file_read("/proc/sys/kernel/random/boot_id", 64, &text, NULL) < 0)
        return;
    size_t n = strcspn(str_cstr(&text), "\n");
    if (n < 40) {
        memcpy(id, str_cstr(&text), n);
        id[n] = '\0';
    }
}
