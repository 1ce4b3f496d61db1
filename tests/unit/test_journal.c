#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal/journal.h"
#include "sys/clock.h"
#include "sys/file.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int make_dir(void **state)
{
    char tmpl[] = "/tmp/changeover-test-XXXXXX";
    *state = strdup(mkdtemp(tmpl));
    return 0;
}

static int remove_dir(void **state)
{
    char cmd[128];
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", (char *)*state);
    free(*state);
    return system(cmd);
}

static struct journal *open_new(void **state)
{
    struct err err = {0};
    struct journal *j = NULL;
    if (journal_open(*state, true, &j, &err) < 0)
        fail_msg("%s", err.msg);
    return j;
}

#define READS 3000

static void *read_again_and_again(void *j)
{
    struct err err = {0};
    for (int i = 0; i < READS; i++) {
        struct generation g = {0};
        cleanup_str struct str text = {0};
        if (journal_generation(j, i % 2 ? GREEN : BLUE, &g, &err) < 0 ||
            journal_meta_get(j, "lock", &text, &err) != 1 ||
            strcmp(str_cstr(&text), "a text that is compared") != 0)
            return err.msg[0] ? strdup(err.msg) : strdup("another answer");
        generation_done(&g);
    }
    return NULL;
}

static void threads_may_share_one(void **state)
{
    struct err err = {0};
    cleanup_journal struct journal *j = open_new(state);
    struct generation g = {
        .version = "1", .spec_text = x_strdup("text"), .spec_path = x_strdup("path")};
    assert_int_equal(journal_generation_set(j, GREEN, &g, &err), 0);
    assert_int_equal(journal_meta_set(j, "lock", "a text that is compared", &err), 0);
    pthread_t thread[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, read_again_and_again, j), 0);
    generation_done(&g);
    alarm(60); /* unlocked, SQLite's lists become rings and it turns in them for ever */
    for (size_t i = 0; i < 4; i++) {
        void *said = NULL;
        pthread_join(thread[i], &said);
        if (said)
            fail_msg("%s", (char *)said);
    }
    alarm(0);
}

static void an_upgrade_is_remembered(void **state)
{
    struct err err = {0};
    cleanup_journal struct journal *j = open_new(state);
    struct upgrade up = {.state = STATE_PREPARING, .from = GREEN, .to = BLUE, .version_to = "2"};
    assert_int_equal(journal_upgrade(j, &up, &err), 0);
    assert_int_equal(journal_upgrade_begin(j, &up, &err), 0);
    struct upgrade second = up;
    assert_int_equal(journal_upgrade_begin(j, &second, &err), -1); /* one at a time */
    assert_int_equal(journal_upgrade_move(j, &up, STATE_PREPARED, NULL, &err), 0);
    assert_int_equal(journal_upgrade_flipped(j, &up, true, &err), 0);
    journal_close(TAKE(j));
    j = open_new(state);
    struct upgrade again = {0};
    assert_int_equal(journal_upgrade(j, &again, &err), 1);
    assert_string_equal(again.id, up.id);
    assert_int_equal(again.state, STATE_PREPARED);
    assert_int_equal(again.to, BLUE);
    assert_true(again.flipped);
    assert_int_equal(journal_upgrade_move(j, &again, STATE_STEADY, "promoted", &err), 0);
    assert_int_equal(journal_upgrade(j, &again, &err), 0);
}

