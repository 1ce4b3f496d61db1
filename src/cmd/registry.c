/* The list of commands, in the order of the help. */
#include "cmd/cmd.h"

#include <string.h>

/* clang-format off */
#define COMMANDS(X) \
    X(clone) \
    X(probe) \
    X(init) \
    X(adopt) \
    X(start) \
    X(stop) \
    X(forget) \
    X(status) \
    X(check) \
    X(plan) \
    X(prepare) \
    X(promote) \
    X(confirm) \
    X(rollback) \
    X(cleanup) \
    X(resume) \
    X(history) \
    X(report) \
    X(lock) \
    X(with_lock) \
    X(guard) \
    X(shim) \
    X(traffic) \
    X(sidecar) \
    X(kubernetes) \
    X(help) \
    X(version) \
/* the end */
/* clang-format on */

#define DECLARE(name) extern const struct cmd_row cmd_##name;
COMMANDS(DECLARE)

#define ROW(name) &cmd_##name,
const struct cmd_row *const cmd_rows[] = {COMMANDS(ROW) NULL};

const struct cmd_row *cmd_find(const char *name)
{
    for (size_t i = 0; cmd_rows[i]; i++)
        if (strcmp(cmd_rows[i]->name, name) == 0)
            return cmd_rows[i];
    return NULL;
}
