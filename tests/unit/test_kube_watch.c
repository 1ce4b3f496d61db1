/* Watches: the lines of a stream, whole, cut and damaged; what is resumed and what begins again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/json.h"
#include "kube_server.h"
#include "net/kube_internal.h"

#define OBJECT(name, version)                                                \
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name \
    "\",\"resourceVersion\":\"" version "\"}}"
#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":" OBJECT(name, version) "}\n"
#define LIST(version, items)                                                                   \
    "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"" version \
    "\"},\"items\":[" items "]}"
#define GONE                                                                                \
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"reason\":" \
    "\"Expired\",\"message\":\"too old resource version: 1 (2)\",\"code\":410}}\n"

/* --- lines ----------------------------------------------------------------------------------- */

struct lines {
    size_t n, bytes;
    size_t stop_at;
};

static int count(void *ctx, const char *line, size_t n)
{
    struct lines *l = ctx;
    assert_null(memchr(line, '\n', n));
    l->n++;
    l->bytes += n;
    return l->n == l->stop_at;
}

static void every_cut_of_a_stream(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":1}\n\n{}\nlast\n";
    for (size_t a = 0; a < sizeof(text); a++)
        for (size_t b = a; b < sizeof(text); b++) {
            struct kube_stream s = {0};
            struct lines l = {0};
            assert_int_equal(kube_stream_feed(&s, text, a, count, &l), 0);
            assert_int_equal(kube_stream_feed(&s, text + a, b - a, count, &l), 0);
            assert_int_equal(kube_stream_feed(&s, text + b, sizeof(text) - 1 - b, count, &l), 0);
            assert_int_equal(l.n, 3);
            assert_int_equal(l.bytes, 13);
            kube_stream_done(&s);
        }
}

static void a_line_has_an_end(void **state)
{
    (void)state;
    struct kube_stream s = {0};
    struct lines l = {0};
    char *xs = x_alloc(65536);
    memset(xs, 'x', 65536);
    for (size_t i = 0; i < KUBE_EVENT_MAX / 65536; i++)
        assert_int_equal(kube_stream_feed(&s, xs, 65536, count, &l), 0);
    assert_int_equal(kube_stream_feed(&s, "\n", 1, count, &l),
                     0); /* exactly as long as it may be */
    assert_int_equal(l.bytes, KUBE_EVENT_MAX);
    assert_true(s.rest.cap < KUBE_EVENT_MAX); /* and its memory is given back */
    for (size_t i = 0; i < KUBE_EVENT_MAX / 65536; i++)
        assert_int_equal(kube_stream_feed(&s, xs, 65536, count, &l), 0);
    assert_int_equal(kube_stream_feed(&s, xs, 1, count, &l), -1);
    free(xs);
    kube_stream_done(&s);
}

static uint64_t chance(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

/* Good events with bytes changed, left out, doubled: an event comes out, or an error, nothing else.
 */
static void damaged_events(void **state)
{
    (void)state;
    static const char *const good[] = {
        EVENT("ADDED", "a", "1"), EVENT("BOOKMARK", "", "2"), GONE,
        EVENT("MODIFIED", "\\u00e9\\ud83d\\ude00", "18446744073709")};
    static const char spice[] = "{}[]\",:\\u0123456789abcdef\0\xff\x80 -+eE.ntf";
    uint64_t seed = 20261123;
    size_t read = 0, refused = 0;
    for (int i = 0; i < 200000; i++) {
        char line[512];
        size_t n = strlen(good[i % 4]) - 1;
        memcpy(line, good[i % 4], n);
        for (uint64_t k = chance(&seed) % 4; k; k--) {
            size_t at = chance(&seed) % n;
            switch (chance(&seed) % 3) {
            case 0:
                line[at] = spice[chance(&seed) % (sizeof(spice) - 1)];
                break;
            case 1:
                n = at + 1; /* truncated */
                break;
            default:
                memmove(line + at, line + at + 1, n - at - 1);
                n -= n > 1;
            }
        }
        struct kube_line l = {0};
        struct err err = {0};
        if (kube_line_read(line, n, &kube_pod, &l, &err) == 0) {
            assert_true(json_is_object(l.object) && *l.type);
            json_decref(l.object);
            read++;
        } else {
            assert_true(err.msg[0]);
            refused++;
        }
    }
    assert_true(read > 20000 && refused > 20000);
}

static void events_about_other_things(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Node\",\"apiVersion\":\"v1\"}}",
        "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v2\"}}",
        "{\"type\":\"ADDED\",\"object\":[]}",
        "{\"type\":7,\"object\":{}}",
        "{\"object\":{}}",
        "[]",
        "null",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct kube_line l = {0};
        struct err err = {0};
        assert_int_equal(kube_line_read(bad[i], strlen(bad[i]), &kube_pod, &l, &err), -1);
        assert_true(err.msg[0]);
    }
}

