/*
 * httpd VERSION PORT [ADDRESS]: a very small HTTP server for test images.
 *
 * GET /health answers "ok", every other path "VERSION pid=P started=S". ADDRESS is 127.0.0.1 unless
 * given. Put VERSION in the image's entrypoint and PORT in the pod's args: a new image then shows
 * by its answer. One request at a time; ends on TERM (as pid 1 of a container it must handle it
 * itself).
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void down(int sig)
{
    (void)sig;
    _exit(0);
}

static int listen_on(const char *address, int port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || inet_pton(AF_INET, address, &sa.sin_addr) != 1)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 64) < 0)
        return -1;
    return fd;
}

static void answer(int fd, const char *identity)
{
    /* a client that connects and says nothing must not hold up the next one */
    struct timeval limit = {.tv_sec = 1};
    char request[2048], reply[512];
    const char *body = identity;
    ssize_t n;
    int len;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    n = read(fd, request, sizeof request - 1);
    if (n <= 0)
        return;
    request[n] = '\0';
    if (strncmp(request, "GET /health ", 12) == 0)
        body = "ok\n";
    len = snprintf(reply, sizeof reply,
                   "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "
                   "%zu\r\nConnection: close\r\n\r\n%s",
                   strlen(body), body);
    if (write(fd, reply, (size_t)len) != len)
        perror("write");
}

int main(int argc, char **argv)
{
    struct sigaction a = {.sa_handler = down};
    char identity[256];
    int port = argc > 2 ? atoi(argv[2]) : 0;
    int fd;

    if (port < 1 || port > 65535) {
        fprintf(stderr, "usage: httpd VERSION PORT [ADDRESS]\n");
        return 2;
    }
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGINT, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
    fd = listen_on(argc > 3 ? argv[3] : "127.0.0.1", port);
    if (fd < 0) {
        perror("httpd: listen");
        return 1;
    }
    snprintf(identity, sizeof identity, "%.200s pid=%d started=%lld\n", argv[1], (int)getpid(),
             (long long)time(NULL));
    printf("%.200s listens on port %d\n", argv[1], port);
    fflush(stdout);
    for (;;) {
        int c = accept(fd, NULL, NULL);

        if (c < 0)
            continue;
        answer(c, identity);
        close(c);
    }
}
