"""What the tests' processes have in common: they read no more than they run, and compute on one thread each.

Networks this tiny gain nothing from more threads than one, and two processes of tests on two cores would spend most of
their time in threads that wait for each other. Kernels and results are the same. Processes that a test starts have what
the machine gives them.
"""

import functools
import sys
from pathlib import Path

import pytest

NOT_ORACLE = "not oracle"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Modules that import the reference are not read where none of their tests will run."""
    needs_the_reference = collection_path.name.endswith("_oracle.py")
    return True if needs_the_reference and config.option.markexpr == NOT_ORACLE else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """One thread for each library that the test may use."""
    if item.get_closest_marker("oracle"):
        _reference_on_one_thread()
    if "mindspore" in sys.modules:
        _operations_in_turn()


@functools.cache
def _reference_on_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@functools.cache
def _operations_in_turn() -> None:
    """The same kernels, called in turn; otherwise each operation is handed from one waiting thread to the next."""
    import mindspore as ms

    ms.runtime.launch_blocking()
