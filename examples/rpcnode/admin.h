/* The admin socket LEDGER/admin.rpc: JSON-RPC 2.0, one object a line. */
#ifndef RPCNODE_ADMIN_H
#define RPCNODE_ADMIN_H

#include "node.h"

/* Listen (an old socket is removed; the ledger lock is ours). Returns the descriptor, or -1. */
int admin_listen(int ledger_fd);

/* The commands of the client; each returns the exit status. */
int admin_client_exit(const struct options *o);
int admin_client_set_identity(const struct options *o);
int admin_client_close_websockets(const struct options *o);
int admin_client_fault(const struct options *o);
int admin_client_contact_info(const struct options *o);

#endif
