"""A Ray cluster: the connection to it, its nodes, and which cores of a node a worker computes on."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from ..interrupts import note
from .errors import in_one_line
from .extras import needs

Cores = tuple[int, int]
"""The first core of a range, and how many cores follow, including it."""

_CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, or a part of one."""

    id: str
    host: str
    cores: int


class Cluster:
    """Connect to a cluster; the context gives the ``ray`` package.

    Args:
        address: ``auto`` for the cluster that this machine belongs to, ``local`` to start one on this machine that ends
            with the connection, or an address such as ``10.0.0.1:6379`` or ``ray://10.0.0.1:10001``.
        purpose: the feature that needs Ray, and the ``extra`` that installs it; for the error message.
        shows_logs: whether the workers' logs show up here.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: there is no such cluster.
    """

    def __init__(self, address: str, purpose: str, extra: str, shows_logs: bool = False):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here sends no usage reports
        self.ray = needs("ray", purpose, extra)
        self._was_connected = bool(self.ray.is_initialized())
        if self._was_connected:
            return
        options = {"include_dashboard": False} if address == "local" else {}
        on_terminate = signal.getsignal(signal.SIGTERM)
        try:
            _check_reachable(address)
            self.ray.init(address=address, log_to_driver=shows_logs, logging_level="ERROR", **options)
        except SystemExit:  # Ray's answer to SIGTERM, with an exit code of 15
            note(signal.SIGTERM)
            raise KeyboardInterrupt from None
        except Exception as error:
            reason = in_one_line(error)
            raise ConnectionError(f"no Ray cluster at {address!r}; --ray local starts one here ({reason})") from None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_terminate)  # Ray's own handler would end the program with exit code 15

    def nodes(self) -> list[Node]:
        """The nodes that are up and can compute."""
        return [
            Node(each["NodeID"], each["NodeManagerAddress"], int(each["Resources"]["CPU"]))
            for each in self.ray.nodes()
            if each["Alive"] and each["Resources"].get("CPU", 0) >= 1
        ]

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if not self._was_connected:
            self.ray.shutdown()


def free_cores(taken: Iterable[Cores], count: int) -> Cores:
    """The first ``count`` consecutive cores of a machine that no worker there uses."""
    taken = list(taken)
    starts = (0, *(first + size for first, size in taken))
    return min(at for at in starts if all(at + count <= first or first + size <= at for first, size in taken)), count


def _check_reachable(address: str) -> None:
    """Refuse an address where nobody listens within seconds; Ray would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
