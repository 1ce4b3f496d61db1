"""Each colour a Deployment: hostNetwork pods on hostPath volumes behind a real Caddy, a load through it all the while. By an
account that has exactly the rights that `changeover kubernetes rbac` prints."""
import json
import os
import pathlib
import shlex
import shutil
import signal
import tempfile

import pytest

from lib.colours import PROGRAM, Colours, template
from lib.kubernetes import account, pod
from lib.load import Load
from lib.waiting import wait_for


@pytest.fixture
def config(own, ns, tool, tmp_path):
    yield account(own, ns, tool, tmp_path / "config")
    own.kubectl("delete", "clusterrole,clusterrolebinding", f"changeover-{ns}", "--ignore-not-found")


@pytest.fixture
def service(own, ns, config):
    with Colours(own, ns, config) as s:
        yield s.start()


def starts(pod):
    """When its containers were started."""
    return [c["state"].get("running", {}).get("startedAt") for c in pod["status"]["containerStatuses"]]


def test_the_whole_job(service):
    """prepare, promote, rollback, cleanup; then the same to the end: nothing lost."""
    with Load(service, 200) as load:
        service.run("prepare", "-t", "2.0.0")
        blue = service.deployment("blue")
        assert blue["spec"]["template"]["spec"]["containers"][0]["image"] == "localhost/rpcnode:2.0.0"
        service.run("promote")
        assert service.identity() == "blue" and service.rpc("getVersion")["solana-core"] == "2.0.0"
        green = service.deployment("green")
        assert green["spec"]["replicas"] == 0 and not service.pods("green"), "stopped, and kept for the way back"
        load.check("promote")
        service.run("rollback", "-y")
        assert service.identity() == "green"
        assert service.deployment("green")["metadata"]["uid"] == green["metadata"]["uid"]
        assert service.deployment("blue")["spec"]["replicas"] == 0
        service.run("cleanup", "-y")
        assert service.deployment("blue") is None and not (service.dir / "blue/ledger").exists()
        load.check("rollback and cleanup")
        service.run("prepare", "-t", "2.0.0")
        service.run("promote")
        service.run("cleanup", "-y")
        assert service.deployment("green") is None and not service.pods("green")
        load.check("promote and cleanup")
        assert load.stop()["lost"] == 0


def untouched(service, before):
    """Live's pod is the one it was, and nothing of the standby is left."""
    assert service.identity() == "green"
    assert [starts(p) for p in service.pods("green")] == before
    assert service.status()["state"] == "steady" and service.deployment("blue") is None
    left = [p["metadata"]["name"] for p in service.pods() if p["metadata"]["labels"].get("changeover/colour") != "green"]
    assert left == []


def refused(service, *words, target="2.0.0"):
    before = [starts(p) for p in service.pods("green")]
    done = service.run("prepare", "-t", target, expect=1)
    for word in words:
        assert word in done.stderr, done.stderr
    untouched(service, before)


def test_an_image_that_the_node_cannot_have(service):
    refused(service, "cannot have the image 'localhost/rpcnode:9.9.9'", "ErrImageNeverPull", target="9.9.9")


