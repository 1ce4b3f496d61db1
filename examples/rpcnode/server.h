#ifndef RPCNODE_SERVER_H
#define RPCNODE_SERVER_H

#include "node.h"

/* Listen and serve until the node ends. Returns the exit status. */
int server_run(struct node *node);

#endif
