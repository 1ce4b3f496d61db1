"""What benchmarks share: figures beside their bars, cores, CPU time, steal.

    with Figures("the probe beside wrk") as figures:
        figures.add("cost at 5,000 POST/s", f"{cores:.2f} of a core", "under 0.5", cores < 0.5)

CHANGEOVER_BENCH=short runs each in a few seconds: to see that it works. Bars that such a short time, or a machine
with other work, cannot measure are then printed and not held.
"""
import os
import subprocess
import time

SHORT = os.environ.get("CHANGEOVER_BENCH") == "short"
STEAL_MAX = 5.0  # per cent


class Figures:
    """A table, printed in the end also after a failure; leaving it fails if a bar was missed."""

    def __init__(self, title):
        self.title, self.rows = title, []

    def add(self, name, value, bar="", ok=True, always=False):
        """bar: in words; always: also held in the short form."""
        self.rows.append((name, value, bar, ok, always or not SHORT))

    def text(self):
        out = [f"\n{self.title}" + (" (short form: only to see that it works)" if SHORT else "")]
        for name, value, bar, ok, held in self.rows:
            verdict = "" if not bar else "ok" if ok else "MISSED" if held else "missed; not held in short"
            out.append(f"  {name:34} {value}" + (f"   [{bar}: {verdict}]" if bar else ""))
        return "\n".join(out)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        print(self.text())
        missed = [name for name, _, _, ok, held in self.rows if held and not ok]
        if kind is None:
            assert not missed, f"missed: {', '.join(missed)}"


def two_cores():
    """(one for the client, the other one for the server), or None where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else None


def pin(pid, core):
    subprocess.run(["taskset", "-acp", str(core), str(pid)], stdout=subprocess.DEVNULL, check=True)


def cpu_seconds(pid):
    """User and system time of a process so far."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Machine:
    """The whole machine from here to read(): (per cent busy, per cent stolen by the host)."""

    def __init__(self):
        self.began = self._now()

    @staticmethod
    def _now():
        with open("/proc/stat") as f:
            return [int(n) for n in f.readline().split()[1:9]]

    def read(self):
        spent = [b - a for a, b in zip(self.began, self._now())]
        total = sum(spent) or 1
        idle, steal = spent[3] + spent[4], spent[7]
        return 100 * (total - idle - steal) / total, 100 * steal / total


def unstolen(measure, tries=4):
    """measure() -> its result, and the steal meanwhile; repeated while the host took more than STEAL_MAX."""
    for left in reversed(range(tries)):
        machine = Machine()
        result = measure()
        steal = machine.read()[1]
        if steal <= STEAL_MAX or SHORT or not left:
            return result, steal
        print(f"  repeated: the host took {steal:.1f} % of the CPU")


class Child:
    """A program run to its end on `core`: out, seconds, cpu_seconds, peak_bytes. during(): called once meanwhile."""

    def __init__(self, argv, core, during=None, timeout=120):
        began = time.monotonic()
        process = subprocess.Popen(["taskset", "-c", str(core), *map(str, argv)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, text=True)
        try:
            if during:
                during()
            self.out = process.stdout.read()
        except BaseException:
            process.kill()
            raise
        finally:
            process.stdout.close()
            _, self.status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(self.status)
        self.seconds = time.monotonic() - began
        self.cpu_seconds, self.peak_bytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10
