#include "driver/storage/boot_mount.h"

#include "driver/storage/tool.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define UNITS "/etc/systemd/system"
#define WANTS UNITS "/local-fs.target.wants"
#define UNIT_MAX 65536
#define FSTAB_MAX (1 << 20)

/* ---- units ---- */

bool boot_mount_possible(void)
{
    return sys_path_kind("/run/systemd/system") == SYS_DIR; /* as sd_booted(3) */
}

static bool is_plain(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ':' ||
           c == '_' || (c == '.' && !first);
}

char *boot_mount_unit(const char *path)
{
    cleanup_str struct str name = {0};
    for (const char *p = path; *p; p++) {
        if (*p == '/') {
            if (name.len && p[1] && p[1] != '/')
                str_add_c(&name, '-');
        } else if (is_plain(*p, !name.len)) {
            str_add_c(&name, *p);
        } else {
            str_addf(&name, "\\x%02x", (unsigned char)*p);
        }
    }
    str_addf(&name, "%s.mount", name.len ? "" : "-");
    return str_take(&name);
}

static void add_mark(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
                     struct str *ret)
{
    str_addf(ret, "# changeover: service=%s colour=%s volume=%s", ctx->service, colour_name(colour),
             v->name);
}

/* '%' begins a specifier of systemd. */
static void add_value(struct str *ret, const char *key, const char *value)
{
    str_add(ret, key);
    for (; *value; value++)
        str_addf(ret, *value == '%' ? "%%%%" : "%c", *value);
    str_add_c(ret, '\n');
}

void boot_mount_text(const struct driver_ctx *ctx, const struct boot_mount *m, struct str *ret)
{
    add_mark(ctx, m->volume, m->colour, ret);
    str_addf(ret, " upgrade=%s\n", ctx->upgrade_id);
    str_add(ret,
            "# Written by changeover, so that the clone is mounted after a reboot; its cleanup "
            "removes it.\n"
            "[Unit]\n");
    str_addf(ret, "Description=%s of %s, %s (changeover)\n", m->volume->name, ctx->service,
             colour_name(m->colour));
    str_add(ret, "After=zfs-import.target zfs-mount.service\n"
                 "Before=local-fs.target\n\n"
                 "[Mount]\n");
    add_value(ret, "What=", m->device);
    add_value(ret, "Where=", m->volume->path);
    add_value(ret, "Type=", m->type);
    add_value(ret, "Options=", m->options);
    str_add(ret, "ReadWriteOnly=yes\n"
                 "TimeoutSec=10min\n\n"
                 "[Install]\n"
                 "WantedBy=local-fs.target\n");
}

static int reload(const struct driver_ctx *ctx, struct err *err)
{
    if (!boot_mount_possible())
        return 0;
    return tool_change(ctx, "boot-mount", "systemctl", "systemd", TOOL_ARGS("daemon-reload"), err);
}

/* 1 ours, 0 there is none, -1 somebody else's, or unreadable. */
static int whose(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
                 const char *file, struct err *err)
{
    cleanup_str struct str text = {0}, mark = {0};
    if (sys_path_kind(file) == SYS_MISSING)
        return 0;
    if (sys_file_read(file, UNIT_MAX, &text, err) < 0)
        return -1;
    add_mark(ctx, v, colour, &mark);
    str_add_c(&mark, ' ');
    if (str_starts(str_cstr(&text), str_cstr(&mark)))
        return 1;
    err_set(err, ERR_FOREIGN, "volume '%s': the mount unit '%s' is there, and is not ours", v->name,
            file);
    return err_hint(err, "look at it; remove it, or name another path for %s", colour_name(colour));
}

static int want(const char *unit, struct err *err)
{
    cleanup_free char *target = x_asprintf("../%s", unit);
    if (sys_dir_make(WANTS, 0755, err) < 0)
        return -1;
    cleanup_fd int dir = sys_open(WANTS, O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0 || (sys_tree_symlink(target, dir, unit) < 0 && errno != EEXIST))
        return err_sys(err, ERR_FAILED, "link '%s' into '%s'", unit, WANTS);
    return sys_dir_sync(WANTS, err);
}

int boot_mount_write(const struct driver_ctx *ctx, const struct boot_mount *m, struct err *err)
{
    cleanup_free char *unit = boot_mount_unit(m->volume->path);
    cleanup_free char *file = x_asprintf("%s/%s", UNITS, unit);
    cleanup_str struct str text = {0};
    if (!boot_mount_possible()) {
        event_warn(ctx->sink,
                   "systemd does not run here, so nothing mounts '%s' after a reboot; before "
                   "changeover start --boot: mount -t %s -o %s %s %s",
                   m->volume->path, m->type, m->options, m->device, m->volume->path);
        return 0;
    }
    if (whose(ctx, m->volume, m->colour, file, err) < 0)
        return -1;
    boot_mount_text(ctx, m, &text);
    if (sys_file_write_atomic(file, str_cstr(&text), text.len, 0644, err) < 0 ||
        want(unit, err) < 0)
        return err_ctx(err, "volume '%s'", m->volume->name);
    return reload(ctx, err);
}

int boot_mount_remove(const struct driver_ctx *ctx, const struct spec_volume *v, enum colour colour,
                      struct err *err)
{
    cleanup_free char *unit = boot_mount_unit(v->path);
    cleanup_free char *file = x_asprintf("%s/%s", UNITS, unit);
    cleanup_free char *link = x_asprintf("%s/%s", WANTS, unit);
    struct err none = {0};
    if (whose(ctx, v, colour, file, &none) != 1)
        return 0;
    if (sys_file_remove(link, err) < 0 || sys_file_remove(file, err) < 0)
        return err_ctx(err, "volume '%s'", v->name);
    return reload(ctx, err);
}

/* ---- fstab ---- */

void fstab_find(const char *text, const char *path, struct fstab_line *ret)
{
    int n = 0;
    *ret = (struct fstab_line){0};
    for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        cleanup_free char *line = x_strndup(at, strcspn(at, "\n"));
        char *field[4] = {NULL}, *save = NULL;
        n++;
        for (size_t i = 0; i < ARRAY_LEN(field); i++)
            field[i] = strtok_r(i ? NULL : line, " \t", &save);
        if (!field[1] || *field[0] == '#')
            continue;
        sys_mount_unescape(field[1]);
        size_t len = strlen(field[1]);
        if (len > 1 && field[1][len - 1] == '/')
            field[1][len - 1] = '\0';
        if (!str_eq(field[1], path))
            continue;
        ret->line = n;
        str_format(ret->source, sizeof(ret->source), "%s", field[0]);
        str_format(ret->options, sizeof(ret->options), "%s", field[3] ? field[3] : "");
    }
}

bool fstab_is_needed(const struct fstab_line *l)
{
    return l->line && !sys_mount_has_option(l->options, "noauto") &&
           !sys_mount_has_option(l->options, "nofail");
}

bool fstab_is_ambiguous(const struct fstab_line *l)
{
    static const char *const shared[] = {"UUID=", "LABEL=", "/dev/disk/by-uuid/",
                                         "/dev/disk/by-label/"};
    for (size_t i = 0; l->line && i < ARRAY_LEN(shared); i++)
        if (str_starts(l->source, shared[i]))
            return true;
    return false;
}

void fstab_look(const char *path, struct fstab_line *ret)
{
    cleanup_str struct str text = {0};
    struct err none = {0};
    *ret = (struct fstab_line){0};
    if (sys_file_read("/etc/fstab", FSTAB_MAX, &text, &none) == 0)
        fstab_find(str_cstr(&text), path, ret);
}