/* --- watches --------------------------------------------------------------------------------- */

struct story {
    struct str told; /* "begin +a synced ~a -a " */
    size_t most;     /* ends behind so many events; 0: never */
    size_t events;
    struct kube *k; /* asks something in between, if set */
};

static int tell(void *ctx, enum kube_seen seen, json_t *object)
{
    struct story *t = ctx;
    static const char *const marks[] = {[KUBE_BEGIN] = "begin",
                                        [KUBE_SYNCED] = "synced",
                                        [KUBE_ADDED] = "+",
                                        [KUBE_MODIFIED] = "~",
                                        [KUBE_DELETED] = "-"};
    const char *name = json_string_value(json_at(object, "metadata.name"));
    str_addf(&t->told, "%s%s ", marks[seen], name ? name : "");
    if (t->k && seen == KUBE_ADDED) {
        json_t *j = NULL;
        assert_int_equal(kube_get(t->k, &(struct kube_ref){&kube_pod, NULL, name}, &j, NULL), 0);
        json_decref(j);
    }
    return ++t->events == t->most ? 5 : 0;
}

static const struct kube_ref pods = {&kube_pod, NULL, NULL};

static void tells(struct kube_server *s, struct story *t, const struct kube_ref *ref, int result,
                  const char *story)
{
    struct kube *k = server_open(s);
    struct err err = {0};
    int r = kube_watch(k, ref, NULL, sys_clock_mono() + 5 * NSEC_S, tell, t, &err);
    if (r != result || strcmp(str_cstr(&t->told), story) != 0)
        fail_msg("%d '%s', not %d '%s' (%s)", r, str_cstr(&t->told), result, story, err.msg);
    kube_close(k);
    str_done(&t->told);
}

static void has(const struct kube_server *s, size_t i, const char *text)
{
    if (!strstr(s->request[i], text))
        fail_msg("request %zu has no '%s':\n%s", i, text, s->request[i]);
}

static void a_watch_goes_on_where_it_was(void **state)
{
    (void)state;
    struct kube_server s;
    struct story t = {.most = 6};
    SCRIPT(&s, {.body = LIST("10", OBJECT("a", "9"))},
           {.body = EVENT("ADDED", "b", "11") EVENT("BOOKMARK", "", "20"), .manner = STREAM},
           /* the end of a line is missing, the end of the stream too: not told, not counted */
           {.body = EVENT("MODIFIED", "b", "21") "{\"type\":\"DELETED\",\"object\":{\"ki",
            .manner = BROKEN},
           {.body = EVENT("DELETED", "b", "22"), .manner = STREAM});
    tells(&s, &t, &pods, 5, "begin +a synced +b ~b -b ");
    has(&s, 1, "/pods?watch=true&allowWatchBookmarks=true&resourceVersion=10&timeoutSeconds=290 ");
    has(&s, 2, "&resourceVersion=20&");
    has(&s, 3, "&resourceVersion=21&");
    server_stop(&s);
}

static void a_watch_that_expired_begins_again(void **state)
{
    (void)state;
    struct kube_server s;
    struct story t = {.most = 8};
    const struct kube_ref one = {&kube_pod, "shop", "a"};
    SCRIPT(&s, {.body = LIST("10", OBJECT("a", "9"))}, {.body = GONE, .manner = STREAM},
           {.body = LIST("30", OBJECT("a", "29"))},
           {.code = 410, .body = "{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410}"},
           {.body = LIST("40", "")}, {.body = EVENT("ADDED", "a", "41"), .manner = STREAM});
    tells(&s, &t, &one, 5, "begin +a synced begin +a synced begin synced ");
    has(&s, 0, "/namespaces/shop/pods?limit=250&fieldSelector=metadata.name%3Da ");
    has(&s, 3, "&resourceVersion=30&");
    server_stop(&s);
}

static void other_errors_begin_again_too(void **state)
{
    (void)state;
    struct kube_server s;
    struct story t = {.most = 4};
    SCRIPT(&s, {.body = LIST("10", "")},
           {.body = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":500}}\n",
            .manner = STREAM},
           {.body = LIST("11", "")});
    tells(&s, &t, &pods, 5, "begin synced begin synced ");
    server_stop(&s);
}

static void one_may_ask_within(void **state)
{
    (void)state;
    struct kube_server s;
    struct story t = {.most = 4};
    SCRIPT(&s, {.body = LIST("10", OBJECT("a", "9"))}, {.body = OBJECT("a", "9")},
           {.body = EVENT("MODIFIED", "a", "11"), .manner = STREAM});
    struct kube *k = server_open(&s);
    t.k = k;
    tells(&s, &t, &pods, 5, "begin +a synced ~a ");
    kube_close(k);
    server_stop(&s);
}

