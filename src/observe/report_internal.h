/* What the files of the report share. */
#pragma once

#include "observe/report.h"

/* Text between tags or in a quoted attribute, escaped; html_textf escapes all that it makes. */
void html_text(struct str *out, const char *text);
void html_textf(struct str *out, const char *fmt, ...) printf_like(2, 3);

void html_step(struct str *out, const char *name); /* may break after its slash; NULL: nothing */

extern const char report_style[];

void report_timeline(const struct report *r, struct str *out);
void report_probe(const struct report *r, struct str *out);

/* Local time with milliseconds; "-" for 0. */
const char *report_time(char *buf, size_t size, int64_t wall_ns);

/* The last event of a step of this kind; kind -1: of any. NULL: none. */
const struct report_event *report_last_event(const struct report *r, const char *step, int kind);
