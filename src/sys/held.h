/* Files that a process may change without a call that says so. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Calls fn with the inode of every file that `pid` has mapped shared and writable, or (regular
 * ones) open for writing, some of them more than once. The number alone: which device a mapping is
 * on is told differently by some file systems, and a file too many does no harm. A process that is
 * gone: 0. -1 with errno: it may not be looked at (root, or the same user, may). */
typedef void sys_held_fn(void *ctx, uint64_t ino);
int sys_proc_held(pid_t pid, sys_held_fn *fn, void *ctx);

/* The same of every process that we may look into. */
void sys_all_held(sys_held_fn *fn, void *ctx);

/* Who keeps the file system of this device (stat's st_dev) from being unmounted or destroyed:
 * appended to `ret` as "pid 12 (rpcnode: an open file)", one after the other, each process once by
 * the first that is found. A process whose mount namespace still has it mounted counts, too. A
 * process that has the device itself open counts, too. Those that we may not look into are left
 * out. Returns how many. */
struct str;
size_t sys_device_users(uint64_t dev, struct str *ret);