def test_an_image_of_another_version(service):
    service.template["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost/rpcnode:1.0.0"
    service.write_template()
    refused(service, "the image is version 1.0.0, the target is 2.0.0")


def test_the_image_checks_its_arguments_first(service):
    service.change_spec({"runtime": {"validate": [{"command": [PROGRAM, "--no-such-argument"]}]}})
    refused(service, "runtime.validate 1 of 1", "no-such-argument")


def test_the_image_is_prepared(service):
    service.change_spec({"runtime": {"kubernetes": {"image": {"prepare": [["/bin/echo", "${version}"], ["/bin/false"]]}}}})
    refused(service, "image.prepare 2 of 2")


def test_a_crash_loop_ends_the_start_with_its_last_words(service):
    service.pod_spec["containers"][0]["args"].append("--no-such-argument")
    service.write_template()
    refused(service, "blue does not start", "container 'node': CrashLoopBackOff", "no-such-argument")


def test_a_path_that_the_node_does_not_have(service):
    service.pod_spec["volumes"].append({"name": "more", "hostPath": {"path": "/nowhere/at/all", "type": "Directory"}})
    service.pod_spec["containers"][0]["volumeMounts"].append({"name": "more", "mountPath": "/more"})
    service.write_template()
    refused(service, "FailedMount", "/nowhere/at/all is not a directory")


@pytest.mark.parametrize("what", ["ports", "memory"])
def test_a_pod_that_no_node_takes(own, service, what):
    if what == "memory":
        service.pod_spec["containers"][0]["resources"] = {"requests": {"memory": "9000Gi"}}
        service.write_template()
    else:
        other = pod("other", service.cluster.busybox())
        other["spec"]["containers"][0]["ports"] = [{"containerPort": service.ports["blue"]["rpc"]}]
        own.kubectl("apply", "-n", service.ns, "-f", "-", input=json.dumps(other))
        own.running(service.ns, "other")
    done = service.run("prepare", "-t", "2.0.0", expect=1)
    assert {"memory": "Insufficient memory", "ports": "free ports"}[what] in done.stderr, done.stderr
    assert service.identity() == "green" and service.deployment("blue") is None


def test_a_service_that_sends_requests_to_the_standby_is_named(own, service):
    own.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": service.ns},
               "spec": {"selector": {"app": "node"}, "ports": [{"port": 80}]}})
    found = service.run("check").stdout
    assert "Service 'front' selects blue's pod by its labels" in found, found


def test_a_kustomize_base(own, service):
    """Built by kubectl, where it is; else an error that says so."""
    base = service.dir / "base"
    base.mkdir()
    (service.dir / "template.yml").rename(base / "deployment.yml")
    (base / "kustomization.yml").write_text("resources: [deployment.yml]\nnameSuffix: -x\n")
    service.change_spec({"runtime": {"kubernetes": {"template": str(base)}}})
    if not any(shutil.which(p, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin") for p in ("kubectl", "kustomize")):
        found = service.run("check", expect=1, env={"PATH": "/nowhere"}).stdout
        assert "neither kustomize nor kubectl is here" in found
    path = f"{own.parts}/usr/bin:{os.environ['PATH']}"
    service.run("prepare", "-t", "2.0.0", env={"PATH": path})
    assert service.deployment("blue")["spec"]["replicas"] == 1


def test_a_sidecar_upgraded_alone_goes_along(own, ns, tool, config):
    """Into the next colour and the one after it, until the template says otherwise."""
    links = [f"symlink:/bin/{p}=busybox" for p in ("sh", "sleep")]
    images = [own.image(f"loop:{n}", ["/bin/busybox"], own.env["CLUSTER_BUSYBOX"] + "=/bin/busybox", *links) for n in (1, 2, 3)]

    def side(deployment):
        return deployment["spec"]["template"]["spec"]["initContainers"][0]["image"]

    with Colours(own, ns, config) as service:
        service.pod_spec["initContainers"] = [{
            "name": "side", "image": images[0], "imagePullPolicy": "Never", "restartPolicy": "Always",
            "command": ["sh", "-c", "trap exit TERM; while :; do sleep 0.05; done"]}]
        service.write_template()
        service.start()
        name = service.pods("green")[0]["metadata"]["name"]
        done = tool("sidecar", "upgrade", "side", "--pod", name, "--image", images[1], "--namespace", ns, "--kubeconfig", config,
                    "--settle", "0.5s", timeout=120)
        assert done.returncode == 0, done.stderr
        for colour in ("blue", "green"):
            said = service.run("prepare", "-t", "2.0.0").stderr
            assert f"{colour} gets 'side' with {images[1]}" in said, said
            assert side(service.deployment(colour)) == images[1]
            service.run("promote")
            service.run("cleanup", "-y")
        service.pod_spec["initContainers"][0]["image"] = images[2]
        service.write_template()
        service.run("prepare", "-t", "2.0.0")
        assert side(service.deployment("blue")) == images[2]


def test_requests_wait_while_only_one_may_write(own, ns, config):
    """writes: client."""
    with Colours(own, ns, config, spec={"writes": "client", "freeze": {"max": "60s"}}) as service:
        service.change_spec({"traffic": {"hold": {"max": "60s"}}})
        service.start()
        service.run("prepare", "-t", "2.0.0")
        with Load(service, 50) as load:
            said = service.run("promote").stderr
            assert "requests waited for" in said, said
            assert service.identity() == "blue" and not service.pods("green")
            assert service.deployment("green")["spec"]["replicas"] == 0
            load.check("a promote with a hold")
        service.run("cleanup", "-y")
        assert service.deployment("green") is None


def test_a_singleton_sits_in_no_colour(service):
    service.pod_spec["containers"].append({"name": "doublezerod", "image": service.cluster.busybox(), "imagePullPolicy": "Never"})
    service.write_template()
    done = service.run("check", expect=1)
    assert "container 'doublezerod' would be in blue's pod" in done.stdout + done.stderr
    refused(service, "doublezerod", "a Deployment of its own")


def test_anothers_deployment_of_that_name_is_not_touched(own, service):
    theirs = template(100, "http://127.0.0.1:1", "localhost/rpcnode:1.0.0")
    theirs["metadata"]["name"], theirs["spec"]["replicas"] = "node-blue", 0
    theirs["spec"]["template"]["spec"] = {"containers": [{"name": "x", "image": "localhost/rpcnode:1.0.0"}]}
    own.kubectl("apply", "-n", service.ns, "-f", "-", input=json.dumps(theirs))
    before = service.deployment("blue")["metadata"]
    done = service.run("prepare", "-t", "2.0.0", expect=1)
    assert "carries no mark of ours" in done.stderr
    assert service.deployment("blue")["metadata"] == before and service.identity() == "green"


def test_somebody_else_changes_lives_deployment(own, service):
    service.run("prepare", "-t", "2.0.0")
    own.kubectl("patch", "deployment", "node-green", "-n", service.ns, "-p", '{"spec":{"minReadySeconds":1}}')
    done = service.run("promote", expect=1)
    assert "Deployment 'node-green' of green was changed by kubectl-patch" in done.stderr and "generation" in done.stderr
    assert service.identity() == "green" and service.state() == "prepared"
    service.run("prepare", "-t", "2.0.0")
    service.run("promote")
    assert service.identity() == "blue"


def test_what_somebody_else_has_taken_over_is_not_forced(own, service):
    """Between the apply and the first replica, blue's Deployment is ours alone; then it is not."""
    marker, key = service.dir / "fault", "terminationGracePeriodSeconds"
    service.run("prepare", "-t", "2.0.0", expect=-signal.SIGKILL, env={"CHANGEOVER_FAULT": f"kill@runtime/start:committed@{marker}"})
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "node-blue"},
              "spec": {"template": {"spec": {key: 7}}}}
    own.kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=somebody", "-n", service.ns, "-f", "-",
                input=json.dumps(theirs))
    done = service.run("resume", expect=1)
    assert "Deployment 'node-blue' of blue was changed by somebody" in done.stderr, done.stderr
    assert service.deployment("blue") is None and service.identity() == "green", "undone: it was the standby's, with our mark"
    service.run("prepare", "-t", "2.0.0")
    assert service.state() == "prepared" and service.deployment("blue")["spec"]["template"]["spec"][key] != 7


