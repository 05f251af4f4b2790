"""The operations in charge of `functional`: MindSpore's, but while a network is being recorded that recorder's."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .mindspore import operators

ops: Any = operators
"""A module's own attribute, so that MindSpore's compiler finds it."""

executing = threading.RLock()
"""Held by whoever calls a network's Python code, because `ops` holds for the whole process."""


@contextmanager
def recording(recorder: object) -> Iterator[None]:
    """Within this context `functional` calls the operations of ``recorder``, and no other thread runs a network."""
    global ops
    with executing:
        previous, ops = ops, recorder
        try:
            yield
        finally:
            ops = previous
