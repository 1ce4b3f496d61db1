/* What a node keeps on disk, and the only source of its answers.
 *
 *   LEDGER/ledger.lock            flock, held for life
 *   LEDGER/genesis.bin            made at the first start
 *   LEDGER/layout                 how many data files there are (written last by `init`)
 *   LEDGER/slot                   the newest slot: one short line, overwritten in place
 *   LEDGER/blocks/NNNNNN.seg      one record of 256 bytes a slot, 4096 a file
 *   LEDGER/transactions.log       see txlog.h
 *   LEDGER/rocksdb/NNN/NNNNNN.sst half of the data files
 *   ACCOUNTS/run/account-NNNNN    256 small accounts
 *   ACCOUNTS/run/NNN/NNNNNN.av    the other half of the data files
 *
 * Everything written for a slot is a function of the slot alone, and the order is: accounts and
 * data files, then the block, then `slot`. So a copy of any one moment opens, and so does one whose
 * files were read one after the other: the start walks down to the newest whole block and applies
 * the last slots again.
 * One thread (chain.c) writes slots; any thread may read. */
#ifndef RPCNODE_STORE_H
#define RPCNODE_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SEGMENT_SLOTS 4096u
#define ACCOUNT_COUNT 256u
#define FILES_PER_DIR 1000u
#define REPLAY_SLOTS 1024u
#define PAYLOAD_BYTES 152
#define HASH_BYTES 32
#define GENESIS_TEXT "rpcnode genesis 1\n"

struct block {
    uint64_t magic;
    uint64_t slot;
    uint64_t parent;
    uint64_t time_s;
    uint8_t hash[HASH_BYTES];
    uint8_t previous[HASH_BYTES];
    uint8_t payload[PAYLOAD_BYTES];
    uint64_t check;
};

struct account {
    uint64_t slot;
    uint64_t lamports;
    uint8_t data[HASH_BYTES];
};

struct layout {
    uint64_t ledger_files;
    uint64_t account_files;
    uint64_t file_bytes;
};

struct store {
    int ledger_fd;
    int accounts_fd;
    int slot_fd;
    int segment_fd;
    uint64_t segment;
    uint64_t writes_per_slot;
    struct layout layout;
    _Atomic uint64_t tip;
};

/* Open (making what is missing), lock, recover, replay. Returns 0, or the exit status, printed. */
int store_open(struct store *s, const char *ledger, const char *accounts, bool wipe_accounts,
               uint64_t writes_per_slot);
/* Take the directories only (for init): no replay. The same return. */
int store_take(struct store *s, const char *ledger, const char *accounts);

void block_make(uint64_t slot, struct block *b);
/* From what a peer said; false if its hash is not that of its contents. */
bool block_from_peer(uint64_t slot, const uint8_t payload[PAYLOAD_BYTES], const uint8_t *hash,
                     struct block *ret);
bool block_is_whole(const struct block *b, uint64_t slot);

/* Apply one slot durably in the order above. 0, or -1 with errno. */
int store_apply(struct store *s, const struct block *b);
/* true if the file holds a record of that slot (its other bytes may be wrong: that is the point) */
bool store_read_block(const struct store *s, uint64_t slot, struct block *b);
bool store_read_slot(const struct store *s, uint64_t *ret_slot);
bool store_read_account(const struct store *s, uint64_t index, struct account *a);
/* Hash of a whole data file, by number over both volumes. */
bool store_hash_data(const struct store *s, uint64_t index, uint64_t *ret_bytes,
                     uint64_t *ret_hash);

/* Of data file `index`: the directory it is under, and its path there. */
int store_data_path(const struct store *s, uint64_t index, char *path, unsigned cap);
int store_write_slot(struct store *s, uint64_t slot);
int store_write_block(struct store *s, const struct block *b);

#endif
