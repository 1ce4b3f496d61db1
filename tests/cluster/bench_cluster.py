"""What the promises about a cluster say, measured beside kubectl in the same run. Called by `make bench-cluster`: some 5 minutes."""
import json
import os
import statistics
import subprocess
import time

from lib import kubernetes
from lib.bench import SHORT, Figures
from lib.colours import Colours
from lib.outage import measure
from lib.peak import at_its_output

UPGRADES = 5 if SHORT else 50
ASKED = 5 if SHORT else 41


def test_fifty_upgrades_of_a_sidecar(own, ns, tool, tmp_path):
    with Figures(f"{UPGRADES} upgrades of a sidecar in a row, a tag each, in turns with `kubectl patch`") as figures:
        ours, bare = measure(own, ns, tool, tmp_path, UPGRADES)
        a, b = statistics.median(ours), statistics.median(bare)
        figures.add("outage, median, changeover", f"{a * 1e3:.0f} ms (most {max(ours) * 1e3:.0f})", "at most 1.2 times kubectl's", a <= 1.2 * b)
        figures.add("outage, median, kubectl patch", f"{b * 1e3:.0f} ms (most {max(bare) * 1e3:.0f})")
        figures.add("other containers touched", "0", "0")  # measure() has looked


def seconds(argv, env):
    began = time.monotonic()
    subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def beside(title, ours, ns, cluster):
    """A command of ours and kubectl in turns: time and memory."""
    env = {**os.environ, "KUBECONFIG": cluster.kubeconfig, "HOME": "/nonexistent"}
    theirs = [f"{os.environ['PARTS']}/usr/bin/kubectl", "get", "deploy,pod", "-o", "wide", "-n", ns]
    ours = [str(a) for a in ours]
    cost = {"ours": [], "theirs": []}
    for _ in range(ASKED):
        cost["ours"].append(seconds(ours, env))
        cost["theirs"].append(seconds(theirs, env))
    memory = {who: at_its_output(argv, env) for who, argv in (("ours", ours), ("theirs", theirs))}
    with Figures(f"`changeover {title}` beside `kubectl get deploy,pod -o wide`") as figures:
        a, b = (statistics.median(cost[who]) for who in ("ours", "theirs"))
        figures.add("time, changeover", f"{a * 1e3:.1f} ms", "at most half of kubectl's", a <= b / 2)
        figures.add("time, kubectl", f"{b * 1e3:.1f} ms")
        a, b = (memory[who][0] for who in ("ours", "theirs"))
        figures.add("memory, changeover", f"{a / 1e6:.1f} MB ({memory['ours'][1] / 1e6:.1f} of it private)", "at most a quarter of kubectl's", a <= b / 4)
        figures.add("memory, kubectl", f"{b / 1e6:.1f} MB ({memory['theirs'][1] / 1e6:.1f} of it private)")


def test_sidecar_status_beside_kubectl(own, ns, build):
    template = kubernetes.pod("web", own.busybox(), sidecar=(own.busybox(), "sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"))
    own.kubectl("apply", "-n", ns, "-f", "-", input=json.dumps({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": template["metadata"], "spec": template["spec"]}}}))
    own.kubectl("wait", "-n", ns, "--for=condition=Available", "--timeout=60s", "deployment/web")
    beside("sidecar status", [build / "src/changeover", "sidecar", "status", "--deployment", "web", "--namespace", ns], ns, own)


def test_status_beside_kubectl(own, ns, tool, tmp_path):
    """Of a service whose colours are Deployments, both running."""
    config = kubernetes.account(own, ns, tool, tmp_path / "config")
    try:
        with Colours(own, ns, config) as service:
            service.start()
            service.run("prepare", "-t", "2.0.0")
            beside("status", service.argv("status"), ns, own)
    finally:
        own.kubectl("delete", "clusterrole,clusterrolebinding", f"changeover-{ns}", "--ignore-not-found")
