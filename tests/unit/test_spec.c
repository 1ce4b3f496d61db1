#include "spec/loader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct spec *must_parse(const char *text, enum colour c, const char *version)
{
    struct err err = {0};
    struct spec *s = NULL;
    if (spec_parse(text, "changeover.yml", c, version, &s, &err))
        fail_msg("%s", err.msg);
    return s;
}

static void starter_loads_for_both(void **state)
{
    (void)state;
    for (enum colour c = GREEN; c <= BLUE; c++) {
        cleanup_spec struct spec *s = must_parse(spec_starter(), c, "1.2");
        assert_string_equal(s->service, "example");
        assert_int_equal(spec_port_number(s, "http"), c == GREEN ? 8101 : 8102);
        assert_string_equal(spec_volume(s, "data")->path,
                            c == GREEN ? "/srv/example/green/data" : "/srv/example/blue/data");
        assert_string_equal(s->runtime.command.v[0], "/opt/example/1.2/bin/example");
        assert_string_equal(s->runtime.command.v[3], "--log-level=info");
        assert_null(s->runtime.command.v[4]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starter_loads_for_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
