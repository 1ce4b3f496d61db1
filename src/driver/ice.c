/* What the helper says: "F" frozen, "N" could not, then "T" + ns held (thawed because we asked), or
 * "C" + ns (the ceiling came first). */
#include "driver/ice.h"

#include "sys/clock.h"
#include "sys/file.h"
#include "sys/spawn.h"

#include <errno.h>

struct word {
    char what; /* F N T C */
    int sys;
    nsec_t held;
};

struct holding {
    const struct ice *ice;
    nsec_t ceiling;
};

static void holder(void *ctx, int fd)
{
    const struct holding *h = ctx;
    const struct ice *ice = h->ice;
    nsec_t began = sys_clock_mono(), until = began + h->ceiling;
    sys_name_self("changeover-ice");
    int r = ice->freeze(ice->ctx, until);
    struct word w = {
        .what = r < 0 ? 'N' : 'F', .sys = r < 0 ? errno : 0, .held = sys_clock_mono() - began};
    if (r < 0)
        (void)ice->thaw(ice->ctx);
    if (sys_send(fd, &w, sizeof(w)) < 0 || r < 0) {
        (void)ice->thaw(ice->ctx);
        return;
    }
    nsec_t left = until - sys_clock_mono();
    bool asked = sys_wait_readable(fd, left > 0 ? left : 0) == 1;
    while (ice->thaw(ice->ctx) < 0)
        sys_sleep(NSEC_MS);
    w = (struct word){.what = asked ? 'T' : 'C', .held = sys_clock_mono() - began};
    (void)sys_send(fd, &w, sizeof(w));
}

/* A whole word; false if the helper went away without one, or says nothing in time. */
static bool hear(const struct driver_ctx *ctx, int fd, nsec_t within, struct word *ret)
{
    nsec_t until = sys_clock_mono() + within;
    char *p = (char *)ret;
    size_t n = 0;
    while (n < sizeof(*ret)) {
        nsec_t left = until - sys_clock_mono();
        if (left <= 0)
            return false;
        (void)driver_poll(ctx);
        if (sys_wait_readable(fd, left < 100 * NSEC_MS ? left : 100 * NSEC_MS) != 1)
            continue;
        ssize_t got = sys_read(fd, p + n, sizeof(*ret) - n);
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    return true;
}

int ice_freeze(const struct driver_ctx *ctx, const struct ice *ice, nsec_t ceiling, int *ret_fd,
               struct err *err)
{
    struct holding h = {ice, ceiling};
    struct word w;
    int raw = -1;
    char words[24];
    if (sys_helper_start(holder, &h, &raw, err) < 0)
        return err_ctx(err, "freeze %s", ice->what);
    cleanup_fd int fd = raw;
    if (!hear(ctx, fd, ceiling + NSEC_S, &w))
        return err_set(err, ERR_FAILED, "freeze %s: its holder went away, or hangs", ice->what);
    if (w.what != 'F') {
        errno = w.sys;
        if (w.sys == ETIMEDOUT)
            return err_set(err, ERR_TIMEOUT, "freeze %s: it did not stop within %s", ice->what,
                           clock_words(words, sizeof(words), ceiling));
        return err_sys(err, ERR_FAILED, "freeze %s", ice->what);
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

enum ice_end ice_thaw(const struct driver_ctx *ctx, int fd, nsec_t *ret_held)
{
    cleanup_fd int held = fd;
    struct word w = {0};
    sys_end_writing(fd);
    bool heard = hear(ctx, fd, 5 * NSEC_S, &w);
    *ret_held = w.held;
    return !heard ? ICE_LOST : w.what == 'C' ? ICE_CEILING : ICE_ASKED;
}

int ice_ended(enum ice_end end, const char *what, struct err *err)
{
    if (end == ICE_ASKED)
        return 0;
    return err_set(err, ERR_TIMEOUT,
                   end == ICE_CEILING
                       ? "the freeze of %s reached its ceiling and was thawed before the end"
                       : "the holder of the freeze of %s was killed: it was thawed early",
                   what);
}
