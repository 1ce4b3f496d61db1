"""A flip by one write to the API: the EndpointSlice or the selector of a Service, the backend of an Ingress. These lose what
hangs on the old side, so the load through them is counted, and not held to zero."""
import json
import re
import signal
import subprocess
import threading

import pytest

from lib.caddy import ROOT, server_path
from lib.colours import Colours
from lib.kubernetes import account
from lib.load import Load
from lib.service import Service
from lib.waiting import wait_for


@pytest.fixture
def config(own, ns, tool, tmp_path):
    yield account(own, ns, tool, tmp_path / "config")
    own.kubectl("delete", "clusterrole,clusterrolebinding", f"changeover-{ns}", "--ignore-not-found")


def node_address(cluster):
    node = cluster.get("node")["items"][0]
    return next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")


def no_caddy(driver, cluster, ns, config, **route):
    """What changes of lib.service's spec."""
    gone = ("site", "caddyfile", "admin", "which_port", "preview_ports", "health")
    return {**{key: None for key in gone}, "driver": driver, "site": "http://10.96.0.1:1", "drain": {"deadline": "3s"},
            "kubernetes": {"kubeconfig": str(config), "namespace": ns, **route}}


class Routed:
    """Of a Service behind an object of Kubernetes instead of Caddy."""

    @property
    def url(self):
        return f"http://{self.address}:{self.front_port}"

    def manifests(self):
        """What `traffic render` shows, applied; the Service's port is the test's own."""
        text = self.run("traffic", "render").stdout
        self.cluster.kubectl("apply", "-n", self.ns, "-f", "-", input=text)

    def begin(self, version="1.0.0"):
        self.make_green()
        self.manifests()
        self.reach()
        self.change_spec({"traffic": {"site": self.url}})
        self.run("start", "--version", version)
        self.run("traffic", "install", "--live", "green", "-y")
        wait_for(lambda: self.who() == "green", "the front leads to green", timeout=30)
        return self

    def reach(self):
        service = self.object("service", self.name)
        self.address, self.front_port = service["spec"]["clusterIP"], self.ports["green"]["rpc"]

    def object(self, kind, name=None):
        return self.cluster.get(kind, "-n", self.ns, *([name] if name else []))

    def slice(self):
        return self.object("endpointslice", f"{self.name}-changeover")

    def who(self):
        done = subprocess.run(["curl", "-s", "-m", "2", "--data", '{"jsonrpc":"2.0","id":1,"method":"getIdentity"}', self.url],
                              capture_output=True, text=True)
        try:
            return self.pubkeys.get(json.loads(done.stdout)["result"]["identity"])
        except (ValueError, KeyError):
            return None

    def load(self, rate=100, fresh=100):
        load = Load(self, rate, args=["--fresh", fresh])
        load.url = self.url + "/"
        return load

    def moved(self, colour):
        assert self.live() == colour and self.who() == colour


class Process(Routed, Service):
    """Processes of this machine, which is the cluster's node."""

    def __init__(self, cluster, ns, config, driver="service", over=None, **route):
        self.cluster, self.ns = cluster, ns
        if driver == "service":
            route.setdefault("address", node_address(cluster))
        super().__init__({"traffic": no_caddy(driver, cluster, ns, config, **route), **(over or {})}, versions=("1.0.0", "2.0.0"))
        self.spec["runtime"]["command"] += ["--host", "0.0.0.0"]
        self.write_spec()


@pytest.fixture
def service(own, ns, config):
    with Process(own, ns, config) as s:
        yield s.begin()


def counted(load, capsys, what):
    result = load.stop()
    with capsys.disabled():
        print(f"\n{what}: {result['lost']} of {result['sent']} requests lost")
    return result


def test_the_whole_job(service, capsys):
    """prepare, promote, rollback, cleanup, and again to the end, by clients that connect anew each time."""
    with service.load() as load:
        service.run("prepare", "-t", "2.0.0")
        plan = service.run("plan").stdout
        assert "one write to the API server, the EndpointSlice of Service 'node' to blue" in plan
        assert "only driver caddy loses nothing" in plan
        promoted = service.run("promote")
        assert "the flip loses: connections that are open to green stay there" in promoted.stderr
        service.moved("blue")
        port = service.slice()["ports"][0]["port"]
        assert port == service.ports["blue"]["rpc"]
        service.run("rollback", "-y")
        service.moved("green")
        service.run("cleanup", "-y")
        service.run("prepare", "-t", "2.0.0")
        service.run("promote")
        service.run("cleanup", "-y")
        service.moved("blue")
        result = counted(load, capsys, "Service, connections of their own")
    assert result["sent"] > 500 and result["lost"] <= result["sent"] / 100


