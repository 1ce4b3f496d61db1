/* rpcnode: a STAND-IN for agave's RPC node, for this project's tests and demo. See README.md. */
#include "admin.h"
#include "conn.h"
#include "init.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void set_signals(const struct options *o)
{
    sigset_t set;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    if (o->term_deaf)
        sigaction(SIGTERM, &ignore, NULL);
    if (options_signals(o, &set))
        sigprocmask(SIG_BLOCK, &set, NULL);
}

static int run_node(const struct options *o, const struct version *version)
{
    struct node *node = calloc(1, sizeof(*node));
    if (node == NULL)
        return 101;
    node->options = o;
    node->version = version;
    node->start_real_ns = now_real_ns();
    set_signals(o);
    log_line("INFO", "rpcnode %s, a stand-in for tests, pid %ld", version->text, (long)getpid());
    if (o->identity == NULL) {
        identity_make_ephemeral(node->pubkey);
    } else if (identity_load(o->identity, node->pubkey) != NULL) {
        free(node);
        return 1;
    }
    log_line("INFO", "identity %s", node->pubkey);
    int status =
        store_open(&node->store, o->ledger, o->accounts, o->wipe_accounts, o->writes_per_slot);
    if (status == 0 && txlog_open(&node->txlog, node->store.ledger_fd, o->write_through) < 0) {
        fprintf(stderr, "Error: transactions.log: %s\n", strerror(errno));
        status = 1;
    }
    if (status == 0)
        status = gossip_bind_ports(node);
    if (status == 0)
        status = reqlog_open(node);
    if (status == 0)
        status = wslog_open(node);
    if (status == 0) {
        gossip_announce(node);
        status = server_run(node);
    }
    log_line("INFO", "ended with status %d", status);
    _exit(status); /* the chain thread is in the middle of whatever it does */
}

static int keygen(const struct options *o)
{
    if (o->word_count == 2)
        return identity_keygen(o->words[1]);
    fprintf(stderr, "usage: rpcnode keygen FILE\n");
    return 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *word;
        int (*run)(const struct options *o);
    } commands[] = {
        {"exit", admin_client_exit},
        {"set-identity", admin_client_set_identity},
        {"contact-info", admin_client_contact_info},
        {"fault", admin_client_fault},
        {"close-websockets", admin_client_close_websockets},
        {"init", init_data},
        {"keygen", keygen},
    };
    static struct version version;
    static struct options options;
    int count = 0;
    version_load(&version);
    char **arguments = version_arguments(&version, argc, argv, &count);
    int status = options_parse(&options, &version, count, arguments);
    free(arguments); /* the texts it pointed to stay */
    if (status >= 0)
        return status;
    if (options.ws_port == 0)
        options.ws_port = options.rpc_port + 1;
    if (options.word_count == 0)
        return run_node(&options, &version);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].word, options.words[0]) == 0)
            return commands[i].run(&options);
    }
    if (strcmp(options.words[0], "cluster") == 0) {
        options.leader = true;
        return run_node(&options, &version);
    }
    fprintf(stderr, "error: The subcommand '%s' wasn't recognized\n", options.words[0]);
    return 1;
}
