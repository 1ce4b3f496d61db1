#ifndef RPCNODE_INIT_H
#define RPCNODE_INIT_H

#include "options.h"

/* Make the files of --files, --bytes and --slots. Returns the exit status, faults are printed. */
int init_data(const struct options *o);

#endif
