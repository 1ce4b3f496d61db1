"""20 promotes there and back under load, then rollbacks while the old side still runs."""
import statistics

from lib import figures
from lib.bench import SHORT
from lib.service import Service


def middle(values):
    return f"median {statistics.median(values) * 1e3:.0f} ms, max {max(values) * 1e3:.0f} ms"


def test_promotes(promotes=2 if SHORT else 20, rollbacks=1 if SHORT else 5):
    with Service(figures.SPEC) as service:
        service.start()
        with figures.Load(service) as load:
            moved = figures.promotes(service, promotes)
            work = figures.rollbacks(service, rollbacks)
            seen = load.end()
        count = figures.executed(service)
    sockets, stops = seen["websockets"], promotes
    at_flip = figures.SOCKETS * promotes - sum(moved["stayed"])
    print(f"\n{promotes} promotes, {rollbacks} rollbacks, 800 POST/s, each 100th of 2 s, {figures.SOCKETS} websockets, "
          f"{seen['elapsed_ms'] / 1e3:.0f} s\n"
          f"requests                  {seen['sent']} sent, {seen['answered']} answered, {seen['lost']} failed; the backends' "
          f"own logs: {len(count)} executed, {sum(n > 1 for n in count.values())} of them twice\n"
          f"latency                   p50 {seen['latency_ms']['p50']:.1f} ms, p99 {seen['latency_ms']['p99']:.1f} ms\n"
          f"websockets                {at_flip} dropped at the flips; {sockets['drops']} when an old side stopped "
          f"({stops} x {figures.SOCKETS}), {sockets['first_try']} reconnected at the first try\n"
          f"flip to proven            {middle(moved['proven'])} (under 1 s)\n"
          f"rollback, old side up     {middle(work)} of work apart from the gate (under 1 s)")
    assert seen["lost"] == 0 and seen["duplicate_answers"] == 0, seen["failures"][:10]
    assert len(count) == seen["answered"] and max(count.values()) == 1
    assert at_flip == 0
    assert sockets["drops"] == sockets["first_try"] == stops * figures.SOCKETS and sockets["open"] == figures.SOCKETS
    assert SHORT or max(moved["proven"]) < 1 and max(work) < 1
