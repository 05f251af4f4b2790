"""A server that listens, in a thread of the tests' process."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import uvicorn

from mindone.diffusers.server.app import create_app
from mindone.diffusers.server.service import Service


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    """Until it holds; an assertion fails when it does not within the seconds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@contextlib.contextmanager
def listening(service: Service) -> Iterator[int]:
    """The port on which the service's application listens."""
    with socket.create_server(("127.0.0.1", 0)) as connection:
        server = uvicorn.Server(uvicorn.Config(create_app(service.settings, service), log_level="error"))
        thread = threading.Thread(target=server.run, args=([connection],))
        thread.start()
        wait_for(lambda: server.started)
        yield connection.getsockname()[1]
        server.should_exit = True
        thread.join()
