"""changeover sidecar: one container of a running pod gets another image, and nothing else is touched. By an account that has
exactly the rights that `changeover kubernetes rbac` prints."""
import json
import os
import signal
import subprocess

import pytest

from lib import kubernetes
from lib.waiting import wait_for

LOOP = "trap exit TERM; while :; do sleep 0.05; done"
RUN = {"v1": LOOP, "v2": LOOP, "v3": LOOP, "crash": "echo cannot go on; exit 3", "late": "sleep 1; exit 3"}


@pytest.fixture(scope="module")
def images(build, tmp_path_factory):
    """localhost/side:VERSION; /run is what it does, /version what it says it is."""
    if "CLUSTER_DIR" not in os.environ:
        pytest.skip("needs a cluster of its own: its node must have images that no registry has")
    cluster = kubernetes.Cluster(build)
    made = {}
    for version, script in RUN.items():
        d = tmp_path_factory.mktemp(version)
        (d / "run").write_text(f"#!/bin/sh\n{script}\n")
        (d / "version").write_text(f"side {version}\n")
        links = [f"symlink:/bin/{p}=busybox" for p in ("sh", "cat", "sleep")]
        made[version] = cluster.image(f"side:{version}", ["/run"], f"{d}/run=/run", f"{d}/version=/version",
                                      cluster.env["CLUSTER_BUSYBOX"] + "=/bin/busybox", *links)
    return made


class Service:
    """A Deployment with a sidecar and a main container, and the tool with the account's rights."""

    def __init__(self, cluster, ns, images, tool, config, side="side", main="app", **spec):
        self.cluster, self.ns, self.images, self.tool, self.config = cluster, ns, images, tool, config
        template = kubernetes.pod("web", images["v1"], sidecar=(images["v1"], "/run"), **{"hostNetwork": False, **spec})
        template["spec"]["containers"][0].update(command=["/run"], name=main)
        template["spec"]["initContainers"][0]["name"] = side
        template["spec"]["initContainers"].insert(0, {"name": "once", "image": images["v1"], "imagePullPolicy": "Never",
                                                      "command": ["sh", "-c", "true"]})
        cluster.kubectl("apply", "-n", ns, "-f", "-", input=json.dumps({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": "web"}},
                     "template": {"metadata": template["metadata"], "spec": template["spec"]}}}))
        cluster.kubectl("wait", "-n", ns, "--for=condition=Available", "--timeout=60s", "deployment/web")
        self.name = cluster.get("pod", "-n", ns, "-l", "app=web")["items"][0]["metadata"]["name"]
        self.first = self.pod()

    def pod(self):
        return self.cluster.get("pod", "-n", self.ns, self.name)

    def side(self, pod=None):
        return next(c for c in (pod or self.pod())["status"]["initContainerStatuses"] if c["name"] == "side")

    def main(self, pod=None):
        c = (pod or self.pod())["status"]["containerStatuses"][0]
        return {k: c[k] for k in ("containerID", "restartCount", "state")}

    def untouched(self):
        """The pod is the same, and so is its main container."""
        now = self.pod()
        assert now["metadata"]["uid"] == self.first["metadata"]["uid"]
        assert self.main(now) == self.main(self.first)
        left = [p["metadata"]["name"] for p in self.cluster.get("pod", "-n", self.ns)["items"]
                if p["metadata"]["name"].startswith("changeover-") and "deletionTimestamp" not in p["metadata"]]
        assert left == []
        return now

    def argv(self, *args):
        return ["sidecar", *args, "--deployment", "web", "--namespace", self.ns, "--kubeconfig", self.config]

    def do(self, *args):
        return self.tool(*self.argv(*args), timeout=180)

    def upgrade(self, version, *args):
        return self.do("upgrade", "side", "--image", self.images[version], "--settle", "1s", *args)


@pytest.fixture
def config(own, ns, tool, tmp_path):
    yield kubernetes.account(own, ns, tool, tmp_path / "config")
    own.kubectl("delete", "clusterrole,clusterrolebinding", f"changeover-{ns}", "--ignore-not-found")


@pytest.fixture
def service(own, ns, images, tool, config):
    return Service(own, ns, images, tool, config)


