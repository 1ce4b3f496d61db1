"""Each colour a Deployment: hostNetwork pods on hostPath volumes behind a real Caddy, a load through it all the while. By an
account that has exactly the rights that `changeover kubernetes rbac` prints."""
import pytest

from lib.colours import Colours
from lib.kubernetes import account
from lib.load import Load


@pytest.fixture
def config(own, ns, tool, tmp_path):
    yield account(own, ns, tool, tmp_path / "config")
    own.kubectl("delete", "clusterrole,clusterrolebinding", f"changeover-{ns}", "--ignore-not-found")


@pytest.fixture
def service(own, ns, config):
    with Colours(own, ns, config) as s:
        yield s.start()


def starts(pod):
    """When its containers were started."""
    return [c["state"].get("running", {}).get("startedAt") for c in pod["status"]["containerStatuses"]]


def test_the_whole_job(service):
    """prepare, promote, rollback, cleanup; then the same to the end: nothing lost."""
    with Load(service, 200) as load:
        service.run("prepare", "-t", "2.0.0")
        blue = service.deployment("blue")
        assert blue["spec"]["template"]["spec"]["containers"][0]["image"] == "localhost/rpcnode:2.0.0"
        service.run("promote")
        assert service.identity() == "blue" and service.rpc("getVersion")["solana-core"] == "2.0.0"
        green = service.deployment("green")
        assert green["spec"]["replicas"] == 0 and not service.pods("green"), "stopped, and kept for the way back"
        load.check("promote")
        service.run("rollback", "-y")
        assert service.identity() == "green"
        assert service.deployment("green")["metadata"]["uid"] == green["metadata"]["uid"]
        assert service.deployment("blue")["spec"]["replicas"] == 0
        service.run("cleanup", "-y")
        assert service.deployment("blue") is None and not (service.dir / "blue/ledger").exists()
        load.check("rollback and cleanup")
        service.run("prepare", "-t", "2.0.0")
        service.run("promote")
        service.run("cleanup", "-y")
        assert service.deployment("green") is None and not service.pods("green")
        load.check("promote and cleanup")
        assert load.stop()["lost"] == 0
