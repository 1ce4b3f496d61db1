#include "format/json.h"
#include "format/rows.h"
#include "format/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct heard {
    size_t n;
    struct yaml_mark at;
    char text[256];
};

static void hear(void *ctx, struct yaml_mark at, const char *text)
{
    struct heard *h = ctx;
    if (h->n++ == 0) {
        h->at = at;
        snprintf(h->text, sizeof(h->text), "%s", text);
    }
}

static void yaml_tree_has_marks(void **state)
{
    (void)state;
    struct arena a = {0};
    struct heard h = {0};
    const struct yaml_node *root;
    const char *text = "# first\na: 1\nb:\n  - x\n  - 'y z'\n  -\nc: {d: \"8\", e: ~}\n";
    assert_int_equal(yaml_parse(&a, text, strlen(text), hear, &h, &root), 0);
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->n, 3);
    const struct yaml_pair *b = yaml_get(root, "b");
    assert_int_equal(b->mark.line, 3);
    assert_int_equal(b->mark.column, 1);
    assert_int_equal(b->value->kind, YAML_LIST);
    assert_string_equal(b->value->items[1]->text, "y z");
    assert_true(b->value->items[1]->quoted);
    assert_int_equal(b->value->items[1]->mark.line, 5);
    assert_int_equal(b->value->items[1]->mark.column, 5);
    assert_int_equal(b->value->items[2]->kind, YAML_NULL);
    const struct yaml_node *c = yaml_get(root, "c")->value;
    assert_true(yaml_get(c, "d")->value->quoted);
    assert_int_equal(yaml_get(c, "d")->value->kind, YAML_SCALAR);
    assert_int_equal(yaml_get(c, "e")->value->kind, YAML_NULL);
    assert_null(yaml_get(c, "f"));
    assert_null(yaml_get(b->value, "f"));
    arena_done(&a);
}

static void yaml_says_where_it_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line, column;
        const char *part;
    } bad[] = {
        {"a: 1\nb: 2\na: 3\n", 3, 1, "given twice (first in line 1)"},
        {"a: &x 1\n", 1, 7, "anchors"},
        {"a: 1\nb: *x\n", 2, 0, ""},
        {"a: !!str 1\n", 1, 0, "tags"},
        {"a: [1, 2\n", 2, 0, "not valid YAML"},
        {"a: 1\n---\nb: 2\n", 3, 1, "second document"},
        {"? [a]\n: 1\n", 1, 3, "no plain word"},
        {"a: \"\\0x\"\n", 1, 0, "NUL"},
        {"\ta: 1\n", 1, 0, "not valid YAML"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct arena a = {0};
        struct heard h = {0};
        const struct yaml_node *root;
        assert_int_equal(yaml_parse(&a, bad[i].text, strlen(bad[i].text), hear, &h, &root), -1);
        assert_true(h.n > 0);
        if (h.at.line != bad[i].line || (bad[i].column && h.at.column != bad[i].column) ||
            !strstr(h.text, bad[i].part))
            fail_msg("%s -> %d:%d %s", bad[i].text, h.at.line, h.at.column, h.text);
        arena_done(&a);
    }
}

static void yaml_is_bounded(void **state)
{
    (void)state;
    cleanup_str struct str deep = {0}, wide = {0};
    for (int i = 0; i < 40; i++)
        str_add_c(&deep, '[');
    for (int i = 0; i < 40; i++)
        str_add_c(&deep, ']');
    for (int i = 0; i < 30000; i++)
        str_add(&wide, "- 1\n");
    struct {
        const struct str *text;
        const char *part;
    } big[] = {{&deep, "nested too deeply"}, {&wide, "too many"}};
    for (size_t i = 0; i < ARRAY_LEN(big); i++) {
        struct arena a = {0};
        struct heard h = {0};
        const struct yaml_node *root;
        assert_int_equal(yaml_parse(&a, big[i].text->buf, big[i].text->len, hear, &h, &root), -1);
        assert_non_null(strstr(h.text, big[i].part));
        arena_done(&a);
    }
}

static void json_paths(void **state)
{
    (void)state;
    struct err err = {0};
    cleanup_json json_t *j = NULL;
    const char *text =
        "{\"result\":{\"solana-core\":\"3.1.11\",\"list\":[5,{\"slot\":\"7\"}],\"t\":true}}";
    assert_int_equal(json_read(text, strlen(text), &j, &err), 0);
    cleanup_str struct str out = {0};
    assert_true(json_text(json_at(j, "result.solana-core"), &out));
    assert_string_equal(str_cstr(&out), "3.1.11");
    uint64_t u = 0;
    double d = 0;
    assert_true(json_u64_at(j, "result.list.0", &u) && u == 5);
    assert_true(json_number_at(j, "result.list.1.slot", &d) && d == 7);
    assert_false(json_u64_at(j, "result.solana-core", &u));
    assert_false(json_u64_at(j, "result.list.2", &u));
    assert_null(json_at(j, "result.x"));
    assert_null(json_at(j, "result.list.-1"));
    assert_null(json_at(NULL, "x"));
    assert_ptr_equal(json_at(j, ""), j);
    str_clear(&out);
    assert_true(json_text(json_at(j, "result.list"), &out));
    assert_string_equal(str_cstr(&out), "[5,{\"slot\":\"7\"}]");
    assert_false(json_text(NULL, &out));
    json_t *none = NULL;
    assert_int_equal(json_read("{\"a\":1} x", 9, &none, &err), -1);
    assert_int_equal(json_read("", 0, &none, &err), -1);
}

static void rows_print_both_ways(void **state)
{
    (void)state;
    static const struct rows_column columns[] = {{"colour", "COLOUR", ROWS_TEXT},
                                                 {"bytes", "SIZE", ROWS_BYTES},
                                                 {"hidden", NULL, ROWS_NUMBER},
                                                 {"took", "TOOK", ROWS_DURATION},
                                                 {NULL, "LIVE", ROWS_BOOL}};
    cleanup_rows struct rows t = rows_new(columns, ARRAY_LEN(columns));
    rows_add(&t);
    rows_text(&t, 0, "%s", "grün");
    rows_number(&t, 1, 1234567);
    rows_number(&t, 2, 7);
    rows_number(&t, 3, 1.3e9);
    rows_bool(&t, 4, true);
    rows_add(&t);
    rows_text(&t, 0, "\033[34mblue\033[0m");
    cleanup_str struct str out = {0};
    rows_print(&t, &out);
    assert_string_equal(str_cstr(&out), "COLOUR    SIZE   TOOK  LIVE\n"
                                        "grün    1.2 MB  1.3 s  yes\n"
                                        "\033[34mblue\033[0m         -      -  -\n");
    cleanup_json json_t *j = rows_json(&t);
    double took;
    assert_int_equal(json_array_size(j), 2);
    assert_true(json_number_at(j, "0.took", &took) && took > 1.29 && took < 1.31);
    uint64_t u = 0;
    assert_true(json_u64_at(j, "0.bytes", &u) && u == 1234567);
    assert_true(json_u64_at(j, "0.hidden", &u) && u == 7);
    assert_null(json_at(j, "0.LIVE"));
    assert_true(json_is_null(json_at(j, "1.bytes")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yaml_tree_has_marks),  cmocka_unit_test(yaml_says_where_it_is_wrong),
        cmocka_unit_test(yaml_is_bounded),      cmocka_unit_test(json_paths),
        cmocka_unit_test(rows_print_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