/* What goes wrong again and again is an error in the end, and its words are the last fault's. */
static void fails(struct canned c, const char *words)
{
    struct canned script[32] = {{.body = LIST("10", "")}};
    for (size_t i = 1; i < 32; i++)
        script[i] = c;
    struct kube_server s;
    struct err err = {0};
    struct story t = {0};
    server_start(&s, script, 32);
    struct kube *k = server_open(&s);
    nsec_t since = sys_clock_mono();
    assert_int_equal(kube_watch(k, &pods, NULL, since + 20 * NSEC_S, tell, &t, &err), -1);
    assert_true(sys_clock_mono() - since < 10 * NSEC_S);
    if (!strstr(err.msg, words))
        fail_msg("'%s' does not say '%s'", err.msg, words);
    assert_true(atomic_load(&s.asked) < 20); /* with pauses */
    str_done(&t.told);
    kube_close(k);
    server_stop(&s);
}

static void a_watch_that_cannot_be(void **state)
{
    (void)state;
    fails((struct canned){.manner = HANGUP}, "watch pods in 'default'");
    fails((struct canned){.body = "<html>\nno</html>", .type = "text/html"},
          "answered 200, and not as a Kubernetes API does: '<html> no</html>'");
    fails((struct canned){.body = "{\"type\":\n", .manner = STREAM}, "not valid JSON");
    fails((struct canned){.body = EVENT("ADDED", "a", "11") "nonsense\n", .manner = STREAM},
          "not valid JSON");
    fails((struct canned){.body = "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Node\"}}\n",
                          .manner = STREAM},
          "of kind 'Node'");
    fails((struct canned){.body = "{\"type\":\"ADDED\",", .filler = 10000000},
          "an event is longer than 4194304 bytes");
    fails((struct canned){.code = 403, .body = "{\"kind\":\"Status\",\"reason\":\"Forbidden\"}"},
          "answered 403 Forbidden");
}

static void a_watch_has_a_deadline(void **state)
{
    (void)state;
    struct kube_server s;
    struct story t = {0};
    SCRIPT(&s, {.body = LIST("10", "")}, {.manner = SILENT});
    struct kube *k = server_open(&s);
    nsec_t since = sys_clock_mono();
    assert_int_equal(kube_watch(k, &pods, NULL, since + NSEC_S, tell, &t, NULL), 0);
    assert_true(sys_clock_mono() - since >= NSEC_S && sys_clock_mono() - since < 4 * NSEC_S);
    str_done(&t.told);
    kube_close(k);
    server_stop(&s);
}

/* --- a million ------------------------------------------------------------------------------- */

static size_t resident_kb(void)
{
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*u %zu", &pages), 1);
    fclose(f);
    return pages * 4;
}

struct million {
    size_t n, first_kb;
};

static int take(void *ctx, const char *line, size_t n)
{
    struct million *m = ctx;
    struct kube_line l = {0};
    assert_int_equal(kube_line_read(line, n, &kube_pod, &l, NULL), 0);
    json_decref(l.object);
    if (++m->n == 10000)
        m->first_kb = resident_kb();
    return 0;
}

static void memory_stays_flat(void **state)
{
    (void)state;
    struct kube_stream s = {0};
    struct million m = {0};
    struct str batch = {0};
    const size_t all = getenv("CHANGEOVER_SANITIZED") ? 50000 : 1000000;
    for (int i = 0; i < 100; i++)
        str_addf(&batch,
                 "{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\","
                 "\"metadata\":{\"name\":\"pod-%d\",\"resourceVersion\":\"%d\",\"labels\":{"
                 "\"padding\":\"%0*d\"}}}}\n",
                 i, i, i + 1, 0);
    for (size_t i = 0; i < all / 100; i++) {
        size_t cut = i * 37 % batch.len; /* at ever other places */
        assert_int_equal(kube_stream_feed(&s, batch.buf, cut, take, &m), 0);
        assert_int_equal(kube_stream_feed(&s, batch.buf + cut, batch.len - cut, take, &m), 0);
    }
    assert_int_equal(m.n, all);
    if (!getenv("CHANGEOVER_SANITIZED"))
        assert_true(resident_kb() < m.first_kb + 512);
    str_done(&batch);
    kube_stream_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_of_a_stream),
        cmocka_unit_test(a_line_has_an_end),
        cmocka_unit_test(damaged_events),
        cmocka_unit_test(events_about_other_things),
        cmocka_unit_test(a_watch_goes_on_where_it_was),
        cmocka_unit_test(a_watch_that_expired_begins_again),
        cmocka_unit_test(other_errors_begin_again_too),
        cmocka_unit_test(one_may_ask_within),
        cmocka_unit_test(a_watch_that_cannot_be),
        cmocka_unit_test(a_watch_has_a_deadline),
        cmocka_unit_test(memory_stays_flat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
