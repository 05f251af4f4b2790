"""The socket that the server listens on."""

from __future__ import annotations

import socket

from .settings import Settings


def listen(settings: Settings, most: int = 1) -> socket.socket:
    """A socket that accepts connections from now on.

    Args:
        settings: the host and the port.
        most: connections that may wait.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY on sockets that say that they are TCP's; without it answers on kept ones wait 40 ms
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(most)
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {settings.host} port {settings.port}: {error.strerror}") from None
    return listening
