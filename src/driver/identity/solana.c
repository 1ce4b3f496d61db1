#include "driver/identity/solana.h"

#include "sys/file.h"

#include <string.h>
#include <xxhash.h>

#define IDENTITY_MAX 65536

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* "[1,2,...]" -> bytes. Returns how many numbers there were (at most max are stored), -1 if the
 * text is no such array at all, -2 if it is one with something in it that is no byte. By hand and
 * not by jansson, which would leave the secret half all over the heap. */
static int parse_bytes(const char *text, uint8_t *ret, int max)
{
    int n = 0;
    const char *p = skip_space(text);

    if (*p != '[')
        return -1;
    p = skip_space(p + 1);
    while (*p != ']') {
        unsigned value = 0, digits = 0;
        for (; *p >= '0' && *p <= '9' && digits < 4; p++, digits++)
            value = value * 10 + (unsigned)(*p - '0');
        if (!digits)
            return n ? -2 : -1;
        if (value > 255 || digits > 3)
            return -2;
        if (n < max)
            ret[n] = (uint8_t)value;
        n++;
        p = skip_space(p);
        if (*p == ',')
            p = skip_space(p + 1);
        else if (*p != ']')
            return -2;
    }
    return *skip_space(p + 1) ? -2 : n;
}

static int read_bytes(const char *path, const struct str *bytes, struct identity *id,
                      struct err *err)
{
    uint8_t pair[64] = {0};
    int n = parse_bytes(str_cstr(bytes), pair, 64);

    if (n == 64) {
        id->keypair = true;
        memcpy(id->key, pair + 32, 32);
        base58_encode(id->text, sizeof(id->text), id->key, 32);
    }
    explicit_bzero(pair, sizeof(pair));
    if (n == -2)
        return err_set(err, ERR_FAILED, "identity '%s': an array, but not of numbers from 0 to 255",
                       path);
    if (n >= 0 && n != 64)
        return err_set(err, ERR_FAILED, "identity '%s': a keypair has 64 numbers, this one has %d",
                       path, n);
    return 0;
}

int identity_read(const char *path, struct identity *ret, struct err *err)
{
    cleanup_str struct str bytes = {0};
    struct identity id = {0};

    if (sys_path_identity(path, &id.dev, &id.ino, err) < 0 ||
        sys_file_read(path, IDENTITY_MAX, &bytes, err) < 0)
        return err_ctx(err, "identity");
    if (!bytes.len)
        return err_set(err, ERR_FAILED, "identity '%s' is empty", path);
    XXH128_hash_t h = XXH3_128bits(bytes.buf, bytes.len);
    id.size = bytes.len;
    id.hash[0] = h.low64;
    id.hash[1] = h.high64;
    int rc = read_bytes(path, &bytes, &id, err);
    explicit_bzero(bytes.buf, bytes.len);
    if (rc < 0)
        return -1;
    *ret = id;
    return 0;
}

static int pair_differs(const struct spec *a, const char *file_a, const struct identity *ia,
                        const struct spec *b, const char *file_b, struct err *err)
{
    struct identity ib = {0};
    const char *ca = colour_name(a->colour), *cb = colour_name(b->colour);

    if (identity_read(file_b, &ib, err) < 0)
        return -1;
    if (ia->keypair && ib.keypair && memcmp(ia->key, ib.key, sizeof(ib.key)) == 0)
        err_set(err, ERR_FAILED,
                "%s and %s have one identity, %s: '%s' and '%s'; two instances with one identity "
                "end each other",
                ca, cb, ia->text, file_a, file_b);
    else if (ia->dev == ib.dev && ia->ino == ib.ino)
        err_set(err, ERR_FAILED, "%s and %s share one identity file: '%s' is '%s'", ca, cb, file_a,
                file_b);
    else if (ia->size == ib.size && memcmp(ia->hash, ib.hash, sizeof(ib.hash)) == 0)
        err_set(err, ERR_FAILED,
                "identity files '%s' of %s and '%s' of %s are the same, byte by byte", file_a, ca,
                file_b, cb);
    else
        return 0;
    return err_hint(err,
                    "make a second key (solana-keygen new -o FILE) and name it in the spec as the "
                    "identity of the colour that is not live");
}

int identity_differ(const struct spec *a, const struct spec *b, struct err *err)
{
    for (size_t i = 0; i < a->identities.n; i++) {
        struct identity ia = {0};
        if (identity_read(a->identities.v[i], &ia, err) < 0)
            return -1;
        for (size_t k = 0; k < b->identities.n; k++)
            if (pair_differs(a, a->identities.v[i], &ia, b, b->identities.v[k], err) < 0)
                return -1;
    }
    return 0;
}