# The first user's own test of this, its assertions to the letter. Its patch by index is the tool's here; the link stands for
# the tunnel, whose daemon is not this one: that a daemon's graceful end takes its link along is another matter.
STEP_2 = """
# Record current agave container start time
BEFORE=$(kubectl -n $ns get pod $pod -o jsonpath='{.status.containerStatuses[?(@.name=="agave-validator")].state.running.startedAt}')
# Patch DZ image
"$@"
# Verify agave was NOT restarted
AFTER=$(kubectl -n $ns get pod $pod -o jsonpath='{.status.containerStatuses[?(@.name=="agave-validator")].state.running.startedAt}')
[ "$BEFORE" = "$AFTER" ] # assert: same start time
# Verify tunnel survived
ip route | grep doublezero0 # assert: routes present
[ -n "$BEFORE" ]
"""


def make_tunnel():
    """A link of that name, with an address and a route."""
    kubernetes.run("ip", "link", "add", "doublezero0", "type", "veth", "peer", "name", "doublezero1")
    for link in ("doublezero0", "doublezero1"):
        kubernetes.run("ip", "link", "set", link, "up")
    kubernetes.run("ip", "address", "add", "10.7.0.2/31", "dev", "doublezero0")
    kubernetes.run("ip", "route", "add", "203.0.113.0/24", "dev", "doublezero0")


@pytest.fixture
def tunnel(own):
    make_tunnel()
    yield
    subprocess.run(["ip", "link", "del", "doublezero0"], check=False)


