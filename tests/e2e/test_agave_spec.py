"""examples/agave: the first user's host. It loads, it is planned, and it says all that that host's own files say."""
import json
import os
import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples/agave/changeover.yml"
INPUTS = pathlib.Path(os.environ.get("CHANGEOVER_INPUTS", ROOT.parent / "shared/inputs/agave-stack"))

# What the stack's entrypoint makes of its environment: the argument that it becomes in `runtime.command`.
ARGUMENT = {
    "VALIDATOR_ENTRYPOINT": "--entrypoint", "EXTRA_ENTRYPOINTS": "--entrypoint",
    "KNOWN_VALIDATOR": "--known-validator", "EXTRA_KNOWN_VALIDATORS": "--known-validator",
    "RPC_BIND_ADDRESS": "--rpc-bind-address", "LIMIT_LEDGER_SIZE": "--limit-ledger-size",
    "EXPECTED_GENESIS_HASH": "--expected-genesis-hash", "EXPECTED_SHRED_VERSION": "--expected-shred-version",
}
# Of each colour: a standby with live's would take its ports.
OF_COLOUR = {"RPC_PORT": "rpc", "GOSSIP_PORT": "gossip", "DYNAMIC_PORT_RANGE": "dynamic"}
# What a standby must be told otherwise than the stack's default.
STANDBY = {"SNAPSHOT_AUTO_DOWNLOAD": "false"}
# Has no say here, and why.
NO_MATTER = {
    "SNAPSHOT_INTERVAL_SLOTS": "NO_SNAPSHOTS", "MAXIMUM_SNAPSHOTS_TO_RETAIN": "NO_SNAPSHOTS",
    "NO_INCREMENTAL_SNAPSHOTS": "NO_SNAPSHOTS", "VOTE_ACCOUNT_KEYPAIR": "AGAVE_MODE rpc: it does not vote",
    "ACCOUNT_INDEXES": "empty", "BIND_ADDRESS": "empty", "PUBLIC_TVU_ADDRESS": "empty",
    "SOLANA_METRICS_CONFIG": "a password: runtime.env_file", "PROBE_MAX_SLOT_LAG": "the gate's business",
    "JITO_BLOCK_ENGINE_URL": "JITO_ENABLE false",
}


@pytest.fixture(scope="module")
def example():
    return yaml.safe_load(EXAMPLE.read_text())


def inputs(path):
    if not (INPUTS / path).exists():
        pytest.skip("the first user's files are not here; CHANGEOVER_INPUTS names their directory")
    return yaml.safe_load((INPUTS / path).read_text())


@pytest.fixture(scope="module")
def compose():
    return inputs("stack-orchestrator/compose/docker-compose-agave.yml")["services"]["agave-validator"]


@pytest.fixture(scope="module")
def deployment():
    return inputs("deployment/spec.yml")


def settings(compose, deployment):
    """{name: value} as the node on that host has them: the compose file's defaults, the deployment's over them."""
    out = {}
    for name, value in compose["environment"].items():
        default = re.fullmatch(r"\$\{\w+(?::-(.*))?\}", str(value))
        out[name] = str(deployment["config"].get(name, (default.group(1) or "") if default else value))
    return out


def numbers(port):
    """Of a spec's port: 8899, or "9000-9025"."""
    first, _, last = str(port).partition("-")
    return set(range(int(first), int(last or first) + 1))


def test_it_is_planned(tool, tmp_path):
    done = tool("plan", "-f", EXAMPLE, "-t", "3.1.12", "-o", "json", "--state-dir", tmp_path / "state")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["from"], plan["to"], plan["version_to"]) == ("green", "blue", "3.1.12")
    steps = {s["step"]: s["effect"] for phase in ("prepare", "promote") for s in plan[phase]}
    assert "/srv/kind/solana/ledger -> /srv/kind/solana-blue/ledger" in steps["prepare/clone"]
    assert "accounts: make /srv/kind/solana-blue/accounts empty" in steps["prepare/clone"]
    assert "/opt/agave/3.1.12/bin/agave-validator" in steps["prepare/start"]
    assert "/srv/kind/solana-blue/config/validator-identity.json" in steps["prepare/start"]
    for gate in ("http", "jsonrpc", "version", "lag", "moving", "websocket", "ports"):
        assert gate in steps["prepare/gate"]
    assert "compare the answers field by field: getBlock, clock, each 20 times" in steps["promote/shadow"]
    assert not (tmp_path / "state/agave/journal.db").exists()


