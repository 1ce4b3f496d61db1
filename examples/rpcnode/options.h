/* The command line: one table in options.c, checked in the order in which agave's clap checks. */
#ifndef RPCNODE_OPTIONS_H
#define RPCNODE_OPTIONS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct version;

#define MAX_PEERS 4
#define MAX_WORDS 4

struct port_range {
    uint64_t first;
    uint64_t last;
};

struct options {
    /* words without dashes: the subcommand and its arguments */
    const char *words[MAX_WORDS];
    unsigned word_count;

    const char *ledger;
    const char *accounts;
    const char *identity;
    const char *name;
    const char *host;
    const char *log_requests;
    const char *log_websockets;
    const char *gossip_dir;
    const char *report_version;
    const char *peers[MAX_PEERS];
    unsigned peer_count;

    uint64_t rpc_port;
    uint64_t ws_port; /* 0: RPC + 1 */
    uint64_t gossip_port;
    uint64_t dynamic_ports;
    uint64_t extra_udp_from;
    struct port_range dynamic_range;

    uint64_t slot_ms;
    uint64_t catch_up_rate;
    uint64_t health_slot_distance;
    uint64_t lead_if_peer_gone_ms;
    uint64_t writes_per_slot;
    uint64_t load_ms;
    uint64_t verify_ms;
    uint64_t always_behind;
    uint64_t stall_after_slots;
    uint64_t exit_after_stall_ms;
    uint64_t crash_after_ms;
    uint64_t hang_after_ms;
    uint64_t exit_ms;
    uint64_t ws_close_over_ms;
    uint64_t delay_ms;

    uint64_t init_files;
    uint64_t init_bytes;
    uint64_t init_slots;

    bool leader;
    bool deaf;
    bool hang;
    bool stall; /* set by --stall-after-slots: 0 slots is a value too */
    bool require_identity;
    bool wipe_accounts;
    bool write_through;
    bool ws_on_rpc_port;
    bool no_ws;
    bool no_extra_udp;
    bool graceful_term;
    bool term_deaf;
    bool force;
    bool require_tower;
    bool no_wait;
};

/* The signals that this node takes by itself; false: none. */
bool options_signals(const struct options *o, sigset_t *ret);

/* Parse. Returns -1 to go on, else the exit status (help, version and faults are printed here). */
int options_parse(struct options *o, const struct version *v, int argc, char **argv);

#endif
