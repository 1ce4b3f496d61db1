/* The journal of one service: what was intended, what came of it, and what is claimed to be true.
 *
 * SQLite, WAL, synchronous=FULL, in SERVICE_DIR/journal.db: a row that a call has written is on
 * disk when the call returns. Intent is committed before an effect and the result after it, so that
 * a crash anywhere leaves at most one step "intended", which recovery looks at again.
 *
 * One writer at a time (the service's kernel lock sees to it); readers may look at any time. Every
 * function may fail with ERR_FAILED and SQLite's own words; a damaged file says what to do. Strings
 * given out are copied into the caller's structures.
 *
 * Threads may share one: status asks both colours at once, and each reads what it runs here. Only
 * journal_begin() to journal_end() belong to one thread. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "model/event.h"
#include "model/state.h"
#include "sys/proc.h"

#define JOURNAL_SCHEMA 2

struct journal;

/* Opens SERVICE_DIR/journal.db. create: makes directory (0700) and file; without it a missing
 * journal is ERR_NOT_FOUND. A newer schema than ours is refused; an older one is copied to
 * journal.db.N and migrated. */
must_check int journal_open(const char *service_dir, bool create, struct journal **ret,
                            struct err *err);
void journal_close(struct journal *j);
static inline void journal_close_p(struct journal **j)
{
    journal_close(*j);
}
#define cleanup_journal cleanup(journal_close_p)

/* What is written between the two is on disk whole or not at all. Not nested. end: commits if ok;
 * else, or if the commit fails, takes everything back and returns -1 (an err that is set already
 * stays). */
must_check int journal_begin(struct journal *j, struct err *err);
must_check int journal_end(struct journal *j, bool ok, struct err *err);

/* Looks whether the file is whole (SQLite's quick_check): ERR_HALFWAY if not. Worth its time only
 * where something in it makes no sense: a file that was overwritten may still open by its log. */
must_check int journal_verify(struct journal *j, struct err *err);

/* Small facts by name. get: 1 found (ret set), 0 not there. value NULL deletes. */
must_check int journal_meta_get(struct journal *j, const char *key, struct str *ret,
                                struct err *err);
must_check int journal_meta_set(struct journal *j, const char *key, const char *value,
                                struct err *err);

/* The claim of who is live; COLOUR_NONE: nothing adopted yet. */
must_check int journal_live(struct journal *j, enum colour *ret, struct err *err);
must_check int journal_live_set(struct journal *j, enum colour c, struct err *err);

/* What a colour runs, or ran last: its spec unexpanded, and its version. */
struct generation {
    char version[64];
    char upgrade_id[32];         /* "" = adopted */
    char *spec_text, *spec_path; /* generation_done() */
    int64_t created_wall_ns;
};
void generation_done(struct generation *g);
#define cleanup_generation cleanup(generation_done)

/* 1 found, 0: this colour never had one (or it was cleared). */
must_check int journal_generation(struct journal *j, enum colour c, struct generation *ret,
                                  struct err *err);
must_check int journal_generation_set(struct journal *j, enum colour c, const struct generation *g,
                                      struct err *err);
must_check int journal_generation_clear(struct journal *j, enum colour c, struct err *err);

/* The open upgrade: 1 found, 0 steady. */
must_check int journal_upgrade(struct journal *j, struct upgrade *ret, struct err *err);
/* Inserts it with a new id (written into up->id). Pre: none is open. */
must_check int journal_upgrade_begin(struct journal *j, struct upgrade *up, struct err *err);
/* Moves it to a state. STATE_STEADY ends it (outcome: "promoted", "rolled back", "abandoned"). */
must_check int journal_upgrade_move(struct journal *j, struct upgrade *up, enum upgrade_state to,
                                    const char *outcome, struct err *err);
must_check int journal_upgrade_flipped(struct journal *j, struct upgrade *up, bool flipped,
                                       struct err *err);
/* The claim follows a flip: who is live, and the upgrade's `flipped`, at once. */
must_check int journal_flip(struct journal *j, struct upgrade *up, enum colour live,
                            struct err *err);

