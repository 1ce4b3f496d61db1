/* Clocks. Pure code gets times passed in; only effects read them here. */
#pragma once

#include "base/clock.h"

nsec_t sys_clock_mono(void);     /* CLOCK_MONOTONIC: for durations within one boot */
nsec_t sys_clock_wall(void);     /* CLOCK_REALTIME, since 1970 */
nsec_t sys_clock_boottime(void); /* CLOCK_BOOTTIME: since this boot, suspend included */
void sys_sleep(nsec_t ns);       /* returns early on a signal */

/* The kernel's id of this boot (proc(5), random/boot_id): 36 characters; "" if unreadable. */
void sys_boot_id(char id[40]);
