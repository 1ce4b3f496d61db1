/* The reference of all keys, in Markdown: what docs/spec.md holds. Pure. */
#pragma once

#include "base/str.h"

void spec_document(struct str *ret);
