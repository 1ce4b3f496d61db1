/* Findings of a look at the world: what `check` prints and what a plan may not be made against. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum finding_level { FINDING_OK, FINDING_WARNING, FINDING_ERROR };

struct finding {
    enum finding_level level;
    const char *topic; /* "ports", "space", "identity", "traffic", ... */
    const char *text;  /* what was found, where, why it matters */
    const char *mend;  /* the command that mends it, or NULL */
};

struct findings {
    struct arena arena;
    struct finding *items;
    size_t n;
};

void findings_add(struct findings *f, enum finding_level level, const char *topic, const char *mend,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
size_t findings_count(const struct findings *f, enum finding_level level);
void findings_done(struct findings *f);
