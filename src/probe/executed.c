/* What the backends' own logs say about our numbers: who was executed twice, the client cannot see.
 */
#include "probe/internal.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 4096 };

struct log {
    uint64_t at; /* read up to here */
    struct str line;
};

/* Of whoever calls probe_look_executed(); the probe's thread has nothing to do with it. */
struct executed {
    struct log *logs;
    uint8_t *times; /* by number, less numbers_from */
    size_t cap;
    char *buf;
    struct probe_executed found;
};

/* Where each log ends now: what is there already is not ours. */
int executed_start(struct probe *p, struct err *err)
{
    if (!p->o.n_executed)
        return 0;
    struct executed *x = p->executed = x_alloc(sizeof(*x));
    x->logs = x_alloc(p->o.n_executed * sizeof(*x->logs));
    x->buf = x_alloc(SCRATCH_SIZE);
    for (size_t i = 0; i < p->o.n_executed; i++) {
        const char *path = p->o.executed[i];
        x->logs[i].line.max = LINE_MAX_BYTES;
        int fd = sys_open(path, O_RDONLY, 0);
        if (fd < 0 && errno == ENOENT) /* its backend is yet to be started */
            continue;
        if (fd < 0)
            return err_sys(err, ERR_FAILED, "open log of a backend '%s'", path);
        x->logs[i].at = (uint64_t)sys_file_size(fd);
        sys_close_p(&fd);
    }
    return 0;
}

void executed_done(struct probe *p)
{
    struct executed *x = p->executed;
    if (!x)
        return;
    for (size_t i = 0; i < p->o.n_executed; i++)
        str_done(&x->logs[i].line);
    free(x->logs);
    free(x->times);
    free(x->buf);
    free(x);
    p->executed = NULL;
}

static void grow(struct executed *x, uint64_t numbers)
{
    size_t cap = x->cap;
    while (cap <= numbers)
        cap = cap ? 2 * cap : 4096;
    if (cap == x->cap)
        return;
    x->times = x_realloc(x->times, cap, 1);
    memset(x->times + x->cap, 0, cap - x->cap);
    x->cap = cap;
}

static void count_line(struct executed *x, const char *line, uint64_t from, uint64_t numbers)
{
    struct probe_executed *e = &x->found;
    const char *word = strchr(line, ' ');
    char *end;
    if (!word || word[1] < '0' || word[1] > '9')
        return;
    uint64_t number = strtoull(word + 1, &end, 10), n = number - from;
    if ((*end && *end != ' ') || number <= from || n > numbers || x->times[n] == UINT8_MAX)
        return;
    x->times[n]++;
    e->requests += x->times[n] == 1;
    if (x->times[n] != 2)
        return;
    if (e->twice < ARRAY_LEN(e->first_twice))
        e->first_twice[e->twice] = number;
    e->twice++;
}

static int read_log(const struct probe *p, size_t i, uint64_t numbers)
{
    struct executed *x = p->executed;
    struct log *log = &x->logs[i];
    ssize_t n;
    int fd = sys_open(p->o.executed[i], O_RDONLY, 0);
    if (fd < 0)
        return -1;
    while ((n = sys_pread(fd, x->buf, SCRATCH_SIZE, log->at)) > 0) {
        log->at += (uint64_t)n;
        for (const char *at = x->buf, *end = at + n; at < end;) {
            const char *lf = memchr(at, '\n', (size_t)(end - at));
            str_add_n(&log->line, at, (size_t)((lf ? lf : end) - at));
            if (lf) {
                count_line(x, str_cstr(&log->line), p->o.numbers_from, numbers);
                str_clear(&log->line);
            }
            at = lf ? lf + 1 : end;
        }
    }
    sys_close_p(&fd);
    return n < 0 ? -1 : 0;
}

void probe_look_executed(struct probe *p)
{
    struct executed *x = p->executed;
    if (!x)
        return;
    x->found.asked = true;
    x->found.failed = false;
    for (size_t i = 0; i < p->o.n_executed; i++) {
        /* anew for each: a line that is there by now is of a request that was given its number */
        pthread_mutex_lock(&p->lock);
        uint64_t numbers = p->numbers;
        pthread_mutex_unlock(&p->lock);
        grow(x, numbers);
        x->found.failed |= read_log(p, i, numbers) < 0;
    }
    pthread_mutex_lock(&p->lock);
    p->r.executed = x->found;
    pthread_mutex_unlock(&p->lock);
}
