"""The client of src/net/kube.h against a real API server and a real kubelet."""
import base64
import json
import os
import socket
import subprocess
import textwrap
import threading
import time

import pytest

from lib.kubernetes import Refused, pod
from lib.waiting import wait_for


def configmap(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name, image, **spec):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}},
                                  "spec": {"containers": [{"name": "app", "image": image}]}}, **spec}}


# --- who we are ---------------------------------------------------------------------------------


def kubeconfig(path, cluster, user):
    """A kubeconfig file of one context."""
    path.write_text(json.dumps({"kind": "Config", "apiVersion": "v1", "current-context": "x",
                                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                                "clusters": [{"name": "c", "cluster": cluster}], "users": [{"name": "u", "user": user}]}))
    return path


def b64(path):
    return base64.b64encode(path.read_bytes()).decode()


@pytest.fixture
def server(own):
    return {"server": own.url, "certificate-authority-data": b64(own.pki / "ca.crt")}


def test_a_certificate_in_files_and_inline(own, server, tmp_path):
    files = kubeconfig(tmp_path / "files", {"server": own.url, "certificate-authority": str(own.pki / "ca.crt")},
                       {"client-certificate": str(own.pki / "admin.crt"), "client-key": str(own.pki / "admin.key")})
    assert own.client("version", kubeconfig=files)["minor"] >= 29
    own.client("list", "v1/Node", "-", "-", kubeconfig=files)
    inline = kubeconfig(tmp_path / "inline", server, {"client-certificate-data": b64(own.pki / "admin.crt"),
                                                      "client-key-data": b64(own.pki / "admin.key")})
    own.client("list", "v1/Node", "-", "-", kubeconfig=inline)


def test_a_token_a_token_file_and_a_plugin(own, server, tmp_path):
    (tmp_path / "token").write_text(own.token + "\n")
    plugin = tmp_path / "login"
    plugin.write_text("#!/bin/sh\nprintf '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\","
                      f"\"status\":{{\"token\":\"%s\"}}}}' \"$(cat {tmp_path}/token)\"\n")
    plugin.chmod(0o755)
    run = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "interactiveMode": "Never"}
    for user in ({"token": own.token}, {"tokenFile": "token"}, {"exec": run}):
        own.client("list", "v1/Node", "-", "-", kubeconfig=kubeconfig(tmp_path / "k", server, user))


def test_a_certificate_from_a_plugin(own, server, tmp_path):
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {"clientCertificateData": (own.pki / "admin.crt").read_text(),
                             "clientKeyData": (own.pki / "admin.key").read_text()}}
    (tmp_path / "credential").write_text(json.dumps(credential))
    run = {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [str(tmp_path / "credential")]}
    own.client("list", "v1/Node", "-", "-", kubeconfig=kubeconfig(tmp_path / "k", server, {"exec": run}))


def test_who_is_refused(own, server, tmp_path):
    def refused(cluster, user):
        with pytest.raises(Refused) as r:
            own.client("list", "v1/Node", "-", "-", kubeconfig=kubeconfig(tmp_path / "k", cluster, user), patience=3000)
        return r.value

    admin = {"token": own.token}
    assert refused(server, {"token": "wrong"}).status["code"] == 401
    assert refused(server, {}).status["code"] == 403  # nobody in particular
    other = refused({"server": own.url, "certificate-authority": str(own.pki / "other-ca.crt")}, admin)
    assert other.status["code"] == 0 and "certificate" in other.error and "authority" in other.hint
    assert refused({"server": own.url}, admin).status["code"] == 0  # the system's authorities do not know it
    assert refused({**server, "tls-server-name": "nobody.invalid"}, admin).status["code"] == 0
    plain = refused({"server": own.url.replace("https", "http")}, admin)
    assert "answered 400" in plain.error and "HTTPS server" in plain.error
    stranger = {"client-certificate": str(own.pki / "other-ca.crt"), "client-key": str(own.pki / "other-ca.key")}
    assert refused(server, stranger).status["code"] in (0, 401, 403)


