/* The node's side of its admin socket. */
#include "admin.h"

#include "conn.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CUT_MS 230 /* from `exit` to closed connections: measured at a real agave */

int admin_listen(int ledger_fd)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    /* by way of /proc, since a ledger's path may be longer than a socket's may be */
    snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/admin.rpc", ledger_fd);
    unlinkat(ledger_fd, "admin.rpc", 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 16) < 0)
        return -1;
    return fd;
}

/* Each returns the result, or NULL with *ret_fault set. */
typedef json_t *admin_method(struct node *node, const json_t *params, const char **ret_fault);

static json_t *do_exit(struct node *node, const json_t *params, const char **ret_fault)
{
    uint64_t now = now_mono_ns();
    uint64_t end_ms = node->options->exit_ms > CUT_MS ? node->options->exit_ms : CUT_MS;
    (void)params;
    (void)ret_fault;
    log_line("INFO", "exit requested over the admin socket");
    if (node->due_ns[TIMER_END] == 0) {
        node->due_ns[TIMER_CUT] = now + CUT_MS * NS_PER_MS;
        node->due_ns[TIMER_END] = now + end_ms * NS_PER_MS;
    }
    return json_null();
}

static bool has_tower(const struct node *node, const char *pubkey)
{
    char name[IDENTITY_MAX + 32];
    snprintf(name, sizeof(name), "tower-1_9-%s.bin", pubkey);
    return faccessat(node->store.ledger_fd, name, R_OK, 0) == 0;
}

static json_t *do_set_identity(struct node *node, const json_t *params, const char **ret_fault)
{
    const char *path = json_string_value(json_array_get(params, 0));
    char pubkey[IDENTITY_MAX];
    if (path == NULL) {
        *ret_fault = "Invalid params: expected a path";
        return NULL;
    }
    *ret_fault = identity_load(path, pubkey);
    if (*ret_fault == NULL && json_is_true(json_array_get(params, 1)) && !has_tower(node, pubkey))
        *ret_fault = "Unable to load tower file for identity";
    if (*ret_fault != NULL)
        return NULL;
    gossip_leave(node);
    memcpy(node->pubkey, pubkey, sizeof(pubkey));
    gossip_announce(node);
    log_line("INFO", "identity set to %s", node->pubkey);
    return json_null();
}

static json_t *do_fault(struct node *node, const json_t *params, const char **ret_fault)
{
    static const char *const names[FAULT_COUNT] = {
        [FAULT_NONE] = "none",   [FAULT_BEHIND] = "behind", [FAULT_ERRORS] = "errors",
        [FAULT_STALL] = "stall", [FAULT_HANG] = "hang",
    };
    const char *name = json_string_value(json_array_get(params, 0));
    for (int i = 0; name != NULL && i < FAULT_COUNT; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        log_line("WARN", "fault from now on: %s", name);
        node->fault = i;
        if (i == FAULT_HANG)
            server_hang(node);
        return json_null();
    }
    *ret_fault = "expected none, behind, errors, stall or hang";
    return NULL;
}

static json_t *do_close_websockets(struct node *node, const json_t *params, const char **ret_fault)
{
    json_int_t ms = json_integer_value(json_array_get(params, 0));
    if (ms < 0) {
        *ret_fault = "expected milliseconds";
        return NULL;
    }
    ws_close_over(node, (uint64_t)ms);
    return json_null();
}

static json_t *do_progress(struct node *node, const json_t *params, const char **ret_fault)
{
    (void)params;
    (void)ret_fault;
    return json_string(node->open_real_ns != 0 ? "Running" : "LoadingLedger");
}

static json_t *do_start_time(struct node *node, const json_t *params, const char **ret_fault)
{
    (void)params;
    (void)ret_fault;
    return json_pack("{s:I,s:I}", "secs_since_epoch", (json_int_t)(node->start_real_ns / NS_PER_S),
                     "nanos_since_epoch", (json_int_t)(node->start_real_ns % NS_PER_S));
}

static json_t *do_pid(struct node *node, const json_t *params, const char **ret_fault)
{
    (void)node;
    (void)params;
    (void)ret_fault;
    return json_integer(getpid());
}

static json_t *do_rpc_address(struct node *node, const json_t *params, const char **ret_fault)
{
    (void)params;
    (void)ret_fault;
    if (node->open_real_ns == 0)
        return json_null();
    return json_sprintf("%s:%d", node->options->host, (int)node->options->rpc_port);
}

static json_t *do_contact_info(struct node *node, const json_t *params, const char **ret_fault)
{
    const struct options *o = node->options;
    (void)params;
    (void)ret_fault;
    return json_pack("{s:s,s:o,s:o,s:o,s:I,s:s}", "id", node->pubkey, "gossip",
                     json_sprintf("%s:%d", o->host, (int)o->gossip_port), "rpc",
                     json_sprintf("%s:%d", o->host, (int)o->rpc_port), "rpcPubsub",
                     json_sprintf("%s:%d", o->host, (int)o->ws_port), "lastUpdatedTimestamp",
                     (json_int_t)(node->outset_ns / NS_PER_MS), "version", node->version->text);
}

static const struct {
    const char *name;
    admin_method *run;
} methods[] = {
    {"exit", do_exit},
    {"setIdentity", do_set_identity},
    {"fault", do_fault},
    {"closeWebsockets", do_close_websockets},
    {"startProgress", do_progress},
    {"startTime", do_start_time},
    {"pid", do_pid},
    {"rpcAddress", do_rpc_address},
    {"contactInfo", do_contact_info},
};

static void serve_line(struct node *node, struct conn *c, const char *line, size_t n)
{
    json_t *request = json_loadb(line, n, 0, NULL);
    const char *method = json_string_value(json_object_get(request, "method"));
    json_t *id = json_object_get(request, "id");
    const char *fault = request == NULL ? "Parse error" : "Method not found";
    int code = request == NULL ? -32700 : -32601;
    json_t *result = NULL;
    for (size_t i = 0; method != NULL && i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i].name, method) != 0)
            continue;
        code = -32602;
        result = methods[i].run(node, json_object_get(request, "params"), &fault);
        break;
    }
    json_t *reply = json_pack("{s:s,s:O?}", "jsonrpc", "2.0", "id", id);
    if (result != NULL)
        json_object_set_new(reply, "result", result);
    else
        json_object_set_new(reply, "error", json_pack("{s:i,s:s}", "code", code, "message", fault));
    char *text = json_dumps(reply, JSON_COMPACT);
    buf_printf(&c->out, "%s\n", text != NULL ? text : "{}");
    free(text);
    json_decref(reply);
    json_decref(request);
}

void admin_serve(struct node *node, struct conn *c)
{
    size_t at = 0;
    while (at < c->in.n) {
        const char *end = memchr(c->in.p + at, '\n', c->in.n - at);
        if (end == NULL)
            break;
        serve_line(node, c, c->in.p + at, (size_t)(end - c->in.p) - at);
        at = (size_t)(end - c->in.p) + 1;
    }
    buf_drop_front(&c->in, at);
}
