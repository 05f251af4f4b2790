"""The files of `examples/` are run as they stand, on the checkpoints that `test_docs` runs the pages on."""

import runpy

import pytest

from documented import ROOT, documented_hub

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module", autouse=True)
def hub(tmp_path_factory):
    """The hub ids of the examples lead to tiny checkpoints."""
    with documented_hub(tmp_path_factory.mktemp("hub")):
        yield


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_run_and_leave_a_picture(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
    assert list(tmp_path.glob("*.png"))
