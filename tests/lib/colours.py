"""The service of lib.service, its colours as Deployments of the test cluster: hostNetwork, data on hostPath volumes, by the
account that `changeover kubernetes rbac` describes, with Caddy and the network of nodes beside the cluster.

    with Colours(cluster, ns, config) as service:
        service.start()
        service.run("prepare", "-t", "2.0.0")
"""
import re
import subprocess

import yaml

from . import rpcnode
from .service import Service, merge

PROGRAM = "/opt/rpcnode/rpcnode"
NODE = [PROGRAM, "--ledger", "/data/ledger"]


def image(cluster, version, default_args=(), tag=None):
    """localhost/rpcnode:VERSION: the stand-in with the libraries that it loads."""
    name = f"rpcnode:{tag or version}"
    if name in cluster.images:
        return cluster.images[name]
    said = subprocess.run(["ldd", rpcnode.BINARY], capture_output=True, text=True, check=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", said)
    where = cluster.scratch / name.replace(":", "-")
    rpcnode.make_version(where, version, default_args)
    files = [f"{where}/{f}=/opt/rpcnode/{f}" for f in ("rpcnode", "VERSION", "DEFAULT-ARGS", "ARGUMENT-RULES")]
    return cluster.image(name, [PROGRAM], *files, *(f"{p}={p}" for p in libraries))


def template(slot_ms, peer, image_name="localhost/rpcnode:${version}"):
    """A Deployment for either colour, as a user would write it."""
    args = ["--accounts", "/data/accounts", "--identity", "/identity.json", "--rpc-port", "${port.rpc}",
            "--ws-port", "${port.ws}", "--gossip-port", "${port.gossip}", "--dynamic-port-range", "${port.dynamic}",
            "--dynamic-ports", "4", "--extra-udp-from", "${port.extra.first}", "--slot-ms", str(slot_ms), "--peer", peer]
    container = {
        "name": "node", "image": image_name, "imagePullPolicy": "Never", "command": NODE, "args": args,
        "ports": [{"name": "rpc", "containerPort": "${port.rpc}"}],
        "readinessProbe": {"httpGet": {"host": "127.0.0.1", "path": "/health", "port": "${port.rpc}"}, "periodSeconds": 1},
        "volumeMounts": [{"name": "ledger", "mountPath": "/data/ledger"}, {"name": "accounts", "mountPath": "/data/accounts"},
                         {"name": "identity", "mountPath": "/identity.json"}]}
    volumes = [{"name": "ledger", "hostPath": {"path": "/nowhere"}}, {"name": "accounts", "emptyDir": {}},
               {"name": "identity", "hostPath": {"path": "${identity}", "type": "File"}}]
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "any", "labels": {"app": "node"}},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "node"}},
                     "template": {"metadata": {"labels": {"app": "node"}},
                                  "spec": {"hostNetwork": True, "containers": [container], "volumes": volumes}}}}


class Colours(Service):
    def __init__(self, cluster, ns, config, spec=None, versions=("1.0.0", "2.0.0"), **kw):
        self.cluster, self.ns, self.config = cluster, ns, config
        for version in versions:
            image(cluster, version)
        super().__init__(merge(spec or {}, {}), versions=(), **kw)

    def _default_spec(self):
        base = super()._default_spec()
        self.template = template(self.slot_ms, self.network.url)
        self.write_template()
        return merge(base, {
            "runtime": {
                "driver": "kubernetes", "command": None, "restart": None,
                "version": {"command": [PROGRAM, "--version"], "output": "rpcnode ([0-9.]+)"},
                "kubernetes": {"kubeconfig": str(self.config), "namespace": self.ns, "container": "node",
                               "template": str(self.dir / "template.yml"), "start_within": "30s",
                               "inspect_image": self.cluster.busybox()}},
            "stop": {"command": NODE + ["exit", "--force"], "grace": "20s"},
        })

    def write_template(self):
        (self.dir / "template.yml").write_text(yaml.safe_dump(self.template, sort_keys=False))

    @property
    def pod_spec(self):
        return self.template["spec"]["template"]["spec"]

    def deployment(self, colour):
        """The colour's Deployment, or None."""
        for d in self.cluster.get("deployment", "-n", self.ns)["items"]:
            if d["metadata"]["name"] == f"{self.name}-{colour}":
                return d
        return None

    def pods(self, colour=None):
        pods = self.cluster.get("pod", "-n", self.ns)["items"]
        return [p for p in pods if colour is None or p["metadata"]["labels"].get("changeover/colour") == colour]

    def close(self):
        self.end_processes()
        self.cluster.kubectl("delete", "deployment,pod", "--all", "-n", self.ns, "--grace-period=0", "--force", "--wait=false")
        super().close()