def test_the_probe_counts_what_was_lost(service):
    """By the front of the spec, on connections of its own, so that the drain waits for none of its; and the report has the warning."""
    service.change_spec({"bake": "1s", "probe": {"body": ['{"jsonrpc":"2.0","id":1,"method":"getSlot"}'], "rate": 100, "baseline": "1s",
                                                 "limits": {"max_lost": 100, "p99_ratio": 0, "max_gap_ms": 0}}})
    service.run("prepare", "-t", "2.0.0")
    promoted = service.run("promote")
    service.moved("blue")
    assert re.search(r"[0-9]+ requests.* lost", promoted.stderr), promoted.stderr
    assert "only driver caddy loses nothing" in service.run("report").stdout


def test_connections_that_stay_are_said_and_counted(service, capsys):
    """Clients that keep their connections stay at the old side: the drain names them, and only --drop cuts them."""
    service.run("prepare", "-t", "2.0.0")
    with service.load(fresh=0) as load:
        late = service.run("promote", expect=4)
        assert "green still has" in late.stderr and "nothing was stopped" in late.stderr and "past the proxy" not in late.stderr
        assert re.search(rf"direct connections?: {node_address(service.cluster)}", late.stderr), late.stderr  # who they are
        assert service.pid("green") and service.who() == "blue"
        load.check("before anything was cut")
        dropped = service.run("promote", "--drop")
        assert "its stop cuts" in dropped.stderr
        result = counted(load, capsys, "Service, kept connections, --drop")
    assert service.state() == "promoted" and result["sent"] > 300


@pytest.mark.parametrize("on", ["resume", "rollback"])
def test_killed_between_the_write_and_its_record(service, on):
    service.run("prepare", "-t", "2.0.0")
    marker = service.dir / "fault"
    done = service.run("promote", expect=None, env={"CHANGEOVER_FAULT": f"kill@flip:written@{marker}"})
    assert marker.exists() and done.returncode in (0, -signal.SIGKILL), done.stderr
    assert service.slice()["metadata"]["labels"]["changeover/colour"] == "blue", "it was written"
    service.run(on, *(["-y"] if on == "rollback" else []))
    wait_for(lambda: service.state() in ("promoted", "rolled-back"), "the end", timeout=60)
    service.moved("blue" if on == "resume" else "green")


def test_foreign_changes_are_said_and_not_overruled(service):
    service.run("prepare", "-t", "2.0.0")
    before = service.slice()
    service.cluster.kubectl("patch", "-n", service.ns, "endpointslice", f"{service.name}-changeover", "--type", "json", "-p",
                            '[{"op": "replace", "path": "/endpoints/0/addresses/0", "value": "192.0.2.9"}]')
    said = service.run("promote", expect=3)
    assert "sends to neither colour; last changed by kubectl-patch at 20" in said.stderr
    assert "nothing was changed" in said.stderr and service.slice()["endpoints"][0]["addresses"] == ["192.0.2.9"]
    assert "kubectl-patch" in service.run("traffic", "show", expect=None).stdout
    shown = service.run("traffic", "install", "-n").stdout
    assert "-endpoint 192.0.2.9" in shown and "+endpoint " + before["endpoints"][0]["addresses"][0] in shown
    service.run("traffic", "install", "-y")
    wait_for(lambda: service.who() == "green", "the front leads to green again", timeout=30)
    service.run("promote")
    service.moved("blue")


def test_a_flip_by_hand_is_taken(service):
    """The command of the README in the flag directory works as it stands, and adopt takes it."""
    service.run("prepare", "-t", "2.0.0")
    text = (service.flag_dir / "README").read_text()
    command = text.split("To send the traffic to blue by hand")[1].split("\n\n")[1].strip().replace("kubectl ", "", 1)
    words, _, rest = command.partition(" -f - <<'END'\n")
    service.cluster.kubectl(*words.split(), "-f", "-", input=rest.removesuffix("END"))
    assert "(changed by kubectl at" in service.run("status", expect=None).stdout
    service.run("adopt", "--live", "blue", "-y")
    assert service.state() == "promoted"
    service.moved("blue")


