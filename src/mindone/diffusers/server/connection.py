"""Limits the number of connections, and how long one may stay silent.

An open connection costs a file descriptor, and a process has a limited number of them. A client that opens a thousand
connections and sends nothing would make the server unreachable for everybody else.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEAD_BYTES = 64 * 1024
"""The maximum bytes of a request's line and headers, and of the trailers after its body."""
_FROM_AN_ADDRESS = 256
"""The maximum connections of an address; a proxy has one for each running request."""
_GRACE_SECONDS = 1.0
"""The time for a request to arrive on a new connection before it may be closed to make room.

A crowd's connections are accepted by the hundred before the first request is read, also a good client's among them.
"""


@dataclass
class Door:
    """The open connections by address, the oldest first.

    If an address has too many, it closes the oldest one that is still waiting for its request; if all together are too
    many, the oldest such one of the address with the most. A client that is being served keeps its connection.

    Args:
        most: the maximum number of connections.
        most_per_address: the maximum number from one address.
        head_seconds: the time limit for a request's line and headers to arrive.
        write_seconds: the time limit for a client to read some of its response.
    """

    most: int
    most_per_address: int = _FROM_AN_ADDRESS
    head_seconds: float = 10.0
    write_seconds: float = 30.0
    _open: OrderedDict[Connection, str] = field(default_factory=OrderedDict)
    _count: dict[str, int] = field(default_factory=dict)

    @property
    def protocol(self) -> type[asyncio.Protocol]:
        """The protocol that uvicorn creates for each connection."""
        return cast(type[asyncio.Protocol], partial(Connection, self))

    def enter(self, connection: Connection, address: str) -> bool:
        """Admit a connection, and close an old one to make room, now or after the grace; False if none can go."""
        self._open[connection] = address
        self._count[address] = self._count.get(address, 0) + 1
        if len(self._open) > self.most:
            return self._close_oldest(max(self._count, key=self._count.__getitem__)) or self._close_oldest(None)
        if self._count[address] > self.most_per_address:
            if self._oldest(address) is None:
                return False
            connection.loop.call_later(_GRACE_SECONDS, self._trim, address)
        return True

    def leave(self, connection: Connection) -> None:
        """Forget a closed connection."""
        address = self._open.pop(connection, None)
        if address is not None:
            self._count[address] -= 1
            if not self._count[address]:
                del self._count[address]

    def _trim(self, address: str) -> None:
        if self._count.get(address, 0) > self.most_per_address:
            self._close_oldest(address)

    def _close_oldest(self, address: str | None) -> bool:
        oldest = self._oldest(address)
        if oldest is None:
            return False
        oldest.give_up()
        self.leave(oldest)
        return True

    def _oldest(self, address: str | None) -> Connection | None:
        """The oldest connection that is waiting for its request, of an address or of all, except the newest."""
        newest = next(reversed(self._open))
        waiting = (each for each, its in self._open.items() if its == (address or its) and not each.is_busy)
        return next((each for each in waiting if each is not newest), None)


class Connection(H11Protocol):
    """Uvicorn's connection with a time and size limit for the head, and a time limit for reading the response.

    Uvicorn has two HTTP readers. This one bounds each head and trailer itself, and reads no further request while it
    answers one; the other reader buffers everything.
    """

    def __init__(
        self,
        door: Door,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ):
        super().__init__(config, server_state, app_state, _loop)
        self._door = door
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._body_bytes = self._other_bytes = 0

    @property
    def is_busy(self) -> bool:
        """Whether a complete request is waiting for its response."""
        return self._has_head and not self.cycle.more_body

    @property
    def _has_head(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection if there is room."""
        super().connection_made(transport)
        if self._door.enter(self, self.client[0] if self.client else ""):
            self._expect_head()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._door.leave(self)
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on; refuse at once anything beyond a body and a head of the allowed size.

        Each chunk of a body comes with its length and two line ends. The server also refuses a client that sends mostly
        those: a byte in its own chunk costs more time than a thousand together.
        """
        cycle, before = self.cycle, self._unread_body
        super().data_received(data)
        if self.cycle is not cycle:
            self._body_bytes = self._other_bytes = 0
        else:
            arrived = self._unread_body - before
            self._body_bytes += arrived
            self._other_bytes += len(data) - arrived
        if self._other_bytes > HEAD_BYTES + self._body_bytes and not self.transport.is_closing():
            self._refuse(431)
        if not self._has_head and not self.transport.is_closing():
            self._expect_head()
        elif self._late is not None:
            self._late.cancel()
            self._late = None

    def on_response_complete(self) -> None:
        """Start to count the next head's bytes."""
        self._body_bytes = self._other_bytes = 0
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP, or a head or trailers that are too long."""
        self._refuse(431 if len(self.conn.trailing_data[0]) > HEAD_BYTES else 400)

    @property
    def _unread_body(self) -> int:
        return 0 if self.cycle is None else len(self.cycle.body)

    def _refuse(self, status: int) -> None:
        """Close the connection, with a status unless a response has started."""
        if self._has_head:
            self.cycle.disconnected = True  # keeps the application from answering as well
            self.cycle.message_event.set()
        if self._has_head and self.cycle.response_started:
            self.transport.abort()
            return
        self.transport.write(f"HTTP/1.1 {status} \r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        self.transport.close()

    def pause_writing(self) -> None:
        """Start the time limit: the client reads more slowly than the server writes."""
        super().pause_writing()
        self._expect_reading(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stop the time limit: the client has read."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def give_up(self) -> None:
        """Drop the connection to make room."""
        self._stop_timers()
        self.transport.abort()

    def _expect_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self._door.head_seconds, self.give_up)

    def _expect_reading(self, unread: int) -> None:
        def check() -> None:
            left = self.transport.get_write_buffer_size()
            if left < unread:
                self._expect_reading(left)
            else:
                self.give_up()

        self._unread = self.loop.call_later(self._door.write_seconds, check)

    def _stop_timers(self) -> None:
        for timer in (self._late, self._unread):
            if timer is not None:
                timer.cancel()
        self._late = self._unread = None
