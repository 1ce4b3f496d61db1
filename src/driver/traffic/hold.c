/* Requests that wait for a colour, by two flags of it: hold-COLOUR sends them to a handler that
 * dials only that colour, and that takes it for down until there is open-COLOUR. */
#include "driver/traffic/caddy_internal.h"

#include "net/forward.h"
#include "sys/clock.h"
#include "sys/fault.h"
#include "sys/file.h"
#include "sys/spawn.h"
#include "translate/caddyfile.h"

#include <errno.h>
#include <string.h>

#define SEEN_WITHIN (2 * NSEC_S)
#define ZEROS 5
#define LOOK_EVERY (30 * NSEC_MS)

static char *flag_of(const struct spec *s, const char *what, enum colour c)
{
    char name[32];
    snprintf(name, sizeof(name), "%s-%s", what, colour_name(c));
    return traffic_flag_path(s, name);
}

static bool is_set(const struct spec *s, const char *what, enum colour c)
{
    cleanup_free char *path = flag_of(s, what, c);
    return sys_path_exists(path);
}

bool traffic_open(const struct spec *s, enum colour c)
{
    return is_set(s, "open", c);
}

bool traffic_held(const struct spec *s, enum colour c)
{
    return is_set(s, "hold", c) && !traffic_open(s, c);
}

static int pause_for(const struct driver_ctx *ctx, nsec_t time, struct err *err)
{
    nsec_t until = sys_clock_mono() + time;
    while (sys_clock_mono() < until) {
        if (driver_poll(ctx) >= 2)
            return err_set(err, ERR_INTERRUPTED, "asked to end while Caddy looks at the flags");
        sys_sleep(20 * NSEC_MS);
    }
    return 0;
}

static int at_fault_point(const char *point, struct err *err)
{
    return sys_fault_point(point) == 0 ? 0 : err_sys(err, ERR_FAILED, "fault point '%s'", point);
}

static int prove_held(const struct spec *s, enum colour c, struct err *err)
{
    nsec_t deadline = sys_clock_mono() + SEEN_WITHIN;
    char said[32];
    for (;;) {
        traffic_hold_seen(s, c, said, sizeof(said));
        if (str_eq(said, "held"))
            return 0;
        if (sys_clock_mono() > deadline)
            break;
        sys_sleep(10 * NSEC_MS);
    }
    err_set(err, ERR_FAILED, "Caddy does not hold requests for %s: its own route says '%s'",
            colour_name(c), said);
    return err_hint(err, "changeover traffic install (the block that it runs may be an older one)");
}

/* A colour that had been let go before is taken for down only after Caddy's next check. */
static int hold_on(const struct driver_ctx *ctx, enum colour c, const char *hold, const char *open,
                   struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    bool was_open = sys_path_exists(open);
    if (sys_file_remove(open, err) < 0 || (was_open && pause_for(ctx, HOLD_SEEN, err) < 0) ||
        sys_file_touch(hold, 0644, err) < 0 || at_fault_point("hold:created", err) < 0 ||
        sys_dir_sync(s->traffic.flag_dir, err) < 0)
        return -1;
    return prove_held(s, c, err);
}

int traffic_caddy_hold(const struct driver_ctx *ctx, enum colour c, enum traffic_hold to,
                       struct err *err)
{
    const struct spec *s = traffic_spec(ctx);
    const char *dir = s->traffic.flag_dir;
    cleanup_free char *hold = flag_of(s, "hold", c), *open = flag_of(s, "open", c);
    int r = -1;
    switch (to) {
    case HOLD_ON:
        r = hold_on(ctx, c, hold, open, err);
        break;
    case HOLD_OPEN: /* the first commits: from then on c may have taken a write */
        r = sys_file_touch(open, 0644, err) < 0 || at_fault_point("hold:opened", err) < 0 ||
                    sys_dir_sync(dir, err) < 0 || sys_file_remove(hold, err) < 0 ||
                    at_fault_point("hold:removed", err) < 0 || sys_dir_sync(dir, err) < 0
                ? -1
                : 0;
        break;
    case HOLD_NONE:
        r = sys_file_remove(hold, err) < 0 || sys_file_remove(open, err) < 0 ||
                    sys_dir_sync(dir, err) < 0
                ? -1
                : 0;
        break;
    }
    return r < 0 ? err_ctx(err, "requests for %s", colour_name(c)) : 0;
}