def test_what_is_there_must_fit(service):
    """A selector beside our slice, or a second slice: Kubernetes would send requests elsewhere, too."""
    k = service.cluster.kubectl
    k("patch", "-n", service.ns, "service", service.name, "-p", '{"spec": {"selector": {"app": "other"}}}')
    found = service.run("check", expect=1).stdout
    assert "has a selector" in found and "`by: selector`" in found
    k("patch", "-n", service.ns, "service", service.name, "--type", "json", "-p", '[{"op": "remove", "path": "/spec/selector"}]')
    other = service.slice()
    other["metadata"] = {"name": "more", "labels": {"kubernetes.io/service-name": service.name}}
    k("create", "-n", service.ns, "-f", "-", input=json.dumps(other))
    assert "EndpointSlice 'more' gets requests" in service.run("check", expect=1).stdout


class Pods(Routed, Colours):
    def __init__(self, cluster, ns, config, driver="service", over=None, **route):
        super().__init__(cluster, ns, config, {"traffic": no_caddy(driver, cluster, ns, config, **route), **(over or {})})
        self.template["spec"]["template"]["spec"]["containers"][0]["args"] += ["--host", "0.0.0.0"]
        self.write_template()


def test_the_selector_of_a_service(own, ns, config, capsys):
    """Colours as Deployments; selector and port of the Service change in one request."""
    with Pods(own, ns, config, by="selector") as service:
        service.begin()
        spec = service.object("service", service.name)["spec"]
        assert spec["selector"] == {"changeover/service": "node", "changeover/colour": "green"}
        with service.load() as load:
            service.run("prepare", "-t", "2.0.0")
            assert "the selector of Service 'node' to blue" in service.run("plan").stdout
            service.run("promote")
            service.moved("blue")
            spec = service.object("service", service.name)["spec"]
            assert spec["selector"]["changeover/colour"] == "blue"
            assert [p["targetPort"] for p in spec["ports"]] == [service.ports["blue"]["rpc"], service.ports["blue"]["ws"]]
            service.run("rollback", "-y")
            service.moved("green")
            service.run("cleanup", "-y")
            result = counted(load, capsys, "Service by its selector, connections of their own")
        assert result["lost"] <= result["sent"] / 50
        # nobody has the labels of blue: it would send to nobody
        refused = service.run("traffic", "install", "--live", "blue", "-y", expect=1)
        assert "no ready pod has the labels of blue" in refused.stderr and service.who() == "green"


