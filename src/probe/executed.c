/* What the backends' own logs say about our numbers: who was executed twice, the client cannot see.
 */
#include "probe/internal.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 4096 };

/* Where each log ends now: what is there already is not ours. */
int executed_start(struct probe *p, struct err *err)
{
    p->executed_from = x_alloc((p->o.n_executed + 1) * sizeof(*p->executed_from));
    for (size_t i = 0; i < p->o.n_executed; i++) {
        const char *path = p->o.executed[i];
        int fd = sys_open(path, O_RDONLY, 0);
        if (fd < 0 && errno == ENOENT) /* its backend is yet to be started */
            continue;
        if (fd < 0)
            return err_sys(err, ERR_FAILED, "open log of a backend '%s'", path);
        p->executed_from[i] = (uint64_t)sys_file_size(fd);
        sys_close_p(&fd);
    }
    return 0;
}

static void count_line(const struct probe *p, const char *line, uint8_t *times)
{
    const char *word = strchr(line, ' ');
    char *end;
    if (!word || word[1] < '0' || word[1] > '9')
        return;
    uint64_t number = strtoull(word + 1, &end, 10);
    if ((!*end || *end == ' ') && number && number <= p->r.sent && times[number] < UINT8_MAX)
        times[number]++;
}

static int read_log(struct probe *p, const char *path, uint64_t from, uint8_t *times)
{
    cleanup_str struct str line = {.max = LINE_MAX_BYTES};
    ssize_t n;
    int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0)
        return -1;
    while ((n = sys_pread(fd, p->scratch, SCRATCH_SIZE, from)) > 0) {
        from += (uint64_t)n;
        for (const char *at = p->scratch, *end = at + n; at < end;) {
            const char *lf = memchr(at, '\n', (size_t)(end - at));
            str_add_n(&line, at, (size_t)((lf ? lf : end) - at));
            if (lf) {
                count_line(p, str_cstr(&line), times);
                str_clear(&line);
            }
            at = lf ? lf + 1 : end;
        }
    }
    sys_close_p(&fd);
    return n < 0 ? -1 : 0;
}

void executed_count(struct probe *p)
{
    struct probe_executed *e = &p->r.executed;
    if (!p->o.n_executed)
        return;
    uint8_t *times = x_alloc(p->r.sent + 1);
    *e = (struct probe_executed){.asked = true};
    for (size_t i = 0; i < p->o.n_executed; i++)
        e->failed |= read_log(p, p->o.executed[i], p->executed_from[i], times) < 0;
    for (uint64_t n = 1; n <= p->r.sent; n++) {
        e->requests += times[n] > 0;
        if (times[n] < 2)
            continue;
        if (e->twice < ARRAY_LEN(e->first_twice))
            e->first_twice[e->twice] = n;
        e->twice++;
    }
    free(times);
}
