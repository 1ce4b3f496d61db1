/* What the builders of a plan share. Private to this folder. */
#pragma once

#include "model/plan.h"

struct builder {
    const struct plan_goal *goal;
    struct plan *plan;
};

struct plan_step *plan_add(struct builder *b, enum plan_action action, enum colour c,
                           const char *name); /* "PHASE/name", without words */

#define TEXT(b, ...) arena_printf(&(b)->plan->arena, __VA_ARGS__)

void plan_add_clone(struct builder *b);
void plan_add_ahead(struct builder *b); /* nothing where all of it is instant, or begins empty */
