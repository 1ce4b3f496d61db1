/* Identity files: what makes an instance somebody on its network.
 *
 * Two nodes with one identity end each other (agave: the older one, 13 to 24 s later), so the
 * files of the colours must differ. A Solana keypair file is compared by its public key, any other
 * file byte by byte. Secret halves are wiped after use and never appear in a message. Read-only. */
#pragma once

#include "base/base58.h"
#include "spec/spec.h"

struct identity {
    uint64_t dev, ino;          /* of the file, links followed */
    bool keypair;               /* a JSON array of 64 bytes: key and text are set */
    uint8_t key[32];            /* the public half */
    char text[BASE58_KEY_SIZE]; /* the public key in base58; "" for other files */
    uint64_t size, hash[2];     /* of the bytes (XXH3-128) */
};

/* Reads one file (at most 64 KiB). Missing: ERR_NOT_FOUND. Empty: ERR_FAILED. A JSON array of
 * numbers that is not a keypair (wrong count, a number over 255): ERR_FAILED, since it was meant as
 * one. */
must_check int identity_read(const char *path, struct identity *ret, struct err *err);

/* 0 if no identity file of a is one of b's: not the same file, not the same bytes, not the same
 * key. Both empty: 0. Else -1, ERR_FAILED with both files and the key; unreadable or missing: that
 * error. Call it again on the files as the instance will see them: a clone copies what lies in a
 * volume. */
must_check int identity_differ(const struct spec *a, const struct spec *b, struct err *err);
