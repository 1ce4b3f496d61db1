"""What examples of a service at full work leave in its data (tests/e2e/busy.c), and whether a clone of it is one moment."""
import os
import struct

from .service import Service

FILES, SLOTS, STRIDE = 8, 64, 131072       # as in busy.c
BALLAST = 3000


def place(root, kind, i):
    return root / ("first", "second")[i % 2] / ("" if i % 4 < 2 else "still") / f"{kind}.{i}"


def make_data(green):
    for volume in ("first", "second"):
        (green / volume / "still").mkdir(parents=True, exist_ok=True)
    for i in range(FILES):
        for kind in ("stored", "brief", "written"):
            place(green, kind, i).write_bytes(bytes(SLOTS // FILES * STRIDE))
        place(green, "small", i).write_bytes(bytes(4096))
    for i in range(BALLAST):
        (green / "first" / f"ballast.{i}").write_bytes(b"ballast " * 512)
    for name in "xy":                       # the same size and time, so that only their place tells them apart
        for below in ("", "sub"):
            (green / "first" / name / below).mkdir(exist_ok=True)
            (green / "first" / name / below / "f").write_text(name)
            os.utime(green / "first" / name / below / "f", (1, 1))


def numbers(blue, kind):
    """What the slots hold, and what they must hold if the largest of them is the latest."""
    files = [place(blue, kind, i).read_bytes() for i in range(FILES)]
    slots = FILES if kind == "small" else SLOTS
    found = [struct.unpack_from("<Q", files[i % FILES], i // FILES * STRIDE)[0] for i in range(slots)]
    last = max(found)
    assert last > 10 * SLOTS, f"nobody wrote: {kind} {found}"
    return found, [last - (last - i) % slots for i in range(slots)]


def broken(blue):
    """How the clone fails to be one moment; empty if it is one."""
    out = []
    for kind in ("stored", "brief", "written", "small"):
        found, expected = numbers(blue, kind)
        if found != expected:
            out.append(f"{kind}: {found}, not {expected}")
    gens = sorted(int(p.name.split(".")[1]) for v in ("first", "second") for p in (blue / v).glob("gen.*"))
    last = gens[-1] if gens else 0
    if gens not in (list(range(last - 2, last + 1)), list(range(last - 3, last + 1))):
        out.append(f"names: generations {gens}")
    if (last + 1) % 16:
        whose = "xy" if last // 16 % 2 == 0 else "yx"
        got = [(blue / "first" / n / f).read_text() for n in "xy" for f in ("f", "sub/f")]
        if got != [whose[0], whose[0], whose[1], whose[1]]:
            out.append(f"directories: at generation {last} x and y hold {got}")
    if len(list((blue / "first").glob("ballast.*"))) != BALLAST:
        out.append("ballast is missing")
    return out


def prepare_at_work(busy, place, volumes, others=None, spec=None):
    """Prepares a service whose green writes into `volumes`, below `place`; others: over the keys of its further volumes;
    spec: over all else.
    How blue fails to be one moment, and what was said."""
    volumes = {name: {"path": f"{place}/${{colour}}/{name}", **volume} for name, volume in volumes.items()}
    with Service(spec) as s:
        second = "${volume.second}" if "second" in volumes else "${volume.first}/second"
        command = [str(busy), "${volume.first}", second, "--", *s.spec["runtime"]["command"]]
        volumes.update({name: others or {} for name in ("ledger", "accounts")})
        s.change_spec({"volumes": volumes, "runtime": {"command": command}})
        s.start()
        said = s.run("prepare", "-t", "2.0.0", timeout=600).stderr
        return broken(place / "blue"), said


def generation(place):
    """The latest name that green has made."""
    return max((int(p.name.split(".")[1]) for p in (place / "green").glob("*/gen.*")), default=0)
