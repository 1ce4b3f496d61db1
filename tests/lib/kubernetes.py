"""The cluster of tests/cluster, or the one of KUBECONFIG, from the tests' side."""
import json
import os
import pathlib
import shlex
import subprocess

from .waiting import wait_for

HERE = pathlib.Path(__file__).resolve().parent.parent / "cluster"


class Refused(Exception):
    """The client said no: .error, .hint, .status (code, reason, causes, unsure)."""

    def __init__(self, answer):
        super().__init__(answer["error"])
        self.error, self.hint, self.status, self.exit = (answer[k] for k in ("error", "hint", "status", "exit"))


def run(*argv, timeout=120, **kw):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL if "input" not in kw else None, **kw)
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


class Cluster:
    """own: started by tests/cluster/suite, so that images can be made and its parts killed."""

    def __init__(self, build):
        self.build = build
        self.own = "CLUSTER_DIR" in os.environ
        self.images = {}
        self.scratch = pathlib.Path(os.environ.get("CLUSTER_DIR", "/tmp")) / "scratch"
        if not self.own:
            self.kubeconfig = os.environ["KUBECONFIG"]
            return
        words = (w.partition("=") for w in shlex.split(self.do("env")))
        self.env = {name: value for name, _, value in words}
        self.kubeconfig, self.pki = self.env["KUBECONFIG"], pathlib.Path(self.env["CLUSTER_PKI"])
        self.parts = pathlib.Path(self.env["CLUSTER_BUSYBOX"]).parent.parent
        self.url, self.token = self.env["CLUSTER_URL"], self.env["CLUSTER_TOKEN"]

    @staticmethod
    def do(*args, **kw):
        return run(HERE / "cluster", *args, **kw)

    def kubectl(self, *args, **kw):
        if self.own:
            return self.do("kubectl", *args, **kw)
        return run("kubectl", *args, **kw)

    def get(self, *args):
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def apply(self, *objects):
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return self.kubectl("apply", "-f", "-", input=text)

    def argv(self, *args, kubeconfig=None, patience=None):
        options = ["--kubeconfig", kubeconfig or self.kubeconfig]
        options += ["--patience", patience] if patience else []
        return [str(a) for a in (self.build / "tests/cluster/kube-client", *options, *args)]

    def client(self, *args, env=None, **kw):
        """One call of the client under test: what it returns, else Refused."""
        done = subprocess.run(self.argv(*args, **kw), capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL, env=env)
        assert done.returncode in (0, 1), done.stderr
        answer = json.loads(done.stdout)
        if done.returncode:
            raise Refused(answer)
        return answer

    def image(self, name, entrypoint, *items):
        """localhost/NAME, made once."""
        if name not in self.images:
            self.do("image", name, json.dumps(entrypoint), *items)
            self.images[name] = f"localhost/{name}"
        return self.images[name]

    def busybox(self):
        if not self.own:
            return os.environ.get("CHANGEOVER_BUSYBOX", "busybox:stable")
        links = [f"symlink:/bin/{p}=busybox" for p in ("sh", "cat", "echo", "sleep", "httpd", "wget", "wc", "head")]
        return self.image("busybox:1", ["/bin/busybox"], self.env["CLUSTER_BUSYBOX"] + "=/bin/busybox", *links)

    def running(self, namespace, name):
        """Waits until a pod is ready, and returns it."""

        def ready():
            pod = self.get("pod", "-n", namespace, name)
            up = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
            return pod if up else None

        return wait_for(ready, f"pod {name} is ready", timeout=120, interval=0.1)


def pod(name, image, *command, sidecar=None, **spec):
    """A pod that runs command, for ever if there is none; sidecar: (image, command...)."""
    policy = "Never" if image.startswith("localhost/") else "IfNotPresent"
    forever = ["sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"]

    def container(what, its_image, argv):
        return {"name": what, "image": its_image, "imagePullPolicy": policy, "command": list(argv) or forever}

    spec = {"terminationGracePeriodSeconds": 1, "hostNetwork": True, "enableServiceLinks": False,
            "containers": [container("app", image, command)], **spec}
    if sidecar:
        spec["initContainers"] = [{**container("side", sidecar[0], sidecar[1:]), "restartPolicy": "Always"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def account(cluster, ns, tool, path):
    """A kubeconfig of the account that `kubernetes rbac` describes."""
    manifests = tool("kubernetes", "rbac", "--namespace", ns)
    assert manifests.returncode == 0, manifests.stderr
    cluster.kubectl("apply", "-f", "-", input=manifests.stdout)
    token = cluster.kubectl("create", "token", "-n", ns, "changeover").strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    path.write_text(json.dumps(config))
    return path
