/* Base64 (RFC 4648, the plain alphabet with padding). */
#pragma once

#include "base/str.h"

/* Appended. */
void base64_encode(const void *bytes, size_t n, struct str *ret);

/* Appended; blanks and line ends within are passed over. False: no base64, ret is then as before.
 */
bool base64_decode(const char *text, size_t n, struct str *ret);
