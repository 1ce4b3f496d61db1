/* Where slots come from: a thread that leads (makes them on time), follows peers (fetches what is
 * missing, one block at a time), is deaf (neither), or stands still after --stall-after-slots. */
#include "node.h"
#include "peer.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct chain {
    struct node *node;
    struct peer peers[MAX_PEERS];
    unsigned peer_count;
    unsigned current; /* the peer that answered last */
    bool leading;
    uint64_t heard_at_ns; /* when a peer answered last */
    uint64_t next_slot_ns;
    uint64_t next_fetch_ns;
    uint64_t applied;
    uint64_t stalled_at_ns;
};

static void apply(struct chain *c, const struct block *b)
{
    struct node *node = c->node;
    uint64_t one = 1;
    if (store_apply(&node->store, b) < 0) {
        log_line("ERROR", "cannot write slot %llu: %s", (unsigned long long)b->slot,
                 strerror(errno));
        _exit(1);
    }
    if (b->slot > atomic_load(&node->heard))
        atomic_store(&node->heard, b->slot);
    c->applied++;
    if (write(node->slot_event_fd, &one, sizeof(one)) < 0)
        log_line("WARN", "slot event: %s", strerror(errno));
}

static bool stalled(struct chain *c)
{
    const struct options *o = c->node->options;
    if (c->node->fault == FAULT_STALL)
        return true;
    if (!o->stall || c->applied < o->stall_after_slots)
        return false;
    uint64_t now = now_mono_ns();
    if (c->stalled_at_ns == 0) {
        c->stalled_at_ns = now;
        log_line("WARN", "slot %llu: no further (--stall-after-slots)",
                 (unsigned long long)atomic_load(&c->node->store.tip));
    }
    if (o->exit_after_stall_ms > 0 &&
        now - c->stalled_at_ns >= o->exit_after_stall_ms * NS_PER_MS) {
        log_line("ERROR", "the node has stood still for too long");
        _exit(1);
    }
    return true;
}

/* Ask the current peer, then the others in order. */
static bool hear(struct chain *c, uint64_t *ret_slot)
{
    for (unsigned i = 0; i < c->peer_count; i++) {
        unsigned nth = (c->current + i) % c->peer_count;
        if (peer_get_slot(&c->peers[nth], ret_slot) < 0)
            continue;
        c->current = nth;
        c->heard_at_ns = now_mono_ns();
        if (*ret_slot > atomic_load(&c->node->heard))
            atomic_store(&c->node->heard, *ret_slot);
        return true;
    }
    return false;
}

/* Fetch up to `target`, but come back after 200 ms at the latest to hear how far the others are. */
static void catch_up(struct chain *c, uint64_t target)
{
    uint64_t gap = NS_PER_S / c->node->options->catch_up_rate;
    uint64_t until = now_mono_ns() + 200 * NS_PER_MS;
    while (atomic_load(&c->node->store.tip) < target && !stalled(c)) {
        struct block b;
        uint64_t now = now_mono_ns();
        if (now >= until)
            return;
        if (c->next_fetch_ns > now) {
            sleep_ns(c->next_fetch_ns < until ? c->next_fetch_ns - now : until - now);
            continue;
        }
        c->next_fetch_ns = now + gap;
        if (peer_get_block(&c->peers[c->current], atomic_load(&c->node->store.tip) + 1, &b) < 0)
            return;
        apply(c, &b);
    }
}

static void lead(struct chain *c)
{
    uint64_t slot_ns = c->node->options->slot_ms * NS_PER_MS;
    uint64_t now = now_mono_ns();
    if (now < c->next_slot_ns) {
        sleep_ns(c->next_slot_ns - now);
        now = now_mono_ns();
    }
    /* after a pause (SIGSTOP) the slots of that time are not made up for */
    c->next_slot_ns = now - c->next_slot_ns > NS_PER_S ? now + slot_ns : c->next_slot_ns + slot_ns;
    if (!stalled(c)) {
        struct block b;
        block_make(atomic_load(&c->node->store.tip) + 1, &b);
        apply(c, &b);
    }
}

static void follow(struct chain *c)
{
    const struct options *o = c->node->options;
    uint64_t poll_ms = o->slot_ms / 4 < 5 ? 5 : o->slot_ms / 4 > 100 ? 100 : o->slot_ms / 4;
    uint64_t slot = 0;
    if (hear(c, &slot)) {
        if (!stalled(c))
            catch_up(c, slot);
        if (atomic_load(&c->node->store.tip) < slot && !stalled(c))
            return;
    } else if (o->lead_if_peer_gone_ms > 0 &&
               now_mono_ns() - c->heard_at_ns > o->lead_if_peer_gone_ms * NS_PER_MS) {
        log_line("INFO", "no peer answers: leading");
        c->leading = true;
        c->next_slot_ns = now_mono_ns();
    }
    sleep_ns(poll_ms * NS_PER_MS);
}

/* Leading for want of a peer: one that is ahead of us leads from now on. */
static void look_for_leader(struct chain *c)
{
    uint64_t slot = 0;
    if (now_mono_ns() - c->heard_at_ns < NS_PER_S)
        return;
    if (!hear(c, &slot)) {
        c->heard_at_ns = now_mono_ns();
        return;
    }
    if (slot > atomic_load(&c->node->store.tip)) {
        log_line("INFO", "a peer is ahead: following %s", c->peers[c->current].url);
        c->leading = false;
    }
}

static void *chain_main(void *arg)
{
    struct chain *c = arg;
    const struct options *o = c->node->options;
    c->heard_at_ns = c->next_slot_ns = now_mono_ns();
    c->leading = o->leader || c->peer_count == 0;
    for (;;) {
        if (o->deaf) {
            stalled(c);
            sleep_ns(100 * NS_PER_MS);
        } else if (c->leading) {
            if (c->peer_count > 0 && !o->leader)
                look_for_leader(c);
            lead(c);
        } else {
            follow(c);
        }
    }
    return NULL;
}

int chain_start(struct node *node)
{
    static struct chain chain; /* lives as long as the process, used by its thread alone */
    pthread_t thread;
    chain.node = node;
    chain.peer_count = node->options->peer_count;
    for (unsigned i = 0; i < chain.peer_count; i++)
        chain.peers[i] = (struct peer){.url = node->options->peers[i], .fd = -1};
    atomic_store(&node->heard, atomic_load(&node->store.tip));
    return pthread_create(&thread, NULL, chain_main, &chain) == 0 ? 0 : -1;
}
