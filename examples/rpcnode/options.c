/* See options.h. The order is clap's: names, missing values, required arguments, values, and the
 * identity file last of all, so that an identity path that does not exist is a complete check. */
#include "options.h"

#include "identity.h"
#include "version.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_FLAG, KIND_NUMBER, KIND_SIZE, KIND_PORT, KIND_TEXT, KIND_RANGE, KIND_PEER };

struct option {
    const char *name;
    const char *value_name;
    enum kind kind;
    size_t offset;
    const char *help;
};

#define AT(field) offsetof(struct options, field)

static const struct option table[] = {
    {"ledger", "DIR", KIND_TEXT, AT(ledger), "slots, blocks, transactions; locked while running"},
    {"accounts", "DIR", KIND_TEXT, AT(accounts), "accounts [LEDGER/accounts]"},
    {"wipe-accounts", NULL, KIND_FLAG, AT(wipe_accounts), "empty ACCOUNTS/run at start, as agave"},
    {"identity", "KEYPAIR", KIND_TEXT, AT(identity), "Solana keypair file"},
    {"require-identity", NULL, KIND_FLAG, AT(require_identity), "--identity is required"},
    {"name", "NAME", KIND_TEXT, AT(name), "X-Backend instead of the identity"},
    {"host", "ADDRESS", KIND_TEXT, AT(host), "address to bind [127.0.0.1]"},
    {"rpc-port", "PORT", KIND_PORT, AT(rpc_port), "JSON-RPC and /health [8899]"},
    {"ws-port", "PORT", KIND_PORT, AT(ws_port), "websockets [RPC + 1]"},
    {"ws-on-rpc-port", NULL, KIND_FLAG, AT(ws_on_rpc_port), "websockets on the RPC port only"},
    {"no-ws", NULL, KIND_FLAG, AT(no_ws), "no websockets"},
    {"gossip-port", "PORT", KIND_PORT, AT(gossip_port), "UDP and TCP; taken = panic, 101"},
    {"gossip-dir", "DIR", KIND_TEXT, AT(gossip_dir), "where nodes of one network see each other"},
    {"dynamic-port-range", "MIN-MAX", KIND_RANGE, AT(dynamic_range), "UDP ports from MIN on"},
    {"dynamic-ports", "N", KIND_NUMBER, AT(dynamic_ports), "how many of them [8]"},
    {"extra-udp-from", "PORT", KIND_PORT, AT(extra_udp_from), "one more free UDP port [8000]"},
    {"no-extra-udp", NULL, KIND_FLAG, AT(no_extra_udp), "without it"},
    {"leader", NULL, KIND_FLAG, AT(leader), "make slots (the default without --peer)"},
    {"peer", "URL", KIND_PEER, AT(peers), "RPC of a node to follow; up to 4, in order"},
    {"lead-if-peer-gone", "MS", KIND_NUMBER, AT(lead_if_peer_gone_ms), "make slots after that"},
    {"slot-ms", "MS", KIND_NUMBER, AT(slot_ms), "time of a slot [400]"},
    {"catch-up-rate", "N", KIND_NUMBER, AT(catch_up_rate), "slots/s fetched from a peer [500]"},
    {"writes-per-slot", "N", KIND_NUMBER, AT(writes_per_slot), "data files changed a slot [4]"},
    {"health-slot-distance", "N", KIND_NUMBER, AT(health_slot_distance), "`behind` from [128]"},
    {"load-ms", "MS", KIND_NUMBER, AT(load_ms), "RPC is closed that long at start [0]"},
    {"verify-ms", "MS", KIND_NUMBER, AT(verify_ms), "and `unknown` that long after [200]"},
    {"exit-ms", "MS", KIND_NUMBER, AT(exit_ms), "from `exit` to the end [500]; RPC is cut at 230"},
    {"ws-close-over", "MS", KIND_NUMBER, AT(ws_close_over_ms),
     "SIGUSR1 closes the websockets evenly over that"},
    {"log-requests", "FILE", KIND_TEXT, AT(log_requests), "a line for each request executed"},
    {"log-websockets", "FILE", KIND_TEXT, AT(log_websockets), "their first and last slots"},
    {"write-through", NULL, KIND_FLAG, AT(write_through), "sendTransaction syncs before answering"},
    {"delay-ms", "MS", KIND_NUMBER, AT(delay_ms), "delay each JSON-RPC answer"},
    {"deaf", NULL, KIND_FLAG, AT(deaf), "hear nobody: `ok` for ever, the slot stands still"},
    {"hang", NULL, KIND_FLAG, AT(hang), "accept connections, never answer"},
    {"hang-after-ms", "MS", KIND_NUMBER, AT(hang_after_ms), "the same, later"},
    {"always-behind", "N", KIND_NUMBER, AT(always_behind), "`behind` by N slots for ever"},
    {"stall-after-slots", "N", KIND_NUMBER, AT(stall_after_slots), "then the slot stands still"},
    {"exit-after-stall-ms", "MS", KIND_NUMBER, AT(exit_after_stall_ms), "and then exit 1"},
    {"crash-after-ms", "MS", KIND_NUMBER, AT(crash_after_ms), "panic, 101"},
    {"report-version", "V", KIND_TEXT, AT(report_version), "what getVersion claims"},
    {"graceful-term", NULL, KIND_FLAG, AT(graceful_term), "SIGTERM finishes requests, exit 0"},
    {"term-deaf", NULL, KIND_FLAG, AT(term_deaf), "ignore SIGTERM"},
    {"force", NULL, KIND_FLAG, AT(force), "exit: no questions"},
    {"no-wait-for-exit", NULL, KIND_FLAG, AT(no_wait), "exit: do not wait for the end"},
    {"require-tower", NULL, KIND_FLAG, AT(require_tower), "set-identity: refuse without a tower"},
    {"files", "N", KIND_NUMBER, AT(init_files), "init: data files [10000]"},
    {"bytes", "SIZE", KIND_SIZE, AT(init_bytes), "init: their bytes in all, as 500M or 1G [1G]"},
    {"slots", "N", KIND_NUMBER, AT(init_slots), "init: slots already there [1000]"},
};
#define TABLE_ROWS (sizeof(table) / sizeof(table[0]))

