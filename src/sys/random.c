#include "sys/random.h"

#include <stdlib.h>
#include <sys/random.h>

uint64_t sys_random(void)
{
    uint64_t v;
    if (getrandom(&v, sizeof(v), 0) != sizeof(v))
        abort();
    return v;
}
