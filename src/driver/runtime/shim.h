/* The small process above each instance: `changeover shim DIR`, a hidden command.
 *
 * It holds DIR/lock for life, starts the instance, passes its output to rotated logs, records how
 * it ended, and starts it again by policy. It never stops it: `stop` does, after writing DIR/stop.
 * Killed, it leaves the instance running (without restarts; its log goes on). It loads no spec and
 * no database. */
#pragma once

#include <stdint.h>

/* DIR: absolute, holds instance.json. Descriptor 3 is the starter's socket: it gets "C" when the
 * pid is on disk, gives "g", gets "R" or "E" + message, all lines. Its end of file before "g"
 * means: start nothing. Returns the exit status. */
int shim_main(const char *dir);

/* Copies fd to `path` until its end, keeping path.1 ... path.KEEP of about max_bytes each. Never
 * fails: what cannot be written (disk full) is dropped, so that the instance never blocks. */
void shim_log_copy(int fd, const char *path, uint64_t max_bytes, int keep);
