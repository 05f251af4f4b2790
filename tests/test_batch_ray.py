"""A batch on a Ray cluster: three nodes on this machine, one of which is killed in the middle."""

import json
import threading
import time
from pathlib import Path

import pytest

from mindone.diffusers.batch import run
from mindone.diffusers.jobs import Job
from mindone.diffusers.jobs.png import read_job
from tiny_pipelines import checkpoint

ray = pytest.importorskip("ray", reason='Ray is not installed: pip install ".[batch]"')
pytestmark = pytest.mark.heavy  # starting a cluster and importing an engine three times takes its time


@pytest.fixture
def cluster(monkeypatch):
    """Three nodes of a core each; this process is connected to them."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=small)
    cluster.nodes = [cluster.add_node(**small) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_node_that_is_killed_costs_only_the_jobs_in_its_hands(cluster, tmp_path):
    listed = [Job(prompt="a cat", model=checkpoint("sd1"), steps=25, seed=i, engine="openvino") for i in range(60)]
    manifest, seen = tmp_path / "out" / "manifest.jsonl", []

    def kill_in_the_middle():
        deadline = time.monotonic() + 600
        while len(lines(manifest)) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        seen.append(len(lines(manifest)))
        cluster.remove_node(cluster.nodes[0], allow_graceful=False)

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    summary = run(listed, tmp_path / "out", ray="auto")
    killer.join()
    assert 5 <= seen[0] < len(listed)  # it was killed in the middle
    assert (summary.drawn, summary.failed) == (len(listed), ())
    records = lines(manifest)
    assert len(records) == len(listed) and max(record["tries"] for record in records) <= 2
    assert {read_job(tmp_path / "out" / str(record["file"])) for record in records} == set(listed)
    assert len(list((tmp_path / "out").glob("*.png"))) == len(listed)
