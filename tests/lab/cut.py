"""What the machine of test_power_cut.py does after each of its boots; run in the VM, with systemd as process 1.

Nothing here mounts, imports or starts anything after a cut: the units of Debian's ZFS, ours and the services' do.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from lib import rpcnode, service as service_module  # noqa: E402
from lib.waiting import wait_for  # noqa: E402
from lib.zfs import digest, zfs  # noqa: E402
from lib.zvol import VOLUMES, ZVOLS, ZvolService, dataset_of, mount_of, run  # noqa: E402

HOME = pathlib.Path("/srv/lab")
FACTS = HOME / "facts.json"
UNITS = pathlib.Path("/etc/systemd/system")
TOOL = pathlib.Path("/usr/local/bin/changeover")
FSTAB = pathlib.Path("/etc/fstab")
KEPT = ("name", "parent", "front_port", "pubkeys", "fixed", "precious", "newest", "reserved")


class Kept(ZvolService):
    """The service as a user would have it: below /srv, its spec in /etc, its programs as units, its state where it is
    by default."""

    def __init__(self, facts=None):
        if not facts:
            super().__init__()
            self.spec_path = pathlib.Path("/etc/changeover/node.yml")
            self.spec_path.parent.mkdir(parents=True)
            self.write_spec()
            return
        for key in KEPT:
            setattr(self, key, facts[key])
        self.volumes = VOLUMES
        self.dir, self.flag_dir = pathlib.Path(facts["dir"]), pathlib.Path(facts["flag_dir"])
        self.spec_path = pathlib.Path("/etc/changeover/node.yml")

    def argv(self, *args):
        return [str(TOOL), *map(str, args[:1]), "-f", str(self.spec_path), *map(str, args[1:])]

    def logs(self):
        return run("journalctl", "-b", "--no-pager", "-n", "60", expect=None)

    def unit(self, name, argv, user="root"):
        env = "".join(f'Environment={k}={self.caddy.home}\n' for k in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"))
        (UNITS / f"{name}.service").write_text(
            f"[Unit]\nBefore=changeover@node.service\n[Service]\nUser={user}\n{env}"
            f"ExecStart={' '.join(map(str, argv))}\n[Install]\nWantedBy=multi-user.target\n")
        run("systemctl", "enable", "--now", name)

    def start(self, version="1.0.0"):
        rpcnode.init(self.network.ledger, self.network.accounts, 1, "1K", self.slots + 10)
        self.unit("lab-network", self.network.argv)
        wait_for(self.network.answers, "the network", 60)
        self.unit("lab-caddy", [self.caddy.binary, "run", "--config", self.caddy.path, "--adapter", "caddyfile"], "nobody")
        self.make_data()
        FSTAB.write_text("".join(f"/dev/zvol/{self.dataset('green', v)} {self.dir}/green/{v} {fs} noatime 0 0\n"
                                 for v, (fs, _) in ZVOLS.items()))
        run("systemctl", "daemon-reload")
        rpcnode.init(self.dir / "green/ledger", self.dir / "green/accounts", self.files, self.size, self.slots)
        for v in VOLUMES:
            (self.dir / "green" / v / "fixed").write_bytes(os.urandom(300000))
        self.fixed = {v: digest(self.dir / "green" / v)["fixed"] for v in VOLUMES}
        self.run("start", "--version", version)
        self.run("traffic", "install", "-y")
        run("systemctl", "enable", "changeover@node")
        facts = {key: getattr(self, key) for key in KEPT}
        FACTS.write_text(json.dumps({**facts, "dir": str(self.dir), "flag_dir": str(self.flag_dir)}))
        return self

    def save_newest(self):
        FACTS.write_text(json.dumps({**json.loads(FACTS.read_text()), "newest": self.newest}))


def own_units():
    return sorted(p.name for p in UNITS.glob("*.mount") if p.read_text().startswith("# changeover: service=node"))


def escaped(service, colour):
    return sorted(run("systemd-escape", "--path", "--suffix=mount", service.dir / colour / v).strip() for v in ZVOLS)


def instances(service):
    """The colours whose ledger some process has been given."""
    found = []
    for colour in ("green", "blue"):
        for _, words in service.processes():
            if f"--ledger {service.dir}/{colour}/ledger" in words and "rpcnode" in words.split()[0]:
                found.append(colour)
    return found


def as_the_state_says(service, state, live, there):
    """`there`: the colours whose data exists. All of it is mounted, one instance runs, and it is live's."""
    failed = run("systemctl", "--failed", "--no-legend", "--plain", expect=None)
    assert not failed.strip(), failed + service.logs()
    status = service.status()
    assert (status["state"], status["live"]) == (state, live), status
    assert instances(service) == [live], (instances(service), service.logs())
    assert service.flags() == [f"active-{live}"]
    wait_for(lambda: service.identity() == live, f"{live} to answer through Caddy", 60)
    for colour in ("green", "blue"):
        for v in VOLUMES:
            path = service.dir / colour / v
            if colour not in there:
                # the mount point may be back: that it went was not on disk yet, and it holds nothing
                assert not mount_of(path) and not (path.exists() and list(path.iterdir())), path
                continue
            device, kind, options = mount_of(path)
            assert kind == (ZVOLS[v][0] if v in ZVOLS else "zfs") and "rw" in options
            assert (dataset_of(device) if v in ZVOLS else device) == service.dataset(colour, v)
            assert digest(path)["fixed"] == service.fixed[v]
            assert json.loads((path / ".changeover").read_text())["colour"] == colour
    assert digest(service.dir / "other") == service.precious


