/* The probe that runs through an upgrade: what users see of it, and the limits that decide.
 *
 * The instrument is src/probe/, in a thread of its own; here is when it runs and what follows from
 * what it sees. It begins with a baseline of live before the flip and goes on beside the steps, to
 * the end of the command: prober_end() then stops it and keeps what it found in the journal. The
 * baseline's figures are kept there too, so that a promote that was killed after the flip is judged
 * by them when it goes on.
 *
 * Of one process and one thread. Everything here is harmless where no probe runs. */
#pragma once

#include "engine/engine.h"

/* Starts it if the spec has one and it does not run; takes the baseline before the flip (blocks as
 * long as the spec says; live that is itself beyond the limit of lost requests: ERR_GATE), or finds
 * the stored one after it. Whatever goes wrong after the flip is a warning. */
must_check int prober_baseline(struct engine *e, char *result, struct err *err);

/* Starts it if the spec has one and it does not run. What goes wrong is a warning. Where requests
 * wait, it begins in that pause, and by the stored baseline. */
void prober_start(struct engine *e, char *result);

/* The flip to `to` is next: what comes from here on is the new colour's; or, where requests are to
 * wait for it, the pause begins: until its end only lost and repeated requests are judged. */
void prober_flip(struct engine *e, enum colour to);

/* What waits is let go now; and: is held back no more. */
void prober_let_go(struct engine *e);
void prober_let_gone(struct engine *e);

/* Looks at it, at most 20 times a second, however often it is called. ERR_GATE if a limit is broken
 * and that decides; the message says which, in words that stand alone. */
must_check int prober_look(struct engine *e, struct err *err);

/* The same for gate_request.between; ctx is the engine. */
must_check int prober_between(void *ctx, struct err *err);

/* The limit that is broken, in those words; NULL: none. */
const char *prober_broken(const struct engine *e);

/* How many of its own websockets are still open at a colour, since before the flip: nobody has to
 * wait for those. */
int prober_websockets(const struct engine *e, enum colour c);

/* A progress event of a wait that lasts until `most`, with the probe's figures if it runs. */
void prober_progress(struct engine *e, const char *text, nsec_t spent, nsec_t most);

/* Ends it: blocks until the requests in flight have ended (at most their timeout). Its result goes
 * into the journal and, in a line or two, to the observers. */
void prober_end(struct engine *e);

/* Says again what all runs of the probe have found in this upgrade. */
void prober_tell(struct engine *e);

/* promote --no-probe: this upgrade goes on without one, also when it is resumed. */
must_check int prober_forgo(struct engine *e, struct err *err);

/* Parts of the journal: a run of the probe is "STEP ATTEMPT"; its figures over time have a part of
 * their own, this behind it. */
#define PROBER_SERIES " series"

/* "4213 requests sent, 0 lost; ..." over all runs of an upgrade's probe, as far as they are kept;
 * "" if it had none. j may be NULL. */
void prober_words(struct journal *j, const char *upgrade, char *buf, size_t size);

/* "0 of 4213 lost" */
void prober_short_words(struct journal *j, const char *upgrade, char *buf, size_t size);

/* The same of its websockets: who stayed, who came back; "" if there were none. */
void prober_websocket_words(struct journal *j, const char *upgrade, char *buf, size_t size);
