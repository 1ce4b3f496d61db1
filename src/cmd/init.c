/* init: the commented starter, never over a file that is there. */
#include "cmd/cmd.h"
#include "spec/spec.h"
#include "sys/file.h"

#include <stdio.h>
#include <string.h>

static int run(const struct cmd_call *call, struct err *err)
{
    if (sys_path_kind(call->spec_path) != SYS_MISSING) {
        err_set(err, ERR_EXISTS, "'%s' is there already, and init never overwrites",
                call->spec_path);
        return err_hint(err, "changeover check, or init with -f OTHER.yml");
    }
    const char *text = spec_starter();
    if (sys_file_write_atomic(call->spec_path, text, strlen(text), 0644, err) < 0)
        return err_hint(err, "init -f FILE, in a directory that exists and may be written to");
    printf("wrote %s: every key is explained in it\n", call->spec_path);
    if (!call->quiet)
        fprintf(stderr, "next: edit %s, then: changeover check\n", call->spec_path);
    return 0;
}

const struct cmd_row cmd_init = {
    .name = "init",
    .args = "",
    .summary = "write a commented starter spec",
    .run = run,
};
