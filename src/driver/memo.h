/* What a driver remembers from one operation to the next within one step, so that it need not ask
 * the same again for each volume. The engine owns it, gives it to steps that gain by it, and
 * forgets it after each. */
#pragma once

struct driver_memo {
    void *data;
    void (*done)(void *data);
};

static inline void driver_memo_clear(struct driver_memo *m)
{
    if (m->data)
        m->done(m->data);
    *m = (struct driver_memo){0};
}
