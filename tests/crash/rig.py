"""One service, used for many cases in turn: kills at a point, looks at what is left, goes on."""
import os
import signal
import time

from lib import rpcnode
from lib.load import Load
from lib.service import Service
from lib.waiting import wait_for

SPEC = {
    "gate": {"interval": "50ms", "deadline": "60s"},
    "shadow": {"requests": [{"method": "getBlock", "params": ["${slot}"]}], "samples": 1},
    "bake": "500ms",
    "probe": {"body": '{"jsonrpc":"2.0","id":1,"method":"getSlot"}', "rate": 200, "baseline": "500ms", "timeout": "15s",
              "limits": {"max_lost": 0, "p99_ratio": 1000000, "p99_floor_ms": 600000, "max_gap_ms": 600000}},
    "traffic": {"verify_requests": 10},
    "stop": {"websockets": {"spread": "1s", "command": ["/usr/bin/true"]}},     # and none is open
}
SLOW = float(os.environ.get("CHANGEOVER_CRASH_SLOW", 60))    # a command that takes longer waited for something in vain
OTHER = {"green": "blue", "blue": "green"}


class Rig:
    """spec: laid over the service's. load: requests a second through the front all the while (0: none)."""

    def __init__(self, spec=None, load=500):
        self.service = Service({**SPEC, **(spec or {})}, files=20, size="256K", slot_ms=50, versions=("1.0.0",))
        self.rate, self.load = load, None
        self.faults = self.versions = 0

    def __enter__(self):
        try:
            self.service.start()
            if self.rate:
                self.load = Load(self.service, self.rate).start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.load:
            self.load.close()
        self.service.close()

    # --- doing ------------------------------------------------------------------------------------

    def run(self, *args, **kw):
        begun = time.monotonic()
        done = self.service.run(*args, **kw)
        took = time.monotonic() - begun
        assert took < SLOW, f"{args} took {took:.0f} s\n{done.stdout}\n{done.stderr}"
        return done

    def fault(self, action, point):
        """The environment in which the first process at `point` does `action`, once."""
        self.faults += 1
        marker = self.service.dir / f"fault-{self.faults}"
        return marker, {"CHANGEOVER_FAULT": f"{action}@{point}@{marker}"}

    def kill_at(self, point, *command):
        """Runs the command, which kills itself at the point."""
        marker, env = self.fault("kill", point)
        done = self.run(*command, expect=None, env=env)
        assert marker.exists(), f"{command} never came to {point}: {done.returncode}\n{done.stderr}"
        assert done.returncode == -signal.SIGKILL, f"{command} at {point}: {done.returncode}\n{done.stderr}"
        marker.unlink()

    def prepare(self, *more, **kw):
        """prepare to a version that never was before."""
        return self.run(*self.prepare_args(), *more, **kw)

    def prepare_args(self):
        self.versions += 1
        version = f"1.{self.versions}.0"
        rpcnode.make_version(self.service.dir / "versions" / version, version)
        return "prepare", "-t", version

    def sides(self):
        """(from, to) of the open upgrade, or of the one that would be begun."""
        rows = self.query("SELECT from_colour, to_colour FROM upgrades WHERE ended IS NULL")
        if rows:
            return rows[0]
        live = self.query("SELECT value FROM meta WHERE key='live'")[0][0]
        return live, OTHER[live]

    def query(self, sql, *args):
        return self.service.query(sql, *args)

    def steps(self, phase):
        """The steps of a phase as the last upgrade's journal has them, in the order of their beginning."""
        return [name for name, in self.query(
            "SELECT step FROM steps WHERE upgrade=(SELECT id FROM upgrades ORDER BY created DESC LIMIT 1) "
            "AND step LIKE ? ORDER BY rowid", phase + "/%")]

    # --- processes --------------------------------------------------------------------------------

    @property
    def state_dir(self):
        return self.service.dir / "state" / self.service.name

    def guards(self):
        """{role: pid} of the guards that live, from the labels of their locks."""
        found = {}
        alive = {pid for pid, argv in self.service.processes() if " guard -f " in argv}
        for role in "ab":
            try:
                pid = int((self.state_dir / f"guard-{role}.lock").read_text().split()[-1])
            except (FileNotFoundError, IndexError, ValueError):
                continue
            if pid in alive:
                found[role] = pid
        return found

    def kill_guards(self, roles="ab"):
        """SIGKILL; of both at once: no look in between, so that neither can start the other again."""
        guards = self.guards()
        for role in roles:
            if role in guards:
                os.kill(guards[role], signal.SIGKILL)
        if set(roles) == {"a", "b"}:
            self.end_guards()

    def end_guards(self):
        """One may have been starting the other just then."""
        for _ in range(20):
            left = [pid for pid, argv in self.service.processes() if " guard -f " in argv]
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def census(self):
        """{(colour, "instance" | "shim"): n, "guard": n, "stranger": [argv]} of what runs."""
        count = {"guard": 0, "stranger": []}
        for pid, argv in self.service.processes():
            if f"{self.service.dir}/network/" in argv:
                continue
            kind = None
            for colour in ("green", "blue"):
                if argv.startswith("changeover shim ") and argv.split()[-1].endswith(f"/runtime/{colour}"):
                    kind = (colour, "shim")
                elif f"--identity {self.service.dir}/{colour}.json" in argv:
                    kind = (colour, "instance")
            if " guard -f " in argv:
                kind = "guard"
            if kind is None:
                count["stranger"].append((pid, argv))
            else:
                count[kind] = count.get(kind, 0) + 1
        return count

    def wanted(self, running, guards):
        count = {"guard": guards, "stranger": []}
        for colour in running:
            count[(colour, "instance")] = 1
            count[(colour, "shim")] = 2     # it, and its log's copier
        return count

    # --- looking ----------------------------------------------------------------------------------

    def look(self, what, state, live):
        """What must hold at any moment, killed or not."""
        status = self.service.status()
        assert status["state"] == state, f"{what}: {status['state']}, not {state}"
        assert self.service.identity() == live, f"{what}: the traffic is not at {live}"
        if self.load and self.load.lost():
            steps = self.query("SELECT step, (ended - started) / 1000000, result FROM steps ORDER BY rowid DESC LIMIT 8")
            self.load.check(f"{what} (steps, latest first, in ms: {steps})")
        return status

    def settled(self, what, state, live, running, guards=None):
        """What must hold after a command has ended well: nothing that the journal does not know."""
        status = self.look(what, state, live)
        # a proxy that is too busy to answer within status's 500 ms shows as "none": the files themselves count
        assert status["live"] == live and status["flags"] in (live, "none") and not status["contradiction"], (what, status)
        assert self.service.flags() == [f"active-{live}"], (what, self.service.flags())
        if guards is None:
            guards = 0 if state == "steady" else 2
        want = self.wanted(running, guards)
        wait_for(lambda: self.census() == want, f"{what}: processes {want}, {self.census()}", 5)
        pids = {c["colour"]: c["pid"] for c in status["colours"]}
        assert all(pids[colour] for colour in running), (what, pids)
        self.only_known_data(what, state, live)

    def only_known_data(self, what, state, live):
        d = self.service.dir
        cleaned = state == "steady"
        for colour in ("green", "blue"):
            for path in (d / colour).iterdir() if (d / colour).exists() else ():
                assert path.name in self.service.spec["volumes"], f"{what}: {path} is nobody's"
                assert not cleaned or colour == live, f"{what}: {path} is left"
                mark = (path / ".changeover").read_text()
                assert self.service.name in mark and colour in mark, f"{what}: {path}: {mark}"
        for volume in self.service.spec["volumes"]:
            assert (d / live / volume / ".changeover").exists(), f"{what}: {live}'s {volume} is gone"
        known = {f"active-{live}", "README", "lock", "owner"}

        def strays():
            return [*({p.name for p in self.service.flag_dir.iterdir()} - known),
                    *(str(p) for p in self.state_dir.rglob("*") if "tmp" in p.name)]

        try:  # the guard may be writing its README at this very moment
            wait_for(lambda: not strays(), "nothing else to be left", 5)
        except AssertionError as e:
            raise AssertionError(f"{what}: {strays()} left in the flag or the state directory") from e
