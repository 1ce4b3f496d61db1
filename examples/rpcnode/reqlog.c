/* `<method> <id> <status> <ns>`: one line for each request executed. See conn.h. */
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int reqlog_open(struct node *node)
{
    const char *path = node->options->log_requests;
    node->request_log_fd = -1;
    if (path == NULL)
        return 0;
    node->request_log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (node->request_log_fd >= 0)
        return 0;
    log_line("ERROR", "cannot open request log %s: %s", path, strerror(errno));
    return 1;
}

/* One word: no quotes around a string, nothing that would break the line. */
static void add_word(struct buf *b, const char *word)
{
    size_t from = b->n, n = strlen(word);
    if (n >= 2 && word[0] == '"' && word[n - 1] == '"') {
        word++;
        n -= 2;
    }
    buf_add(b, word, n);
    for (size_t i = from; i < b->n; i++) {
        if (b->p[i] <= ' ' || b->p[i] > '~')
            b->p[i] = '_';
    }
    buf_add(b, n > 0 ? " " : "- ", n > 0 ? 1 : 2);
}

void reqlog_add(struct node *node, const char *method, const char *id, int status)
{
    struct buf *b = &node->request_log;
    if (node->request_log_fd < 0)
        return;
    add_word(b, method);
    add_word(b, id);
    buf_printf(b, "%d %llu\n", status, (unsigned long long)now_real_ns());
}

void reqlog_flush(struct node *node)
{
    struct buf *b = &node->request_log;
    if (b->n > 0 && write_all(node->request_log_fd, b->p, b->n) < 0)
        log_line("ERROR", "request log: %s", strerror(errno));
    b->n = 0;
}
