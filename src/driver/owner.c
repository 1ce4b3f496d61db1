#include "driver/owner.h"

#include "sys/file.h"

#include <string.h>

#define OWNER_MAX ((size_t)4096)

static char *owner_path(const char *flag_dir)
{
    return x_asprintf("%s/owner", flag_dir);
}

int owner_write(const char *flag_dir, const char *service_dir, struct err *err)
{
    cleanup_free char *path = owner_path(flag_dir);
    return sys_file_write_atomic(path, service_dir, strlen(service_dir), 0644, err);
}

int owner_remove(const char *flag_dir, struct err *err)
{
    cleanup_free char *path = owner_path(flag_dir);
    return sys_file_remove(path, err);
}

int owner_read(const char *flag_dir, struct str *ret)
{
    cleanup_free char *path = owner_path(flag_dir);
    return sys_file_read(path, OWNER_MAX, ret, NULL) == 0 && str_starts(str_cstr(ret), "/");
}
