#include "clone/sentinel.h"

#include "base/str.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define FORMAT 1
#define SIZE_MAX_BYTES ((size_t)65536)

static const char *const state_names[] = {
    [SENTINEL_CLONING] = "cloning",
    [SENTINEL_COPIED] = "copied",
    [SENTINEL_READY] = "ready",
    [SENTINEL_LIVE] = "live",
};

const char *sentinel_state_name(enum sentinel_state state)
{
    return (size_t)state < ARRAY_LEN(state_names) && state_names[state] ? state_names[state]
                                                                        : "any";
}

static char *path_of(const char *dir)
{
    return x_asprintf("%s/" SENTINEL_FILE, dir);
}

int sentinel_write(const char *dir, const struct sentinel *s, struct err *err)
{
    char boot[40];
    sys_boot_id(boot);
    cleanup_free char *path = path_of(dir);
    json_t *root = json_pack(
        "{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:I}", "about",
        "changeover's mark: says whose data this is; do not copy, edit or remove it", "format",
        FORMAT, "service", s->service, "colour", s->colour, "volume", s->volume, "upgrade",
        s->upgrade, "state", sentinel_state_name(s->state), "created",
        (json_int_t)(s->created ? s->created : sys_clock_wall()), "boot", *s->boot ? s->boot : boot,
        "files", (json_int_t)s->files, "bytes", (json_int_t)s->bytes);
    cleanup_free char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text)
        return err_set(err, ERR_FAILED, "mark '%s': the names are not UTF-8", dir);
    cleanup_free char *line = x_asprintf("%s\n", text);
    if (s->state == SENTINEL_COPIED)
        return sys_file_replace(path, line, strlen(line), 0644, err);
    return sys_file_write_atomic(path, line, strlen(line), 0644, err);
}

static void take_string(const json_t *root, const char *key, char *to, size_t size)
{
    const char *s = json_string_value(json_object_get(root, key));
    snprintf(to, size, "%s", s ? s : "");
}

static int parse(const char *text, const char *path, struct sentinel *ret, struct err *err)
{
    json_error_t why;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    struct sentinel s = {.created = (nsec_t)json_integer_value(json_object_get(root, "created"))};
    s.files = (uint64_t)json_integer_value(json_object_get(root, "files"));
    s.bytes = (uint64_t)json_integer_value(json_object_get(root, "bytes"));
    int format = (int)json_integer_value(json_object_get(root, "format"));
    char state[32];
    take_string(root, "service", s.service, sizeof(s.service));
    take_string(root, "colour", s.colour, sizeof(s.colour));
    take_string(root, "volume", s.volume, sizeof(s.volume));
    take_string(root, "upgrade", s.upgrade, sizeof(s.upgrade));
    take_string(root, "boot", s.boot, sizeof(s.boot));
    take_string(root, "state", state, sizeof(state));
    json_decref(root);
    for (size_t i = SENTINEL_CLONING; i < ARRAY_LEN(state_names); i++)
        if (str_eq(state, state_names[i]))
            s.state = (enum sentinel_state)i;
    if (format != FORMAT || s.state == 0 || !*s.service || !*s.colour)
        return err_set(err, ERR_FOREIGN, "'%s' is no mark that this version understands", path);
    *ret = s;
    return 0;
}

int sentinel_read(const char *dir, struct sentinel *ret, struct err *err)
{
    cleanup_free char *path = path_of(dir);
    /* The directory belongs to the service's user: its link or FIFO must neither lead nor hang us.
     */
    enum sys_kind kind = sys_path_kind(path);
    if (kind == SYS_MISSING)
        return err_set(err, ERR_NOT_FOUND, "'%s' carries no mark of ours", dir);
    cleanup_fd int fd =
        kind == SYS_FILE ? sys_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0) : -1;
    if (fd < 0)
        return err_set(err, ERR_FOREIGN, "'%s' is no file that can be read", path);
    cleanup_free char *text = x_alloc(SIZE_MAX_BYTES + 1);
    ssize_t n = sys_read(fd, text, SIZE_MAX_BYTES);
    if (n < 0)
        return err_sys(err, ERR_FOREIGN, "read '%s'", path);
    return parse(text, path, ret, err);
}

