"""The state table: what is true when the tool is killed at a step boundary, and where resume and rollback end.

The tests demand it of every boundary; docs/recovery.md shows it (`python3 tests/crash/recovery.py` prints that part).
"from" and "to" are the colours that the upgrade comes from and goes to.
"""
import collections

MOMENTS = ("intended", "applied", "done")

Row = collections.namedtuple("Row", "state live resume rollback")
End = collections.namedtuple("End", "state live running refused")

PREPARED = End("prepared", "from", ("from", "to"), False)
PROMOTED = End("promoted", "to", ("to",), False)
ROLLED_BACK = End("rolled-back", "from", ("from",), False)
REFUSED = End("cleaning", "", (), True)


def steady(live):
    return End("steady", live, (live,), False)


def flipped(step, moment, name):
    """Whether the flip named `name` has been committed at this boundary; steps: those of its phase, in order."""
    steps, at = step
    order = steps.index(at) * len(MOMENTS) + MOMENTS.index(moment)
    return name in steps and order >= steps.index(name) * len(MOMENTS) + MOMENTS.index("applied")


def row(phase, steps, step, moment, after_flip=True):
    """What the table says of one boundary. after_flip: of a rollback or cleanup, whether the flip had happened."""
    if phase == "prepare":
        return Row("preparing", "from", PREPARED, ROLLED_BACK)
    if phase == "promote":
        live = "to" if flipped((steps, step), moment, "promote/flip") else "from"
        return Row("promoting", live, PROMOTED, ROLLED_BACK)
    if phase == "finish":
        return Row("promoting", "to", PROMOTED, ROLLED_BACK)
    if phase == "rollback":
        back = not after_flip or flipped((steps, step), moment, "rollback/flip")
        return Row("rolling-back", "from" if back else "to", ROLLED_BACK, ROLLED_BACK)
    assert phase == "cleanup", phase
    live = "to" if after_flip else "from"
    return Row("cleaning", live, steady(live), REFUSED)


# --- while requests wait (writes: client) ---------------------------------------------------------

LOSES = End("promoting", "", (), True)
HOLD_STEPS = {
    "promote": ["gate", "shadow", "hold-fits", "baseline", "preview"],
    "hold": ["probe", "rehearsal-boot-off", "rehearsal-stop", "clear", "ahead", "hold", "flip", "drain", "boot-off", "stop", "clone", "boot-on",
             "start", "gate", "release", "verify", "priority", "bake"],
    "finish": ["let-go"],
    "rollback": ["boot-on", "start", "gate", "probe", "preview", "flip", "verify", "loser-boot-off", "stop", "give-back"],
}


def hold_row(phase, step, moment):
    """The same for an upgrade during which requests wait. A rollback here is one that began while they did."""
    def since(name):
        steps = HOLD_STEPS[phase]
        return flipped((steps, step), moment, name)

    if phase == "rollback":
        return Row("rolling-back", "from" if since("flip") else "waits", ROLLED_BACK, ROLLED_BACK)
    if phase == "finish" or (phase == "hold" and since("release")):
        return Row("promoting", "to", PROMOTED, LOSES)
    live = "waits" if phase == "hold" and since("flip") else "from"
    return Row("promoting", live, PROMOTED, ROLLED_BACK)


# --- the document ---------------------------------------------------------------------------------

STEPS = collections.OrderedDict([
    ("prepare", ["check", "validate", "clone", "boot-on", "start", "gate"]),
    ("promote", ["gate", "shadow", "baseline", "preview", "flip", "verify", "priority", "bake"]),
    ("finish", ["probe", "drain", "boot-off", "websockets", "stop"]),
    ("rollback", ["boot-on", "start", "gate", "probe", "preview", "flip", "verify", "priority", "drain", "loser-boot-off",
                  "websockets", "stop"]),
    ("cleanup", ["stop", "destroy-VOLUME", "forget"]),
])

# with runtime.driver kubernetes, beside those above; tests/cluster kills there
CLUSTER_STEPS = {"cleanup": ["remove"]}

REDO = {
    "remove": "deletes the Deployment if it is still there", "check": "looks again", "validate": "asks again", "gate": "waits at the gate again",
    "clone": "keeps it if it is complete and of this upgrade; else removes the leftover and clones anew",
    "boot-on": "does it again", "boot-off": "does it again", "loser-boot-off": "does it again",
    "start": "keeps the instance that runs by this spec; else starts it",
    "baseline": "starts the probe anew, with a new baseline; after the flip with the stored one", "probe": "starts the probe anew",
    "shadow": "compares again", "preview": "asks again", "verify": "proves it again", "priority": "does it again", "bake": "bakes from the beginning",
    "flip": "lets the flags decide whether it has happened, leaves exactly one, and flips if it has not",
    "drain": "drains again", "websockets": "waits for a command that is in work; done if none is open any more, else tells it again",
    "stop": "waits for a stop that is in work; else stops what still runs",
    "destroy-VOLUME": "removes what is left of it", "forget": "does it again",
}


HOLD_REDO = {
    **REDO, "hold-fits": "measures again", "rehearsal-boot-off": "does it again",
    "rehearsal-stop": "waits for a stop that is in work; else stops what still runs", "clear": "removes what is left", "ahead": "makes the passes again",
    "clone": "keeps it if it is complete and of this upgrade; else removes the leftover and clones all of it anew",
    "hold": "does it again; the ceiling counts anew", "release": "does it again", "let-go": "does it again",
    "give-back": "hands back what still waits", "verify": "proves it again",
}


def where(end):
    if end == LOSES:
        return "refused (2): loses writes; with `--accept-loss` rolled-back, from live"
    if end.refused:
        return "refused (1): the data is on its way out; `cleanup` goes on"
    return f"{end.state}, {end.live} live"


HEAD = ["| killed in | at | state | traffic | `resume` | ends | `rollback` ends |", "|---|---|---|---|---|---|---|"]


def table(phases, row_of, redo):
    out = list(HEAD)
    for phase, names in phases.items():
        for name in names:
            groups = []
            for moment in MOMENTS:
                r = row_of(phase, name, moment)
                if groups and groups[-1][1] == r:
                    groups[-1][0].append(moment)
                else:
                    groups.append(([moment], r))
            for moments, r in groups:
                does = redo[name] if moments != ["done"] else "goes on"
                live = r.live if name != "flip" or moments != ["intended"] else f"{r.live}, or as the flags say"
                out.append(f"| {phase}/{name} | {', '.join(moments)} | {r.state} | {live} | {does} | {where(r.resume)} | "
                           f"{where(r.rollback)} |")
    return "\n".join(out) + "\n"


def document():
    return table(STEPS, lambda phase, name, moment: row(phase, [f"{phase}/{n}" for n in STEPS[phase]], f"{phase}/{name}", moment),
                 REDO)


def hold_document():
    return table(HOLD_STEPS, hold_row, HOLD_REDO)


def cluster_document():
    return table(CLUSTER_STEPS, lambda phase, name, moment: row(phase, [f"{phase}/{name}"], f"{phase}/{name}", moment), REDO)


if __name__ == "__main__":
    print(document(), hold_document(), cluster_document(), sep="\n", end="")
