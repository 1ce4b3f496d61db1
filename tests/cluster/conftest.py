"""The cluster that tests/cluster/suite started, and a namespace for each test."""
import os
import secrets

import pytest

from lib import kubernetes
from lib.waiting import wait_for


@pytest.fixture(scope="session")
def cluster(build):
    if "CLUSTER_DIR" not in os.environ and not os.environ.get("KUBECONFIG"):
        pytest.skip("no cluster: tests/cluster/suite starts one (make test-cluster)")
    return kubernetes.Cluster(build)


@pytest.fixture
def own(cluster):
    """A cluster of our own: a test may make images in it, and kill its parts."""
    if not cluster.own:
        pytest.skip("needs a cluster of its own, and this is the one of KUBECONFIG")
    return cluster


@pytest.fixture
def ns(cluster):
    name = f"changeover-test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    # pods want it, and it comes a moment later
    wait_for(lambda: cluster.get("serviceaccount", "-n", name)["items"], "the service account", timeout=60, interval=0.1)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
