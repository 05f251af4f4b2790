"""Serves until a signal: the first one lets accepted requests finish, the second one stops within a step."""

from __future__ import annotations

import contextlib
import gc
from contextlib import closing
from types import FrameType

import uvicorn

from ..interrupts import raised
from ..utils import logging
from .access import show
from .app import create_app
from .connection import HEAD_BYTES, Door
from .keys import Keys
from .listening import addresses, listen
from .service import Service
from .settings import Settings

logger = logging.get_logger(__name__)

_MOST_CONNECTIONS = 4096
_OTHER_FILES = 256
"""Descriptors for everything but connections: models, libraries, pipes."""
_ANSWER_SECONDS = 10
"""How long clients may take to read their responses after the last image."""


class Server(uvicorn.Server):
    """Answers new requests with 503 after the first signal, and finishes the accepted ones."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service
        self._signals = 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Record a SIGINT or SIGTERM, which may come anywhere in the program; the next tick acts on it."""
        self._captured_signals.append(sig)

    async def on_tick(self, counter: int) -> bool:
        """Act on new signals, ten times a second; True ends the server."""
        for number in range(self._signals + 1, len(self._captured_signals) + 1):
            self._obey(number)
        self._signals = len(self._captured_signals)
        if self._signals and self._service.is_over:
            self.should_exit = True
        return await super().on_tick(counter)

    def _obey(self, number: int) -> None:
        if number == 1:
            self._service.drain()
            logger.warning("stopping after the accepted requests; a second signal stops within a step")
        elif number == 2:
            self._service.abandon()
        else:
            self.should_exit = self.force_exit = True


def run(settings: Settings) -> None:
    """Load the first model, and serve.

    Raises:
        ValueError, OSError: a model, the file of keys or the address is unusable.
    """
    if settings.api_key is not None:
        Keys(settings.api_key)
    listening = listen(settings, _MOST_CONNECTIONS)  # before loading, to find a used port at once
    # Large bodies create enough objects to trigger a full garbage collection, which stops everything for 0.13 s; nine
    # in ten of the scanned objects are modules, which stay.
    gc.freeze()
    with listening, closing(Service(settings)) as service:
        service.backend.warm_up()
        print("\n".join(addresses(settings.host, listening.getsockname()[1])), flush=True)
        show(settings.log)
        with raised():  # closes everything when uvicorn passes the signal on
            make_server(service).run([listening])


def make_server(service: Service, door: Door | None = None) -> Server:
    """The server of an application on a listening socket.

    Args:
        service: the service that generates images.
        door: the limits of connections; None allows as many as the process may open.
    """
    door = Door(max(_descriptors() - _OTHER_FILES, _OTHER_FILES)) if door is None else door
    proxies = service.settings.forwarded_allow_ips  # trusts no other X-Forwarded-For
    config = uvicorn.Config(
        create_app(service.settings, service),
        http=door.protocol,
        h11_max_incomplete_event_size=HEAD_BYTES,
        ws="none",
        log_level="error",  # warnings would report every client's mistake
        access_log=False,
        proxy_headers=proxies is not None,
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=_ANSWER_SECONDS,
    )
    return Server(config, service)


def _descriptors() -> int:
    """The number of files and connections that this process may open, after raising the limit as far as possible."""
    try:
        import resource
    except ModuleNotFoundError:  # not on Windows
        return _MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_CONNECTIONS + _OTHER_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return soft