class Ingressed(Pods):
    """Behind an Ingress. The first user's controller cannot be built here: a Caddy stands in, which is reloaded with the new
    backend some time after the Ingress changed, as that controller does it. What it loses says nothing of the real one."""

    def reach(self):
        self.lead_to("elsewhere")  # of somebody else's: the first start takes nothing over
        refused = self.run("start", "--version", "1.0.0", expect=None)
        assert refused.returncode and "sends to neither colour; last changed by kubectl-patch" in refused.stderr, refused.stderr
        assert self.backend()["name"] == "elsewhere"
        self.lead_to("node-green")
        self.address, self.ended = "127.0.0.1", threading.Event()
        self.caddy.start()
        self.controller = threading.Thread(target=self.control)
        self.controller.start()

    def lead_to(self, name):
        edit = [{"op": "replace", "path": "/spec/rules/0/http/paths/0/backend/service/name", "value": name}]
        self.cluster.kubectl("patch", "-n", self.ns, "ingress", self.name, "--type", "json", "-p", json.dumps(edit))

    def backend(self):
        return self.object("ingress", self.name)["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]

    def control(self):
        loaded = None
        while not self.ended.wait(0.2):
            name = self.backend()["name"]
            if name == loaded or not name.startswith(self.name):
                continue
            spec = self.object("service", name)["spec"]
            port = next(p["port"] for p in spec["ports"] if p["name"] == "rpc")
            self.caddy.load("{\n\tadmin 127.0.0.1:%d\n}\nhttp://:%d {\n\treverse_proxy %s:%d\n}\n" %
                            (self.admin_port, self.front_port, spec["clusterIP"], port))
            loaded = name

    def close(self):
        if hasattr(self, "ended"):
            self.ended.set()
            self.controller.join(30)
        super().close()


def test_the_backend_of_an_ingress(own, ns, config, capsys):
    """The whole job on a real API server; a backend of somebody else's is not taken over without a question."""
    with Ingressed(own, ns, config, driver="ingress") as service:
        service.begin()
        assert service.backend() == {"name": "node-green", "port": {"name": "rpc"}}
        with service.load() as load:
            service.run("prepare", "-t", "2.0.0")
            assert "of Ingress 'node' to Service 'node-blue'" in service.run("plan").stdout
            # the controller keeps idle connections for minutes: nobody waits for those here
            promoted = service.run("promote", "--drop")
            assert "what its reload cuts has not been measured" in promoted.stderr
            assert service.backend() == {"name": "node-blue", "port": {"name": "rpc"}}
            service.moved("blue")
            service.run("rollback", "-y", "--drop")
            service.moved("green")
            service.run("cleanup", "-y")
            counted(load, capsys, "Ingress, by a stand-in for its controller")
        service.lead_to("elsewhere")
        refused = service.run("traffic", "point", "green", "-y", expect=1)
        assert "sends to neither colour; last changed by kubectl-patch" in refused.stderr
        assert service.backend()["name"] == "elsewhere"
        assert "-host * path / -> Service elsewhere" in service.run("traffic", "install", "-y").stdout
        assert service.backend()["name"] == "node-green"
        own.kubectl("delete", "-n", ns, "service", "node-blue")
        refused = service.run("traffic", "install", "--live", "blue", "-y", expect=1)
        assert "there is no Service 'node-blue'" in refused.stderr and service.backend()["name"] == "node-green"


class CaddyPod(Colours):
    """examples/kubernetes/caddy.yml in place of a Caddy beside the cluster: the example's paths and ports are the test's."""

    def start(self, version="1.0.0"):
        self.caddy.start = self.start_pod
        return super().start(version)

    def start_pod(self):
        binary = server_path("caddy")
        said = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
        libraries = [f"{p}={p}" for p in re.findall(r"(/\S+) \(0x", said)]
        image = self.cluster.image("caddy:1", ["/bin/caddy"], f"{binary}=/bin/caddy", *libraries)
        data = self.caddy.dir / "data"
        data.mkdir()
        self.flag_dir.mkdir(exist_ok=True)
        text = (ROOT / "examples/kubernetes/caddy.yml").read_text()
        for ours, its in (("caddy:2.11.2", image), ("IfNotPresent", "Never"), ("/var/lib/changeover-flags", str(self.flag_dir)),
                          ("/etc/caddy", str(self.caddy.dir)), ("/var/lib/caddy", str(data)), ("port: 2019", f"port: {self.admin_port}"),
                          ("8080", str(self.front_port)), ("Seconds: 300", "Seconds: 5")):
            assert ours in text, f"the example has no {ours}"
            text = text.replace(ours, its)
        self.cluster.kubectl("apply", "-n", self.ns, "-f", "-", input=text)
        self.cluster.kubectl("wait", "-n", self.ns, "--for=condition=Available", "--timeout=60s", "deployment/changeover-caddy")


def test_a_caddy_of_ones_own_in_a_pod_loses_nothing(own, ns, config, capsys):
    """By its own address and by the Service that an Ingress would lead to: prepare, promote, rollback, cleanup."""
    with CaddyPod(own, ns, config) as service:
        service.start()
        address = own.get("service", "-n", ns, "changeover-caddy")["spec"]["clusterIP"]
        through = Load(service, 100)
        through.url = f"http://{address}:{service.front_port}/"
        with Load(service, 100) as load, through:
            service.run("prepare", "-t", "2.0.0")
            service.run("promote")
            assert service.identity() == "blue"
            service.run("rollback", "-y")
            assert service.identity() == "green"
            service.run("cleanup", "-y")
            pods = own.get("pod", "-n", ns, "-l", "app=changeover-caddy")["items"]
            assert [c["restartCount"] for p in pods for c in p["status"]["containerStatuses"]] == [0]
            lost = counted(load, capsys, "Caddy in a pod")["lost"], counted(through, capsys, "through its Service")["lost"]
        assert lost == (0, 0)
