/* Who decides in which order io of a path is done. Read-only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct sys_io_device {
    char fs[32];        /* "ext4", "zfs" */
    char name[64];      /* the block device whose scheduler decides; "": none is known */
    char scheduler[32]; /* "bfq", "mq-deadline", "none"; "" with no device */
};

/* Of a device that is made of others (LVM, RAID, dm-crypt) the lowest ones count: the first whose
 * scheduler is not bfq, else the first. False: not even the file system is known. */
bool sys_io_device(const char *path, struct sys_io_device *ret);

/* Pure: the mount that `path` (absolute, no links) lies in, by /proc/self/mountinfo's text. */
bool sys_io_mount(const char *mountinfo, const char *path, char *fs, size_t fs_size, char *source,
                  size_t source_size);

/* Pure: "none [bfq] kyber" -> "bfq". */
void sys_io_scheduler(const char *text, char *ret, size_t size);
