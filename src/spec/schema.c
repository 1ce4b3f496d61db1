/* The table of keys as one: its rows stand in the files named below, by subject. */
#include "spec/schema_rows.h"

static const struct schema_part *const parts[] = {
    &schema_data, &schema_runtime, &schema_kubernetes, &schema_traffic, &schema_gate, &schema_rest};

const struct schema_key *schema_row(size_t i)
{
    for (size_t p = 0; p < ARRAY_LEN(parts); i -= parts[p++]->n)
        if (i < parts[p]->n)
            return &parts[p]->keys[i];
    return NULL;
}
