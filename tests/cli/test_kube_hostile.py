"""A Kubernetes API that answers as none should, or a proxy in its stead: each answer of a sidecar's upgrade in turn. Promised is a
clear error or none, bounded memory, and that nothing is done twice; and the same command again brings it to its end."""
import concurrent.futures
import json
import os
import random
import subprocess

import pytest

from lib.fake_kube import DEPLOYMENT, SET, FakeKube, stream, whole
from lib.peak import Peak

FUZZ = int(os.environ.get("CHANGEOVER_FUZZ", "2"))  # damaged answers for each request
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>\n<center><h1>502 Bad Gateway</h1></center></body></html>\n"


class Evil:
    """whole: instead of an answer; stream: instead of a watch's events."""

    def __init__(self, name, answer, events):
        self.name, self.whole, self.stream = name, answer, events


def hang_up(h, *_):
    h.close_connection = True


def cut(h, code, body):
    whole(h, code, body[:len(body) // 2], length=len(body))
    h.close_connection = True


def cut_stream(h, lines):
    stream(h, lines[:len(lines) // 2])


def raw(h, *_):
    h.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    h.close_connection = True


def always(code, body, kind="application/json"):
    return lambda h, *_: whole(h, code, body, kind)


def lines_of(text):
    return lambda h, lines: stream(h, text + lines)


def huge(h, code, body):
    """The object that it is, and 10 MB more."""
    o = json.loads(body)
    o.setdefault("metadata", {})["annotations"] = {"big": "x" * 10_000_000}
    whole(h, code, json.dumps(o).encode())


def endless_line(h, lines):
    stream(h, b'{"type":"MODIFIED","object":{"kind":"' + b"x" * 10_000_000)


def redirect(h, *_):
    h.send_response(302)
    h.send_header("Location", "http://127.0.0.1:1/elsewhere")
    h.send_header("Content-Length", "0")
    h.end_headers()


def wrong_kind(h, code, body):
    whole(h, code, json.dumps({**json.loads(body), "kind": "ConfigMap"}).encode())


EVILS = [
    Evil("a proxy's page", always(200, PAGE, "text/html"), always(200, PAGE, "text/html")),
    Evil("a proxy's page as JSON", always(200, PAGE), lines_of(PAGE)),
    Evil("a proxy's 502", always(502, PAGE, "text/html"), always(502, PAGE, "text/html")),
    Evil("half of it", cut, cut_stream),
    Evil("half of it, and an end", lambda h, code, body: whole(h, code, body[:len(body) // 2]), lines_of(b'{"type":"MODIFIED","object":{\n')),
    Evil("nothing", hang_up, hang_up),
    Evil("an empty body", always(200, b""), always(200, b"")),
    Evil("no HTTP", raw, raw),
    Evil("another kind", wrong_kind, lines_of(b'{"type":"MODIFIED","object":{"kind":"ConfigMap","apiVersion":"v1"}}\n')),
    Evil("a number", always(200, b"17"), lines_of(b"17\n")),
    Evil("null", always(200, b"null"), lines_of(b"null\n")),
    Evil("a refusal with 200", always(200, b'{"kind":"Status","code":500}'), lines_of(b'{"type":"ERROR","object":{"kind":"Status","code":"x"}}\n')),
    Evil("brackets", always(200, b"[" * 200_000), lines_of(b"[" * 200_000 + b"\n")),
    Evil("no text", always(200, bytes(range(256))), lines_of(bytes(range(256)))),
    Evil("elsewhere", redirect, redirect),
    Evil("10 MB", huge, endless_line),
]


def upgrade(tool, config):
    return tool("sidecar", "upgrade", "side", "--image", "new:2", "--pod", "web", "--settle", "100ms", "--timeout", "20s", "--tunnel",
                "none", "--kubeconfig", config)


def asked(tool, tmp_path):
    """What a good server is asked."""
    with FakeKube() as api:
        r = upgrade(tool, api.kubeconfig(tmp_path / "config"))
        assert r.returncode == 0, r.stderr
        assert api.applied == ["new:2"] and list(api.pods) == ["web"]
        return api.asked


def at_once(work, items):
    """Several at a time: most of it is waiting."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, *item) for item in items]:
            done.result()


def judge(api, r, what):
    """Nothing was done twice, and the words are for people."""
    assert r.returncode in (0, 1, 3), f"{what}: {r.returncode}\n{r.stderr}"
    assert api.applied.count("new:2") <= 1 and api.applied.count("side:1") <= 1, f"{what}: {api.applied}\n{r.stderr}"
    assert len(r.stderr) < 5000 and all(c >= " " or c == "\n" for c in r.stderr), f"{what}: {r.stderr[:2000]!r}"
    assert r.returncode == 0 or any(line.startswith("changeover: ") for line in r.stderr.splitlines()), f"{what}: {r.stderr}"
    if r.returncode == 1:  # nothing was changed, or it is back
        assert api.pods["web"]["spec"]["initContainers"][0]["image"] == "side:1", f"{what}: {r.stderr}"


def again(api, tool, config, what):
    """The server is good again: the same command ends well."""
    api.evil, api.applied = {}, [i for i in api.applied if api.pods["web"]["spec"]["initContainers"][0]["image"] == i][-1:]
    r = upgrade(tool, config)
    assert r.returncode == 0, f"{what}, and again: {r.stderr}"
    assert api.applied.count("new:2") == 1, f"{what}, and again: {api.applied}"
    assert api.pods["web"]["spec"]["initContainers"][0]["image"] == "new:2"


@pytest.mark.parametrize("evil", EVILS, ids=lambda e: e.name)
def test_each_answer_in_turn(tool, tmp_path, evil):
    requests = asked(tool, tmp_path)
    patch = requests.index("PATCH /api/v1/namespaces/default/pods/web")

    def one(n, request):
        with FakeKube({n: evil}) as api:
            config = api.kubeconfig(tmp_path / f"config-{n}")
            r = upgrade(tool, config)
            judge(api, r, request)
            if n > patch:  # it is asked again: no reason to go back, and to stop the container once more
                assert r.returncode == 0 and api.applied == ["new:2"], f"{n} {request}: {r.stderr}"
            again(api, tool, config, request)

    at_once(one, enumerate(requests))


def damage(text, rng):
    """Some bytes are others, fewer or more."""
    out = bytearray(text)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out)) if out else 0
        out[at:at + rng.choice((0, 1, 1, 1, 8))] = bytes(rng.choice(b'{}[]":,0-\\x\x00\xffn ') for _ in range(rng.choice((0, 1, 1, 3))))
    return bytes(out)


def mangle(value, rng):
    """Some values are of another type, and texts are long."""
    others = [None, True, -1, 1e300, "", "x" * 3000, [], {}, [None], {"name": {}}, "\u202e\n\t"]
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        return {**value, key: mangle(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return value[:at] + [mangle(value[at], rng)] + value[at + 1:]
    return rng.choice(others)


def fuzz(seed, structure):
    rng = random.Random(seed)

    def body_of(text):
        return json.dumps(mangle(json.loads(text), rng)).encode() if structure else damage(text, rng)

    def events(h, lines):
        stream(h, b"".join(body_of(line) + b"\n" for line in lines.splitlines()) if lines else damage(b'{"type":"MODIFIED"}\n', rng))

    return Evil(f"seed {seed}", lambda h, code, body: whole(h, code, body_of(body)), events)


@pytest.mark.parametrize("structure", [False, True], ids=["bytes", "structure"])
def test_damaged_answers(tool, tmp_path, structure):
    """CHANGEOVER_FUZZ: how many for each request."""
    def one(n, seed, request):
        with FakeKube({n: fuzz(seed, structure)}) as api:
            r = upgrade(tool, api.kubeconfig(tmp_path / f"config-{seed}"))
            assert r.returncode in (0, 1, 3), f"{request}, seed {seed}: {r.returncode}\n{r.stderr}"
            assert api.applied.count("new:2") <= 1 and api.applied.count("side:1") <= 1, f"{request}, seed {seed}: {api.applied}"

    at_once(one, ((n, n * 1000 + i, request) for n, request in enumerate(asked(tool, tmp_path)) for i in range(FUZZ)))


@pytest.mark.parametrize("which", range(13))
def test_memory_is_bounded(build, tmp_path, sanitized, which):
    if sanitized:
        pytest.skip("a sanitizer's memory is its own")
    with FakeKube({which: EVILS[-1]}) as api:
        p = Peak([build / "src/changeover", "sidecar", "upgrade", "side", "--image", "new:2", "--pod", "web", "--settle", "100ms", "--tunnel", "none",
                  "--kubeconfig", api.kubeconfig(tmp_path / "config")], timeout=60)
        assert p.returncode in (0, 1, 3)
    assert p.bytes < 64 << 20


# --- killed -------------------------------------------------------------------------------------


def with_template(build, config):
    return [str(a) for a in (build / "src/changeover", "sidecar", "upgrade", "side", "--image", "new:2", "--pod", "web", "--settle", "100ms",
                             "--timeout", "20s", "--tunnel", "none", "--update-template", "--kubeconfig", config)]


def run(argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def finished(api, what):
    """The pod, the Deployment and its ReplicaSet have the new image; nothing is left of the way there; the pod is the same."""
    assert api.pods["web"]["spec"]["initContainers"][0]["image"] == "new:2" and list(api.pods) == ["web"], what
    assert api.pods["web"]["metadata"]["uid"] == "u-web" and not api.rolled, what
    assert api.applied == ["new:2"] and api.starts == 1, f"{what}: {api.applied}"
    d, s = api.others[DEPLOYMENT], api.others[SET]
    for o in (d, s):
        assert o["spec"]["template"]["spec"]["initContainers"][0]["image"] == "new:2", what
    assert "paused" not in d["spec"] and not d["metadata"].get("labels"), what


def test_killed_at_each_request_the_same_command_goes_on(build, tmp_path):
    """Each was done by the server, and its answer never came."""
    with FakeKube(deployment=True) as api:
        r = run(with_template(build, api.kubeconfig(tmp_path / "config")))
        assert r.returncode == 0, r.stderr
        finished(api, "undisturbed")
        requests = api.asked
    assert len([a for a in requests if a.startswith("PATCH /apis/apps")]) == 5  # two to ask, three to do

    def one(n, request):
        """And what was done already is not done again, nor the pod made anew in between."""
        with FakeKube({n: "stop"}, deployment=True) as api:
            argv = with_template(build, api.kubeconfig(tmp_path / f"config-{n}"))
            with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
                assert api.stopped.wait(30), request
                p.kill()
            api.evil = {}
            r = run(argv)
            assert r.returncode == 0, f"{n} {request}: {r.stderr}"
            finished(api, f"{n} {request}")

    at_once(one, enumerate(requests))


@pytest.mark.parametrize("evil", [e for e in EVILS if e.name in ("a proxy's page", "a proxy's 502", "half of it", "nothing", "another kind", "10 MB")],
                         ids=lambda e: e.name)
def test_each_answer_about_the_template_in_turn(build, tmp_path, evil):
    with FakeKube(deployment=True) as api:
        assert run(with_template(build, api.kubeconfig(tmp_path / "config"))).returncode == 0
        requests = [(n, a) for n, a in enumerate(api.asked) if "/apis/apps/" in a]

    def one(n, request):
        with FakeKube({n: evil}, deployment=True) as api:
            argv = with_template(build, api.kubeconfig(tmp_path / f"config-{n}"))
            r = run(argv)
            assert r.returncode in (0, 1, 3) and not api.rolled, f"{n} {request}: {r.stderr}"
            if r.returncode == 1:
                assert api.applied == [] and api.others[DEPLOYMENT]["metadata"]["generation"] == 1, f"{n} {request}: {r.stderr}"
            api.evil = {}
            r = run(argv)
            assert r.returncode == 0, f"{n} {request}, again: {r.stderr}"
            finished(api, f"{n} {request}")

    at_once(one, requests)


def test_the_secret_goes_nowhere_else(tool, tmp_path):
    """A redirect is not followed."""
    with FakeKube() as other, FakeKube() as api:
        def lead(h, *_):
            h.send_response(307)
            h.send_header("Location", f"http://127.0.0.1:{other.server.server_port}{h.path}")
            h.send_header("Content-Length", "0")
            h.end_headers()

        api.evil = {"all": Evil("a redirect", lead, lead)}
        r = upgrade(tool, api.kubeconfig(tmp_path / "config"))
        assert r.returncode == 1 and "answered 307" in r.stderr and other.asked == []


def test_the_fake_is_as_the_real_one(tool, tmp_path):
    """Else nothing above says anything."""
    assert asked(tool, tmp_path) == [
        "GET /api/v1/namespaces/default/pods/web", "GET /api/v1/nodes/n", "POST /api/v1/namespaces/default/pods",
        "GET /api/v1/namespaces/default/pods", "GET watch /api/v1/namespaces/default/pods",
        "PATCH /api/v1/namespaces/default/pods/web",
        "GET /api/v1/namespaces/default/pods", "GET watch /api/v1/namespaces/default/pods",
        "GET /api/v1/namespaces/default/pods", "GET watch /api/v1/namespaces/default/pods",
        "PATCH /api/v1/namespaces/default/pods/web",
        "GET /api/v1/namespaces/default/pods/changeover-image-u-web", "DELETE /api/v1/namespaces/default/pods/changeover-image-u-web"]
