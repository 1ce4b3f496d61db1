"""examples/prometheus/changeover.yml on ports and paths of a test: a Prometheus with a million samples, started by hand.

    with PromService() as prom:
        prom.make_data()                # 1,000,000 samples of bulk_0 ... bulk_9 in a block
        prom.start_by_hand()            # green, as its user would have started it
        prom.front()                    # adopt it, Caddy with our block before it
"""
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import types
import urllib.parse
import urllib.request

import yaml

from . import ports as port_blocks
from .caddy import ROOT, Caddy, server_path
from .service import Service, merge
from .waiting import wait_for

METRICS, SERIES, SAMPLES, STEP = 10, 25, 4000, 1.75
TOTAL = METRICS * SERIES * SAMPLES


class Exporter:
    """Something to scrape: series_N of value N, and a counter of the scrapes."""

    def __init__(self, series=200):
        self.scrapes = 0
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                exporter.scrapes += 1
                lines = [f'series{{n="{n}"}} {n}' for n in range(series)] + [f"scrapes {exporter.scrapes}", ""]
                data = "\n".join(lines).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class PromService(Service):
    INTERVAL = 0.5      # of a scrape

    def __init__(self, spec=None):  # pylint: disable=super-init-not-called
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="changeover-prom-"))
        self.dir.chmod(0o755)
        self.network = types.SimpleNamespace(process=None)
        self.by_hand = None
        self.blocks = [port_blocks.take_block()]
        take = self.blocks[0].take
        self.ports = {"green": {"http": take()}, "blue": {"http": take()}}
        self.front_port, self.admin_port, self.which_port = take(), take(), take()
        self.previews = {"green": take(), "blue": take()}
        self.exporter = Exporter()
        self.config = self.dir / "prometheus.yml"
        self.config.write_text(yaml.safe_dump({
            "global": {"scrape_interval": f"{int(self.INTERVAL * 1000)}ms"},
            "scrape_configs": [{"job_name": "exporter",
                                "static_configs": [{"targets": [f"127.0.0.1:{self.exporter.port}"]}]}]}))
        (self.dir / "state").mkdir(mode=0o700)
        self.data = {c: self.dir / c / "metrics2" for c in ("green", "blue")}
        self.data["green"].mkdir(parents=True)
        self.data["blue"].parent.mkdir()
        self.caddy = Caddy("{\n\tadmin 127.0.0.1:%d\n}\n" % self.admin_port, self.admin_port)
        self.flag_dir = self.caddy.dir / "flags"
        self.spec_path = self.dir / "changeover.yml"
        self.spec = merge(self.example(), merge(self._here(), spec or {}))
        self.write_spec()

    def example(self):
        """The example as it is, with the programs and files of Debian where they are here."""
        text = (ROOT / "examples/prometheus/changeover.yml").read_text()
        for name in ("prometheus", "promtool"):
            text = text.replace(f"/usr/bin/{name}", str(server_path(name)))
        return yaml.safe_load(text.replace("/etc/prometheus/prometheus.yml", str(self.config)))

    def _here(self):
        return {
            "colours": {c: {"ports": self.ports[c]} for c in self.ports},
            "volumes": {"tsdb": {c: str(path) for c, path in self.data.items()}},
            "runtime": {"user": None},
            "traffic": {"site": f"http://:{self.front_port}", "flag_dir": str(self.flag_dir),
                        "caddyfile": str(self.caddy.path), "admin": f"127.0.0.1:{self.admin_port}",
                        "which_port": self.which_port, "preview_ports": self.previews},
            "gate": {"interval": "100ms", "deadline": "60s"},
            "bake": "500ms",
            "space": {"floor": "100MB", "last_floor": "50MB"},
        }

    def own_programs(self):
        """Copies that another user may run too: the cache may be in root's home."""
        text = json.dumps(self.spec)
        for name in ("prometheus", "promtool"):
            shutil.copy2(server_path(name), self.dir / name)
            (self.dir / name).chmod(0o755)
            text = text.replace(str(server_path(name)), str(self.dir / name))
        self.spec = json.loads(text)
        self.write_spec()

    def make_data(self):
        """A block of TOTAL samples, some hours old: bulk_M{s="S"} = M * S + i."""
        text = self.dir / "samples.txt"
        start = (int(time.time()) - 4 * 3600) // 7200 * 7200
        self.bulk_start, self.bulk_end = start, start + SAMPLES * STEP
        with open(text, "w") as f:
            for m in range(METRICS):
                f.write(f"# TYPE bulk_{m} gauge\n")
                for s in range(SERIES):
                    f.write("".join(f'bulk_{m}{{s="{s}"}} {m * s + i} {start + i * STEP}\n' for i in range(SAMPLES)))
            f.write("# EOF\n")
        done = subprocess.run([server_path("promtool"), "tsdb", "create-blocks-from", "openmetrics", text,
                               self.data["green"]], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        text.unlink()

    def command(self, colour):
        words = {"${volume.tsdb}": str(self.data[colour]), "${port.http}": str(self.ports[colour]["http"]),
                 "${config.retention}": self.spec["config"]["retention"]}
        out = []
        for arg in self.spec["runtime"]["command"]:
            for name, value in words.items():
                arg = arg.replace(name, value)
            out.append(arg)
        return out

    def start_by_hand(self, command=None, **kw):
        with open(self.dir / "by-hand.out", "wb") as log:
            self.by_hand = subprocess.Popen(command or self.command("green"), cwd=self.dir, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True,
                                            env={**os.environ, "STARTED_BY": "hand"}, **kw)
        wait_for(lambda: self.ready("green"), "Prometheus is ready", 30)

    def front(self):
        self.run("adopt")
        self.caddy.start()
        self.run("traffic", "install", "-y")

    def ready(self, colour):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[colour]['http']}/-/ready", timeout=2) as a:
                return a.status == 200
        except OSError:
            return False

    def ask(self, path, colour=None, **args):
        """`data` of an API answer, through the front or from a colour itself."""
        port = self.ports[colour]["http"] if colour else self.front_port
        url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(args)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]

    def samples(self, colour, selector, start, end):
        """{labels: [[time, value], ...]} of all raw samples after start, up to end."""
        found = self.ask("query", colour, query=f"{selector}[{int((end - start) * 1000)}ms]", time=f"{end:.3f}")
        return {json.dumps(r["metric"], sort_keys=True): r["values"] for r in found["result"]}

    def close(self):
        if self.by_hand and self.by_hand.poll() is None:
            self.by_hand.send_signal(signal.SIGTERM)
        super().close()
        if self.by_hand:
            self.by_hand.wait(10)
        self.exporter.close()
