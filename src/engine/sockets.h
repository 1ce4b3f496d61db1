/* The websockets that were open at a side when the traffic left it: who is counted, and what became
 * of them. By the proxy's count; kept in the journal beside what the probe found, a part for each
 * colour, so that it is told whole also by the run that comes after a killed one.
 *
 * Nothing here fails: what cannot be counted is not told. */
#pragma once

#include "engine/engine.h"

/* The traffic has just left c: how many stay. */
void sockets_flipped(struct engine *e, enum colour c);

/* The same, seen later by a run that did not see the flip. Nothing if it is known. */
void sockets_seen(struct engine *e, enum colour c);

/* c is told to close `open` of them over `spread`. */
void sockets_asked(struct engine *e, enum colour c, int open, nsec_t spread);

/* It took that long until `left` were left. */
void sockets_closed(struct engine *e, enum colour c, int left, nsec_t took);

/* c is stopped next: its stop closes those that are open now. */
void sockets_stopping(struct engine *e, enum colour c);

/* Says what became of them, if sockets_stopping() knows of some. */
void sockets_tell(struct engine *e, enum colour c);

/* "200 stayed at green through the flip; 200 closed one after the other in 3.1 s, 0 by its stop";
 * "" if there were none. j may be NULL. */
void sockets_words(struct journal *j, const char *upgrade, enum colour c, char *buf, size_t size);

/* Parts of the journal that are no run of a probe begin so. */
#define SOCKETS_PART "websockets "
