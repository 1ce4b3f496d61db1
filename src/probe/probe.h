/* The probe: an open-loop client that proves what users saw.
 *
 * Arrival times are fixed beforehand and latency counts from them, so a stall is charged to every
 * request that should have been sent. Each request has a number (header X-Changeover-Probe, and the
 * JSON-RPC id) and ends as exactly one outcome: the sum is asserted. A probe runs in a thread of
 * its own; a websocket set runs beside the requests. http:// and ws:// are this folder's own
 * client, https:// is libcurl (HTTP/1.1 or 2), and so is the TLS of wss://. */
#pragma once

#include "base/err.h"
#include "base/hist.h"
#include "base/str.h"

#include <jansson.h>

struct probe_options {
    const char *url;      /* http:// or https://host[:port]/path */
    double rate;          /* requests a second; 0: 500 */
    double ramp_to;       /* the rate at the end of `duration`, evenly from `rate`; 0: no ramp */
    unsigned connections; /* at most so many at once; 0: 1024. Opened as needed */
    nsec_t duration;      /* of sending; 0: until probe_stop() or stop() */
    nsec_t timeout;       /* of a request, from its intended time; 0: 5 s */
    const char *method;   /* NULL: POST with a body, else GET */
    const char *const *bodies; /* sent in turn; a JSON-RPC request gets its number as id */
    size_t n_bodies;
    const char *const *headers; /* "Name: value" each; NULL-terminated, may be NULL */
    unsigned fresh_percent;     /* so many requests of 100 on a connection of their own */
    int expect_status;          /* 0: 200 */
    const char *expect_body;    /* extended regular expression; NULL: any */
    int http;                   /* https only: 1 or 2 (HTTP/1.1, HTTP/2); 0: as the server likes */
    const char *ca_file;        /* https, wss: who signs the server; NULL: the system's */
    bool insecure;              /* https, wss: whoever signs it */
    bool plain;                 /* do not treat bodies as JSON-RPC */
    bool limit_step_back;       /* a getSlot answer more than max_step_back behind is bad */
    int64_t max_step_back;
    const char *colour_header; /* NULL: X-Changeover-Colour */
    const char *colour_field;  /* where the body is JSON and has it: "result.identity"; or NULL */
    unsigned slow_every; /* each Nth request is slow: another body or path, a longer timeout */
    const char *slow_body;
    const char *slow_path;
    nsec_t slow_timeout;      /* 0: 60 s */
    unsigned websockets;      /* subscriptions held open beside the requests */
    const char *ws_url;       /* ws:// or wss://host[:port]/path; needed with websockets */
    const char *ws_subscribe; /* NULL: slotSubscribe */
    const char *log_path; /* appended: "200 0.0012" or "FAIL <date> ..." a request; NULL: none */
    /* logs of the backends, a line for each request executed, its number the second word (as
     * rpcnode --log-requests writes them); read in the end, from where they ended at the start */
    const char *const *executed;
    size_t n_executed;
    uint64_t numbers_from; /* the first request's number, less one: so that those of two probes, one
                              after the other, are not taken for the same */
    bool windows;          /* latencies before, around and after a flip: probe_text */
    nsec_t series;         /* figures for each such stretch of time: probe_series_json; 0: none */
    /* asked about 20 times a second, from the probe's thread: true = send no more; may be NULL */
    bool (*stop)(void *ctx);
    void *stop_ctx;
};

enum probe_outcome {
    PROBE_OK,      /* answered well */
    PROBE_BAD,     /* answered, but not well: see probe_bad */
    PROBE_REFUSED, /* no connection could be made */
    PROBE_RESET,   /* the connection ended before the whole answer was there */
    PROBE_TIMEOUT, /* no whole answer in time */
    PROBE_UNSENT,  /* never written: no connection was free (limit of the probe) in time */
    PROBE_LEFT,    /* waited in a planned pause when the probe was ended: not known, not lost */
    PROBE_OUTCOMES
};

enum probe_bad {
    PROBE_BAD_HTTP, /* not HTTP */
    PROBE_BAD_STATUS,
    PROBE_BAD_BODY,   /* the expression does not match, or it is no JSON-RPC answer */
    PROBE_BAD_RPC,    /* a JSON-RPC error */
    PROBE_BAD_NUMBER, /* the answer to another request */
    PROBE_BAD_STALE,  /* a slot further back than allowed */
    PROBE_BADS
};

extern const char *const probe_outcome_words[PROBE_OUTCOMES];
extern const char *const probe_bad_words[PROBE_BADS];

enum { PROBE_COLOURS = 8, PROBE_FAILURES = 64 };

struct probe_colour {
    char name[48]; /* "-": answers that do not say */
    uint64_t ok, bad;
    nsec_t first, last; /* answers, since the start */
};

struct probe_failure {
    uint64_t number;
    nsec_t intended, ended; /* since the start */
    enum probe_outcome outcome;
    enum probe_bad bad; /* if PROBE_BAD */
    char detail[104];
};

struct probe_sockets {
    unsigned wanted, open, ever_open, stayed; /* stayed: opened once and never lost */
    uint64_t events, drops, closed;           /* closed: drops that began with a close frame */
    uint64_t reconnects, first_try; /* first_try: the first attempt after a drop opened it */
    uint64_t refused;               /* attempts that failed */
    char refused_why[104];          /* the last of them */
    uint64_t gaps, missed;          /* slots skipped while open */
    uint64_t missed_away; /* slots between the last before a drop and the first after it */
    uint64_t again;       /* slots that came after it although they had come before it */
    uint64_t backward;    /* slots that ran backwards while open */
    struct hist away;     /* from the drop to the first event after it */
    unsigned silent;      /* dropped, and no event since */
    unsigned n_by;        /* by whose answer they were opened again, where it says */
    struct {
        char name[48];
        uint64_t reconnects;
    } by[PROBE_COLOURS];
};

