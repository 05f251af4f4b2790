"""Serve until a signal: the first one lets what has been accepted finish, the second one stops at once."""

from __future__ import annotations

import signal
import socket
from contextlib import closing
from types import FrameType

import uvicorn

from ..interrupts import raised
from ..utils import logging
from .app import create_app
from .keys import Keys
from .service import Service
from .settings import Settings

logger = logging.get_logger(__name__)


class Server(uvicorn.Server):
    """Refuses new requests from the first signal on, by name, while those that were accepted are drawn."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called on SIGINT and SIGTERM."""
        if self._service.is_ready:
            self._service.drain()
            logger.warning("stopping when what was accepted is drawn; once more stops within a step")
        else:
            self._service.abandon()
            sig = signal.SIGINT  # of which uvicorn takes the second one for "at once"
        super().handle_exit(sig, frame)


def run(settings: Settings) -> None:
    """Load the first model, and serve.

    Raises:
        ValueError, OSError: a model, the file of keys, or the address cannot be used.
    """
    if settings.api_key is not None:
        Keys(settings.api_key)
    listening = _listen(settings)
    with listening, closing(Service(settings)) as service:
        service.backend.warm_up()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        listening.listen()  # from now on connections wait, and are not refused
        print(f"http://{host}:{listening.getsockname()[1]}", flush=True)
        with raised():  # what is open is closed when uvicorn passes the signal on
            Server(_config(settings, service), service).run([listening])


def _config(settings: Settings, service: Service) -> uvicorn.Config:
    """How uvicorn runs the application. Nobody's X-Forwarded-For is believed but that of the operator's proxies."""
    proxies = settings.forwarded_allow_ips
    return uvicorn.Config(
        create_app(settings, service),
        log_level="warning",
        access_log=False,
        proxy_headers=proxies is not None,
        forwarded_allow_ips=proxies,
    )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY on sockets that say that they are TCP's; without it answers on kept ones wait 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}") from None
    return listening