static const struct options defaults = {
    .host = "127.0.0.1",
    .rpc_port = 8899,
    .dynamic_ports = 8,
    .extra_udp_from = 8000,
    .slot_ms = 400,
    .catch_up_rate = 500,
    .health_slot_distance = 128,
    .writes_per_slot = 4,
    .verify_ms = 200,
    .exit_ms = 500,
    .init_files = 10000,
    .init_bytes = 1ull << 30,
    .init_slots = 1000,
};

/* What was given for each row of the table, before any value is looked at. */
struct given {
    const char *value;
    bool present;
};

static void print_help(const struct version *v)
{
    printf("rpcnode %s: a STAND-IN for agave's RPC node, for tests and the demo only.\n\n"
           "USAGE:\n    rpcnode [OPTIONS] --ledger <DIR>\n    rpcnode cluster --ledger <DIR> ...  "
           "(the network: makes slots)\n"
           "    rpcnode init --ledger <DIR> [--accounts <DIR>] [--files N --bytes SIZE]\n"
           "    rpcnode --ledger <DIR> exit [--force] | set-identity <FILE> | contact-info\n"
           "    rpcnode --ledger <DIR> fault none|behind|errors|stall|hang     (at run time)\n"
           "    rpcnode --ledger <DIR> close-websockets SECONDS              (evenly, with 1001)\n"
           "    rpcnode keygen <FILE>\n\nOPTIONS:\n",
           v->text);
    for (size_t i = 0; i < TABLE_ROWS; i++) {
        char left[64];
        snprintf(left, sizeof(left), "--%s%s%s%s", table[i].name,
                 table[i].value_name != NULL ? " <" : "",
                 table[i].value_name != NULL ? table[i].value_name : "",
                 table[i].value_name != NULL ? ">" : "");
        printf("    %-32s %s\n", left, table[i].help);
    }
}

static int usage_fault(const char *message)
{
    fprintf(stderr,
            "error: %s\n\nUSAGE:\n    rpcnode [OPTIONS] --ledger <DIR>\n\n"
            "For more information try --help\n",
            message);
    return 1;
}

static const struct option *find_option(const struct version *v, const char *name, size_t n)
{
    for (size_t i = 0; i < TABLE_ROWS; i++) {
        if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0)
            return version_removed_option(v, table[i].name) ? NULL : &table[i];
    }
    return NULL;
}

static int value_fault(const struct option *row, const char *why)
{
    char message[512];
    snprintf(message, sizeof(message), "Invalid value for '--%s <%s>': %s", row->name,
             row->value_name, why);
    return usage_fault(message);
}

static int name_fault(const char *arg)
{
    char message[512];
    snprintf(message, sizeof(message),
             "Found argument '%.*s' which wasn't expected, or isn't valid in this context",
             (int)strcspn(arg, "="), arg);
    return usage_fault(message);
}

/* Names only, in the order given: --help ends the walk with 0, an unknown name before it with 1. */
static int collect(struct options *o, const struct version *v, struct given *given, int argc,
                   char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            print_help(v);
            return 0;
        }
        if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0) {
            version_print(v);
            return 0;
        }
        if (strncmp(arg, "--", 2) != 0) {
            if (arg[0] == '-' || o->word_count == MAX_WORDS)
                return name_fault(arg);
            o->words[o->word_count++] = arg;
            continue;
        }
        size_t n = strcspn(arg + 2, "=");
        const struct option *row = find_option(v, arg + 2, n);
        if (row == NULL || (row->kind == KIND_FLAG && arg[2 + n] == '='))
            return name_fault(arg);
        struct given *g = &given[row - table];
        g->present = true;
        if (row->kind == KIND_FLAG)
            continue;
        if (arg[2 + n] == '=') {
            g->value = arg + 3 + n;
        } else if (i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0) {
            g->value = argv[++i];
        } else {
            char message[256];
            snprintf(message, sizeof(message),
                     "The argument '--%s <%s>' requires a value but none was supplied", row->name,
                     row->value_name);
            return usage_fault(message);
        }
        if (row->kind == KIND_PEER && o->peer_count < MAX_PEERS)
            o->peers[o->peer_count++] = g->value;
    }
    return -1;
}