/* A planned pause: probe_hold(). */
struct probe_hold {
    bool seen;
    uint64_t waited;   /* answered well, after it was let go */
    uint64_t lost;     /* of those in flight in it or due in it; they count as lost in all */
    uint64_t not_sent; /* thinned out while it lasted: not among `sent` */
    nsec_t pause;      /* longest time without a good answer that it had a part in */
    nsec_t longest;    /* wait of a request */
};

struct probe_executed {
    bool asked, failed; /* failed: a log could not be read */
    uint64_t requests;  /* that were executed, by their numbers */
    uint64_t twice;     /* of them more than once */
    uint64_t first_twice[8];
};

struct probe_result {
    uint64_t sent;                    /* requests whose intended time came */
    uint64_t in_flight;               /* 0 in the end */
    uint64_t outcome[PROBE_OUTCOMES]; /* sent == in_flight + their sum, always */
    uint64_t bad[PROBE_BADS];
    uint64_t slow;              /* of those sent */
    uint64_t duplicate_answers; /* bytes that answer no open request */
    /* from the intended time: answers, and timeouts as long as they waited; without those that a
     * planned pause was part of */
    struct hist latency;
    struct hist lateness; /* the probe's own: from the intended time until it acted */
    nsec_t interval;      /* between two requests */
    /* without a good answer, less the stalls of the probe in which one may have come, and less a
     * planned pause */
    nsec_t longest_gap;
    nsec_t longest_gap_at; /* when it began, since the start */
    nsec_t stalls;         /* the probe's own, each over 1 ms */
    nsec_t elapsed;        /* since the start */
    nsec_t started_wall;
    unsigned n_colours;
    struct probe_colour colours[PROBE_COLOURS]; /* the last one collects the rest */
    uint64_t connections, idle_closed;          /* opened in all; closed by the server while idle */
    unsigned connections_max;                   /* at once; 0 over https */
    bool slots_seen;                            /* of getSlot answers: */
    int64_t slot_first, slot_last, slot_step_back;
    struct probe_sockets ws;
    struct probe_hold hold;
    struct probe_executed executed; /* as of the last probe_look_executed(), or the end */
    uint64_t n_failures;            /* all; the first PROBE_FAILURES are kept */
    struct probe_failure failures[PROBE_FAILURES];
    bool log_failed; /* the log file could not be written; it is incomplete */
};

uint64_t probe_lost(const struct probe_result *r); /* sent, ended and not answered well; not LEFT */

/* Nothing lost, nothing answered or executed twice, and every websocket open in the end. */
bool probe_clean(const struct probe_result *r);
void probe_result_done(struct probe_result *r);

struct probe;

/* Checks the options (ERR_USAGE), resolves names, opens the log, starts the thread. Strings in `o`
 * must live until probe_free(). Blocks at most for the resolver and 0.5 s. */
must_check int probe_start(const struct probe_options *o, struct probe **ret, struct err *err);

/* The state now. `ret` is the caller's: zeroed or used before; probe_result_done() in the end. */
void probe_snapshot(struct probe *p, struct probe_result *ret);
bool probe_finished(struct probe *p);

/* A pause in which requests wait for somebody to be there: it begins, what waits is let go, nothing
 * is held back any more. It is over for the probe when all that waited is answered, at most 2 s
 * after the last of them. From another thread; once a probe; a stage out of order is nothing. */
enum probe_hold_stage { PROBE_HOLD_WAITS, PROBE_HOLD_OPENS, PROBE_HOLD_OVER };
void probe_hold(struct probe *p, enum probe_hold_stage stage);

/* Reads what the backends' logs (`executed`) say by now, for the next snapshot. From one other
 * thread; blocks for the disk. */
void probe_look_executed(struct probe *p);

/* No new requests from now on; those in flight still end by themselves (at the latest by their
 * timeout), those that wait in a planned pause as LEFT. Blocks until then. `ret` (may be NULL) as
 * in probe_snapshot(). Once. */
void probe_stop(struct probe *p, struct probe_result *ret);

/* Waits until the duration is over or stop() said so, then as probe_stop(). */
void probe_wait(struct probe *p, struct probe_result *ret);
void probe_free(struct probe *p); /* after probe_stop() or probe_wait(); accepts NULL */

/* start, wait, free. Blocks for the duration. */
must_check int probe_run(const struct probe_options *o, struct probe_result *ret, struct err *err);

/* Aligned lines for people, the last one "N sent, N answered, N lost".
 * And the same for programs. */
/* As probe_result_text, and what the windows say. Below: after probe_stop() or probe_wait(). */
void probe_text(struct probe *p, const struct probe_result *r, struct str *out);

/* With windows: {"flips": [{"at_ms", "from", "to"}], "reach_ms": 500, "before": {"p50", ...},
 * "during", "after"}. A flip is where the answers of another colour begin and at least ten come in
 * a row to requests that were due after the first; "during" is what was answered within reach of
 * one, to either side. NULL without a flip. After probe_stop() or probe_wait(). */
json_t *probe_windows_json(struct probe *p);

/* With series: {"every_ms", "windows": [[sent, lost, p50, p90, p99, max, ok of colour 0, of 1,
 * ...], ...], "colours": [names]}, the latencies in ms. The whole run in order, the stretches
 * without an answer included (at most 100,000; then "cut" is true). */
json_t *probe_series_json(struct probe *p);

void probe_result_text(const struct probe_result *r, struct str *out);
json_t *probe_result_json(const struct probe_result *r);
