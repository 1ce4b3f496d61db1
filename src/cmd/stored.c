#include "cmd/stored.h"

#include "journal/journal.h"
#include "sys/file.h"

#include <stdlib.h>

struct search {
    const char *state_root, *spec_path;
    char *service, *text;
    int found;
};

static int take(struct search *f, const char *name, struct journal *j, struct err *err)
{
    enum colour live = COLOUR_NONE;
    if (journal_live(j, &live, err) < 0)
        return -1;
    for (int c = GREEN; c < COLOURS; c++) {
        cleanup_generation struct generation g = {0};
        int r = journal_generation(j, (enum colour)c, &g, err);
        if (r < 0)
            return -1;
        if ((enum colour)c != live || !r || !str_eq(g.spec_path, f->spec_path))
            continue;
        f->found++;
        free(f->service);
        free(f->text);
        f->service = x_strdup(name);
        f->text = x_strdup(g.spec_text);
    }
    return 0;
}

/* A state that cannot be read is not the one that is looked for: its own commands say what is wrong
 * with it. */
static int look(void *ctx, const char *name)
{
    struct search *f = ctx;
    struct err ignored = {0};
    cleanup_free char *dir = x_asprintf("%s/%s", f->state_root, name);
    cleanup_journal struct journal *j = NULL;
    if (journal_open(dir, false, &j, &ignored) < 0 || take(f, name, j, &ignored) < 0)
        return 0;
    return 0;
}

int stored_find(const char *state_root, const char *spec_path, char **ret_service, char **ret_text,
                struct err *err)
{
    struct search f = {.state_root = state_root, .spec_path = spec_path};
    if (sys_path_kind(state_root) == SYS_MISSING)
        return 0;
    int r = sys_dir_each(state_root, look, &f, err);
    if (r == 0 && f.found == 1) {
        *ret_service = f.service;
        *ret_text = f.text;
        return 1;
    }
    free(f.service);
    free(f.text);
    return r < 0 ? -1 : 0;
}
