#include "spec/spec.h"

#include <string.h>

const char *colour_name(enum colour c)
{
    static const char *const names[] = {"green", "blue"};
    return c == COLOUR_NONE ? "none" : names[c];
}

enum colour colour_other(enum colour c)
{
    return c == COLOUR_NONE ? COLOUR_NONE : c == GREEN ? BLUE : GREEN;
}

enum colour colour_parse(const char *text)
{
    for (int c = GREEN; c < COLOURS; c++)
        if (text && strcmp(text, colour_name((enum colour)c)) == 0)
            return (enum colour)c;
    return COLOUR_NONE;
}
