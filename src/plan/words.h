/* What some steps do, in words: from the spec alone. */
#pragma once

#include "base/str.h"
#include "spec/spec.h"

/* What the probe sends; it is the new colour's spec that says so. */
void plan_probe_words(struct str *out, const struct spec_probe *p);

/* Beyond what of it the traffic goes back. */
void plan_limits_words(struct str *out, const struct spec_probe *p);

/* What a flip away from `from` loses by the nature of its traffic driver; nothing with Caddy. */
bool plan_flip_loses(const struct spec *s);
void plan_flip_loss_words(struct str *out, const struct spec *s, enum colour from);

/* What the flip to `to` does, and how it is proven before. In the arena. */
const char *plan_flip_words(const struct spec *s, enum colour to, struct arena *arena);
const char *plan_preview_words(const struct spec *s, struct arena *arena);

/* How the colour is told to close its websockets; "" if its spec says nothing. In the arena. */
const char *plan_websockets_words(const struct spec *s, struct arena *arena);
