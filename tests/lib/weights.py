"""What `check` says of the weights of a standby whose data lies at a place."""
import json

import yaml


def findings(tool, tmp_path, volume, standby, **kw):
    """{"cpu" or "io": finding}"""
    spec = {
        "service": "io", "writes": "replayed",
        "colours": {"green": {"ports": {"http": 1}}, "blue": {"ports": {"http": 2}}},
        "volumes": {"data": {"driver": "empty", "path": f"{volume}/${{colour}}"}},
        "runtime": {"command": ["/bin/true"], "standby": standby},
        "traffic": {"driver": "none"}, "gate": {"checks": ["ports"]},
    }
    path = tmp_path / "changeover.yml"
    path.write_text(yaml.safe_dump(spec))
    done = tool("check", "-f", path, "--state-dir", tmp_path / "state", "--fast", "-o", "json", **kw)
    return {f["topic"]: f for f in json.loads(done.stdout) if f["topic"] in ("cpu", "io")}
