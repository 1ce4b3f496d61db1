/* Asks every source of status at once; one that hangs says "no answer" after 500 ms and holds up
 * nobody. */
#pragma once

#include "cmd/session.h"
#include "engine/flow.h"

struct status_colour {
    bool good; /* runs, and every gate that was asked passes */
    char version[64], instance[160], data[256], health[320], lag[64], load[128];
    pid_t pid;
    int requests; /* in flight, -1: unknown */
};

struct status_view {
    char service[128], upgrade[32], version_from[64], version_to[64], live_version[64];
    enum colour live, from, to, flag;
    enum upgrade_state state;
    bool contradiction; /* flags and journal differ, and no flip is in work */
    bool busy;          /* a command holds the service's lock */
    char deadline[160], guard[96], lock[320], traffic[320];
    struct space_status space; /* of an open upgrade */
    char probe[512];           /* what it has found so far; "": the open upgrade has none */
    char sockets[256];         /* what becomes of those that were open at the flip; "": none were */
    struct status_colour colour[COLOURS];
    struct strv notes;
    bool hung; /* a source hangs and still reads the session: it must not be freed */
};

must_check int gather_status(struct session *s, struct status_view *ret, struct err *err);
void gather_done(struct status_view *v);
