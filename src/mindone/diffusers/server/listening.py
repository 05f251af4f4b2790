"""The socket that the server listens on, and the addresses that lead to it."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator

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


def addresses(host: str, port: int) -> list[str]:
    """What to type into a browser. For all addresses of the machine (0.0.0.0, ::) these are the one for this machine
    and the one for others in its network."""
    try:
        every = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        every = False
    hosts = dict.fromkeys(_own_addresses(":" in host)) if every else [host]
    return [f"http://[{each}]:{port}" if ":" in each else f"http://{each}:{port}" for each in hosts]


def _own_addresses(is_ipv6: bool) -> Iterator[str]:
    """The loopback address, and the address that this machine would send from; this sends nothing."""
    yield "::1" if is_ipv6 else "127.0.0.1"
    documentation = "2001:db8::1" if is_ipv6 else "192.0.2.1"
    with (
        contextlib.suppress(OSError),  # there is no network
        socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as probe,
    ):
        probe.connect((documentation, 9))
        yield probe.getsockname()[0]
