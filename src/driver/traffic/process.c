/* Caddy's process: which one it is, its version, its sockets. */
#include "driver/traffic/caddy_internal.h"

#include "sys/file.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* "PID START VERSION": asking anew means a walk over /proc and running Caddy's program, 30 ms. */
static char *record_path(const struct driver_ctx *ctx)
{
    return x_asprintf("%s/traffic/caddy", ctx->service_dir);
}

static bool record_read(const struct driver_ctx *ctx, struct proc_id *id, char version[32])
{
    cleanup_free char *path = record_path(ctx);
    cleanup_str struct str text = {0};
    if (sys_file_read(path, 256, &text, NULL) < 0)
        return false;
    char *end;
    id->pid = (pid_t)strtol(str_cstr(&text), &end, 10);
    id->start_ticks = strtoull(end, &end, 10);
    end += *end == ' ';
    snprintf(version, 32, "%.*s", (int)strcspn(end, "\n"), end);
    return *version && id->start_ticks && sys_proc_alive(*id);
}

/* Only a memory: a state directory that cannot be written costs time, no more. */
static void record_write(const struct driver_ctx *ctx, struct proc_id id, const char *version)
{
    cleanup_free char *path = record_path(ctx);
    cleanup_free char *dir = x_asprintf("%s/traffic", ctx->service_dir);
    cleanup_free char *text =
        x_asprintf("%d %llu %s\n", (int)id.pid, (unsigned long long)id.start_ticks, version);
    if (!sys_path_writable(ctx->service_dir) || sys_dir_make(dir, 0700, NULL) < 0 ||
        sys_file_write_atomic(path, text, strlen(text), 0600, NULL) < 0)
        return;
}

static int listener(const struct spec *s, struct sock_info *ret, struct err *err)
{
    const char *colon = strrchr(s->traffic.admin, ':');
    cleanup_sock_list struct sock_list l = {0};
    struct sock_filter_by by = {.protocol = IPPROTO_TCP,
                                .states = 1u << SOCK_LISTEN,
                                .local = (uint16_t)(colon ? strtoul(colon + 1, NULL, 10) : 0)};
    if (sys_sockets(&by, &l, err) < 0)
        return -1;
    if (!l.n) {
        err_set(err, ERR_FAILED, "nobody listens at Caddy's admin address %s", s->traffic.admin);
        return err_hint(err, "start Caddy, or set traffic.admin to its admin address");
    }
    *ret = l.items[0];
    return 0;
}

int traffic_proxy_find(const struct driver_ctx *ctx, struct traffic_proxy *ret, struct err *err)
{
    char version[32];
    struct proc_id id = {0};
    struct sock_info admin = {0};
    if (listener(traffic_spec(ctx), &admin, err) < 0)
        return -1;
    ret->uid = admin.uid;
    if (record_read(ctx, &id, version)) {
        sys_proc_sockets(id.pid, &ret->inodes);
        if (sock_inodes_have(&ret->inodes, admin.inode)) {
            ret->id = id;
            return 0;
        }
        sock_inodes_done(&ret->inodes);
    }
    pid_t pid = sys_sock_owner(admin.inode);
    if (pid > 0) {
        ret->id = (struct proc_id){.pid = pid, .start_ticks = sys_proc_start_ticks(pid)};
        sys_proc_sockets(pid, &ret->inodes);
    }
    return 0;
}

bool traffic_proxy_owns(const struct traffic_proxy *p, const struct sock_info *s)
{
    return p->inodes.n ? sock_inodes_have(&p->inodes, s->inode) : s->uid == p->uid;
}

int traffic_version(const struct driver_ctx *ctx, char ret[32], struct err *err)
{
    char version[32];
    struct proc_id id = {0};
    cleanup(traffic_proxy_done) struct traffic_proxy p = {0};
    if (traffic_proxy_find(ctx, &p, err) < 0)
        return -1;
    if (p.id.pid && record_read(ctx, &id, version) && id.pid == p.id.pid) {
        snprintf(ret, 32, "%s", version);
        return 0;
    }
    struct caddy c = {.admin = traffic_spec(ctx)->traffic.admin};
    if (caddy_version(&c, version, err) < 0)
        return -1;
    if (p.id.pid)
        record_write(ctx, p.id, version);
    snprintf(ret, 32, "%s", version);
    return 0;
}
