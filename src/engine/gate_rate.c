#include "engine/gate_internal.h"

#define SAMPLES_MIN 5
#define AT(r, i) (r)->sample[((r)->next + GATE_RATE_SAMPLES - (r)->n + (i)) % GATE_RATE_SAMPLES]

void gate_rate_add(struct gate_rate *r, nsec_t at, double lag)
{
    /* as dense as the ring can hold over a whole window */
    if (r->n && at - AT(r, r->n - 1).at < r->window / (GATE_RATE_SAMPLES - 1))
        return;
    r->sample[r->next].at = at;
    r->sample[r->next].lag = lag;
    r->next = (r->next + 1) % GATE_RATE_SAMPLES;
    if (r->n < GATE_RATE_SAMPLES)
        r->n++;
    /* looks that are far apart still make a rate */
    while (r->n > SAMPLES_MIN && at - AT(r, 0).at > r->window)
        r->n--;
}

bool gate_rate_closing(const struct gate_rate *r, double *ret)
{
    double mean_t = 0, mean_lag = 0, up = 0, down = 0;
    double n = (double)r->n;

    if (r->n < SAMPLES_MIN || AT(r, r->n - 1).at - AT(r, 0).at < r->window / 2)
        return false;
    nsec_t start = AT(r, 0).at;
    for (size_t i = 0; i < r->n; i++) {
        mean_t += (double)(AT(r, i).at - start) / 1e9 / n;
        mean_lag += AT(r, i).lag / n;
    }
    for (size_t i = 0; i < r->n; i++) {
        double t = (double)(AT(r, i).at - start) / 1e9 - mean_t;
        up += t * (AT(r, i).lag - mean_lag);
        down += t * t;
    }
    if (down <= 0)
        return false;
    *ret = -up / down;
    return true;
}
