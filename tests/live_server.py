"""A server that listens, in a thread of the tests' process."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

from mindone.diffusers.server.connection import Door
from mindone.diffusers.server.run import Server, make_server
from mindone.diffusers.server.service import Service


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    """Until it holds; an assertion fails when it does not within the seconds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@contextlib.contextmanager
def serving(service: Service, door: Door | None = None) -> Iterator[tuple[Server, int]]:
    """The server, and the port on which it listens."""
    with socket.create_server(("127.0.0.1", 0)) as connection:
        port = connection.getsockname()[1]
        server = make_server(service, door)
        thread = threading.Thread(target=server.run, args=([connection],))
        thread.start()
        wait_for(lambda: server.started)
        try:
            yield server, port
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def listening(service: Service) -> Iterator[int]:
    """The port on which the service's application listens."""
    with serving(service) as (_, port):
        yield port
