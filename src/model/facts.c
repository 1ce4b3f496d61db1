#include "model/facts.h"

#include "base/str.h"

#include <stdarg.h>

void findings_add(struct findings *f, enum finding_level level, const char *topic, const char *mend,
                  const char *fmt, ...)
{
    cleanup_str struct str text = {0};
    va_list ap;
    va_start(ap, fmt);
    str_vaddf(&text, fmt, ap);
    va_end(ap);
    struct finding *it = arena_grow(&f->arena, &f->items, &f->n, sizeof(*it));
    it->level = level;
    it->topic = arena_strdup(&f->arena, topic);
    it->text = arena_strdup(&f->arena, str_cstr(&text));
    it->mend = mend ? arena_strdup(&f->arena, mend) : NULL;
}

size_t findings_count(const struct findings *f, enum finding_level level)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++)
        n += f->items[i].level == level;
    return n;
}

void findings_done(struct findings *f)
{
    arena_done(&f->arena);
    f->items = NULL;
    f->n = 0;
}
