"""How long a sidecar is away when it is upgraded, beside a bare `kubectl patch` of the same pod in the same run."""
import json
import socket
import subprocess
import threading
import time

from . import kubernetes
from .waiting import wait_for


class Poller(threading.Thread):
    """Asks a port all the time; .changes: (time, answer), answer None while nobody answers."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.changes, self.over = port, [], False
        self.start()

    def ask(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as s:
                s.sendall(b"GET / HTTP/1.0\r\n\r\n")
                data = b""
                while piece := s.recv(4096):
                    data += piece
            return data.split(b"\r\n\r\n", 1)[1].split()[0].decode()
        except (OSError, IndexError):
            return None

    def run(self):
        while not self.over:
            at, answer = time.monotonic(), self.ask()
            if not self.changes or self.changes[-1][1] != answer:
                self.changes.append((at, answer))
            time.sleep(0.002)

    def outage(self, version):
        """Until this version answers; then how long nobody did before."""
        wait_for(lambda: self.changes[-1][1] == version, f"{version} answers", timeout=60, interval=0.01)
        (down, nobody), (up, _) = self.changes[-2:]
        return up - down if nobody is None else 0.0  # too short to be seen


def measure(cluster, ns, tool, folder, runs):
    """Of one pod, in turns, a tag each: (outages by the tool, outages by kubectl patch), in seconds. No other container was touched."""
    program = folder / "httpd"
    subprocess.run(["cc", "-O2", "-static", "-o", program, kubernetes.HERE / "httpd.c"], check=True)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]

    def image(n):
        return cluster.image(f"http:{n}", ["/httpd", f"v{n}"], f"{program}=/httpd")

    pod = kubernetes.pod("web", cluster.busybox(), sidecar=(image(0), "x"))
    side = pod["spec"]["initContainers"][0]
    del side["command"]
    side["args"] = [str(port)]
    cluster.kubectl("apply", "-n", ns, "-f", "-", input=json.dumps(pod))
    before = cluster.running(ns, "web")["status"]["containerStatuses"][0]
    for n in range(1, 2 * runs + 1):
        image(n)
    poller = Poller(port)
    wait_for(lambda: poller.changes and poller.changes[-1][1] == "v0", "the first one answers")
    ours, bare = [], []
    for n in range(1, 2 * runs + 1):
        if n % 2:
            r = tool("sidecar", "upgrade", "side", "--image", f"localhost/http:{n}", "--pod", "web", "--namespace", ns,
                     "--kubeconfig", cluster.kubeconfig, "--settle", "500ms")
            assert r.returncode == 0, r.stderr
            ours.append(poller.outage(f"v{n}"))
        else:
            patch = [{"op": "replace", "path": "/spec/initContainers/0/image", "value": f"localhost/http:{n}"}]
            cluster.kubectl("patch", "pod", "web", "-n", ns, "--type=json", "-p", json.dumps(patch))
            bare.append(poller.outage(f"v{n}"))
            cluster.running(ns, "web")
    poller.over = True
    poller.join()
    pod = cluster.get("pod", "-n", ns, "web")
    now = pod["status"]["containerStatuses"][0]
    assert {k: now[k] for k in ("containerID", "restartCount", "state")} == \
        {k: before[k] for k in ("containerID", "restartCount", "state")}
    assert pod["status"]["initContainerStatuses"][0]["restartCount"] == 2 * runs
    return ours, bare
