/* The self-test: can the probe see what it claims to see?
 *
 * A small server inside the process (a thread, loopback, a port of its own) does wrong exactly what
 * it is told, and writes down what it did. The probe knows nothing of it. What the one did and what
 * the other reports is then laid side by side: each fault has to be found, and nothing else.
 *
 * HTTP/1.1 in the clear. Over TLS and HTTP/2 the tests have such servers (tests/lib/faulty.py,
 * faulty_h2.py): in here they would take a server's side of both, of no other use to the tool. */
#pragma once

#include "probe/probe.h"

enum selftest_fault {
    SELFTEST_DROP,   /* a request is read and never answered */
    SELFTEST_RESET,  /* a request's connection ends with a RST */
    SELFTEST_SWAP,   /* an answer with the id of another request */
    SELFTEST_TWICE,  /* two answers to one request */
    SELFTEST_STALE,  /* a slot far behind */
    SELFTEST_REFUSE, /* nobody listens for a millisecond */
    SELFTEST_FREEZE, /* everything stands still for a second */
    SELFTEST_FAULTS,
    SELFTEST_REST = SELFTEST_FAULTS, /* the row that nothing else was found */
    SELFTEST_ROWS
};

extern const char *const selftest_names[SELFTEST_ROWS]; /* "drop", ..., "nothing else" */

enum { SELFTEST_REQUESTS_MAX = 16384 };

/* What the server did, in its own words. */
struct selftest_log {
    bool did[SELFTEST_FAULTS];
    uint64_t at[SELFTEST_FAULTS];   /* the number of the request that it befell, or that began it */
    nsec_t refused_for, frozen_for; /* measured */
    uint8_t seen[SELFTEST_REQUESTS_MAX]; /* by number: how often it was received */
};

struct selftest_row {
    char injected[96], found[96];
    bool ok;
};

/* Pure: lays `log` and `r` side by side. True if every row is ok. */
bool selftest_judge(const struct selftest_log *log, const struct probe_result *r,
                    struct selftest_row rows[SELFTEST_ROWS]);

struct selftest {
    struct selftest_row rows[SELFTEST_ROWS];
    bool ok;
    unsigned rounds; /* made in all: one in which the machine kept the probe waiting is repeated */
    nsec_t late;     /* the probe's own largest lateness in the last round */
    struct probe_result r; /* of the last round */
};

/* Runs it: 4 s a round. leave_out: bit N set = fault N is announced and not injected, so that its
 * row has to fail. 0 also when something was missed (ret->ok tells); -1 if it could not run.
 * selftest_done() in the end. */
must_check int selftest_run(unsigned leave_out, struct selftest *ret, struct err *err);
void selftest_done(struct selftest *t);