static void steps_keep_intent_attempts_and_children(void **state)
{
    struct err err = {0};
    cleanup_journal struct journal *j = open_new(state);
    struct step_row row;
    int attempt = 0;
    assert_int_equal(journal_step(j, "u", "prepare/clone", &row, &err), 0);
    assert_int_equal(row.status, STEP_NONE);
    assert_int_equal(journal_step_intend(j, "u", "prepare/clone", &attempt, &err), 0);
    assert_int_equal(journal_step_intend(j, "u", "prepare/clone", &attempt, &err), 0);
    assert_int_equal(attempt, 2);
    struct proc_id id = {.pid = 77, .start_ticks = 12345678901234}, got[2];
    size_t n;
    assert_int_equal(journal_child_note(j, "u", "prepare/clone", id, &err), 0);
    assert_int_equal(journal_children(j, "u", "prepare/clone", got, 2, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(got[0].start_ticks, id.start_ticks);
    assert_int_equal(journal_step_end(j, "u", "prepare/clone", STEP_DONE, "1 GB", &err), 0);
    assert_int_equal(journal_step(j, "u", "prepare/clone", &row, &err), 0);
    assert_int_equal(row.status, STEP_DONE);
    assert_string_equal(row.result, "1 GB");
    assert_int_equal(journal_children(j, "u", "prepare/clone", got, 2, &n, &err), 0);
    assert_int_equal(n, 0);
}

static void live_and_generations(void **state)
{
    struct err err = {0};
    cleanup_journal struct journal *j = open_new(state);
    enum colour c = GREEN;
    assert_int_equal(journal_live(j, &c, &err), 0);
    assert_int_equal(c, COLOUR_NONE);
    assert_int_equal(journal_live_set(j, BLUE, &err), 0);
    assert_int_equal(journal_live(j, &c, &err), 0);
    assert_int_equal(c, BLUE);
    char text[] = "service: x\n", path[] = "/etc/x.yml";
    struct generation g = {.version = "1.2.3", .spec_text = text, .spec_path = path};
    assert_int_equal(journal_generation_set(j, BLUE, &g, &err), 0);
    cleanup_generation struct generation got = {0};
    assert_int_equal(journal_generation(j, BLUE, &got, &err), 1);
    assert_string_equal(got.spec_text, text);
    assert_string_equal(got.version, "1.2.3");
    cleanup_generation struct generation none = {0};
    assert_int_equal(journal_generation(j, GREEN, &none, &err), 0);
}

static void deadlines_follow_the_boot_clock(void **state)
{
    struct err err = {0};
    cleanup_journal struct journal *j = open_new(state);
    struct deadline d;
    nsec_t left = 0;
    assert_int_equal(journal_deadline(j, "confirm", &d, &left, &err), 0);
    assert_int_equal(journal_deadline_set(j, "confirm", 60 * NSEC_S, "silence", &err), 0);
    assert_int_equal(journal_deadline(j, "confirm", &d, &left, &err), 1);
    assert_true(left > 50 * NSEC_S && left <= 60 * NSEC_S);
    assert_string_equal(d.why, "silence");
    assert_int_equal(journal_deadline_clear(j, "confirm", &err), 0);
    assert_int_equal(journal_deadline(j, "confirm", &d, &left, &err), 0);
}

static void a_damaged_file_says_what_to_do(void **state)
{
    struct err err = {0};
    journal_close(open_new(state));
    cleanup_free char *path = x_asprintf("%s/journal.db", (char *)*state);
    char garbage[8192];
    memset(garbage, 'x', sizeof(garbage));
    assert_int_equal(sys_file_write_atomic(path, garbage, sizeof(garbage), 0600, &err), 0);
    struct journal *j = NULL;
    assert_int_equal(journal_open(*state, false, &j, &err), -1);
    assert_int_equal(err.code, ERR_HALFWAY);
    assert_non_null(strstr(err.hint, "adopt --live"));
}

static void a_file_that_still_opens_is_verified(void **state)
{
    struct err err = {0};
    struct journal *j = open_new(state);
    assert_int_equal(journal_verify(j, &err), 0);
    char text[20000], path_text[] = "/x";
    memset(text, 's', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    struct generation g = {.spec_text = text, .spec_path = path_text};
    assert_int_equal(journal_generation_set(j, GREEN, &g, &err), 0);
    journal_close(j);
    cleanup_free char *path = x_asprintf("%s/journal.db", (char *)*state);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    for (long at = 4096; at + 4096 <= ftell(f); at += 4096) {
        fseek(f, at, SEEK_SET);
        fputs("no page of ours", f);
        fseek(f, 0, SEEK_END);
    }
    fclose(f);
    j = NULL;
    if (journal_open(*state, false, &j, &err) == 0)
        assert_int_equal(journal_verify(j, &err), -1);
    journal_close(j);
    assert_int_equal(err.code, ERR_HALFWAY);
    assert_non_null(strstr(err.msg, "damaged"));
}

static void a_newer_schema_is_refused(void **state)
{
    struct err err = {0};
    journal_close(open_new(state));
    char cmd[256];
    snprintf(cmd, sizeof(cmd),
             "python3 -c 'import sqlite3; c=sqlite3.connect(\"%s/journal.db\"); c.execute(\"PRAGMA "
             "user_version=99\"); c.commit()'",
             (char *)*state);
    assert_int_equal(system(cmd), 0);
    struct journal *j = NULL;
    assert_int_equal(journal_open(*state, false, &j, &err), -1);
    assert_non_null(strstr(err.msg, "newer changeover"));
}

/* As the journals of schema 1 were: a copy stays beside it, and nothing in it is lost. */
static void an_older_schema_is_migrated(void **state)
{
    struct err err = {0};
    cleanup_str struct str text = {0};
    struct journal *j = open_new(state);
    assert_int_equal(journal_meta_set(j, "key", "kept", &err), 0);
    journal_close(j);
    char cmd[256];
    snprintf(cmd, sizeof(cmd),
             "python3 -c 'import sqlite3; c=sqlite3.connect(\"%s/journal.db\"); c.execute(\"DROP "
             "TABLE probes\"); c.execute(\"PRAGMA user_version=1\"); c.commit()'",
             (char *)*state);
    assert_int_equal(system(cmd), 0);
    for (int i = 0; i < 2; i++) {
        j = NULL;
        if (journal_open(*state, false, &j, &err) < 0)
            fail_msg("%s", err.msg);
        str_clear(&text);
        assert_int_equal(journal_meta_get(j, "key", &text, &err), 1);
        assert_string_equal(str_cstr(&text), "kept");
        assert_int_equal(journal_probe_set(j, "u", "baseline", "{}", &err), 0);
        journal_close(j);
    }
    cleanup_free char *copy = x_asprintf("%s/journal.db.1", (char *)*state);
    assert_true(sys_path_exists(copy));
}

static int add_part(void *ctx, const char *upgrade, const char *part, const char *json)
{
    str_addf(ctx, "%s %s=%s;", upgrade, part, json);
    return 0;
}

static void probes_are_kept_by_part(void **state)
{
    struct err err = {0};
    cleanup_journal struct journal *j = open_new(state);
    cleanup_str struct str one = {0}, all = {0};
    assert_int_equal(journal_probe(j, "u", "baseline", &one, &err), 0);
    assert_int_equal(journal_probe_set(j, "u", "baseline", "1", &err), 0);
    assert_int_equal(journal_probe_set(j, "u", "promote 1", "2", &err), 0);
    assert_int_equal(journal_probe_set(j, "v", "promote 1", "3", &err), 0);
    assert_int_equal(journal_probe_set(j, "u", "baseline", "4", &err), 0);
    assert_int_equal(journal_probe(j, "u", "baseline", &one, &err), 1);
    assert_string_equal(str_cstr(&one), "4");
    assert_int_equal(journal_probes_each(j, "u", add_part, &all, &err), 0);
    assert_string_equal(str_cstr(&all), "u baseline=4;u promote 1=2;");
    assert_int_equal(journal_prune(j, -NSEC_S, &err), 0);
    str_clear(&all);
    assert_int_equal(journal_probes_each(j, "", add_part, &all, &err), 0);
    assert_string_equal(str_cstr(&all), "");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        T(an_upgrade_is_remembered),
        T(threads_may_share_one),
        T(steps_keep_intent_attempts_and_children),
        T(live_and_generations),
        T(deadlines_follow_the_boot_clock),
        T(a_damaged_file_says_what_to_do),
        T(a_newer_schema_is_refused),
        T(an_older_schema_is_migrated),
        T(probes_are_kept_by_part),
        T(a_file_that_still_opens_is_verified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
