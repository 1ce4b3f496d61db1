/* What this machine can do. Read-only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

const char *sys_kernel(char *buf, size_t size); /* "Linux 6.1.0-18-amd64" */
bool sys_has_pidfd(void);                       /* pidfd_open(2), Linux 5.3 */
bool sys_has_ofd_locks(void);                   /* fcntl(2) F_OFD_SETLK, Linux 3.15 */

/* Whether a control group of ours can be made; why_not says what stands in the way. */
bool sys_can_cgroup(char *why_not, size_t size);

uint64_t sys_memory_available(void); /* MemAvailable of /proc/meminfo, bytes; 0 if unreadable */
