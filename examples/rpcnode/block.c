/* Blocks: all of a block follows from its slot, so that two nodes answer the same for one slot. */
#include "store.h"
#include "util.h"

#include <string.h>

#define BLOCK_MAGIC 0x314b434f4c425052ull
#define GENESIS_TIME_S 1700000000ull

static void fill_payload(uint64_t slot, uint8_t payload[PAYLOAD_BYTES])
{
    for (unsigned i = 0; i < PAYLOAD_BYTES / 8; i++) {
        uint64_t word = mix64(slot * 31 + i);
        memcpy(payload + 8 * i, &word, 8);
    }
}

static void hash_contents(uint64_t slot, const uint8_t payload[PAYLOAD_BYTES],
                          uint8_t hash[HASH_BYTES])
{
    uint64_t base = hash_bytes(payload, PAYLOAD_BYTES, slot);
    for (unsigned i = 0; i < HASH_BYTES / 8; i++) {
        uint64_t word = mix64(base + i);
        memcpy(hash + 8 * i, &word, 8);
    }
}

static uint64_t check_of(const struct block *b)
{
    return hash_bytes(b, offsetof(struct block, check), BLOCK_MAGIC);
}

static void finish(uint64_t slot, struct block *b)
{
    uint8_t payload[PAYLOAD_BYTES];
    b->magic = BLOCK_MAGIC;
    b->slot = slot;
    b->parent = slot > 0 ? slot - 1 : 0;
    b->time_s = GENESIS_TIME_S + slot * 2 / 5;
    hash_contents(slot, b->payload, b->hash);
    fill_payload(b->parent, payload);
    hash_contents(b->parent, payload, b->previous);
    b->check = check_of(b);
}

void block_make(uint64_t slot, struct block *b)
{
    fill_payload(slot, b->payload);
    finish(slot, b);
}

bool block_from_peer(uint64_t slot, const uint8_t payload[PAYLOAD_BYTES], const uint8_t *hash,
                     struct block *ret)
{
    memcpy(ret->payload, payload, PAYLOAD_BYTES);
    finish(slot, ret);
    return memcmp(ret->hash, hash, HASH_BYTES) == 0;
}

bool block_is_whole(const struct block *b, uint64_t slot)
{
    return b->magic == BLOCK_MAGIC && b->slot == slot && b->check == check_of(b);
}
