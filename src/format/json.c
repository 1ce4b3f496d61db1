#include "format/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INTEGER_DIGITS 18 /* that many fit an int64_t, whatever they are */

static size_t string_end(const char *text, size_t n, size_t i)
{
    for (i++; i < n && text[i] != '"'; i++)
        i += text[i] == '\\';
    return i < n ? i + 1 : n;
}

/* jansson refuses an integer beyond int64_t, and agave's rentEpoch is one: those become texts. */
static void quote_long_integers(const char *text, size_t n, struct str *ret)
{
    static const char number[] = "-+.eE0123456789", digits[] = "0123456789";
    ret->max = 2 * JSON_MAX_BYTES;
    for (size_t i = 0, end; i < n; i = end) {
        size_t sign = text[i] == '-', whole = 0;
        end = i + 1;
        if (text[i] == '"')
            end = string_end(text, n, i);
        else if (strchr(number, text[i]) && text[i])
            while (end < n && text[end] && strchr(number, text[end]))
                end++;
        while (i + sign + whole < end && text[i + sign + whole] &&
               strchr(digits, text[i + sign + whole]))
            whole++;
        bool quote = whole > INTEGER_DIGITS && i + sign + whole == end;
        str_add_n(ret, "\"", quote);
        str_add_n(ret, text + i, end - i);
        str_add_n(ret, "\"", quote);
    }
}

int json_read(const char *text, size_t n, json_t **ret, struct err *err)
{
    if (n > JSON_MAX_BYTES)
        return err_set(err, ERR_FAILED, "JSON of %zu bytes is longer than %zu", n, JSON_MAX_BYTES);
    json_error_t e;
    const size_t flags = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES;
    json_t *j = json_loadb(text, n, flags, &e);
    if (!j && json_error_code(&e) == json_error_numeric_overflow) {
        cleanup_str struct str quoted = {0};
        quote_long_integers(text, n, &quoted);
        j = json_loadb(str_cstr(&quoted), quoted.len, flags, &e);
    }
    if (!j)
        return err_set(err, ERR_FAILED, "not valid JSON, line %d column %d: %s", e.line, e.column,
                       e.text);
    *ret = j;
    return 0;
}

static json_t *child(json_t *parent, const char *name, size_t n)
{
    if (json_is_object(parent)) {
        char key[256];
        if (n >= sizeof(key))
            return NULL;
        memcpy(key, name, n);
        key[n] = '\0';
        return json_object_get(parent, key);
    }
    if (!json_is_array(parent) || n == 0 || n > 9)
        return NULL;
    size_t index = 0;
    for (size_t i = 0; i < n; i++) {
        if (name[i] < '0' || name[i] > '9')
            return NULL;
        index = index * 10 + (size_t)(name[i] - '0');
    }
    return json_array_get(parent, index);
}

json_t *json_at(json_t *root, const char *path)
{
    const char *p = path;
    while (root && p && *p) {
        size_t n = strcspn(p, ".");
        root = child(root, p, n);
        p += n;
        if (*p == '.')
            p++;
    }
    return root;
}

void json_print(const json_t *value, size_t indent, struct str *ret)
{
    size_t flags = JSON_ENCODE_ANY | JSON_PRESERVE_ORDER;
    char *text = json_dumps(value, flags | (indent ? JSON_INDENT(indent) : JSON_COMPACT));
    if (text)
        str_add(ret, text);
    free(text);
}

bool json_text(const json_t *value, struct str *ret)
{
    if (!value)
        return false;
    if (json_is_string(value))
        str_add_n(ret, json_string_value(value), json_string_length(value));
    else
        json_print(value, 0, ret);
    return true;
}

bool json_number_at(json_t *root, const char *path, double *ret)
{
    const json_t *v = json_at(root, path);
    if (json_is_number(v)) {
        *ret = json_number_value(v);
        return true;
    }
    if (!json_is_string(v))
        return false;
    const char *text = json_string_value(v);
    char *end;
    errno = 0;
    double d = strtod(text, &end);
    if (end == text || *end || errno)
        return false;
    *ret = d;
    return true;
}

bool json_u64_at(json_t *root, const char *path, uint64_t *ret)
{
    const json_t *v = json_at(root, path);
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *ret = (uint64_t)json_integer_value(v);
        return true;
    }
    double d;
    if (!json_number_at(root, path, &d) || d < 0 || d >= 18e18)
        return false;
    *ret = (uint64_t)d;
    return true;
}
