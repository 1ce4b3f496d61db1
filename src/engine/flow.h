/* The commands' business: which phases run in which state, and what their failures mean.
 *
 * Each is safe to run again, in any state: it goes on where the journal says, or says why it
 * cannot. On an error the message says what is true now, and the hint is the next command to type.
 */
#pragma once

#include "engine/engine.h"
#include "engine/space.h"

/* steady or preparing -> prepared. e->up is a begun upgrade (flow_begin).
 * Failures: before anything was started all is undone and the upgrade has ended (ERR_FAILED); a
 * standby that does not pass stays for inspection (ERR_GATE). */
must_check int flow_prepare(struct engine *e, struct err *err);

/* prepared or promoting -> promoted, or awaiting-confirm if confirm_within > 0. */
must_check int flow_promote(struct engine *e, nsec_t confirm_within, struct err *err);

/* The traffic was flipped by hand, and who has it now has passed its gate: claim and state follow
 * at once, so that no kill leaves a claim that another command would act upon; then on as after a
 * flip of ours, to promoted, or to rolled-back. */
must_check int flow_promote_by_hand(struct engine *e, struct err *err);
must_check int flow_rollback_by_hand(struct engine *e, struct err *err);

/* Requests have waited as long as they may, and no command is at work: goes back to the old colour,
 * unless they have been let go meanwhile. For the guard. */
must_check int flow_hold_over(struct engine *e, struct err *err);

/* Whether this upgrade was confirmed: a confirm that was killed is gone on with as a promote, but
 * whoever confirmed has decided. */
bool flow_confirmed(struct engine *e);

/* awaiting-confirm -> promoted. */
must_check int flow_confirm(struct engine *e, struct err *err);

/* Any open state -> rolled-back. After the flip with writes that would be lost: needs
 * e->loss_accepted (ERR_USAGE, naming the loss). why: for the journal. */
must_check int flow_rollback(struct engine *e, const char *why, struct err *err);

/* promoted or rolled-back -> steady. As flow_cleanup_how() was told for this upgrade, in this or an
 * earlier run; the last one counts. */
must_check int flow_cleanup(struct engine *e, struct err *err);
must_check int flow_cleanup_how(struct engine *e, bool take_snapshots, bool retire,
                                struct err *err);
/* Reads it into e: for those who only look. */
must_check int flow_cleanup_as_told(struct engine *e, struct err *err);

/* Forward from whatever state a crash has left. */
must_check int flow_resume(struct engine *e, struct err *err);

/* Compares the claim with the flags (ERR_HALFWAY with both readings). A flip that was in work when
 * a run was killed is settled first: the flags decide whether it has happened, and exactly one flag
 * is left. */
must_check int flow_settle(struct engine *e, enum colour claimed_live, struct err *err);

/* What a rollback over the flip would lose, in words; "" if nothing. */
void flow_loss(struct engine *e, char *buf, size_t size);

/* The space floors. act false: 1 if there is something to do, 0 not. act: below space.floor the
 * standby is stopped; below space.last_floor its clone is destroyed (after the flip: the old
 * side's, only if the spec says so). */
must_check int flow_space(struct engine *e, bool act, struct err *err);

/* The store that fills up first, for status: by the guard's samples. */
struct space_status {
    bool known;
    struct space_store store;
    struct space_rate rate;
    char path[256], words[320];
};
void flow_space_view(struct engine *e, struct space_status *ret);

/* What status says of the space floors; "" while there is room. */
void flow_space_words(struct engine *e, char *buf, size_t size);
