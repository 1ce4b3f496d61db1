#include "driver/runtime/ops.h"

#include <string.h>

static const struct runtime_ops *const drivers[] = {&runtime_process, &runtime_kubernetes};

const struct runtime_ops *runtime_find(const struct spec *s, struct err *err)
{
    const char *name = s->runtime.driver ? s->runtime.driver : "process";
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
        if (strcmp(drivers[i]->name, name) == 0)
            return drivers[i];
    err_set(err, ERR_USAGE, "runtime.driver: there is no driver '%s'", name);
    (void)err_hint(err, "write `driver: process` or `driver: kubernetes`");
    return NULL;
}