def test_no_container_is_started_again_by_its_stop(own, service):
    name = service.pods("green")[0]["metadata"]["name"]
    service.run("prepare", "-t", "2.0.0")
    done = service.run("promote")
    assert "started after its stop" not in done.stderr
    events = own.get("event", "-n", service.ns, "--field-selector", f"involvedObject.name={name},reason=Started")["items"]
    assert sum(e.get("count", 1) for e in events) == 1, events


def test_an_adopted_deployment(own, ns, config):
    """Whatever it is called, and whoever made it."""
    with Colours(own, ns, config) as service:
        service.make_green()
        text = json.dumps(service.template).replace("${version}", "1.0.0").replace("${identity}", f"{service.dir}/green.json")
        for name, port in service.ports["green"].items():
            text = text.replace("${port.%s}" % name, str(port)).replace("${port.%s.first}" % name, str(port).split("-")[0])
        theirs = json.loads(text)
        theirs["metadata"]["name"] = "legacy-70ce-deployment"
        spec = theirs["spec"]["template"]["spec"]
        spec["terminationGracePeriodSeconds"] = 5
        spec["volumes"][:2] = [{"name": v, "hostPath": {"path": f"{service.dir}/green/{v}"}} for v in ("ledger", "accounts")]
        for c in spec["containers"]:
            c["ports"] = [{"containerPort": int(p["containerPort"])} for p in c["ports"]]
            c["readinessProbe"]["httpGet"]["port"] = int(c["readinessProbe"]["httpGet"]["port"])
        own.kubectl("apply", "-n", ns, "-f", "-", input=json.dumps(theirs))
        own.kubectl("wait", "-n", ns, "--for=condition=Available", "--timeout=60s", "deployment/legacy-70ce-deployment")

        def legacy():
            found = own.get("deployment", "-n", ns)["items"]
            return next((d for d in found if d["metadata"]["name"] == "legacy-70ce-deployment"), None)

        before = service.pods()[0]
        said = service.run("adopt", "--deployment", "legacy-70ce-deployment").stdout
        assert "legacy-70ce-deployment" in said and "was not touched" in said
        now = service.pods()[0]
        assert now["metadata"]["uid"] == before["metadata"]["uid"] and starts(now) == starts(before)
        service.caddy.start()
        service.run("traffic", "install", "-y")

        found = service.run("check", expect=1).stdout
        mend = next(line for line in found.splitlines() if "kubectl patch deployment" in line)
        assert "killed 5 s after" in found and "(restarts its pod, once)" in mend
        patch = shlex.split(mend[mend.index("kubectl "):mend.index(" (restarts")])
        own.kubectl(*patch[1:], "-n", ns)
        own.kubectl("rollout", "status", "-n", ns, "deployment/legacy-70ce-deployment", "--timeout=60s")
        service.run("check")

        with Load(service, 100) as load:
            service.run("prepare", "-t", "2.0.0")
            service.run("promote")
            assert legacy()["spec"]["replicas"] == 0 and service.identity() == "blue"
            service.run("rollback", "-y")
            assert legacy()["metadata"]["uid"] and service.identity() == "green"
            service.run("cleanup", "-y")
            service.run("prepare", "-t", "2.0.0")
            service.run("promote")
            service.run("cleanup", "-y")
            assert legacy() is None, "the loser's, by its uid"
            load.check("an upgrade of an adopted Deployment")


