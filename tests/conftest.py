"""How many threads the libraries under test may use: networks this tiny gain nothing from more than one.

Two processes of tests on two cores would otherwise spend most of their time in threads that wait for each other.
"""

import mindspore as ms
import pytest

# The same kernels, called one after the other; otherwise each operation is handed from one waiting thread to the next.
ms.runtime.dispatch_threads_num(1)
ms.runtime.launch_blocking()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """One thread for the reference in this process; those that a test starts have what the machine gives them."""
    if item.get_closest_marker("oracle"):
        import torch

        torch.set_num_threads(1)
