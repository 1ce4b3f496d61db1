#include "model/event.h"

#include <stdarg.h>
#include <stdio.h>

void event_emit(const struct sink *sink, const struct event *ev)
{
    if (sink && sink->fn)
        sink->fn(sink->ctx, ev);
}

static void emit_text(const struct sink *sink, enum event_kind kind, const char *fmt, va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof(text), fmt, ap);
    event_emit(sink, &(struct event){.kind = kind, .text = text});
}

void event_note(const struct sink *sink, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    emit_text(sink, EVENT_NOTE, fmt, ap);
    va_end(ap);
}

void event_warn(const struct sink *sink, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    emit_text(sink, EVENT_WARNING, fmt, ap);
    va_end(ap);
}

void event_progress(const struct sink *sink, const char *text, double done, double total,
                    const char *unit, double rate, nsec_t eta_ns)
{
    event_emit(sink, &(struct event){.kind = EVENT_PROGRESS,
                                     .text = text,
                                     .done = done,
                                     .total = total,
                                     .unit = unit,
                                     .rate = rate,
                                     .eta_ns = eta_ns});
}
