"""Two small backends behind the real Caddy with the tool's block, and requests to it: for tests of the traffic driver."""
import http.client
import json
import socket
import threading

OTHER_SITE = "http://127.0.0.1:%d {\n\trespond \"other site\"\n}\n"


class Host:
    """A service with both colours up, its spec, and the tool."""

    def __init__(self, tmp_path, tool, caddy, ports, backends, front):
        self.tmp, self.caddy, self.ports, self.front = tmp_path, caddy, ports, front
        self.green, self.blue = backends
        self.flags = caddy.dir / "flags" / "demo"
        self.spec_path = tmp_path / "changeover.yml"
        self._tool = tool
        self.write_spec()

    def write_spec(self, more="", green=None, blue=None, writes="replayed"):
        which, preview_green, preview_blue = self.ports
        identify = "" if "identify" in more else "  identify: {path: /, header: X-Instance}\n"
        self.spec_path.write_text(f"""
service: demo
writes: {writes}
colours:
  green: {{ports: {{http: {green or self.green.port}}}}}
  blue: {{ports: {{http: {blue or self.blue.port}}}}}
volumes:
  data: {{path: "{self.tmp}/data/${{colour}}"}}
runtime:
  command: [/bin/true]
traffic:
  site: ":{self.front}"
  caddyfile: {self.caddy.path}
  admin: {self.caddy.admin}
  flag_dir: {self.flags}
  which_port: {which}
  preview_ports: {{green: {preview_green}, blue: {preview_blue}}}
{identify}{more}
gate:
  checks:
    - http: {{path: /health, status: 200, body: ok}}
""")

    def tool(self, *args, ok=True, **kw):
        done = self._tool("-f", self.spec_path, "--state-dir", self.tmp / "state", *args, **kw)
        if ok:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def traffic(self, *args, **kw):
        return self.tool("traffic", *args, **kw)

    def install(self, live="green"):
        return self.traffic("install", "--live", live, "-y")

    def show(self, *args):
        done = self.traffic("show", "-o", "json", *args, ok=False)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def websocket(self):
        """An open one through the front."""
        s = socket.create_connection(("127.0.0.1", self.front))
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        assert b"101" in s.recv(4096)
        return s

    def get(self, path="/", port=None, method="GET", body=None, timeout=5):
        return get(port or self.front, path, method, body, timeout)


def get(port, path="/", method="GET", body=None, timeout=5):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        c.request(method, path, body)
        a = c.getresponse()
        return a.status, a.read().decode(), dict(a.getheaders())
    finally:
        c.close()


def colour_of(status, body, headers):
    return status, body, headers.get("X-Changeover-Colour")


GREEN, BLUE = (200, "green-1", "green"), (200, "blue-1", "blue")


class Load:
    """POSTs over kept connections in threads; counts by status and by who answered."""

    def __init__(self, port, threads=8):
        self.port, self.stopping = port, threading.Event()
        self.answers, self.failed = {}, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        while not self.stopping.is_set():
            try:
                c.request("POST", "/", b"x" * 100)
                a = c.getresponse()
                body = a.read().decode()
                with self.lock:
                    if a.status == 200:
                        self.answers[body.split()[0]] = self.answers.get(body.split()[0], 0) + 1
                    else:
                        self.failed.append((a.status, body))
            except (OSError, http.client.HTTPException) as e:
                with self.lock:
                    self.failed.append(repr(e))
                c.close()
        c.close()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for t in self.threads:
            t.join()
