"""What `status` costs, with a live colour, a standby beside it, and Caddy, all healthy."""
from lib import figures
from lib.service import Service


def test_status(tmp_path):
    with Service() as service:
        service.start()
        service.run("prepare", "-t", "2.0.0")
        own, bare = figures.status_times(service, tmp_path)
        peak, private = figures.status_memory(service)
    size = figures.stripped_size(tmp_path)
    print(f"\nstatus                    {own * 1e3:.1f} ms; a program that only loads the same libraries {bare * 1e3:.1f} ms; "
          f"{(own - bare) * 1e3:.1f} ms more (at most 10)\n"
          f"memory of status          {peak / 1e6:.1f} MB resident (under 16), {private / 1e6:.1f} MB of it private (under 4)\n"
          f"the tool, stripped        {size / 1e6:.2f} MB (under 1)")
    assert own - bare <= 0.010
    assert peak < 16e6 and private < 4e6 and size < 1e6
