"""The backend on a Ray cluster: Ray Serve starts the replicas, watches them and replaces those that die.

The server itself stays one process in front of them. So there is one address, one bounded queue that is fair between
all clients, and one owner of all accepted tickets: if a replica dies, the server still has its ticket and hands it to
the next one. A ticket must stop within a step, so the server has to reach the replica that runs it. A handle of Ray
Serve reaches an arbitrary replica of its application, so every replica is its own application.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..utils.cluster import Cluster, Cores, free_cores
from ..utils.errors import in_one_line
from ..utils.extras import needs
from ..utils.logging import get_logger
from .backend import Drawn, Lost
from .replica import Replica
from .settings import Settings
from .ticket import Progress, Ticket

if TYPE_CHECKING:
    from PIL.Image import Image

logger = get_logger(__name__)

_QUIET = {"RAY_SERVE_LOG_TO_STDERR": "0", "GRPC_VERBOSITY": "ERROR"}
"""The server shows the replicas' logs; Ray Serve keeps its own log, and gRPC's messages do not help an operator."""
_POLL_SECONDS = 1.0
"""How often Ray Serve checks whether a replica is alive, and how long one may take to end."""
_PATIENCE_SECONDS = 30.0
_ANSWER_SECONDS = 3.0
"""A live replica answers at once, even while it generates; after these seconds its ticket moves to another one."""
_CALLS_AT_A_TIME = 100
"""A replica gets one ticket at a time; the other calls fetch previews or stop it."""


@dataclass(frozen=True)
class RemoteTicket:
    """A ticket that a replica is running, under an id that both know."""

    handle: Any
    id: str

    def draw(self, ticket: Ticket) -> Iterator[Progress | Drawn]:
        """See `Replica.draw`."""
        events: Iterator[Progress | Drawn] = self.handle.options(stream=True).draw.remote(
            self.id, ticket.job, ticket.open_pictures(), ticket.previews, ticket.profile
        )
        return events

    def stop(self, ticket: Ticket) -> None:
        """Cancel or interrupt it, as the ticket says, without waiting for an answer."""
        self.handle.stop.remote(self.id, ticket.is_cancelled)

    def picture(self) -> Image | None:
        """See `Replica.picture`; None also if the replica has died."""
        try:
            picture: Image | None = self.handle.picture.remote(self.id).result(timeout_s=_ANSWER_SECONDS)
        except Exception:
            return None
        return picture


class RayBackend:
    """The number of replicas in the settings, or one per node; replicas on one node share its cores.

    Args:
        settings: the server's settings; ``ray`` is the address of the cluster. See `Cluster` for its errors.

    Raises:
        ValueError: there are more replicas than the cluster has cores.
    """

    def __init__(self, settings: Settings):
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        self._serve = needs("ray.serve", "replicas", "ray")
        logging.getLogger("ray.serve").setLevel(logging.ERROR)  # the server reports deaths itself
        self._cluster = Cluster(settings.ray or "auto", "replicas", "ray", shows_logs=True)
        self._settings = settings
        nodes = self._cluster.nodes()
        self._shares = shares([node.cores for node in nodes], settings.replicas or len(nodes))
        self.places = len(self._shares)
        # The same command on the same machine gets the same name, so it can remove what a killed run left behind.
        self._name = f"mindone-diffusers-{platform.node()}-{settings.port or os.getpid()}"
        self._handles: list[Any] = []
        self._cores: dict[int, tuple[str, Cores]] = {}
        self._ready: set[int] = set()
        self._in_hand: dict[Ticket, RemoteTicket] = {}
        self._lock = threading.Lock()
        self._deploy()

    def warm_up(self) -> None:
        """See `Backend`; warms up all places at the same time."""
        with ThreadPoolExecutor(self.places) as threads:
            list(threads.map(lambda place: self._warm_up(place, lambda: False), range(self.places)))

    def prepare(self, place: int, is_over: Callable[[], bool]) -> bool:
        """See `Backend`. Ray Serve replaces a dead replica; the new one warms up like the first one."""
        while place not in self._ready and not is_over():
            try:
                self._warm_up(place, is_over)
            except Lost:
                break
            except Exception as error:
                logger.warning("replica %d is not usable yet: %s", place, in_one_line(error))
                time.sleep(_POLL_SECONDS)
        return place in self._ready

    def draw(self, place: int, ticket: Ticket) -> Drawn:
        """See `Backend`."""
        self._check_warm(place)
        remote = RemoteTicket(self._handles[place], uuid.uuid4().hex)
        self._in_hand[ticket], ticket.estimate, ticket.stage = remote, remote, "drawing"
        try:
            for event in remote.draw(ticket):
                if isinstance(event, Drawn):
                    return event
                ticket.tell(event)
                self.stop_early(ticket)
            raise self._serve.exceptions.RayServeException("it ended while generating")
        except self._cluster.ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except (self._cluster.ray.exceptions.RayError, self._serve.exceptions.RayServeException) as error:
            logger.warning("replica %d died: %s", place, in_one_line(error))
            self._ready.discard(place)
            raise Lost from None
        finally:
            del self._in_hand[ticket]

    def stop_early(self, ticket: Ticket) -> None:
        """See `Backend`."""
        remote = self._in_hand.get(ticket)
        if remote is not None and (ticket.is_cancelled or ticket.is_interrupted):
            remote.stop(ticket)

    def close(self) -> None:
        """End the replicas and leave the cluster; a cluster started here ends."""
        if not self._handles:
            return
        self._handles = []
        with contextlib.suppress(Exception):  # a cluster that is gone took them along
            self._remove_applications()
        self._cluster.close()

    def _deploy(self) -> None:
        self._serve.start(proxy_location="Disabled")
        self._remove_applications()
        replica = self._serve.deployment(
            Replica,
            name="replica",
            num_replicas=1,
            max_ongoing_requests=_CALLS_AT_A_TIME,
            health_check_period_s=_POLL_SECONDS,
            graceful_shutdown_timeout_s=_POLL_SECONDS,
            logging_config={"enable_access_log": False},
        )
        targets = [
            self._serve.RunTarget(
                replica.options(ray_actor_options={"num_cpus": cores}).bind(self._settings),
                name=f"{self._name}-{place}",
                route_prefix=None,
            )
            for place, cores in enumerate(self._shares)
        ]
        self._handles = self._serve.run_many(targets, wait_for_applications_running=False)

    def _remove_applications(self) -> None:
        for name in self._serve.status().applications:
            if name.startswith(f"{self._name}-"):
                self._serve.delete(name)

    def _warm_up(self, place: int, is_over: Callable[[], bool]) -> None:
        """Assign the replica its own cores on its machine, and make it load the first model."""
        handle = self._handles[place]
        with self._lock:
            self._cores.pop(place, None)
        host = self._answer(handle.host.remote(), is_over)
        with self._lock:
            cores = free_cores((its for at, its in self._cores.values() if at == host), self._shares[place])
            self._cores[place] = host, cores
        try:
            self._answer(handle.warm_up.remote(cores), is_over)
        except self._cluster.ray.exceptions.RayTaskError as error:
            raise error.cause from None
        self._ready.add(place)

    def _check_warm(self, place: int) -> None:
        """Raise `Lost` if the replica has died since its last ticket, even if its replacement is up but has to load."""
        response = self._handles[place].is_warm.remote()
        try:
            is_warm = response.result(timeout_s=_ANSWER_SECONDS)
        except Exception:
            response.cancel()
            is_warm = False
        if not is_warm:
            self._ready.discard(place)
            raise Lost

    def _answer(self, response: Any, is_over: Callable[[], bool]) -> Any:
        """A replica's answer, once it is up."""
        asked = time.monotonic()
        while not is_over():
            try:
                return response.result(timeout_s=_POLL_SECONDS)
            except TimeoutError:
                if time.monotonic() - asked > _PATIENCE_SECONDS:
                    logger.warning("a replica is not ready yet: it is loading its model or waiting for free cores")
                    asked = math.inf
        raise Lost


def shares(cores: Sequence[int], count: int) -> list[int]:
    """The cores of each of ``count`` replicas on nodes with these numbers of cores, as many as possible.

    Raises:
        ValueError: there are fewer cores than replicas.
    """
    if not 0 < count <= sum(cores):
        raise ValueError(f"replicas must be at most {sum(cores)} here, one per core of the cluster, got {count}")
    replicas = [0] * len(cores)
    for _ in range(count):
        replicas[max(range(len(cores)), key=lambda node: cores[node] / (replicas[node] + 1))] += 1
    return [size // each for size, each in zip(cores, replicas) for _ in range(each)]
