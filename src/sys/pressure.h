/* How much of the time somebody had to wait for the disk or for memory: proc(5), /proc/pressure. */
#pragma once

#include <stdint.h>

#define SYS_PRESSURE "/proc/pressure"

/* The microseconds during which some task stood still so far, for io or for memory, whichever is
 * more. `dir`: SYS_PRESSURE, or a stand-in. -1 with errno: this kernel does not tell. */
int sys_pressure_stalled(const char *dir, uint64_t *ret_us);