static bool parse_number(const char *text, uint64_t max, bool suffix, uint64_t *ret)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || text[0] == '-')
        return false;
    static const char units[] = "KMG";
    const char *unit = suffix && *end != '\0' ? strchr(units, *end) : NULL;
    if (unit != NULL) {
        value <<= 10 * (unit - units + 1);
        end++;
    }
    if (*end != '\0' || value > max)
        return false;
    *ret = value;
    return true;
}

static bool parse_range(const char *text, struct port_range *range)
{
    char first[8];
    const char *dash = strchr(text, '-');
    if (dash == NULL || (size_t)(dash - text) >= sizeof(first))
        return false;
    memcpy(first, text, (size_t)(dash - text));
    first[dash - text] = '\0';
    return parse_number(first, 65535, false, &range->first) &&
           parse_number(dash + 1, 65535, false, &range->last) && range->first <= range->last;
}

static int take_value(struct options *o, const struct option *row, const char *value)
{
    void *field = (char *)o + row->offset;
    bool good = true;
    switch (row->kind) {
    case KIND_FLAG:
        *(bool *)field = true;
        break;
    case KIND_NUMBER:
        good = parse_number(value, 1ull << 53, false, field);
        break;
    case KIND_SIZE:
        good = parse_number(value, 1ull << 53, true, field);
        break;
    case KIND_PORT:
        good = parse_number(value, 65535, false, field);
        break;
    case KIND_TEXT:
        *(const char **)field = value;
        break;
    case KIND_RANGE:
        good = parse_range(value, field);
        break;
    case KIND_PEER:
        good = strncmp(value, "http://", 7) == 0;
        break;
    }
    return good ? -1 : value_fault(row, "invalid digit found in string");
}

static size_t row_of(const char *name)
{
    size_t i = 0;
    while (i < TABLE_ROWS && strcmp(table[i].name, name) != 0)
        i++;
    return i;
}

static bool is_required(const struct options *o, const struct version *v, const struct given *given,
                        size_t row)
{
    const char *word = o->word_count > 0 ? o->words[0] : "cluster";
    if (strcmp(word, "keygen") == 0)
        return false;
    if (row == row_of("ledger"))
        return true;
    if (strcmp(word, "cluster") != 0)
        return false;
    if (row == row_of("identity") && given[row_of("require-identity")].present)
        return true;
    return version_required_option(v, table[row].name);
}

static int check_required(const struct options *o, const struct version *v,
                          const struct given *given)
{
    char message[1024] = "The following required arguments were not provided:";
    bool missing = false;
    for (size_t i = 0; i < TABLE_ROWS; i++) {
        if (given[i].present || !is_required(o, v, given, i))
            continue;
        size_t n = strlen(message);
        missing = true;
        if (table[i].kind == KIND_FLAG)
            snprintf(message + n, sizeof(message) - n, "\n    --%s", table[i].name);
        else
            snprintf(message + n, sizeof(message) - n, "\n    --%s <%s>", table[i].name,
                     table[i].value_name);
    }
    return missing ? usage_fault(message) : -1;
}

bool options_signals(const struct options *o, sigset_t *ret)
{
    sigemptyset(ret);
    if (o->graceful_term)
        sigaddset(ret, SIGTERM);
    if (o->ws_close_over_ms > 0)
        sigaddset(ret, SIGUSR1);
    return o->graceful_term || o->ws_close_over_ms > 0;
}

int options_parse(struct options *o, const struct version *v, int argc, char **argv)
{
    struct given given[TABLE_ROWS] = {0};
    char pubkey[IDENTITY_MAX];
    *o = defaults;
    int status = collect(o, v, given, argc, argv);
    if (status < 0)
        status = check_required(o, v, given);
    for (size_t i = 0; i < TABLE_ROWS && status < 0; i++) {
        if (given[i].present)
            status = take_value(o, &table[i], given[i].value);
    }
    if (status >= 0)
        return status;
    o->stall = given[row_of("stall-after-slots")].present;
    if (o->slot_ms == 0)
        o->slot_ms = 1;
    if (o->catch_up_rate == 0)
        o->catch_up_rate = 1;
    const char *fault = o->identity != NULL ? identity_load(o->identity, pubkey) : NULL;
    if (fault != NULL)
        return value_fault(&table[row_of("identity")], fault);
    return -1;
}
