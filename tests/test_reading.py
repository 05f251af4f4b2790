"""What a newcomer reads to follow one text-to-image call, from ``pipe("…")`` to pixels."""

import inspect
import sys
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType

import numpy as np
import pytest

import mindone.diffusers
from mindone.diffusers.pipelines.auto import pipelines
from tiny_pipelines import PROMPT, checkpoint, load

PACKAGE = Path(mindone.diffusers.__file__).parent
ELSEWHERE = ("engines", "models", "functional.py", "utils", "schedulers", "loading", "adapters", "acceleration")
"""Not the call's own: who executes, networks, and what has an interface of its own: schedulers, files, features."""
NETWORKS = "unet"
"""What the names of the family's networks begin with, in its folder."""
MOST_FILES = 9
MOST_LINES = 800
MOST_BASES = 3


@pytest.fixture(scope="module")
def read() -> dict[str, set[CodeType]]:
    """The functions that the second call of a pipeline runs, by file."""
    pipe = load(checkpoint("bk_sdm"))
    found: dict[str, set[CodeType]] = defaultdict(set)

    def see(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            found[path.relative_to(PACKAGE).as_posix()].add(frame.f_code)

    sys.setprofile(see)
    try:
        pipe(PROMPT, num_inference_steps=2, generator=np.random.default_rng(0))
    finally:
        sys.setprofile(None)
    return {
        path: codes
        for path, codes in found.items()
        if path.split("/")[0] not in ELSEWHERE and not path.split("/")[-1].startswith(NETWORKS)
    }


def test_one_call_is_read_in_few_files(read):
    assert len(read) <= MOST_FILES, sorted(read)


def test_one_call_runs_few_lines(read):
    """Docstrings and comments of the functions included, and what is in their files besides left out."""
    lines = set()
    for path, codes in read.items():
        for code in codes:
            source, first = inspect.getsourcelines(code)
            lines |= {(path, number) for number in range(first, first + len(source))}
    assert len(lines) <= MOST_LINES


def test_pipelines_have_few_bases():
    for kind in pipelines().values():
        assert len(kind.__mro__[1:-1]) <= MOST_BASES, kind