def test_the_colours_share_nothing(example):
    green, blue = (example["colours"][c] for c in ("green", "blue"))
    assert green["ports"].keys() == blue["ports"].keys() >= {"rpc", "ws", "gossip", "dynamic"}
    taken = [set().union(*map(numbers, c["ports"].values())) for c in (green, blue)]
    extra = set().union(*(numbers(p.split(":")[1]) for p in example["ports"]["may_also_bind"]))
    assert not taken[0] & taken[1] and not taken[1] & extra
    assert taken[0] & extra <= {8001}       # green's gossip port is what the cluster knows it by
    for colour in (green, blue):
        assert colour["ports"]["ws"] == colour["ports"]["rpc"] + 1      # agave always takes RPC + 1
        assert len(numbers(colour["ports"]["dynamic"])) >= 26
    assert green["identity"] != blue["identity"]
    for volume in example["volumes"].values():
        assert volume["green"] != volume["blue"]


def test_a_standby_is_told_what_it_must_not_do(example):
    env = example["runtime"]["env"]
    assert env["SNAPSHOT_AUTO_DOWNLOAD"] == "false"
    assert env["NO_SNAPSHOTS"] == "true" and "--no-snapshot-fetch" in example["runtime"]["command"]
    # 50,000 slots once took 17 hours: neither the leapfrog nor a probe may end it meanwhile
    assert int(env["SNAPSHOT_LEAPFROG_SLOTS"]) > 10_000_000
    assert int(env["SNAPSHOT_MONITOR_GRACE"]) >= 17 * 3600 and int(env["PROBE_GRACE_SECONDS"]) >= 17 * 3600
    for name, port in OF_COLOUR.items():
        assert env[name] == f"${{port.{port}}}"
    command = example["runtime"]["command"]
    for argument, value in (("--rpc-port", "${port.rpc}"), ("--gossip-port", "${port.gossip}"),
                            ("--dynamic-port-range", "${port.dynamic}"), ("--identity", "${identity}")):
        assert command[command.index(argument) + 1] == value
    # DoubleZero must not depend on the node that is swapped
    assert "127.0.0.1" not in env["DOUBLEZERO_RPC_ENDPOINT"]


def test_every_setting_of_the_host_is_in_it(example, compose, deployment):
    """A setting that the stack gains later, or that the host changes, is a failure here until somebody has decided."""
    command, env, config = example["runtime"]["command"], example["runtime"]["env"], example["config"]
    words = [str(config[w[9:-1]]) if w.startswith("${config.") else str(w) for w in command]
    pairs = set(zip(words, words[1:]))
    wrong = []
    for name, value in settings(compose, deployment).items():
        if name in NO_MATTER:
            continue
        if name.startswith("JITO_"):
            wrong += [name] if deployment["config"]["JITO_ENABLE"] != "false" else []
        elif name in STANDBY:
            wrong += [name] if env.get(name) != STANDBY[name] else []
        elif name in OF_COLOUR:
            ours = numbers(example["colours"]["green"]["ports"][OF_COLOUR[name]])
            wrong += [name] if not ours <= numbers(value) else []
            blue = numbers(example["colours"]["blue"]["ports"][OF_COLOUR[name]])
            wrong += [f"{name} of blue"] if blue & numbers(value) else []
        elif name in ARGUMENT:
            wrong += [f"{name} {v}" for v in value.split() if (ARGUMENT[name], v) not in pairs]
        elif name == "EXTRA_ARGS":
            wrong += [v for v in value.split() if v not in words]
        elif name == "PROBE_GRACE_SECONDS":
            wrong += [name] if int(env[name]) < int(value) else []
        elif str(env.get(name)) != value:
            wrong.append(f"{name}: {env.get(name)} here, {value} there")
    assert wrong == []


def test_every_port_of_the_host_is_in_it(example, compose, deployment):
    ports = example["colours"]["green"]["ports"]
    ours = set().union(*map(numbers, ports.values()))
    there = {int(str(p).split("/", maxsplit=1)[0])
             for p in compose["ports"] + deployment["network"]["ports"]["agave-validator"]}
    assert there <= ours
    # both routes of its proxy, websockets apart, at the site that its clients use
    proxy = deployment["network"]["http-proxy"][0]
    assert example["traffic"]["site"] == f"https://{proxy['host-name']}"
    routes = {bool(r.get("websocket")): int(r["proxy-to"].split(":")[1]) for r in proxy["routes"]}
    assert routes == {False: ports["rpc"], True: ports["ws"]}


def test_its_data_is_where_the_host_has_it(example, compose, deployment):
    volumes = deployment["volumes"]
    for ours, theirs in (("ledger", "validator-ledger"), ("snapshots", "validator-snapshots"),
                         ("accounts", "validator-accounts")):
        assert example["volumes"][ours]["green"] == volumes[theirs]
    assert example["colours"]["green"]["identity"].startswith(volumes["validator-config"] + "/")
    limits = example["runtime"]["limits"]
    assert limits["memlock"] == "unlimited" and compose["ulimits"]["memlock"]["hard"] == -1
    assert limits["nofile"] == compose["ulimits"]["nofile"]["hard"]
