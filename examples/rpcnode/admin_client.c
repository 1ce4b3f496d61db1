/* `rpcnode --ledger DIR exit|set-identity|contact-info`: the other side of admin.rpc. */
#include "admin.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_admin(const char *ledger)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int dir = open(ledger, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/admin.rpc", dir);
    int status = dir < 0 || fd < 0 ? -1 : connect(fd, (const struct sockaddr *)&addr, sizeof(addr));
    if (dir >= 0)
        close(dir);
    if (status == 0)
        return fd;
    fprintf(stderr, "Error: cannot reach %s/admin.rpc: %s\n", ledger, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Call; returns the result (owned by the caller), or NULL with the fault printed. */
static json_t *call(int fd, const char *method, json_t *params)
{
    json_t *request = json_pack("{s:s,s:i,s:s,s:o}", "jsonrpc", "2.0", "id", 1, "method", method,
                                "params", params);
    char *text = json_dumps(request, JSON_COMPACT);
    struct buf in = {0};
    ssize_t n = 1;
    json_decref(request);
    if (text == NULL || write_all(fd, text, strlen(text)) < 0 || write_all(fd, "\n", 1) < 0)
        n = -1;
    free(text);
    while (n > 0 && (in.n == 0 || in.p[in.n - 1] != '\n')) {
        buf_reserve(&in, 4096);
        n = read(fd, in.p + in.n, 4096);
        in.n += n > 0 ? (size_t)n : 0;
    }
    json_t *answer = in.n > 0 ? json_loadb(in.p, in.n, 0, NULL) : NULL;
    json_t *result = json_incref(json_object_get(answer, "result"));
    if (result == NULL) {
        const char *fault =
            json_string_value(json_object_get(json_object_get(answer, "error"), "message"));
        fprintf(stderr, "Error: %s request failed: %s\n", method,
                fault != NULL ? fault : "no answer");
    }
    json_decref(answer);
    buf_free(&in);
    return result;
}

static void wait_for_end(int pid_fd)
{
    struct pollfd p = {.fd = pid_fd, .events = POLLIN};
    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        ;
    close(pid_fd);
}

int admin_client_exit(const struct options *o)
{
    int fd = connect_admin(o->ledger);
    if (fd < 0)
        return 1;
    json_t *pid = call(fd, "pid", json_array());
    int pid_fd = pid == NULL ? -1 : (int)syscall(SYS_pidfd_open, json_integer_value(pid), 0);
    json_t *result = pid == NULL ? NULL : call(fd, "exit", json_array());
    int status = result != NULL ? 0 : 1;
    close(fd);
    if (status == 0)
        printf("Exit request sent\n");
    if (status == 0 && pid_fd >= 0 && !o->no_wait)
        wait_for_end(pid_fd);
    json_decref(pid);
    json_decref(result);
    return status;
}

int admin_client_set_identity(const struct options *o)
{
    char *path = o->word_count > 1 ? realpath(o->words[1], NULL) : NULL;
    if (path == NULL) {
        fprintf(stderr, "error: Invalid value for '<KEYPAIR>': %s\n",
                o->word_count > 1 ? strerror(errno) : "it is missing");
        return 1;
    }
    int fd = connect_admin(o->ledger);
    json_t *result = NULL;
    if (fd >= 0)
        result = call(fd, "setIdentity", json_pack("[s,b]", path, (int)o->require_tower));
    if (fd >= 0)
        close(fd);
    int status = result != NULL ? 0 : 1;
    free(path);
    json_decref(result);
    return status;
}

int admin_client_fault(const struct options *o)
{
    const char *name = o->word_count > 1 ? o->words[1] : "";
    int fd = connect_admin(o->ledger);
    json_t *result = fd >= 0 ? call(fd, "fault", json_pack("[s]", name)) : NULL;
    int status = result != NULL ? 0 : 1;
    if (fd >= 0)
        close(fd);
    json_decref(result);
    return status;
}

int admin_client_close_websockets(const struct options *o)
{
    char *end = NULL;
    const char *text = o->word_count > 1 ? o->words[1] : "";
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= 86400)) {
        fprintf(stderr, "usage: rpcnode --ledger DIR close-websockets SECONDS\n");
        return 1;
    }
    int fd = connect_admin(o->ledger);
    json_t *result =
        fd >= 0 ? call(fd, "closeWebsockets", json_pack("[I]", (json_int_t)(seconds * 1e3))) : NULL;
    int status = result != NULL ? 0 : 1;
    if (fd >= 0)
        close(fd);
    json_decref(result);
    return status;
}

int admin_client_contact_info(const struct options *o)
{
    int fd = connect_admin(o->ledger);
    json_t *result = fd >= 0 ? call(fd, "contactInfo", json_array()) : NULL;
    char *text = result != NULL ? json_dumps(result, JSON_INDENT(2)) : NULL;
    int status = text != NULL ? 0 : 1;
    if (text != NULL)
        printf("%s\n", text);
    if (fd >= 0)
        close(fd);
    free(text);
    json_decref(result);
    return status;
}