def test_insecure_only_when_said_and_another_server_name(own, server, tmp_path):
    user = {"token": own.token}
    insecure = {"server": own.url, "insecure-skip-tls-verify": True}
    own.client("list", "v1/Node", "-", "-", kubeconfig=kubeconfig(tmp_path / "k", insecure, user))
    named = {**server, "tls-server-name": "kubernetes.default.svc"}
    own.client("list", "v1/Node", "-", "-", kubeconfig=kubeconfig(tmp_path / "k", named, user))


def test_somebody_else(own, server, tmp_path):
    config = kubeconfig(tmp_path / "k", server, {"token": own.token, "as": "jane", "as-groups": ["readers"]})
    with pytest.raises(Refused, match='User "jane" cannot list'):
        own.client("list", "v1/Node", "-", "-", kubeconfig=config)


def test_in_a_pod_with_its_rights_only(own, ns, tmp_path):
    own.kubectl("create", "role", "-n", ns, "reader", "--verb=get,list,watch", "--resource=pods")
    own.kubectl("create", "rolebinding", "-n", ns, "reader", "--role=reader", f"--serviceaccount={ns}:default")
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text(own.kubectl("create", "token", "-n", ns, "default"))
    (account / "ca.crt").write_bytes((own.pki / "ca.crt").read_bytes())
    (account / "namespace").write_text(ns)

    def inside(*args):  # where a pod has its account, in a mount namespace of its own
        script = ('mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io && '
                  'cp -r "$1" /run/secrets/kubernetes.io/serviceaccount && shift && exec "$@"')
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBERNETES_SERVICE_HOST": "127.0.0.1",
               "KUBERNETES_SERVICE_PORT": "6443"}
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", account,
                               own.build / "tests/cluster/kube-client", *args], env=env, capture_output=True, text=True,
                              timeout=60)
        return json.loads(done.stdout)

    assert inside("list", "v1/Pod", "-", "-")["items"] == []  # in the account's own namespace
    assert inside("list", "v1/Pod", "default", "-")["status"]["code"] == 403
    no = inside("create", "v1/Pod", "-", "-", json.dumps(pod("x", "y")))
    assert no["status"]["code"] == 403 and f'"system:serviceaccount:{ns}:default" cannot create' in no["error"]


