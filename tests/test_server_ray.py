"""The server on two replicas under Ray Serve, one of which is killed under load."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the [serve] extra is not installed")
pytest.importorskip("ray.serve", reason='Ray Serve is not installed: pip install ".[ray]"')

from mindone.diffusers.jobs import Job, draw
from mindone.diffusers.jobs.loaded import load_quietly
from mindone.diffusers.jobs.pictures import Pictures
from mindone.diffusers.server import Settings
from mindone.diffusers.server.refusals import Cancelled, Refusal
from mindone.diffusers.server.service import Service
from mindone.diffusers.server.ticket import Ticket
from tiny_pipelines import checkpoint

pytestmark = pytest.mark.heavy  # starting a cluster and importing an engine twice takes its time


@pytest.fixture(scope="module")
def service():
    """Two replicas that share the cores of this machine."""
    service = Service(Settings(model=(f"tiny={checkpoint('sd1')}",), ray="local", replicas=2))
    service.backend.warm_up()
    service.start()
    yield service
    service.close()


def ticket(service: Service, seed: int = 0, steps: int = 100, size: int = 64) -> Ticket:
    key = service.catalogue.key()
    job = Job(**{**key.to_dict(), "prompt": "a red cat", "steps": steps, "height": size, "width": size, "seed": seed})
    return Ticket(job, "a", Pictures)


def wait_for(condition, seconds=600):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def replica_processes() -> set[int]:
    """The process ids; Ray gives its workers the name of what they run."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            name = path.read_bytes()
        except OSError:  # it has ended
            continue
        if b"ServeReplica:mindone-diffusers" in name:
            found.add(int(path.parent.name))
    return found


def test_a_replica_stops_within_a_step_and_shows_what_it_draws(service):
    drawn = ticket(service, size=512)  # of which a step takes longer than a word between processes
    service.submit(drawn)
    wait_for(lambda: drawn.progress is not None)
    assert drawn.estimate.picture().size == (512, 512)
    service.cancel(drawn)
    seen = drawn.progress.step
    with pytest.raises(Cancelled):
        drawn.images.result(60)
    assert drawn.progress.step <= seen + 1 < 100


def test_interrupting_gives_the_image_as_far_as_it_is(service):
    drawn = ticket(service, size=128)
    service.submit(drawn)
    wait_for(lambda: drawn.progress is not None)
    service.interrupt("a")
    assert len(drawn.images.result(60)) == 1 and drawn.progress.step < 100


def test_a_refusal_of_a_replica_is_told_as_its_own(service):
    refused = ticket(service, size=60)
    service.submit(refused)
    with pytest.raises(Refusal, match="multiple of 8") as refusal:
        refused.images.result(60)
    assert refusal.value.status == 422


def test_no_accepted_request_is_lost_when_a_replica_is_killed(service):
    accepted = [ticket(service, seed) for seed in range(8)]
    for each in accepted:
        service.submit(each)
    wait_for(lambda: len([each for each in service.running if each.progress is not None]) == 2)
    before = replica_processes()
    os.kill(min(before), signal.SIGKILL)
    drawn = [each.images.result(300)[0] for each in accepted]
    [lost] = [each for each in accepted if each.losses]  # what was being drawn was then drawn by the other one
    alone = draw(load_quietly(lost.job.pipeline_key), lost.job)[0]
    np.testing.assert_array_equal(np.asarray(drawn[lost.job.seed]), np.asarray(alone))
    wait_for(lambda: len(replica_processes() - before) == 1)  # and there are two again


def test_a_replica_that_died_while_idle_takes_no_request_along(service):
    before = replica_processes()
    os.kill(max(before), signal.SIGKILL)
    accepted = [ticket(service, seed, steps=2) for seed in range(4)]
    for each in accepted:
        service.submit(each)
    assert [len(each.images.result(300)) for each in accepted] == [1, 1, 1, 1]
    wait_for(lambda: len(replica_processes() - before) == 1)  # there are two again