/* Adds a reason to the ones that are there, with "; " between them. */
must_check int journal_upgrade_reason(struct journal *j, const struct upgrade *up,
                                      const char *reason, struct err *err);

/* Past and present upgrades, newest first. */
typedef int journal_upgrade_fn(void *ctx, const struct upgrade *up, const char *outcome,
                               int64_t ended_wall_ns, const char *reason);
must_check int journal_upgrades_each(struct journal *j, int limit, journal_upgrade_fn *fn,
                                     void *ctx, struct err *err);

enum step_status { STEP_NONE, STEP_INTENDED, STEP_DONE, STEP_UNDONE };
struct step_row {
    enum step_status status;
    int attempt;
    int64_t started_wall_ns, ended_wall_ns;
    char result[256];
};

/* Steps are named "phase/step", unique within an upgrade. */
must_check int journal_step(struct journal *j, const char *upgrade, const char *step,
                            struct step_row *ret, struct err *err);
must_check int journal_step_intend(struct journal *j, const char *upgrade, const char *step,
                                   int *ret_attempt, struct err *err);
/* status: STEP_DONE or STEP_UNDONE. Forgets the step's children. */
must_check int journal_step_end(struct journal *j, const char *upgrade, const char *step,
                                enum step_status status, const char *result, struct err *err);
typedef int journal_step_fn(void *ctx, const char *step, const struct step_row *row);
must_check int journal_steps_each(struct journal *j, const char *upgrade, journal_step_fn *fn,
                                  void *ctx, struct err *err);

/* Programs that a step has spawned, noted before they may run. */
must_check int journal_child_note(struct journal *j, const char *upgrade, const char *step,
                                  struct proc_id id, struct err *err);
/* Of all its steps if step is NULL. */
must_check int journal_children(struct journal *j, const char *upgrade, const char *step,
                                struct proc_id *ret, size_t max, size_t *ret_n, struct err *err);

/* Deadlines survive a reboot: stored as wall clock, boot id and time since boot. */
struct deadline {
    char name[32];
    int64_t wall_ns;
    char boot_id[40];
    int64_t boottime_ns;
    char why[128];
};
must_check int journal_deadline_set(struct journal *j, const char *name, nsec_t in_ns,
                                    const char *why, struct err *err);
must_check int journal_deadline_clear(struct journal *j, const char *name, struct err *err);
/* 1 found; *ret_left_ns: how long until it (negative: how long ago). Within the same boot the clock
 * since boot decides, after another boot the wall clock. */
must_check int journal_deadline(struct journal *j, const char *name, struct deadline *ret,
                                nsec_t *ret_left_ns, struct err *err);

must_check int journal_event(struct journal *j, const char *upgrade, const struct event *ev,
                             struct err *err);
typedef int journal_event_fn(void *ctx, int64_t wall_ns, const char *upgrade, int kind,
                             const char *step, const char *text);
must_check int journal_events_each(struct journal *j, const char *upgrade, int limit,
                                   journal_event_fn *fn, void *ctx, struct err *err);

/* What a probe of an upgrade found, as JSON text, by the name of its part ("baseline",
 * "promote/probe 1"; "websockets green" is the proxy's count of them). set: the same part again
 * takes the place of the one before. */
must_check int journal_probe_set(struct journal *j, const char *upgrade, const char *part,
                                 const char *json, struct err *err);
/* 1 found (appended to ret), 0 not. */
must_check int journal_probe(struct journal *j, const char *upgrade, const char *part,
                             struct str *ret, struct err *err);
/* In the order in which they began; upgrade "": of all. */
typedef int journal_probe_fn(void *ctx, const char *upgrade, const char *part, const char *json);
must_check int journal_probes_each(struct journal *j, const char *upgrade, journal_probe_fn *fn,
                                   void *ctx, struct err *err);

/* Drops events and what probes found older than `age`. */
must_check int journal_prune(struct journal *j, nsec_t age, struct err *err);
