/* Who else keeps a process: a unit, a container, a supervisor. */
#pragma once

#include "base/err.h"

#include <sys/types.h>

/* 0: nobody. Else ERR_FOREIGN, naming it. A login session is nobody, and so is a unit that we
 * ourselves run in: *ret_shared says that this was so. */
must_check int keeper_none(pid_t pid, bool *ret_shared, struct err *err);

/* The parts, on plain text, for tests. cgroup: the text of /proc/PID/cgroup. False: nobody. */
bool keeper_in_cgroup(const char *cgroup, const char *ours, char *who, size_t size,
                      bool *ret_shared);
bool keeper_is_supervisor(const char *comm);
