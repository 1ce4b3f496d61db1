/* Base58 (the alphabet of Bitcoin and Solana): how public keys are written for people. */
#pragma once

#include "base/clean.h"

#include <stddef.h>
#include <stdint.h>

#define BASE58_KEY_SIZE 45 /* enough for 32 bytes and the NUL */

/* Writes n bytes (at most 64) as base58 into buf and returns it; "" if it does not fit. */
const char *base58_encode(char *buf, size_t size, const uint8_t *bytes, size_t n);
