/* shim (hidden): the small process above each instance. */
#include "driver/runtime/shim.h"

#include "cmd/cmd.h"

static int run(const struct cmd_call *call, struct err *err)
{
    if (call->argc != 1)
        return err_set(err, ERR_USAGE, "shim takes one directory");
    return shim_main(call->argv[0]);
}

const struct cmd_row cmd_shim = {
    .name = "shim",
    .args = "DIR",
    .summary = "keep an instance",
    .flags = CMD_RAW | CMD_HIDDEN,
    .run = run,
};
