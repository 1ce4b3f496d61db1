/* Keys: the end of an instance, hooks, and what is kept. */
#include "spec/schema_rows.h"

static const struct schema_word downgrade_words[] = {{"none", DOWNGRADE_NONE},
                                                     {"patch", DOWNGRADE_PATCH},
                                                     {"minor", DOWNGRADE_MINOR},
                                                     {"any", DOWNGRADE_ANY},
                                                     {0}};
static const struct schema_word after_flip_words[] = {
    {"warn", SPACE_WARN}, {"give-up-rollback", SPACE_GIVE_UP_ROLLBACK}, {0}};

static const struct schema_key keys[] = {
    SECTION("stop", .doc = "how an instance is ended"),
    ROW("stop.command", T_COMMAND, stop.command,
        .doc = "asked first; its timeout is `stop.grace` unless it has its own",
        .example = "[agave-validator, --ledger, \"${volume.ledger}\", exit, --force]"),
    ROW("stop.signal", T_SIGNAL, stop.signal, .fallback = "TERM",
        .doc = "sent if there is no command or it failed", .example = "INT"),
    ROW("stop.grace", T_DURATION, stop.grace, .fallback = "300s",
        .doc = "wait until every process of it is gone", .example = "30s"),
    ROW("stop.kill", T_BOOL, stop.kill, .fallback = "false",
        .doc = "after the grace, SIGKILL; false = stop there and say so", .example = "true"),

    SECTION("stop.websockets",
            .doc = "for a service that can close its websockets one after the other: it is told to "
                   "before it is stopped; without this its stop closes them all at once"),
    ROW("stop.websockets.spread", T_DURATION, stop.websockets.spread,
        RANGE(100 * NSEC_MS, NSEC_HOUR), .fallback_doc = "required with stop.websockets",
        .doc = "the time that the service takes to close them all; `${spread}` in seconds, "
               "`${spread_ms}` in milliseconds; those left 2 s after it are closed by the stop",
        .example = "30s"),
    ROW("stop.websockets.command", T_COMMAND, stop.websockets.command,
        .doc = "tells it to begin, and returns; may run more than once",
        .example = "[/opt/example/bin/examplectl, close-websockets, \"${spread}\"]"),
    ROW("stop.websockets.signal", T_SIGNAL, stop.websockets.signal,
        .doc = "tells its main process to begin, instead of a command; the service knows the time "
               "by itself (`${spread}` in runtime.command)",
        .example = "USR1"),

    SECTION("hooks", .doc = "programs run at steps of an upgrade; each may run more than once"),
#define HOOK(leaf, doc_)                                    \
    {                                                       \
        .path = "hooks." leaf, .type = T_HOOK, .doc = doc_, \
        .example = "[/usr/local/bin/notify, " leaf "]"      \
    }
    HOOK("before_prepare", "before anything is made; failing ends the prepare"),
    HOOK("after_clone", "after the data is cloned, before the standby starts"),
    HOOK("after_start", "after the standby is started, before the gate"),
    HOOK("before_flip", "after the last gate, before the traffic moves"),
    HOOK("after_flip", "after the traffic has been proven to have moved"),
    HOOK("before_stop", "after the drain, before the old colour is stopped"),
    HOOK("after_promote", "when the promote is done"),
    HOOK("before_rollback", "before a rollback changes anything"),
    HOOK("after_rollback", "when the rollback is done"),
    HOOK("after_cleanup", "when the old side's data is gone"),

    SECTION("version_policy", .doc = "which target versions are taken"),
    ROW("version_policy.downgrade", T_WORD, downgrade, .fallback = "patch",
        .words = downgrade_words,
        .doc = "how far down: not at all, the last part, the middle part, any", .example = "minor"),

    SECTION("space", .doc = "when the disk of the volumes runs full in mid upgrade"),
    ROW("space.floor", T_BYTES, space.floor_bytes, .fallback = "2GB",
        .doc = "less left for live: the standby is stopped", .example = "50GB"),
    ROW("space.last_floor", T_BYTES, space.last_floor_bytes, .fallback = "1GB",
        .doc = "less left before the flip: the standby's clone is destroyed", .example = "20GB"),
    ROW("space.after_flip", T_WORD, space.after_flip, .fallback = "warn", .words = after_flip_words,
        .doc = "below the last floor after the flip: warn, or destroy the way back",
        .example = "give-up-rollback"),

    SECTION("retention", .doc = "what the journal keeps"),
    ROW("retention.events", T_DURATION, retention_events, .fallback = "90d",
        .doc = "events and probe rows older than this are dropped", .example = "30d"),

    COMMAND("command", T_ARGV, argv, .required = true, .doc = "program and arguments; no shell",
            .example = "[/usr/bin/true]"),
    COMMAND("timeout", T_DURATION, timeout, .fallback = "60s", RANGE(NSEC_MS, 24 * NSEC_HOUR),
            .doc = "longest run; then SIGTERM, 2 s, SIGKILL", .example = "5m"),
    COMMAND("status", T_INT, status, .fallback = "0", RANGE(0, 255),
            .doc = "exit status it must have", .example = "1"),
    COMMAND("output", T_REGEX, output, .fallback_doc = "any",
            .doc = "extended regular expression that its output must match",
            .example = "\"Invalid value for '--identity\""),
};
const struct schema_part schema_rest = {keys, ARRAY_LEN(keys)};
