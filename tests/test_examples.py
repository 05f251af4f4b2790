"""The files of `examples/` are run as they stand, on tiny checkpoints, as the pages about calls in `test_docs` are."""

import runpy

import pytest

from documented import ROOT, documented_hub, tiny_bundled
from mindone.diffusers.loading import hub as bundled
from tiny_pipelines import let_time_tick

pytestmark = pytest.mark.heavy

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def hub(tmp_path_factory):
    """The hub ids of the examples lead to tiny checkpoints."""
    with documented_hub(tmp_path_factory.mktemp("hub")):
        yield


@pytest.fixture(scope="module")
def tiny_icons(tmp_path_factory):
    return tiny_bundled(tmp_path_factory.mktemp("bundled"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_run_and_leave_a_picture(example, tmp_path, monkeypatch, tiny_icons):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundled, "CHECKPOINTS", tiny_icons)
    let_time_tick(monkeypatch)
    runpy.run_path(str(example), run_name="__main__")
    assert list(tmp_path.glob("*.png"))
