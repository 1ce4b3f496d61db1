/* Closing the websockets one after the other (`close-websockets`, SIGUSR1), and the log of when
 * each had its first and its last slot. */
#include "conn.h"
#include "ws.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int wslog_open(struct node *node)
{
    const char *path = node->options->log_websockets;
    node->ws_log_fd = -1;
    if (path == NULL)
        return 0;
    node->ws_log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (node->ws_log_fd >= 0)
        return 0;
    log_line("ERROR", "cannot open websocket log %s: %s", path, strerror(errno));
    return 1;
}

void wslog_add(const struct node *node, const struct conn *c, const char *what)
{
    char line[160];
    if (node->ws_log_fd < 0 || c->kind != CONN_WS)
        return;
    int n = snprintf(line, sizeof(line), "%s %llu %llu %llu %llu\n", what,
                     (unsigned long long)c->ws_number, (unsigned long long)c->last_slot,
                     (unsigned long long)c->slots_sent, (unsigned long long)now_real_ns());
    if (write_all(node->ws_log_fd, line, (size_t)n) < 0)
        log_line("ERROR", "websocket log: %s", strerror(errno));
}

void ws_go_away(struct node *node, struct conn *c)
{
    static const char going_away[] = {0x03, (char)0xe9}; /* 1001 */
    ws_write_frame(&c->out, WS_CLOSE, going_away, sizeof(going_away));
    c->closing = true;
    conn_mark(node, c);
    wslog_add(node, c, "closing");
}

static struct conn *next_open(const struct node *node)
{
    struct conn *c = node->conns;
    while (c != NULL &&
           (c->kind != CONN_WS || c->closing || c->ws_number >= node->ws_closing.before))
        c = c->next;
    return c;
}

void ws_close_over(struct node *node, uint64_t ms)
{
    struct ws_closing *w = &node->ws_closing;
    if (node->due_ns[TIMER_CLOSE_WS] != 0)
        return; /* asked again: it is under way */
    *w = (struct ws_closing){
        .from_ns = now_mono_ns(), .over_ns = ms * NS_PER_MS, .before = node->next_ws};
    for (const struct conn *c = node->conns; c != NULL; c = c->next)
        w->total += c->kind == CONN_WS && !c->closing;
    log_line("INFO", "closing %llu websockets over %llu ms", (unsigned long long)w->total,
             (unsigned long long)ms);
    ws_close_due(node);
}

void ws_close_due(struct node *node)
{
    struct ws_closing *w = &node->ws_closing;
    uint64_t spent = now_mono_ns() - w->from_ns;
    uint64_t due = spent >= w->over_ns ? w->total : w->total * spent / w->over_ns;
    struct conn *c = next_open(node);
    for (; w->done < due && c != NULL; c = next_open(node)) {
        ws_go_away(node, c);
        w->done++;
    }
    if (w->done < w->total && c != NULL)
        node->due_ns[TIMER_CLOSE_WS] = w->from_ns + w->over_ns * (w->done + 1) / w->total;
}
