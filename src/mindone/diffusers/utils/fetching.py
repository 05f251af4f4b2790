"""Downloads from an address, with limits on bytes and time."""

from __future__ import annotations

import ipaddress
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO

_SILENCE_SECONDS = 30
_SECONDS = 120.0
_PIECE = 2**16


def fetch(address: str, most: int) -> bytes:
    """The content of an http(s) address.

    Redirects are followed only to other public hosts: a page must not lead into the fetcher's own network.

    Args:
        address: a file's address.
        most: the most bytes to accept.

    Raises:
        ConnectionError: the address cannot be fetched, has more bytes, or takes more than two minutes.
    """
    request = urllib.request.Request(address, headers={"User-Agent": "mindone-diffusers"})
    ends = time.monotonic() + _SECONDS
    try:
        with urllib.request.build_opener(_Redirects).open(request, timeout=_SILENCE_SECONDS) as response:
            content = bytearray()
            while piece := response.read1(_PIECE):
                content += piece
                if len(content) > most:
                    raise ConnectionError(f"it has more than {most // 10**6} MB")
                if time.monotonic() > ends:
                    raise ConnectionError(f"it takes more than {_SECONDS:.0f} s")
            if (length := response.length) not in (None, 0):
                raise ConnectionError(f"it ended {length} bytes early")
    except urllib.error.HTTPError as error:
        reason = " ".join(str(error.reason).split())
        raise ConnectionError(f"cannot fetch {address}: the server answers {error.code} {reason}") from None
    except (OSError, ValueError, HTTPException) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise ConnectionError(f"cannot fetch {address}: {reason}; check the address and the network") from None
    return bytes(content)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to public hosts, and those that stay on the same host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """Called with a redirect's target."""
        before, after = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if after.scheme not in ("http", "https"):
            raise ConnectionError(f"it redirects to {newurl[:80]}, which is no web address")
        if (before.hostname, before.port) != (after.hostname, after.port) and not _is_public(after.hostname or ""):
            raise ConnectionError(f"it redirects to {after.hostname}, which is no public host")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_public(host: str) -> bool:
    """Whether all addresses of a host are on the public internet."""
    found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_global for each in found)
