/* From what the spec asks for to a query of net/query.h. */
#pragma once

#include "net/query.h"
#include "spec/spec.h"

static inline struct query_ask query_of_spec(const struct spec_query *q)
{
    return (struct query_ask){.method = q->method,
                              .params = q->params,
                              .path = q->path,
                              .field = q->field,
                              .header = q->header};
}
