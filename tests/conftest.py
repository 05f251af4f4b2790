"""What the tests' processes have in common: they read no more than they run, and compute on one thread each.

Networks this tiny gain nothing from more threads than one, and two processes of tests on two cores would spend most of
their time in threads that wait for each other. Kernels and results are the same. Processes that a test starts have what
the machine gives them.
"""

import functools
import gc
import os
import re
import sys
from collections.abc import Iterator, MutableSet
from pathlib import Path
from weakref import WeakSet

import pytest

FAST = "not heavy and not oracle"
"""What runs unless ``-m`` asks for something else."""
WHOLE = re.compile(r"^pytestmark = (\[\s*)?pytest\.mark\.(heavy|oracle)\b", re.MULTILINE)
"""A module without a fast test."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Modules are not read where none of their tests will run, as reading all takes each process 20 seconds."""
    name, asked = collection_path.name, config.option.markexpr
    if not (name.startswith("test_") and name.endswith(".py")):
        return None
    text, marks = collection_path.read_text(encoding="utf-8"), asked.split(" or ")
    if asked == FAST:
        return WHOLE.search(text) is not None or None
    if {"heavy", "oracle"}.issuperset(marks):
        return not any(f"pytest.mark.{mark}" in text for mark in marks) or None
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """No search for garbage while modules are read, as all that this makes stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """No search for garbage goes over what reading the modules made: half a million objects, 0.3 seconds each time."""
    if "mindone.diffusers.engines" in sys.modules:
        _graph_caches()
    _forget_garbage()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """One thread for each library that the test may use."""
    if item.get_closest_marker("oracle"):
        _reference_on_one_thread()
    if "mindspore" in sys.modules:
        _operations_in_turn()
    if "mindone.diffusers.engines" in sys.modules:
        from compiled_once import compile_once

        compile_once().is_on = item.get_closest_marker("compiles") is None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """At least three processes for ``-n auto``: one computes while another waits for what it started, and each further
    one would read all modules and the reference once more."""
    return max(3, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What pipelines compiled goes with the module whose tests did it: the memory maps of a process are limited."""
    if "compiled_once" in sys.modules:
        sys.modules["compiled_once"].compile_once().rest()
    if "mindone.diffusers.engines" in sys.modules and (nextitem is None or nextitem.path != item.path):
        for each in _graph_caches():
            each.clear()
        _forget_garbage()


_frozen = 0
"""How many objects the last `_forget_garbage` left."""


def _forget_garbage() -> None:
    """Collect what is new, and leave the rest out of later searches.

    A server that ran in the process has frozen what it found, garbage or not, which is thawed first.
    """
    global _frozen
    if gc.get_freeze_count() > _frozen:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
    _frozen = gc.get_freeze_count()


@functools.cache
def _graph_caches() -> MutableSet:
    """The networks' compiled graphs: those that are there, and those made from now on."""
    from mindone.diffusers.engines.cache import GraphCache

    made, init = WeakSet(each for each in gc.get_objects() if type(each) is GraphCache), GraphCache.__init__

    @functools.wraps(init)
    def noted(cache, *arguments, **options) -> None:
        init(cache, *arguments, **options)
        made.add(cache)

    GraphCache.__init__ = noted
    return made


@functools.cache
def _reference_on_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@functools.cache
def _operations_in_turn() -> None:
    """The same kernels, called in turn; otherwise each operation is handed from one waiting thread to the next.

    The first product of matrices decides that MindSpore keeps the code which oneDNN generates for them:
    `engines.openvino.compiling` asks all of oneDNN to keep none, and making it takes longer than products this small.
    """
    import mindspore as ms

    ms.runtime.launch_blocking()
    asked = os.environ.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY", None)
    ms.ops.matmul(ms.ops.ones((1, 1)), ms.ops.ones((1, 1))).asnumpy()
    if asked is not None:
        os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = asked
