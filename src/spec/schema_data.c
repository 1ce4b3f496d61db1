/* Keys: the service, its colours, its data. */
#include "spec/schema_rows.h"

static const struct schema_word writes_words[] = {
    {"replayed", WRITES_REPLAYED}, {"both", WRITES_BOTH}, {"client", WRITES_CLIENT}, {0}};
static const struct schema_word volume_words[] = {
    {"auto", 0}, {"reflink", 0}, {"copy", 0}, {"btrfs", 0}, {"zfs", 0}, {"empty", 0}, {0}};
static const struct schema_word consistency_words[] = {
    {"freeze", CONSISTENCY_FREEZE}, {"none", CONSISTENCY_NONE}, {0}};

static const struct schema_key keys[] = {
    ROW("service", T_NAME, service, .required = true,
        .doc = "name of the service: of its state, flags and locks", .example = "agave"),
    ROW("writes", T_WORD, writes, .required = true, .words = writes_words,
        .doc = "where writes go; see \"Where writes go\"", .example = "replayed"),
    ROW("accept_loss", T_BOOL, accept_loss, .fallback = "false",
        .doc = "a rollback after the flip may lose writes without asking", .example = "true"),

    SECTION("colours", .required = true, .doc = "what differs between the two"),
    SECTION("colours.green", .required = true, .doc = "the green colour"),
    SECTION("colours.blue", .required = true, .doc = "the blue colour; the same names as green"),
    EARLY("colours.*.ports", .required = true, .type_doc = "map of name: number or \"FIRST-LAST\"",
          .doc = "each port or port range that the instance binds", .example = "{http: 8101}"),
    EARLY("colours.*.identity", .type_doc = "path or list of paths",
          .doc = "key files of this colour; must not be the other's",
          .example = "/etc/agave/green.json"),
    EARLY("colours.*.config", .type_doc = "map of name: text",
          .doc = "values for ${config.NAME}, over the common ones", .example = "{flag: a}"),
    EARLY("colours.*.env", .type_doc = "map of NAME: text",
          .doc = "environment of this colour, over `runtime.env`", .example = "{ROLE: a}"),
    EARLY("config", .type_doc = "map of name: text", .doc = "values for ${config.NAME}",
          .example = "{loglevel: info}"),

    {.path = "volumes",
     .type = T_VOLUMES,
     .type_doc = "map of name: map",
     .doc = "the data, each with its place in either colour; none for a stateless service"},
    VOLUME("driver", T_WORD, driver, .fallback = "auto", .words = volume_words,
           .doc =
               "how the standby gets its data; auto = btrfs where live's is a subvolume, reflink "
               "where that works, else copy",
           .example = "copy"),
    VOLUME("path", T_NAMES, path, .type_doc = "path",
           .doc = "the colour's directory, with ${colour} in it; or give `green` and `blue`",
           .example = "/srv/agave/${colour}/ledger"),
    VOLUME("green", T_NAMES, path, .type_doc = "path", .doc = "green's directory",
           .example = "/srv/agave/ledger"),
    VOLUME("blue", T_NAMES, path, .type_doc = "path", .doc = "blue's directory",
           .example = "/srv/agave-blue/ledger"),
    VOLUME("dataset", T_TEXT, dataset,
           .doc = "with zfs: this colour's file system or volume, mounted at its path",
           .example = "tank/agave-${colour}"),
    VOLUME("fsfreeze", T_BOOL, fsfreeze, .fallback = "false",
           .doc = "with zfs, on a zvol: freeze the file system around the snapshot",
           .example = "true"),
    VOLUME("quota", T_BYTES, quota, .fallback_doc = "live's",
           .doc = "with zfs, not on a zvol: most that the clone may take, its snapshots included",
           .example = "500GB"),
    VOLUME("refquota", T_BYTES, refquota, .fallback_doc = "live's",
           .doc = "with zfs, not on a zvol: most that the clone's own data may take",
           .example = "400GB"),
    VOLUME("exclude", T_TEXTS, exclude, .doc = "patterns of what a clone leaves out",
           .example = "[\"*.sock\", LOCK]"),
    VOLUME("consistency", T_WORD, consistency, .fallback = "freeze", .words = consistency_words,
           .doc = "freeze the instance for the last pass of its clone, or not at all",
           .example = "none"),
    VOLUME("before_snapshot", T_COMMAND, before_snapshot,
           .doc = "run before the clone; the instance is then not frozen",
           .example = "[/usr/local/bin/flush]"),
    VOLUME("after_snapshot", T_COMMAND, after_snapshot, .doc = "run after the clone, failed or not",
           .example = "[/usr/local/bin/unflush]"),
    VOLUME("verify", T_BOOL, verify, .fallback = "false",
           .doc = "compare what was cloned with its source, byte by byte", .example = "true"),
    VOLUME("rate_limit", T_BYTES, rate_limit, .fallback = "0",
           .doc = "most bytes a second while cloning, but in the pause; 0 = no limit",
           .example = "200MB"),
    VOLUME("max_pressure", T_INT, max_pressure, .fallback = "0", RANGE(0, 100),
           .doc = "cloning waits, but in the pause, while more per cent of the time than that "
                  "something stands still for disk or memory (/proc/pressure); 0 = no limit",
           .example = "20"),

    SECTION("freeze", .doc = "the pause of the live instance for the last pass of its clone"),
    ROW("freeze.max", T_DURATION, freeze_max, .fallback = "2s", RANGE(NSEC_MS, 10 * NSEC_MIN),
        .doc = "longest pause; none begins while a pass takes longer; also of fsfreeze",
        .example = "5s"),
};
const struct schema_part schema_data = {keys, ARRAY_LEN(keys)};
