/* Transactions that clients wrote: LEDGER/transactions.log, one line each, `<signature> <slot>
 * <data>`, appended before the answer; an index in memory, rebuilt at the start. */
#ifndef RPCNODE_TXLOG_H
#define RPCNODE_TXLOG_H

#include "util.h"

#define TX_DATA_MAX 4096
#define SIGNATURE_CAP 96

struct txlog_entry {
    uint64_t key;
    uint64_t offset;
};

struct txlog {
    int fd;
    bool sync;
    uint64_t count;
    uint64_t end;
    struct txlog_entry *entries;
    size_t used;
    size_t room; /* a power of two */
};

struct tx {
    char signature[SIGNATURE_CAP];
    uint64_t slot;
    uint64_t times; /* how often that data was written */
    char data[TX_DATA_MAX + 1];
};

/* Cuts off a torn last line. 0, or -1 with errno. */
int txlog_open(struct txlog *t, int ledger_fd, bool sync);
/* Data of letters without blanks, at most TX_DATA_MAX. Fills the signature. 0, or -1 with errno. */
int txlog_append(struct txlog *t, const char *data, uint64_t slot, char signature[SIGNATURE_CAP]);
bool txlog_find(const struct txlog *t, const char *signature, struct tx *ret);

#endif