def processes_of(pod_uid):
    """Pids of a pod, by its control group."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"pod{pod_uid}" in (entry / "cgroup").read_text():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def test_after_a_reboot_no_pod_starts_on_an_empty_mount_point(own, service):
    """The node goes down and comes back without a volume: the kubelet itself refuses, by the name of the mark."""
    name, uid = (service.pods("green")[0]["metadata"][k] for k in ("name", "uid"))
    ledger, away = service.dir / "green/ledger", service.dir / "green/away"

    def warnings():
        events = own.get("event", "-n", service.ns, "--field-selector", f"involvedObject.name={name},reason=FailedMount")["items"]
        return " ".join(e["message"] for e in events)

    own.do("kubelet", "kill")
    try:
        for pid in processes_of(uid):
            os.kill(pid, signal.SIGKILL)
        ledger.rename(away)
        ledger.mkdir()
    finally:
        own.do("kubelet", "start")
    wait_for(lambda: ".changeover-node-green is not a file" in warnings(), "the kubelet's refusal", timeout=90)
    assert processes_of(uid) == [] and not list(ledger.iterdir())
    ledger.rmdir()
    away.rename(ledger)
    wait_for(lambda: "running" in service.pods("green")[0]["status"]["containerStatuses"][0]["state"], "the pod comes back",
             timeout=180)
    wait_for(lambda: service.status()["colours"][0]["good"], "green is healthy", timeout=60)


@pytest.mark.parametrize("what", ["elsewhere", "another file system"])
def test_a_node_that_sees_other_data_is_found_out(service, what):
    """node_paths that lead to an empty directory, or to one with the same mark on another file system."""
    seen = pathlib.Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        for colour in ("green", "blue"):
            for volume in ("ledger", "accounts"):
                (seen / colour / volume).mkdir(parents=True)
        spec = {"node_paths": {str(service.dir): str(seen)}}
        copy = f"for v in ledger accounts; do cp {service.dir}/blue/$v/.changeover {seen}/blue/$v/; done"
        service.change_spec({"runtime": {"kubernetes": spec},
                             "hooks": {"after_clone": ["/bin/sh", "-c", "exit 0" if what == "elsewhere" else copy]}})
        refused(service, "are not to be read on node" if what == "elsewhere" else "and on the node it is tmpfs")
    finally:
        shutil.rmtree(seen)
