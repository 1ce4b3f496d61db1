#include "cmd/cmd.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    /* Results and what is said beside them come in the order in which they were printed, in a pipe
     * too. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    setvbuf(stderr, NULL, _IOLBF, 0); /* a line a call: some are written while live is paused */
    return cmd_main(argc, argv);
}
