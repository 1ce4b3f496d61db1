#pragma once

#include <stdint.h>

uint64_t sys_random(void); /* getrandom(2) */
