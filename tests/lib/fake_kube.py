"""A Kubernetes API server of one pod, with one sidecar, on one node: it does what a real one and its kubelet do for a sidecar's
upgrade, and answers the request of your choice as badly as told. What it was made to do is counted.

    with FakeKube({5: evil.html}) as api:
        tool("sidecar", "upgrade", "side", "--kubeconfig", api.kubeconfig(path), ...)
        api.applied  # the images that patches put into the pod, in order

deployment: the pod belongs to a Deployment, by a ReplicaSet, and their controller is there: .rolled if it made the pod anew.

A change shows in the watch that follows it, not before: so the answers come in the same order each time.
"""
import copy
import http.server
import json
import threading
import urllib.parse

POD = {
    "kind": "Pod", "apiVersion": "v1",
    "metadata": {"name": "web", "namespace": "default", "uid": "u-web", "resourceVersion": "1", "generation": 1},
    "spec": {"nodeName": "n", "hostNetwork": False,
             "initContainers": [{"name": "side", "image": "side:1", "restartPolicy": "Always"}],
             "containers": [{"name": "app", "image": "app:1"}]},
    "status": {"phase": "Running",
               "initContainerStatuses": [{"name": "side", "image": "side:1", "imageID": "sha256:side:1", "containerID": "c://side-0",
                                          "ready": True, "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
               "containerStatuses": [{"name": "app", "image": "app:1", "imageID": "sha256:app:1", "containerID": "c://app-0", "ready": True,
                                      "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]},
}
NODE = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n"}, "status": {"nodeInfo": {"kubeletVersion": "v1.36.3", "bootID": "x"}}}
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/web"
SET = "/apis/apps/v1/namespaces/default/replicasets/web-1"


def owned(kind, name):
    return [{"kind": kind, "name": name, "controller": True, "apiVersion": "apps/v1", "uid": f"u-{kind}"}]


def status(code, reason, message="no"):
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}


class FakeKube:
    def __init__(self, evil=None, deployment=False):
        self.evil = evil or {}
        self.pods = {"web": copy.deepcopy(POD)}
        self.version, self.starts = 1, 0
        self.asked, self.applied, self.made, self.events = [], [], 0, []
        self.lock, self.over = threading.Lock(), threading.Event()
        self.others, self.rolled, self.stopped = {}, False, threading.Event()
        if deployment:
            self.pods["web"]["metadata"]["ownerReferences"] = owned("ReplicaSet", "web-1")
            spec = {key: [{k: c[k] for k in c} for c in POD["spec"][key]] for key in ("initContainers", "containers")}
            for path, kind, name, labels in ((SET, "ReplicaSet", "web-1", {"app": "web", "pod-template-hash": "1"}),
                                             (DEPLOYMENT, "Deployment", "web", {"app": "web"})):
                self.others[path] = copy.deepcopy({
                    "kind": kind, "apiVersion": "apps/v1", "metadata": {"name": name, "namespace": "default", "uid": f"u-{kind}", "generation": 1},
                    "spec": {"template": {"metadata": {"labels": labels}, "spec": spec}}, "status": {"observedGeneration": 1}})
            self.others[SET]["metadata"]["ownerReferences"] = owned("Deployment", "web")

    # --- the world ---

    def bump(self, pod):
        self.version += 1
        pod["metadata"]["resourceVersion"] = str(self.version)

    def settle(self):
        """What the kubelet does: each container runs what its spec says, and an image is looked at."""
        changed = []
        for name, pod in self.pods.items():
            if name == "web":
                spec, now = pod["spec"]["initContainers"][0], pod["status"]["initContainerStatuses"][0]
                if spec["image"] != now["image"]:
                    self.starts += 1
                    now.update(image=spec["image"], imageID=f"sha256:{spec['image']}", containerID=f"c://side-{self.starts}",
                               restartCount=now["restartCount"] + 1)
                    changed.append(pod)
            elif "status" not in pod:
                image = pod["spec"]["containers"][0]["image"]
                pod["status"] = {"phase": "Failed", "containerStatuses": [
                    {"name": "image", "image": image, "imageID": f"sha256:{image}", "containerID": "c://image",
                     "state": {"terminated": {"reason": "StartError"}}}]}
                changed.append(pod)
        for pod in changed:
            self.bump(pod)
            self.events.append((self.version, {"type": "MODIFIED", "object": copy.deepcopy(pod)}))

    def control(self):
        """What the Deployment's controller does."""
        d, s = self.others[DEPLOYMENT], self.others[SET]
        d["status"]["observedGeneration"] = d["metadata"]["generation"]
        if not d["spec"].get("paused") and d["spec"]["template"]["spec"] != s["spec"]["template"]["spec"]:
            self.rolled = True

    def patch(self, old, ops, dry):
        new, images = copy.deepcopy(old), []
        for op in ops:
            *way, last = [p.replace("~1", "/").replace("~0", "~") for p in op["path"].split("/")[1:]]
            at = new
            try:
                for p in way:
                    at = at[int(p)] if isinstance(at, list) else at[p]
                if op["op"] == "test" and at[last] != op["value"]:
                    return status(422, "Invalid", "the server rejected our request due to an error in our request")
            except (KeyError, IndexError):
                return status(422, "Invalid", "the server rejected our request due to an error in our request")
            if op["op"] == "remove":
                del at[last]
            elif op["op"] in ("add", "replace"):
                at[last] = op["value"]
                images += [op["value"]] if last == "image" else []
        new["metadata"]["generation"] += new["spec"] != old["spec"]
        self.bump(new)
        if not dry and new["kind"] == "Pod":
            self.pods[new["metadata"]["name"]] = new
            self.applied += images
        elif not dry:
            self.others[SET if new["kind"] == "ReplicaSet" else DEPLOYMENT] = new
            self.control()
        return 200, new

    def world(self, method, path, query, body):
        """(code, object), or (200, [events]) of a watch."""
        name = path[len(PODS) + 1:] if path.startswith(PODS + "/") else None
        if path == "/api/v1/nodes/n":
            return 200, NODE
        if path == PODS and method == "POST":
            self.made += 1
            pod = json.loads(body)
            if pod["metadata"]["name"] in self.pods:
                return status(409, "AlreadyExists")
            pod["metadata"].update(uid=f"u-made-{self.made}", namespace="default")
            self.bump(pod)
            self.pods[pod["metadata"]["name"]] = pod
            return 201, pod
        if path == PODS:
            wanted = query.get("fieldSelector", [""])[0].removeprefix("metadata.name=")
            if "watch" in query:
                self.settle()
                since = int(query["resourceVersion"][0])
                return 200, [e for version, e in self.events if version > since and e["object"]["metadata"]["name"] == wanted]
            items = [p for n, p in self.pods.items() if n == wanted]
            return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": str(self.version)}, "items": items}
        there = self.pods.get(name) or self.others.get(path)
        if not there:
            return status(404, "NotFound", f'"{name}" not found')
        if method == "PATCH":
            return self.patch(there, json.loads(body), "dryRun" in query)
        if method == "DELETE":
            return 200, self.pods.pop(name)
        return 200, there

    # --- serving ---

    def serve(self, h):
        body = h.rfile.read(int(h.headers.get("Content-Length", 0)))
        url = urllib.parse.urlsplit(h.path)
        query = urllib.parse.parse_qs(url.query)
        with self.lock:
            n = len(self.asked)
            self.asked.append(f"{h.command} {'watch ' if 'watch' in query else ''}{url.path}")
            code, answer = self.world(h.command, url.path, query, body)
            answer = copy.deepcopy(answer)
        evil = self.evil.get(n) or self.evil.get("all")
        if evil == "stop":  # it is done, and nobody hears of it
            self.stopped.set()
            self.over.wait(60)
            return
        if isinstance(answer, list):
            lines = b"".join(json.dumps(e).encode() + b"\n" for e in answer)
            (evil.stream if evil else stream)(h, lines)
            if not evil:
                self.over.wait(20)  # as a real one: it stays open
        else:
            (evil.whole if evil else whole)(h, code, json.dumps(answer).encode())

    def kubeconfig(self, path):
        path.write_text(json.dumps({
            "kind": "Config", "apiVersion": "v1", "current-context": "x", "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}]}))
        return path

    def __enter__(self):
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                try:
                    fake.serve(self)
                except OSError:  # the client has had enough
                    self.close_connection = True

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, block_on_close = True, False

            def handle_error(self, *_):  # a client that ends its connection is no news
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def whole(h, code, body, kind="application/json", length=None):
    h.send_response(code)
    h.send_header("Content-Type", kind)
    h.send_header("Content-Length", str(len(body) if length is None else length))
    h.end_headers()
    h.wfile.write(body)


def stream(h, lines):
    """A watch, opened; it is not ended."""
    h.send_response(200)
    h.send_header("Content-Type", "application/json")
    h.send_header("Transfer-Encoding", "chunked")
    h.end_headers()
    if lines:
        h.wfile.write(b"%x\r\n%s\r\n" % (len(lines), lines))
    h.wfile.flush()
    h.close_connection = True
