/* The sockets of a node beside RPC, held and never read, and the news of who else is there: one
 * file for each identity in --gossip-dir, with the time since when it is used. */
#include "node.h"
#include "util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PANIC_STATUS 101

static bool bind_port(const struct node *node, int type, uint64_t port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    if (inet_pton(AF_INET, node->options->host, &addr.sin_addr) != 1)
        return false;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (type == SOCK_STREAM)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 &&
        (type != SOCK_STREAM || listen(fd, 8) == 0))
        return true; /* stays open */
    close(fd);
    return false;
}

/* The first free ports from `first` on, beyond any declared range if need be. */
static void bind_free_ports(const struct node *node, uint64_t first, uint64_t count)
{
    for (uint64_t port = first; count > 0 && port <= 65535; port++) {
        if (bind_port(node, SOCK_DGRAM, port))
            count--;
    }
}

int gossip_bind_ports(const struct node *node)
{
    const struct options *o = node->options;
    if (o->gossip_port != 0 && (!bind_port(node, SOCK_DGRAM, o->gossip_port) ||
                                !bind_port(node, SOCK_STREAM, o->gossip_port))) {
        fprintf(stderr,
                "thread 'main' panicked at net-utils: gossip_addr bind_to port %llu: %s "
                "(os error %d)\n",
                (unsigned long long)o->gossip_port, strerror(errno), errno);
        return PANIC_STATUS;
    }
    if (o->dynamic_range.last != 0)
        bind_free_ports(node, o->dynamic_range.first, o->dynamic_ports);
    if (!o->no_extra_udp)
        bind_free_ports(node, o->extra_udp_from, 1);
    return 0;
}

static bool own_path(const struct node *node, const char *suffix, char *path, size_t cap)
{
    const char *dir = node->options->gossip_dir;
    return dir != NULL && snprintf(path, cap, "%s/%s%s", dir, node->pubkey, suffix) < (int)cap;
}

void gossip_announce(struct node *node)
{
    char path[4096], temporary[4096], suffix[32], text[64];
    node->outset_ns = now_real_ns();
    snprintf(suffix, sizeof(suffix), ".%ld", (long)getpid());
    if (!own_path(node, "", path, sizeof(path)) ||
        !own_path(node, suffix, temporary, sizeof(temporary)))
        return;
    mkdir(node->options->gossip_dir, 0755);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int n = snprintf(text, sizeof(text), "%llu %ld\n", (unsigned long long)node->outset_ns,
                     (long)getpid());
    if (fd < 0 || write_all(fd, text, (size_t)n) < 0 || rename(temporary, path) < 0)
        log_line("WARN", "cannot announce in %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static uint64_t announced_outset(const struct node *node)
{
    char path[4096], text[64];
    if (!own_path(node, "", path, sizeof(path)) ||
        read_text(AT_FDCWD, path, text, sizeof(text)) < 0)
        return 0;
    return strtoull(text, NULL, 10);
}

void gossip_check(const struct node *node)
{
    if (announced_outset(node) <= node->outset_ns)
        return;
    log_line("ERROR", "duplicate running instances of the same validator node: %s", node->pubkey);
    _exit(1);
}

void gossip_leave(const struct node *node)
{
    char path[4096];
    if (announced_outset(node) == node->outset_ns && own_path(node, "", path, sizeof(path)))
        unlink(path);
}