class Tunnelling:
    """An HTTP proxy that only tunnels; .asked: the first line of each request."""

    def __init__(self, port):
        self.port, self.asked = port, []

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.asked.append(client.recv(4096).split(b"\r\n")[0])
            upstream = socket.create_connection(("127.0.0.1", self.port))
            client.sendall(b"HTTP/1.1 200 Yes\r\n\r\n")
            for a, b in ((client, upstream), (upstream, client)):
                threading.Thread(target=self.pipe, args=(a, b), daemon=True).start()

    @staticmethod
    def pipe(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()


def test_by_a_proxy(own, ns, server, tmp_path):
    """Requests, a watch and a program."""
    own.kubectl("apply", "-n", ns, "-f", "-", input=json.dumps(pod("p", own.busybox(), hostNetwork=False)))
    own.running(ns, "p")
    with Tunnelling(6443) as proxy:
        config = kubeconfig(tmp_path / "k", {**server, "proxy-url": proxy.url}, {"token": own.token})
        own.client("list", "v1/Node", "-", "-", kubeconfig=config)
        assert own.client("exec", ns, "p", "app", "-", "echo", "through", kubeconfig=config)["out"] == "through\n"
        watched = subprocess.run(own.argv("watch", "v1/Pod", ns, "p", 1, kubeconfig=config), capture_output=True, text=True, timeout=30)
        assert [json.loads(line)["seen"] for line in watched.stdout.splitlines()][:3] == ["begin", "added", "synced"]
        assert len(proxy.asked) >= 3 and set(proxy.asked) == {b"CONNECT 127.0.0.1:6443 HTTP/1.1"}


# --- reading ------------------------------------------------------------------------------------


def test_version_and_discovery(cluster):
    said = json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
    assert cluster.client("version")["text"] == said
    assert cluster.client("serves", "discovery.k8s.io/v1", "endpointslices") is True
    assert cluster.client("serves", "apps/v1", "nothings") is False
    assert cluster.client("serves", "nobody.example/v1", "things") is False
    with pytest.raises(Refused, match="has no kind 'Nothing' in 'v1'"):
        cluster.client("get", "v1/Nothing", "-", "x")


def test_lists_in_pages(cluster, ns):
    cluster.apply(*({**configmap(f"c{i:02}", at=str(i)), "metadata": {"name": f"c{i:02}", "namespace": ns,
                                                                     "labels": {"odd": str(i % 2)}}} for i in range(25)))
    whole = cluster.client("list", "v1/ConfigMap", ns, "-", "odd in (0,1)", 7)
    assert [c["metadata"]["name"] for c in whole["items"]] == [f"c{i:02}" for i in range(25)]
    assert all(c["kind"] == "ConfigMap" and c["apiVersion"] == "v1" for c in whole["items"])
    assert int(whole["version"]) > 0
    assert len(cluster.client("list", "v1/ConfigMap", ns, "-", "odd=1", 2)["items"]) == 12


def test_what_is_not_there(cluster, ns):
    with pytest.raises(Refused) as r:
        cluster.client("get", "v1/Pod", ns, "nope")
    assert r.value.status["reason"] == "NotFound" and r.value.exit == 1
    assert r.value.error.endswith('404 NotFound: pods "nope" not found')
    with pytest.raises(Refused, match="no name of a Kubernetes object"):
        cluster.client("get", "v1/Pod", ns, "../secrets")


# --- effects ------------------------------------------------------------------------------------


def test_apply_and_what_belongs_to_others(cluster, ns):
    mine = configmap("c", a="1")
    assert cluster.client("apply", "v1/ConfigMap", ns, "c", json.dumps(mine), "dry")["data"] == {"a": "1"}
    with pytest.raises(Refused):
        cluster.client("get", "v1/ConfigMap", ns, "c")
    first = cluster.client("apply", "v1/ConfigMap", ns, "c", json.dumps(mine))
    again = cluster.client("apply", "v1/ConfigMap", ns, "c", json.dumps(mine))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert first["metadata"]["managedFields"][0]["manager"] == "changeover"
    cluster.kubectl("patch", "configmap", "-n", ns, "c", "--type=merge", "-p", '{"data":{"a":"2"}}',
                    "--field-manager=somebody")
    with pytest.raises(Refused) as r:
        cluster.client("apply", "v1/ConfigMap", ns, "c", json.dumps(mine))
    assert r.value.status["code"] == 409 and not r.value.status["unsure"]
    assert 'conflict with "somebody"' in r.value.error and ".data.a" in r.value.error
    assert cluster.client("get", "v1/ConfigMap", ns, "c")["data"] == {"a": "2"}
    assert cluster.client("apply", "v1/ConfigMap", ns, "c", json.dumps(mine), "force")["data"] == {"a": "1"}
    with pytest.raises(Refused) as r:
        cluster.client("create", "v1/ConfigMap", ns, "-", json.dumps(mine))
    assert r.value.status["reason"] == "AlreadyExists"


def test_a_patch_with_tests(cluster, ns):
    cluster.client("apply", "v1/ConfigMap", ns, "c", json.dumps(configmap("c", a="1")))

    def ops(want):
        return json.dumps([{"op": "test", "path": "/data/a", "value": want},
                           {"op": "replace", "path": "/data/a", "value": "2"}])

    with pytest.raises(Refused) as r:
        cluster.client("patch", "v1/ConfigMap", ns, "c", ops("other"))
    assert r.value.status["code"] == 422 and not r.value.status["unsure"]
    assert cluster.client("patch", "v1/ConfigMap", ns, "c", ops("1"), "dry")["data"] == {"a": "2"}
    assert cluster.client("get", "v1/ConfigMap", ns, "c")["data"] == {"a": "1"}
    assert cluster.client("patch", "v1/ConfigMap", ns, "c", ops("1"))["data"] == {"a": "2"}


def test_a_refusal_in_the_servers_words(cluster, ns):
    """The first line of a message that goes on with a diff."""
    cluster.kubectl("apply", "-n", ns, "-f", "-", input=json.dumps(pod("p", cluster.busybox(), hostNetwork=False)))
    ops = json.dumps([{"op": "replace", "path": "/spec/containers/0/command", "value": ["x"]}])
    with pytest.raises(Refused) as r:
        cluster.client("patch", "v1/Pod", ns, "p", ops)
    assert r.value.status["reason"] == "Invalid" and "\n" not in r.value.error
    assert "pod updates may not change fields other than `spec.containers[*].image`" in r.value.error
    ops = json.dumps([{"op": "replace", "path": "/spec/containers/0/image", "value": ""}])
    with pytest.raises(Refused, match=r"spec.containers\[0\].image: Required value"):
        cluster.client("patch", "v1/Pod", ns, "p", ops)


def test_scale_with_a_version(cluster, ns):
    cluster.client("create", "apps/v1/Deployment", ns, "-", json.dumps(deployment("d", "localhost/none:1")))

    def settled():  # its controller writes the status, and so a version of its own, a moment later
        d = cluster.client("get", "apps/v1/Deployment", ns, "d")
        return d if d["status"].get("observedGeneration") == 1 and d["status"].get("conditions") else None

    made = wait_for(settled, "the Deployment is seen by its controller", timeout=30, interval=0.2)
    cluster.client("scale", "apps/v1/Deployment", ns, "d", 1, made["metadata"]["resourceVersion"])
    with pytest.raises(Refused) as r:
        cluster.client("scale", "apps/v1/Deployment", ns, "d", 2, made["metadata"]["resourceVersion"])
    assert r.value.status["code"] == 409
    now = cluster.client("get", "apps/v1/Deployment", ns, "d")
    assert now["spec"]["replicas"] == 1 and now["spec"]["template"] == made["spec"]["template"]
    cluster.client("scale", "apps/v1/Deployment", ns, "d", 0)
    assert cluster.client("get", "apps/v1/Deployment", ns, "d")["spec"]["replicas"] == 0


def test_delete_with_preconditions(cluster, ns):
    def make():
        return cluster.client("apply", "v1/ConfigMap", ns, "c", json.dumps(configmap("c", a="1")))["metadata"]

    made = make()
    for uid, version in (("00000000-0000-0000-0000-000000000000", "-"), (made["uid"], "1")):
        with pytest.raises(Refused) as r:
            cluster.client("delete", "v1/ConfigMap", ns, "c", uid, version, "-")
        assert r.value.status["code"] == 409 and not r.value.status["unsure"]
    cluster.client("delete", "v1/ConfigMap", ns, "c", made["uid"], made["resourceVersion"], "-")
    with pytest.raises(Refused) as r:
        cluster.client("delete", "v1/ConfigMap", ns, "c", made["uid"])
    assert r.value.status["code"] == 404


def test_delete_leaves_or_takes_what_it_owns(cluster, ns):
    def replicasets():
        return [o["metadata"] for o in cluster.client("list", "apps/v1/ReplicaSet", ns, "-")["items"]]

    for propagation, left in (("Orphan", 1), ("Foreground", 0)):
        cluster.client("apply", "apps/v1/Deployment", ns, "d", json.dumps(deployment("d", "localhost/none:1")))
        wait_for(lambda: replicasets() and replicasets()[0].get("ownerReferences"), "a ReplicaSet that is owned", timeout=30)
        cluster.client("delete", "apps/v1/Deployment", ns, "d", "-", "-", propagation)

        def gone():
            names = [d["metadata"]["name"] for d in cluster.client("list", "apps/v1/Deployment", ns, "-")["items"]]
            return names == [] and len(replicasets()) == left

        wait_for(gone, f"{propagation}: {left} ReplicaSets are left", timeout=30)


# --- logs and programs --------------------------------------------------------------------------


@pytest.fixture
def busy(cluster, ns):
    """A pod with a sidecar; both say something and then live."""
    image = cluster.busybox()
    script = "trap exit TERM; echo {0} begins; echo {0} goes on; while :; do sleep 0.1; done"
    cluster.kubectl("apply", "-n", ns, "-f", "-", input=json.dumps(pod(
        "p", image, "sh", "-c", script.format("app"), sidecar=(image, "sh", "-c", script.format("side")),
        hostNetwork=False)))
    cluster.running(ns, "p")
    return cluster


def test_logs(busy, ns):
    assert busy.client("log", ns, "p", "app") == "app begins\napp goes on\n"
    assert busy.client("log", ns, "p", "side", 1) == "side goes on\n"
    with pytest.raises(Refused, match="400 BadRequest"):
        busy.client("log", ns, "p", "nobody")
    with pytest.raises(Refused, match="previous terminated container"):
        busy.client("log", ns, "p", "app", "-", "previous")


def test_a_program_and_its_exit_status(busy, ns):
    both = busy.client("exec", ns, "p", "app", "-", "sh", "-c", 'echo "$1"; echo err >&2; exit 7', "sh", "a  b;c&d=é")
    assert both == {"status": 7, "out": "a  b;c&d=é\n", "err": "err\n"}
    assert busy.client("exec", ns, "p", "side", "-", "echo", "in the sidecar")["out"] == "in the sidecar\n"


def test_a_programs_input_ends(busy, ns):
    text = "0123456789abcdef" * 6000  # 96 kB, more than one message
    out = busy.client("exec", ns, "p", "app", text, "wc", "-c")
    assert (out["status"], out["out"].strip()) == (0, str(len(text)))
    assert busy.client("exec", ns, "p", "app", text, "cat")["out"] == text


def test_much_output_is_cut(busy, ns):
    out = busy.client("exec", ns, "p", "app", "-", "head", "-c", 3000000, "/dev/zero")
    assert out["status"] == 0 and len(out["out"]) <= 1 << 20


def test_programs_that_cannot_run(busy, ns):
    for args, words in ((("exec", ns, "nope", "app", "-", "sh"), '404 NotFound: pods "nope" not found'),
                        (("exec", ns, "p", "nobody", "-", "sh"), "container nobody is not valid for pod p"),
                        (("exec", ns, "p", "app", "-", "/no/such"), "no such file")):
        with pytest.raises(Refused) as r:
            busy.client(*args)
        assert words in r.value.error, r.value.error
        assert not r.value.status["unsure"]


# --- watching -----------------------------------------------------------------------------------


class Watch:
    """kube-client watch as a process; .seen grows."""

    def __init__(self, cluster, kind, ns, name="-", seconds=60, patience=30000):
        self.process = subprocess.Popen(cluster.argv("watch", kind, ns, name, seconds, patience=patience),
                                        stdout=subprocess.PIPE, text=True)
        self.seen, self.error = [], None
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if "error" in event:
                self.error = event
                return
            name = event.get("object", {}).get("metadata", {}).get("name", "")
            self.seen.append(f"{event['seen']} {name}".strip())

    def until(self, what, **kw):
        return wait_for(lambda: self.seen[-len(what):] == what, f"{what} (seen {self.seen}, {self.error})", timeout=40, **kw)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.thread.join(5)
        self.process.stdout.close()


def put(cluster, ns, name, value):
    cluster.client("apply", "v1/ConfigMap", ns, name, json.dumps(configmap(name, a=str(value))))


def test_a_watch_sees_each_change_once(cluster, ns):
    cluster.kubectl("delete", "configmap", "-n", ns, "kube-root-ca.crt", "--ignore-not-found")
    put(cluster, ns, "a", 1)
    with Watch(cluster, "v1/ConfigMap", ns, "a", seconds=6) as w:
        w.until(["begin", "added a", "synced"])
        put(cluster, ns, "b", 1)
        put(cluster, ns, "a", 2)
        put(cluster, ns, "a", 2)
        cluster.client("delete", "v1/ConfigMap", ns, "a")
        w.until(["begin", "added a", "synced", "modified a", "deleted a"])
        assert w.process.wait(20) == 0 and w.error is None  # its time is over


def test_a_watch_survives_its_server(own, ns):
    """The API server is killed, and comes again: nothing is missed, nothing told twice."""
    put(own, ns, "a", 0)
    with Watch(own, "v1/ConfigMap", ns, "a") as w:
        w.until(["synced"])
        own.do("server", "kill")
        try:
            with pytest.raises(Refused) as r:
                own.client("get", "v1/ConfigMap", ns, "a", patience=1000)
            assert r.value.status["code"] == 0 and not r.value.status["unsure"]
        finally:
            own.do("server", "start")
        put(own, ns, "a", 1)  # waits for it
        w.until(["synced", "modified a"])
        put(own, ns, "a", 2)
        w.until(["synced", "modified a", "modified a"])
        assert w.seen.count("begin") == 1


def test_a_server_that_stands_still(own, ns):
    own.do("server", "stop")
    since = time.monotonic()
    try:
        with pytest.raises(Refused) as r:
            own.client("get", "v1/ConfigMap", ns, "a", patience=2000)
    finally:
        own.do("server", "cont")
    assert time.monotonic() - since < 10 and not r.value.status["unsure"], r.value.error
    own.client("version")


# --- the facts that the rest is built on --------------------------------------------------------


def test_a_sidecar_is_replaced_and_nothing_else(own, ns):
    """A patch of the pod: the sidecar's container is a new one, the pod and its other container are as they were."""
    image = own.busybox()
    v2 = own.image("busybox:2", ["/bin/busybox"], own.env["CLUSTER_BUSYBOX"] + "=/bin/busybox", "symlink:/bin/sh=busybox",
                   "symlink:/bin/sleep=busybox")
    forever = ("sh", "-c", "trap exit TERM; while :; do sleep 0.05; done")
    own.kubectl("apply", "-n", ns, "-f", "-", input=json.dumps(pod("p", image, sidecar=(image, *forever), hostNetwork=False)))
    before = own.running(ns, "p")

    def containers(of):
        s = of["status"]
        return s["initContainerStatuses"][0], s["containerStatuses"][0]

    ops = [{"op": "test", "path": "/spec/initContainers/0/name", "value": "side"},
           {"op": "test", "path": "/spec/initContainers/0/image", "value": image},
           {"op": "replace", "path": "/spec/initContainers/0/image", "value": v2}]
    own.client("patch", "v1/Pod", ns, "p", json.dumps(ops))

    def replaced():
        now = own.client("get", "v1/Pod", ns, "p")
        side = containers(now)[0]
        changed = side["containerID"] != containers(before)[0]["containerID"]
        return now if changed and side["image"] == v2 and side["ready"] and "running" in side["state"] else None

    after = wait_for(replaced, "a new sidecar", timeout=30, interval=0.05)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert containers(after)[0]["restartCount"] == 1
    for key in ("containerID", "restartCount", "state"):
        assert containers(after)[1][key] == containers(before)[1][key]


def test_services_work(own, ns):
    """kube-proxy runs: a cluster IP leads to a pod."""
    image = own.busybox()
    script = textwrap.dedent("""\
        mkdir -p /tmp/w && echo from the pod >/tmp/w/index.html && exec httpd -f -p 8080 -h /tmp/w""")
    web = pod("web", image, "/bin/busybox", "sh", "-c", script.replace("mkdir", "/bin/busybox mkdir"), hostNetwork=False)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
               "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}
    for o in (web, service):
        own.kubectl("apply", "-n", ns, "-f", "-", input=json.dumps(o))
    own.running(ns, "web")
    ip = own.client("get", "v1/Service", ns, "web")["spec"]["clusterIP"]

    def answer():
        done = subprocess.run(["curl", "-s", "-m", "2", f"http://{ip}/"], capture_output=True, text=True)
        return done.stdout

    assert wait_for(answer, "an answer at the cluster IP", timeout=30, interval=0.2) == "from the pod\n"
