#include "plan/version.h"

#include <string.h>

#define NUMBERS 8

struct version {
    unsigned long number[NUMBERS];
    const char *pre; /* behind the "-", "" if none */
    size_t pre_n;
};

static bool parse(const char *text, struct version *ret)
{
    *ret = (struct version){.pre = ""};
    if (!text)
        return false;
    const char *p = *text == 'v' ? text + 1 : text;
    for (size_t n = 0;; n++) {
        char *end;
        if (n == NUMBERS || *p < '0' || *p > '9' || strspn(p, "0123456789") > 15)
            return false;
        ret->number[n] = strtoul(p, &end, 10);
        p = end;
        if (*p != '.')
            break;
        p++;
    }
    if (*p == '-' || *p == '~') {
        ret->pre = p + 1;
        ret->pre_n = strcspn(p + 1, "+");
        return ret->pre_n > 0;
    }
    return !*p || *p == '+';
}

static int sign(long long d)
{
    return (d > 0) - (d < 0);
}

/* One identifier of a pre-release: numbers by value and before words, words by their letters. */
static int compare_part(const char *a, size_t an, const char *b, size_t bn)
{
    bool a_number = an && strspn(a, "0123456789") >= an,
         b_number = bn && strspn(b, "0123456789") >= bn;
    if (a_number && b_number)
        return sign((long long)strtoul(a, NULL, 10) - (long long)strtoul(b, NULL, 10));
    if (a_number != b_number)
        return a_number ? -1 : 1;
    int d = strncmp(a, b, an < bn ? an : bn);
    return d ? sign(d) : sign((long long)an - (long long)bn);
}

static int compare_pre(const struct version *a, const struct version *b)
{
    const char *p = a->pre, *q = b->pre, *p_end = p + a->pre_n, *q_end = q + b->pre_n;

    if (!a->pre_n || !b->pre_n) /* a release comes after its pre-releases */
        return sign((long long)!a->pre_n - (long long)!b->pre_n);
    while (p < p_end && q < q_end) {
        size_t pn = strcspn(p, ".+"), qn = strcspn(q, ".+");
        int d = compare_part(p, pn, q, qn);
        if (d)
            return d;
        p += pn + 1;
        q += qn + 1;
    }
    return sign((long long)(p < p_end) - (long long)(q < q_end));
}

enum version_step version_step(const char *from, const char *to)
{
    struct version a, b;
    if (!parse(from, &a) || !parse(to, &b))
        return VERSION_UNKNOWN;
    for (size_t i = 0; i < NUMBERS; i++) {
        if (b.number[i] > a.number[i])
            return VERSION_UP;
        if (b.number[i] < a.number[i])
            return i == 0 ? VERSION_DOWN_MAJOR : i == 1 ? VERSION_DOWN_MINOR : VERSION_DOWN_PATCH;
    }
    int d = compare_pre(&b, &a);
    return d == 0 ? VERSION_SAME : d > 0 ? VERSION_UP : VERSION_DOWN_PATCH;
}

int version_allowed(const char *from, const char *to, enum spec_downgrade policy, struct err *err)
{
    /* the policy that a step down needs at least */
    static const struct {
        enum spec_downgrade policy;
        const char *word;
    } needs[] = {[VERSION_DOWN_PATCH] = {DOWNGRADE_PATCH, "patch"},
                 [VERSION_DOWN_MINOR] = {DOWNGRADE_MINOR, "minor"},
                 [VERSION_DOWN_MAJOR] = {DOWNGRADE_ANY, "any"}};
    enum version_step step = version_step(from, to);

    if (step == VERSION_SAME || step == VERSION_UP || step == VERSION_UNKNOWN ||
        policy >= needs[step].policy)
        return 0;
    err_set(
        err, ERR_FAILED,
        "%s after %s is a downgrade further than the spec allows: the older version may not read "
        "what the newer one has written",
        to, from);
    return err_hint(err,
                    "a newer --target-version, or 'version_policy: {downgrade: %s}' in the spec",
                    needs[step].word);
}
