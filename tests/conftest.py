"""How many threads the libraries use in the heavy comparisons: networks this tiny gain nothing from more than one.

Two processes of tests on two cores would otherwise spend most of their time in threads that wait for each other.
"""

import functools

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """One thread for each library in this process; those that a test starts have what the machine gives them."""
    if item.get_closest_marker("oracle"):
        _take_one_thread_each()


@functools.cache
def _take_one_thread_each() -> None:
    import mindspore as ms
    import torch

    torch.set_num_threads(1)
    # The same kernels, called in turn; otherwise each operation is handed from one waiting thread to the next.
    ms.runtime.launch_blocking()
