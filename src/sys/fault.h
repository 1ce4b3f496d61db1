/* Fault points: places where a test may end or fail this process.
 *
 * Built in only with -Dfault=true (the default of a developer's build; `make install` has none).
 * The variable CHANGEOVER_FAULT holds one rule, ACTION@POINT: `kill@prepare/clone:applied` sends
 * SIGKILL to itself there, `fail@...` makes the point return -1 with errno EIO, `stop@...` raises
 * SIGSTOP (a test may look around, then kill or go on). With ACTION@POINT@PATH the rule is used
 * once: PATH is created when it fires and an existing PATH disarms it. */
#pragma once

#ifdef CHANGEOVER_FAULTS
int sys_fault_point(const char *point);
#else
static inline int sys_fault_point(const char *point)
{
    (void)point;
    return 0;
}
#endif
