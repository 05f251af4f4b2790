"""How many threads the libraries under test may use: networks this tiny gain nothing from more than one.

Two processes of tests on two cores would spend most of their time in threads that wait for each other; the kernels
and the numbers are the same.
"""

import mindspore as ms
import pytest

# Otherwise each operation of the MindSpore engine is handed from one waiting thread to the next.
ms.runtime.dispatch_threads_num(1)
ms.runtime.launch_blocking()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("oracle"):
        import torch

        torch.set_num_threads(1)
