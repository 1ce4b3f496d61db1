/* See identity.h. The keys are random bytes, not ed25519 pairs: nothing here signs. */
#include "identity.h"

#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define KEYPAIR_BYTES 64
#define PUBKEY_BYTES 32

const char *identity_load(const char *path, char pubkey[IDENTITY_MAX])
{
    char text[2048];
    uint8_t bytes[KEYPAIR_BYTES];
    const char *fault = NULL;
    if (read_text(AT_FDCWD, path, text, sizeof(text)) < 0)
        return "No such file or directory (os error 2)";
    json_t *array = json_loads(text, 0, NULL);
    if (!json_is_array(array) || json_array_size(array) != KEYPAIR_BYTES)
        fault = "expected a JSON array of 64 bytes";
    for (size_t i = 0; fault == NULL && i < KEYPAIR_BYTES; i++) {
        const json_t *item = json_array_get(array, i);
        json_int_t value = json_integer_value(item);
        if (!json_is_integer(item) || value < 0 || value > 255)
            fault = "expected a JSON array of 64 bytes";
        else
            bytes[i] = (uint8_t)value;
    }
    json_decref(array);
    if (fault == NULL)
        base58_encode(bytes + KEYPAIR_BYTES - PUBKEY_BYTES, PUBKEY_BYTES, pubkey, IDENTITY_MAX);
    return fault;
}

void identity_make_ephemeral(char pubkey[IDENTITY_MAX])
{
    uint8_t bytes[PUBKEY_BYTES];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        memset(bytes, 7, sizeof(bytes));
    base58_encode(bytes, sizeof(bytes), pubkey, IDENTITY_MAX);
}

int identity_keygen(const char *path)
{
    uint8_t bytes[KEYPAIR_BYTES];
    char pubkey[IDENTITY_MAX];
    struct buf text = {0};
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return 1;
    for (size_t i = 0; i < KEYPAIR_BYTES; i++)
        buf_printf(&text, "%s%u", i == 0 ? "[" : ",", bytes[i]);
    buf_printf(&text, "]");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write_all(fd, text.p, text.n) < 0) {
        fprintf(stderr, "error: cannot write keypair '%s': %s\n", path, strerror(errno));
        buf_free(&text);
        return 1;
    }
    close(fd);
    buf_free(&text);
    base58_encode(bytes + KEYPAIR_BYTES - PUBKEY_BYTES, PUBKEY_BYTES, pubkey, sizeof(pubkey));
    printf("pubkey: %s\n", pubkey);
    return 0;
}
