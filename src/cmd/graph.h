/* Who hangs on whom, of all volumes of a service: what cleanup shows before and after. */
#pragma once

#include "cmd/session.h"
#include "driver/storage/ops.h"

#include <jansson.h>

struct graph {
    struct storage_graph all;
    size_t volumes; /* that are in it: those of other drivers know no such thing */
};
void graph_done(struct graph *g);
#define cleanup_graph cleanup(graph_done)

/* The open upgrade's, by the colour that is to go; `only` NULL: of every volume. Read-only. */
must_check int graph_look(struct session *s, enum colour loser, const char *only, struct graph *ret,
                          struct err *err);

/* A line each, of data sets only, and how many snapshots they have; "" if there are none. */
void graph_words(const struct graph *g, const char *indent, struct str *ret);

/* [{name, kind, origin, ours}], snapshots included. */
json_t *graph_json(const struct graph *g);