def test_the_first_users_step_2(own, ns, images, tool, build, config, tunnel, tmp_path):
    service = Service(own, ns, images, tool, config, side="doublezerod", main="agave-validator", hostNetwork=True)
    (tmp_path / "kubectl").write_text(f'#!/bin/sh\nexec {kubernetes.HERE}/cluster kubectl "$@"\n')
    (tmp_path / "kubectl").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ns": ns, "pod": service.name}
    upgrade = [build / "src/changeover", *service.argv("upgrade", "doublezerod", "--image", images["v2"])]
    done = subprocess.run(["bash", "-euc", STEP_2, "step-2", *upgrade], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "203.0.113.0/24 dev doublezero0" in done.stdout
    assert "tunnel doublezero0: its link, addresses and routes as before (4)" in done.stdout  # looked at without being asked


# --- the tunnel ---------------------------------------------------------------------------------


@pytest.fixture
def daemon(own, ns, images, tool, config, tunnel):
    """A pod in the network of its host, with a sidecar that is not called doublezerod."""
    return Service(own, ns, images, tool, config, hostNetwork=True)


def while_it_is_changed(service, build, what, *args):
    """The upgrade's result; what() is done once the new container is there, before it is proved."""
    argv = [build / "src/changeover", *service.argv("upgrade", "side", "--image", service.images["v2"], "--settle", "4s", *args)]
    with subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        wait_for(lambda: service.side()["image"] == service.images["v2"], "the patch has its effect", timeout=60, interval=0.1)
        what()
        out, err = p.communicate(timeout=120)
    return subprocess.CompletedProcess(argv, p.returncode, out, err)


def test_a_tunnel_that_is_lost_is_said_and_looked_at_again(daemon, build):
    def lose():
        kubernetes.run("ip", "route", "del", "203.0.113.0/24", "dev", "doublezero0")
        kubernetes.run("ip", "address", "del", "10.7.0.2/31", "dev", "doublezero0")

    lost = while_it_is_changed(daemon, build, lose, "--tunnel", "doublezero0", "--timeout", "8s")
    assert lost.returncode == 3, lost.stderr
    assert "the new container runs, every other one is as before" in lost.stderr
    assert "the tunnel 'doublezero0' is not as before: missing: 'address 10.7.0.2/31', 'route 10.7.0.2/31" in lost.stderr
    assert "'route 203.0.113.0/24 proto 3'" in lost.stderr
    assert daemon.side(daemon.untouched())["image"] == daemon.images["v2"]  # it did not go back: that mends no tunnel
    assert "and it is not proved" in daemon.do("status").stdout
    kubernetes.run("ip", "address", "add", "10.7.0.2/31", "dev", "doublezero0")
    kubernetes.run("ip", "route", "add", "203.0.113.0/24", "dev", "doublezero0")
    again = daemon.upgrade("v2", "--tunnel", "doublezero0")
    assert again.returncode == 0 and "tunnel doublezero0: its link, addresses and routes as before (4)" in again.stdout, again.stderr
    assert daemon.side(daemon.untouched())["restartCount"] == 1


def test_a_tunnel_that_comes_back_is_waited_for(daemon, build):
    def flap():
        kubernetes.run("ip", "link", "del", "doublezero0")
        shown = daemon.do("status")  # takes its time
        make_tunnel()
        assert shown.returncode == 0

    done = while_it_is_changed(daemon, build, flap, "--tunnel", "doublezero0", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tunnel"] == "doublezero0"


@pytest.mark.parametrize("args, status, words", [
    (("--tunnel", "nolink0"), 1, "there is no link 'nolink0' on this host; nothing was changed"),
    (("--tunnel", "a-name-of-many-letters"), 2, "15 letters at most"),
])
def test_a_tunnel_that_cannot_be_looked_at(daemon, args, status, words):
    r = daemon.upgrade("v2", *args)
    assert r.returncode == status and words in r.stderr, r.stderr
    assert daemon.side(daemon.untouched()) == daemon.side(daemon.first)


def test_the_tunnel_of_a_pod_with_a_network_of_its_own(service, tunnel):
    r = service.upgrade("v2", "--tunnel", "doublezero0")
    assert r.returncode == 2 and "the pod has a network of its own (no hostNetwork)" in r.stderr
    assert service.side(service.untouched()) == service.side(service.first)


# --- the Deployment's template ------------------------------------------------------------------


P = "/spec/template/spec/initContainers/1/image"


def template_of(service):
    """(Deployment, image of its template, image of the ReplicaSet's)."""
    d = service.cluster.get("deployment", "-n", service.ns, "web")
    (s,) = service.cluster.get("replicaset", "-n", service.ns, "-l", "app=web")["items"]
    return d, *(o["spec"]["template"]["spec"]["initContainers"][1]["image"] for o in (d, s))


def in_line(service, version):
    """The template has that image, nothing is left of the pause, and a pod that is lost comes back with it."""
    d, said, made = template_of(service)
    assert said == made == service.images[version]
    assert "paused" not in d["spec"] and "changeover/paused" not in d["metadata"].get("labels", {})
    assert d["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"  # nothing was rolled out
    shown = service.do("status").stdout
    assert "a pod made anew" not in shown and "paused" not in shown
    service.cluster.kubectl("delete", "pod", "-n", service.ns, service.name)
    service.cluster.kubectl("wait", "-n", service.ns, "--for=condition=Available", "--timeout=60s", "deployment/web")
    (pod,) = (p for p in service.cluster.get("pod", "-n", service.ns, "-l", "app=web")["items"]
              if "deletionTimestamp" not in p["metadata"])
    assert service.side(pod)["image"] == service.images[version]


def test_the_template_too_and_the_pod_stays(service):
    done = service.upgrade("v2", "--update-template", "-o", "json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["template_updated"] and "template" not in said
    side = service.side(service.untouched())
    assert side["image"] == service.images["v2"] and side["restartCount"] == 1
    again = service.upgrade("v2", "--update-template")
    assert again.returncode == 0 and "runs localhost/side:v2 already" in again.stdout
    assert template_of(service)[0]["metadata"]["generation"] == 3  # the first call's pause and its end
    back = service.do("rollback", "side", "--settle", "1s", "--update-template")
    assert back.returncode == 0 and "the Deployment's template has it too, and the pod was not made anew" in back.stdout, back.stderr
    service.untouched()
    in_line(service, "v1")


def test_the_template_later(service):
    """Of a pod that was changed before."""
    assert service.upgrade("v2").returncode == 0
    _, said, made = template_of(service)
    assert said == made == service.images["v1"]
    assert service.upgrade("v2", "--update-template").returncode == 0
    assert service.side(service.untouched())["restartCount"] == 1
    in_line(service, "v2")


@pytest.mark.parametrize("far", ["paused", "both templates"])
def test_killed_while_it_is_paused_the_same_command_goes_on(service, far):
    assert service.upgrade("v2").returncode == 0
    v2, (d, _, _) = service.images["v2"], template_of(service)
    ops = [{"op": "add", "path": "/metadata/labels", "value": {"changeover/paused": "side"}},
           {"op": "add", "path": "/spec/paused", "value": True}, {"op": "replace", "path": P, "value": v2}]
    service.cluster.kubectl("patch", "deployment", "-n", service.ns, "web", "--type=json", "-p", json.dumps(ops))
    if far == "both templates":
        (name,) = (s["metadata"]["name"] for s in service.cluster.get("replicaset", "-n", service.ns)["items"])
        service.cluster.kubectl("patch", "replicaset", "-n", service.ns, name, "--type=json", "-p", json.dumps(ops[2:]))
    shown = service.do("status")
    assert "Deployment 'web' is paused by changeover, for side: the same command with --update-template goes on" in shown.stdout
    assert ("what the ReplicaSet of the paused Deployment 'web' says" in shown.stdout) == (far == "paused")
    assert json.loads(service.do("status", "-o", "json").stdout)["paused_for"] == "side"
    done = service.upgrade("v2", "--update-template")
    assert done.returncode == 0, done.stderr
    service.untouched()
    in_line(service, "v2")


def test_one_that_somebody_else_has_paused_is_left_alone(service):
    service.cluster.kubectl("rollout", "pause", "-n", service.ns, "deployment/web")
    r = service.upgrade("v2", "--update-template")
    assert r.returncode == 1 and "Deployment 'web' is paused by somebody else" in r.stderr
    assert "Deployment 'web' is paused by somebody else\n" in service.do("status").stdout
    assert service.side(service.untouched()) == service.side(service.first)
    d, said, made = template_of(service)
    assert d["spec"]["paused"] and said == made == service.images["v1"]


def test_without_the_right_to_the_template_nothing_is_begun(service):
    role = service.cluster.get("role", "-n", service.ns, "changeover")
    for rule in role["rules"]:
        if rule["resources"] == ["replicasets"]:
            rule["verbs"] = ["get"]
    service.cluster.kubectl("apply", "-f", "-", input=json.dumps(role))
    wait_for(lambda: service.upgrade("v2", "--update-template", "-n").returncode == 1, "the right is gone", timeout=20)
    r = service.upgrade("v2", "--update-template")
    assert r.returncode == 1 and 'cannot patch resource "replicasets"' in r.stderr and "nothing was changed" in r.stderr
    assert service.side(service.untouched()) == service.side(service.first)
    assert "paused" not in template_of(service)[0]["spec"]


def test_a_template_that_a_failure_never_reaches(service):
    r = service.upgrade("crash", "--update-template")
    assert r.returncode == 1 and "it is back at localhost/side:v1" in r.stderr
    service.untouched()
    d, said, made = template_of(service)
    assert said == made == service.images["v1"] and d["metadata"]["generation"] == 1


# --- up, back, and what goes wrong --------------------------------------------------------------


def test_up_and_back_again(service):
    up = service.upgrade("v2", "--version-command", "cat /version", "--expect", "side v2", "-o", "json")
    assert up.returncode == 0, up.stderr
    said = json.loads(up.stdout)
    side = service.side(service.untouched())
    assert side["containerID"] == said["id"] != service.side(service.first)["containerID"]
    assert side["image"] == said["to"] == service.images["v2"] and side["restartCount"] == said["restarts"] == 1
    assert said["changed"] and 0 < said["seconds"] < 30 and said["image_id"] == side["imageID"]
    assert said["template"] == service.images["v1"]  # what a pod made anew would run

    shown = service.do("status")
    assert shown.returncode == 0, shown.stderr
    assert f"side: a pod made anew has {service.images['v1']} again: that is what Deployment 'web' says" in shown.stdout
    assert f"side was changed from {service.images['v1']}\n" in shown.stdout
    rows = {c["container"]: c for c in json.loads(service.do("status", "-o", "json").stdout)["containers"]}
    assert [(n, c["kind"]) for n, c in rows.items()] == [("once", "init"), ("side", "sidecar"), ("app", "container")]
    assert rows["side"]["wanted"] == rows["side"]["running"] == service.images["v2"] and rows["side"]["restarts"] == 1
    assert rows["side"]["template"] == service.images["v1"] and rows["app"]["ready"] is True

    again = service.upgrade("v2")
    assert again.returncode == 0 and "runs localhost/side:v2 already" in again.stdout
    assert service.side()["containerID"] == said["id"]

    back = service.do("rollback", "side", "--settle", "1s")
    assert back.returncode == 0, back.stderr
    assert "localhost/side:v2 -> localhost/side:v1" in back.stdout
    assert "this pod had 'localhost/side:v1' before" in back.stderr  # the kubelet may hold it back
    side = service.side(service.untouched())
    assert side["image"] == service.images["v1"] and side["restartCount"] == 2 and side["ready"]


def test_an_ordinary_container_too(service):
    done = service.do("upgrade", "app", "--image", service.images["v3"], "--settle", "1s")
    assert done.returncode == 0, done.stderr
    now = service.pod()
    assert service.side(now) == service.side(service.first)
    assert now["status"]["containerStatuses"][0]["image"] == service.images["v3"]


def test_an_image_that_is_not_there_is_found_before(service):
    r = service.do("upgrade", "side", "--image", "localhost/side:nowhere")
    assert r.returncode == 1 and "cannot have the image 'localhost/side:nowhere': ErrImageNeverPull" in r.stderr
    assert "nothing was changed" in r.stderr
    assert service.side(service.untouched()) == service.side(service.first)


@pytest.mark.parametrize("version, args, words", [
    ("crash", (), "is not running"),
    ("late", ("--settle", "4s"), "is not running"),
    ("v2", ("--version-command", "cat /version", "--expect", "side v9"), "does not say 'side v9' in the new container, but: side v2"),
    ("v2", ("--version-command", "/no/such/program"), "/no/such/program"),
])
def test_one_that_fails_goes_back_by_itself(service, version, args, words):
    r = service.do("upgrade", "side", "--image", service.images[version], "--settle", "1s", *args)
    assert r.returncode == 1, r.stderr
    assert words in r.stderr and "it is back at localhost/side:v1, and no other container was touched" in r.stderr
    side = service.side(service.untouched())
    assert side["image"] == service.images["v1"] and side["ready"] and "running" in side["state"]
    shown = service.do("status", "side")
    assert f"side went back from {service.images[version]}" in shown.stdout


def test_an_image_that_vanishes_meanwhile(service):
    """Not looked for, as asked: the kubelet kills the old one, and the old image goes back at the deadline."""
    r = service.do("upgrade", "side", "--image", "localhost/side:nowhere", "--trust-image", "--timeout", "8s")
    assert r.returncode == 1 and "it is back at localhost/side:v1" in r.stderr, r.stderr
    side = service.side(service.untouched())
    assert side["image"] == service.images["v1"] and side["ready"]


def test_killed_between_patch_and_proof_the_same_command_goes_on(service, build):
    argv = [build / "src/changeover", *service.argv("upgrade", "side", "--image", service.images["v2"], "--settle", "60s")]
    with subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        wait_for(lambda: service.side()["image"] == service.images["v2"], "the patch has its effect", timeout=60, interval=0.1)
        p.send_signal(signal.SIGKILL)
    assert "and it is not proved" in service.do("status").stdout
    again = service.upgrade("v2", "-o", "json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["from"] == service.images["v1"]
    assert service.side(service.untouched())["restartCount"] == 1  # once
    assert "not proved" not in service.do("status").stdout


def test_interrupted_it_says_how_to_go_on(service, build):
    argv = [build / "src/changeover", *service.argv("upgrade", "side", "--image", service.images["v2"], "--settle", "60s")]
    with subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        wait_for(lambda: service.side()["image"] == service.images["v2"], "the patch has its effect", timeout=60, interval=0.1)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=20)
    assert p.returncode == 3 and "changeover sidecar rollback side goes back" in err
    back = service.do("rollback", "side", "--settle", "1s")
    assert back.returncode == 0, back.stderr
    assert service.side(service.untouched())["image"] == service.images["v1"]


def test_another_container_that_restarts_meanwhile_is_seen(service, build):
    argv = [build / "src/changeover", *service.argv("upgrade", "side", "--image", service.images["v2"], "--settle", "60s")]
    with subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        wait_for(lambda: service.side()["image"] == service.images["v2"], "the patch has its effect", timeout=60, interval=0.1)
        service.cluster.client("exec", service.ns, service.name, "app", "-", "sh", "-c", "kill -TERM 1")
        out, err = p.communicate(timeout=60)
    assert p.returncode == 3 and out == "" and "container 'app' is not the one that ran before" in err, err


def test_a_dry_run_changes_nothing(service):
    r = service.upgrade("v2", "-n")
    assert r.returncode == 0 and "would be taken; nothing was changed" in r.stdout, r.stderr
    now = service.untouched()
    assert service.side(now) == service.side(service.first)
    assert now["metadata"].get("annotations") == service.first["metadata"].get("annotations")


def test_a_pod_that_goes_is_left_alone(service):
    service.cluster.kubectl("delete", "pod", "-n", service.ns, service.name, "--wait=false")
    r = service.tool("sidecar", "upgrade", "side", "--image", service.images["v2"], "--pod", service.name, "--namespace",
                     service.ns, "--kubeconfig", service.config)
    assert r.returncode == 1 and ("404 NotFound" in r.stderr or "is being deleted" in r.stderr)


@pytest.mark.parametrize("args, status, words", [
    (("upgrade", "once", "--image", "x"), 2, "is an init container that runs once"),
    (("upgrade", "nobody", "--image", "x"), 1, "has no container 'nobody'; it has: once, side, app"),
    (("rollback", "side"), 1, "has no record of an earlier image"),
    (("upgrade", "side"), 2, "--image IMAGE is missing"),
    (("rollback", "side", "--image", "x"), 2, "--image belongs to upgrade"),
    (("upgrade", "side", "--image", "a b"), 1, "cannot have the image 'a b': InvalidImageName"),
    (("sideways",), 2, "status, upgrade or rollback"),
])
def test_what_cannot_be_is_said(service, args, status, words):
    r = service.do(*args)
    assert r.returncode == status and words in r.stderr, r.stderr


def test_two_pods_are_not_one(service):
    cluster, ns = service.cluster, service.ns
    cluster.kubectl("scale", "-n", ns, "deployment/web", "--replicas=2")
    wait_for(lambda: len(cluster.get("pod", "-n", ns, "-l", "app=web")["items"]) == 2, "a second pod", timeout=30)
    r = service.upgrade("v2")
    assert r.returncode == 1 and "Deployment 'web' has 2 pods, not one: web-" in r.stderr


def test_without_the_right_to_read_nodes(service):
    service.cluster.kubectl("delete", "clusterrolebinding", f"changeover-{service.ns}")
    r = service.upgrade("v2", "-v")
    assert r.returncode == 0 and "no right to read nodes" in r.stderr, r.stderr


def test_the_rights_are_these_and_no_others(service):
    said = service.cluster.kubectl("auth", "can-i", "--list", "-n", service.ns,
                                   f"--as=system:serviceaccount:{service.ns}:changeover")
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    rights = {name: line[line.rindex("["):] for name, line in lines.items() if "[" in line}
    assert rights["pods"] == "[get list watch patch create delete]"
    assert rights["pods/exec"] == "[get create]"
    assert rights["nodes"] == rights["pods/log"] == "[get]" and rights["replicasets.apps"] == "[get patch]"
    assert rights["deployments.apps"] == "[get create patch delete]" and rights["deployments.apps/scale"] == "[update]"
    assert rights["events"] == "[list]" and rights["services"] == "[get list patch]"
    assert rights["endpointslices.discovery.k8s.io"] == "[list create patch]" and rights["ingresses.networking.k8s.io"] == "[get patch]"
    assert not {"secrets", "configmaps", "*.*"} & set(rights)
