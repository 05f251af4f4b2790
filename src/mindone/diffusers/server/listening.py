"""The socket that the server listens on."""

from __future__ import annotations

import socket

from .settings import Settings


def listen(settings: Settings, most: int = 1) -> socket.socket:
    """A socket that accepts connections from now on.

    Args:
        settings: the host and the port.
        most: the maximum number of waiting connections.

    Raises:
        OSError: the address is unusable.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets marked as TCP; without it, responses on kept connections wait 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(most)
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}") from None
    return listening
