/* docs/spec.md, printed from the table; a test compares it with the committed file. */
#include "spec/document.h"

#include "spec/schema.h"

#include <string.h>

static const char head[] =
    "# changeover.yml\n"
    "\n"
    "Every key of a spec, printed from the table that the loader reads (`src/spec/schema_*.c`). "
    "`changeover init`\n"
    "writes a commented starter; `examples/` has complete ones. A mistake is reported as "
    "`FILE:LINE:COLUMN`, what is\n"
    "wrong and what to write instead, all mistakes of a file at once. A key that is not here is an "
    "error.\n"
    "\n"
    "## How values are written\n"
    "\n"
    "- One YAML document of at most 1 MiB, without anchors, aliases and tags; no key twice.\n"
    "- duration: a number and `ms`, `s`, `m`, `h` or `d`: `500ms`, `10s`, `24h`. Never a bare "
    "number.\n"
    "- size: a number and `B`, `kB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB` or `TiB`: `10GB`, "
    "`512MiB`. Only `0` may be\n"
    "  bare.\n"
    "- path: absolute, without `.` and `..`.\n"
    "- name: at most 63 letters, digits, `-` and `_`.\n"
    "- regular expression: POSIX extended, unless another dialect is named.\n"
    "- command: a list of a program and its arguments, `[/usr/bin/prog, arg]`, or a map with the "
    "keys of\n"
    "  [Commands](#commands). There is no shell, so a plain text is an error.\n"
    "\n"
    "## Names\n"
    "\n"
    "In every value these are replaced when the spec is bound to a colour and a version. An "
    "unknown name is an\n"
    "error; `$$` is a dollar sign, and a `$` that is not followed by `{` or `$` stands for "
    "itself.\n"
    "\n"
    "| name | becomes |\n"
    "|---|---|\n"
    "| `${colour}`, `${other}` | `green` or `blue`, and the other one |\n"
    "| `${service}` | the service's name |\n"
    "| `${version}` | the colour's version: `--target-version`, or what it was started with |\n"
    "| `${port.NAME}`, `${other.port.NAME}` | this colour's port, the other's; a range as "
    "`9000-9025` |\n"
    "| `${port.NAME.first}`, `${port.NAME.last}` | the ends of a range |\n"
    "| `${volume.NAME}`, `${other.volume.NAME}` | the directory of a volume |\n"
    "| `${config.NAME}` | a value of `config`, the colour's over the common one |\n"
    "| `${identity}`, `${identity.N}` | the colour's first identity file, the N-th counted from 0 "
    "|\n"
    "| `${spread}`, `${spread_ms}` | the time of `stop.websockets`, in seconds and in "
    "milliseconds |\n"
    "| `${slot}` | in `shadow.requests` only: a slot that both colours have; a text that is "
    "nothing "
    "else becomes a number |\n"
    "| `${environment.NAME}` | the variable of the environment the command runs in; missing is an "
    "error |\n"
    "\n"
    "Inside `[ ]` and `{ }` YAML wants quotes around a text with `${...}`: `[\"${port.rpc}\"]`.\n"
    "\n"
    "Ports, config, identity and volume paths are read in this order, and each may use those "
    "before it.\n"
    "\n"
    "## Where writes go\n"
    "\n"
    "`writes` has no default, since \"nothing lost\" means something else for each:\n"
    "\n"
    "| value | meaning | consequence |\n"
    "|---|---|---|\n"
    "| `replayed` | the standby fetches what happened since the snapshot from elsewhere (a chain, "
    "a primary) | the gate "
    "proves that it has caught up; an upgrade may flip back by itself |\n"
    "| `both` | each colour collects its own (Prometheus) | the hole between snapshot and start is "
    "measured and "
    "reported; a rollback after the flip needs `--accept-loss` |\n"
    "| `client` | clients write into live, and only one may run | requests wait while the old "
    "colour is stopped, the rest of its data cloned and the new one started, for "
    "`traffic.hold.max` at most; a "
    "rollback after that needs `--accept-loss` |\n"
    "\n"
    "With `client` the clone of `prepare` is a rehearsal: it shows that the new version starts on "
    "the data, and how long that takes. `promote` removes the rehearsal and clones anew: passes "
    "over the data while the old colour serves on, each over what changed during the one before. "
    "Then it lets requests wait, drains and stops the old colour, clones what is left, starts the "
    "new one, and lets the requests go when it has passed its gate. It refuses before anybody "
    "waits if what is left, and start and gate as `prepare` took, are longer than "
    "`traffic.hold.max`. (A `promote` that is killed and goes on inside the hold clones all of it "
    "there.) "
    "If that does not happen in time, the old colour is started again on its own data and answers "
    "what waited. So clients must wait for an answer for twice `traffic.hold.max`, and "
    "`freeze.max` "
    "counts for the rehearsal only. `promote --accept-loss` flips plainly instead: the new colour "
    "then has what was written before `prepare` cloned it, and nothing after.\n";

static void add_path(struct str *out, const char *path)
{
    const char *star = str_starts(path, "volumes.")   ? "NAME"
                       : str_starts(path, "colours.") ? "COLOUR"
                                                      : "KIND";
    if (str_starts(path, "COMMAND."))
        path += strlen("COMMAND.");
    for (; *path; path++)
        if (*path == '*')
            str_add(out, star);
        else
            str_add_c(out, *path);
}

/* A bar ends a cell of a Markdown table, in code too. */
static void add_cell(struct str *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            str_add_c(out, '\\');
        str_add_c(out, *text);
    }
}

static void add_row(struct str *out, const struct schema_key *k)
{
    cleanup_str struct str type = {0};
    schema_type_words(k, &type);
    str_add(out, "| `");
    add_path(out, k->path);
    str_addf(out, "` | ");
    add_cell(out, str_cstr(&type));
    str_add(out, " | ");
    if (k->required)
        str_add(out, "**required**");
    else if (k->fallback)
        str_addf(out, "`%s`", k->fallback);
    else if (k->fallback_doc)
        add_cell(out, k->fallback_doc);
    str_add(out, " | ");
    add_cell(out, k->doc);
    str_add(out, " | ");
    if (k->example) {
        str_add(out, "`");
        add_cell(out, schema_leaf(k));
        str_add(out, ": ");
        add_cell(out, k->example);
        str_add(out, "`");
    }
    str_add(out, " |\n");
}

static bool same_top(const char *a, const char *b)
{
    size_t n = strcspn(a, ".");
    return n == strcspn(b, ".") && memcmp(a, b, n) == 0;
}

void spec_document(struct str *out)
{
    str_add(out, head);
    const char *top = NULL;
    const struct schema_key *k;
    for (size_t i = 0; (k = schema_row(i)); i++) {
        bool new_top = !top || !same_top(top, k->path);
        if (new_top && strchr(k->path, '.') && str_starts(k->path, "COMMAND."))
            str_add(out, "\n## Commands\n\nThe keys of a command that is written as a map.\n\n");
        else if (new_top)
            str_addf(out, "\n## `%.*s`\n\n", (int)strcspn(k->path, "."), k->path);
        if (new_top)
            str_add(out, "| key | type | default | meaning | example |\n|---|---|---|---|---|\n");
        add_row(out, k);
        top = k->path;
    }
}