/* --- to the other colour instead ---------------------------------------------------------- */

struct forwarder {
    struct forward_route routes[FORWARD_ROUTES];
    size_t n;
};

struct hello {
    struct proc_id id;
    int sys; /* 0: it listens */
};

static void forwarder(void *ctx, int fd)
{
    const struct forwarder *f = ctx;
    int listening[FORWARD_ROUTES] = {-1, -1};
    sys_name_self("changeover-back");
    struct hello h = {.id = sys_proc_self()};
    if (forward_listen(f->routes, f->n, listening) < 0)
        h.sys = errno;
    if (sys_send(fd, &h, sizeof(h)) == 0 && h.sys == 0)
        forward_run(f->routes, f->n, listening, fd);
}

static void add_route(struct forwarder *f, uint16_t from, uint16_t to)
{
    if (from && to)
        f->routes[f->n++] = (struct forward_route){from, to};
}

static int start_forwarder(const struct driver_ctx *ctx, enum colour c, int *ret_fd,
                           struct err *err)
{
    const struct spec *from = ctx->side[c], *to = ctx->side[colour_other(c)];
    struct forwarder f = {0};
    struct hello h = {0};
    add_route(&f, spec_port_number(from, from->traffic.port),
              spec_port_number(to, to->traffic.port));
    if (from->traffic.websockets == WS_OWN_PORT)
        add_route(&f, spec_port_number(from, from->traffic.ws_port),
                  spec_port_number(to, to->traffic.ws_port));
    if (sys_helper_start(forwarder, &f, ret_fd, err) < 0)
        return -1;
    if (sys_wait_readable(*ret_fd, 5 * NSEC_S) != 1 ||
        sys_read(*ret_fd, &h, sizeof(h)) != (ssize_t)sizeof(h))
        return err_set(err, ERR_FAILED, "the forwarder of %s's ports went away", colour_name(c));
    errno = h.sys;
    if (h.sys)
        return err_sys(err, ERR_FAILED, "listen on %s's port %u, which its requests go to",
                       colour_name(c), f.routes[0].from);
    return ctx->note_child ? ctx->note_child(ctx->note_ctx, h.id, err) : 0;
}

/* Until nothing more comes: what waited has been sent on by then, and been answered. */
static int wait_answered(const struct driver_ctx *ctx, enum colour c, struct err *err)
{
    nsec_t deadline = sys_clock_mono() + ctx->side[c]->traffic.drain_deadline;
    int zeros = 0;
    while (zeros < ZEROS) {
        struct traffic_load l = {0};
        struct err look_err = {0};
        bool seen = traffic_caddy_load(ctx, c, &l, &look_err) == 0;
        zeros = seen && l.listed && l.requests == 0 ? zeros + 1 : 0;
        if (driver_poll(ctx) >= 2)
            return err_set(err, ERR_INTERRUPTED, "asked to end while held requests are answered");
        if (zeros == 0 && sys_clock_mono() > deadline)
            return err_set(err, ERR_GATE, "%d requests that were held are not answered yet",
                           l.requests);
        sys_sleep(LOOK_EVERY);
    }
    return 0;
}

int traffic_caddy_give_back(const struct driver_ctx *ctx, enum colour c, struct err *err)
{
    cleanup_fd int fd = -1;
    char byte = 0;
    if (!is_set(traffic_spec(ctx), "hold", c) && !traffic_open(traffic_spec(ctx), c))
        return 0;
    if (start_forwarder(ctx, c, &fd, err) < 0 || at_fault_point("back:listens", err) < 0 ||
        traffic_caddy_hold(ctx, c, HOLD_OPEN, err) < 0 || pause_for(ctx, HOLD_SEEN, err) < 0 ||
        wait_answered(ctx, c, err) < 0 || traffic_caddy_hold(ctx, c, HOLD_NONE, err) < 0)
        return -1;
    if (sys_send(fd, &byte, 1) == 0)
        (void)sys_wait_readable(fd, 2 * NSEC_S); /* its end: the ports are free again */
    return 0;
}
