/* How much room is left for live while two sides diverge, and for how long.
 *
 * Room is counted by store: what both sides' volumes may share (a file system, a pool), and each
 * limit that is live's alone (a refquota, a quota group), which nothing that the standby gives back
 * widens. The guard keeps samples in SERVICE_DIR/space, a line each; whoever asks reads them. */
#pragma once

#include "engine/engine.h"

#define SPACE_STORES 8
#define SPACE_FILE "space"
#define SPACE_EVERY (2 * NSEC_S)

/* A store, and who of the two sides has volumes in it. */
struct space_store {
    nsec_t wall;      /* when it was looked at */
    char name[96];    /* a name of its own; "limit:KIND:VOLUME" for a limit of live's */
    uint64_t left;    /* that live (or the standby, where live has nothing) can still take */
    enum colour side; /* whose volume has the least left there */
    char volume[64];
    bool holds[COLOURS];
    int64_t used[COLOURS]; /* what only that side takes; -1: unknown */
};

/* How fast that changes. Rates in bytes a second; valid: there were enough samples. */
struct space_rate {
    bool valid;
    double shrinks;
    bool known[COLOURS];
    double grows[COLOURS];
    nsec_t full_in; /* -1: not at this rate */
};

struct space_view {
    struct space_store store[SPACE_STORES];
    struct space_rate rate[SPACE_STORES];
    size_t n;
};

/* Pure. One line a store; and back, with the rates over the last ten minutes of that upgrade's
 * lines. A line that is none is passed over. */
void space_print(const struct space_view *v, const char *upgrade, struct str *ret);
void space_parse(const char *text, const char *upgrade, struct space_view *ret);

/* The store that fills up first within a day by its rate; else the one with the least left. NULL:
 * none. */
const struct space_store *space_tightest(const struct space_view *v, const struct space_rate **ret);

/* "12 GB free at '/srv/green/ledger' (volume ledger of green), 1.2 MB/s less (green 1 MB/s, blue
 * 0.2 MB/s): full in 2 h 46 m at this rate". path: of its volume. */
void space_words(const struct space_store *s, const struct space_rate *r, const char *path,
                 char *buf, size_t size);

/* Looks now. enough: where more than that is left, a lower bound will do (storage_space_fn). */
must_check int space_look(struct engine *e, uint64_t enough, struct space_view *ret,
                          struct err *err);

/* The guard's: looks, if the last look of its own lies SPACE_EVERY back, and adds it to the file.
 */
must_check int space_sample(struct engine *e, nsec_t *last, struct err *err);

/* What status shows: by the guard's samples where they are fresh, else by a look of its own. */
must_check int space_now(struct engine *e, struct space_view *ret, struct err *err);
