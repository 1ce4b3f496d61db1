#include "base/hist.h"

#include "base/clean.h"
#include "base/str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A value in units of 1.024 us has a cell of its own below 2048; each octave above has 1024 cells,
 * so a cell is never wider than 1/1024 of its value. */
enum {
    UNIT_BITS = 10,
    LINEAR = 2048,
    PER_OCTAVE = 1024,
    OCTAVES = 21,
    CELLS = LINEAR + OCTAVES * PER_OCTAVE
};

static size_t cell_of(nsec_t value)
{
    uint64_t v = value < 0 ? 0 : (uint64_t)value >> UNIT_BITS;
    if (v < LINEAR)
        return (size_t)v;
    if (v > UINT32_MAX)
        v = UINT32_MAX;
    unsigned shift = 53 - (unsigned)__builtin_clzll(v);
    return LINEAR + (size_t)(shift - 1) * PER_OCTAVE + (size_t)(v >> shift) - PER_OCTAVE;
}

static nsec_t cell_first(size_t cell)
{
    if (cell < LINEAR)
        return (nsec_t)cell << UNIT_BITS;
    size_t shift = (cell - LINEAR) / PER_OCTAVE + 1;
    size_t sub = (cell - LINEAR) % PER_OCTAVE + PER_OCTAVE;
    return (nsec_t)sub << shift << UNIT_BITS;
}

static nsec_t cell_last(size_t cell)
{
    return cell_first(cell + 1) - 1;
}

static void counts_need(struct hist *h)
{
    if (!h->counts)
        h->counts = x_alloc(CELLS * sizeof(*h->counts));
}

void hist_add(struct hist *h, nsec_t value)
{
    if (value < 0)
        value = 0;
    counts_need(h);
    h->counts[cell_of(value)]++;
    if (!h->n || value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
    h->sum += value;
    h->n++;
}

void hist_merge(struct hist *dst, const struct hist *src)
{
    if (!src->n)
        return;
    counts_need(dst);
    for (size_t i = 0; i < CELLS; i++)
        dst->counts[i] += src->counts[i];
    if (!dst->n || src->min < dst->min)
        dst->min = src->min;
    if (src->max > dst->max)
        dst->max = src->max;
    dst->sum += src->sum;
    dst->n += src->n;
}

void hist_copy(struct hist *dst, const struct hist *src)
{
    uint64_t *counts = dst->counts;
    *dst = *src;
    dst->counts = counts;
    if (!src->counts) {
        hist_done(dst);
        return;
    }
    counts_need(dst);
    memcpy(dst->counts, src->counts, CELLS * sizeof(*dst->counts));
}

void hist_subtract(struct hist *dst, const struct hist *earlier)
{
    if (!earlier->n)
        return;
    nsec_t whole_max = dst->max, whole_min = dst->min;
    dst->n -= earlier->n;
    dst->sum -= earlier->sum;
    dst->min = dst->max = 0;
    bool seen = false;
    for (size_t i = 0; i < CELLS; i++) {
        dst->counts[i] -= earlier->counts[i];
        if (!dst->counts[i])
            continue;
        if (!seen)
            dst->min = cell_first(i) > whole_min ? cell_first(i) : whole_min;
        dst->max = cell_last(i) < whole_max ? cell_last(i) : whole_max;
        seen = true;
    }
}

nsec_t hist_at(const struct hist *h, double fraction)
{
    if (!h->n)
        return 0;
    double want = ceil(fraction * (double)h->n);
    uint64_t rank = want < 1 ? 1 : (uint64_t)want;
    if (rank >= h->n)
        return h->max;
    uint64_t seen = 0;
    for (size_t i = 0; i < CELLS; i++) {
        seen += h->counts[i];
        if (seen >= rank)
            return cell_last(i) < h->max ? cell_last(i) : h->max;
    }
    return h->max;
}

nsec_t hist_mean(const struct hist *h)
{
    return h->n ? h->sum / (nsec_t)h->n : 0;
}

void hist_clear(struct hist *h)
{
    uint64_t *counts = h->counts;
    if (counts && h->n)
        memset(counts, 0, CELLS * sizeof(*counts));
    *h = (struct hist){.counts = counts};
}

void hist_done(struct hist *h)
{
    free(h->counts);
    memset(h, 0, sizeof(*h));
}
