/* Versions, and how far down a downgrade may go. Pure. */
#pragma once

#include "base/err.h"
#include "spec/spec.h"

enum version_step {
    VERSION_SAME,
    VERSION_UP,
    VERSION_DOWN_PATCH, /* only below the first two numbers: 3.1.11 -> 3.1.10, 3.1.0 -> 3.1.0-rc.1
                         */
    VERSION_DOWN_MINOR, /* 3.1 -> 3.0 */
    VERSION_DOWN_MAJOR, /* 3.1 -> 2.2 */
    VERSION_UNKNOWN     /* one of them is no version: nothing can be said */
};

/* Up to 8 numbers with points between, a "v" before and a pre-release after them allowed
 * ("v3.1.11", "3.2.0-beta.1", "2.53.3+ds1"); missing numbers are 0, what follows a plus does not
 * count. The order is that of semver.org. */
enum version_step version_step(const char *from, const char *to);

/* Whether the policy (downgrade: none, patch, minor, any) lets the live version be followed by
 * `to`. Not: ERR_FAILED with both versions and what the spec would have to say. An unknown step is
 * allowed: the caller warns. */
must_check int version_allowed(const char *from, const char *to, enum spec_downgrade policy,
                               struct err *err);