int sentinel_remove(const char *dir, struct err *err)
{
    cleanup_free char *path = path_of(dir);
    return sys_file_remove(path, err);
}

static bool matches(const char *want, const char *found)
{
    return !*want || str_eq(want, found);
}

bool sentinel_matches(const struct sentinel *found, const struct sentinel *want)
{
    return matches(want->service, found->service) && matches(want->colour, found->colour) &&
           matches(want->volume, found->volume) && matches(want->upgrade, found->upgrade) &&
           (want->state == 0 || want->state == found->state);
}

bool sentinel_this_boot(const struct sentinel *s)
{
    char boot[40];
    sys_boot_id(boot);
    return *boot && str_eq(boot, s->boot);
}

static void words(char *buf, size_t size, const struct sentinel *s)
{
    snprintf(buf, size, "%s, %s, volume %s, upgrade %s, %s",
             *s->service ? s->service : "any service", *s->colour ? s->colour : "any colour",
             *s->volume ? s->volume : "(any)", *s->upgrade ? s->upgrade : "(any)",
             sentinel_state_name(s->state));
}

static int seen(void *ctx, const char *name)
{
    if (str_eq(name, "lost+found"))
        return 0;
    snprintf(ctx, 256, "%s", name);
    return 1;
}

static enum sentinel_place foreign(const char *dir, const struct sentinel *found,
                                   const struct sentinel *want, struct err *err)
{
    char is[512], expected[512];
    words(is, sizeof(is), found);
    words(expected, sizeof(expected), want);
    err_set(err, ERR_FOREIGN, "'%s' is marked as: %s; expected: %s", dir, is, expected);
    return SENTINEL_FOREIGN;
}

enum sentinel_place sentinel_look(const char *dir, const struct sentinel *want,
                                  struct sentinel *ret_found, struct err *err)
{
    enum sys_kind kind = sys_path_kind(dir);
    if (kind == SYS_MISSING)
        return SENTINEL_ABSENT;
    if (kind != SYS_DIR) {
        err_set(err, ERR_FOREIGN, "'%s' is there, and is no directory%s", dir,
                kind == SYS_LINK ? " but a link: name the directory itself" : "");
        return SENTINEL_FOREIGN;
    }
    struct sentinel found = {0};
    struct err why = {0};
    if (sentinel_read(dir, &found, &why) == 0) {
        if (!sentinel_matches(&found, want))
            return foreign(dir, &found, want, err);
        if (ret_found)
            *ret_found = found;
        return SENTINEL_OURS;
    }
    if (why.code != ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return SENTINEL_FOREIGN;
    }
    char name[256] = "";
    int r = sys_dir_each(dir, seen, name, err);
    if (r == 0)
        return SENTINEL_EMPTY;
    if (r > 0)
        err_set(err, ERR_FOREIGN, "'%s' holds '%s' and carries no mark of ours", dir, name);
    return SENTINEL_FOREIGN;
}

int sentinel_check(const char *dir, const struct sentinel *want, struct err *err)
{
    char expected[512];
    words(expected, sizeof(expected), want);
    switch (sentinel_look(dir, want, NULL, err)) {
    case SENTINEL_OURS:
        return 0;
    case SENTINEL_ABSENT:
        return err_set(err, ERR_NOT_FOUND, "'%s' is not there; expected: %s", dir, expected);
    case SENTINEL_EMPTY:
        return err_set(err, ERR_NOT_FOUND,
                       "'%s' is empty and carries no mark (is a mount missing?); expected: %s", dir,
                       expected);
    case SENTINEL_FOREIGN:
        break;
    }
    return -1;
}