def first_boot():
    HOME.mkdir(parents=True)
    tempfile.tempdir = str(HOME)
    TOOL.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(service_module.TOOL, TOOL)
    shutil.copy2("/host/build/data/changeover@.service", UNITS)
    service_module.TOOL = TOOL
    run("zpool", "create", "-O", "mountpoint=none", "tank", "/dev/vdd")
    service = Kept().start()
    version = service.next_version()
    service.save_newest()
    run("sync")  # what was here long before; nothing of the upgrade
    service.run("prepare", "-t", version)
    assert own_units() == escaped(service, "blue")
    service.run("promote")
    assert service.state() == "promoted"


def after_promoted(service):
    as_the_state_says(service, "promoted", "blue", ("green", "blue"))
    service.run("rollback")
    assert service.state() == "rolled-back"


def after_rolled_back(service):
    as_the_state_says(service, "rolled-back", "green", ("green", "blue"))
    service.run("cleanup", "-y")
    assert own_units() == []
    service.looks_clean("green")
    service.run("prepare", "-t", service.next_version())
    service.run("promote")
    refused = service.run("cleanup", "-y", expect=3)  # with the data gone, the boot would wait for it in vain
    assert "line 1 of /etc/fstab" in refused.stderr, refused.stderr
    for v in VOLUMES:
        assert digest(service.dir / "green" / v)["fixed"] == service.fixed[v], "nothing was changed"
    FSTAB.write_text("")
    run("sync")
    service.run("resume")
    service.looks_clean("blue")
    assert service.state() == "steady"


def after_cleanup(service):
    as_the_state_says(service, "steady", "blue", ("blue",))
    assert own_units() == escaped(service, "blue")
    assert service.graph() == {"other": "-", **{f"blue-{v}": "-" for v in VOLUMES}}
    service.run("stop", "-y")
    run("umount", service.dir / "blue/ledger")
    refused = service.run("start", expect=None)
    assert refused.returncode != 0 and f"{service.dir}/blue/ledger" in refused.stderr, refused.stderr
    assert instances(service) == []


PHASES = {"first-boot": None, "promoted": after_promoted, "rolled-back": after_rolled_back, "cleanup": after_cleanup}

if __name__ == "__main__":
    if sys.argv[1] == "first-boot":
        first_boot()
    else:
        PHASES[sys.argv[1]](Kept(json.loads(FACTS.read_text())))
    print(f"cut: {sys.argv[1]} is done")
