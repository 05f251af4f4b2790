"""A server in its own process, and requests to it; shared by `serve.py`, `soak.py` and `abuse.py`."""

import contextlib
import http.client
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from PIL import Image


@contextlib.contextmanager
def serving(*options: str) -> Iterator[tuple[int, int]]:
    """The command in a process of its own, ready: its port, and the id of the process."""
    command = [sys.executable, "-m", "mindone.diffusers.cli", "serve", "--port", "0", *options]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            address = process.stdout.readline().strip() if process.stdout else ""
            if not address:
                log.seek(0)
                raise RuntimeError(log.read())
            yield int(address.rpartition(":")[2]), process.pid
        finally:
            process.terminate()


def call(port: int, path: str, body: bytes | None = None, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One request on a connection of its own: status, headers and body of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if body is None else "POST", path, body, named)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def post(port: int, path: str, fields: dict[str, object]) -> tuple[int, http.client.HTTPMessage, bytes]:
    """A request with a body of JSON."""
    return call(port, path, json.dumps(fields).encode(), Content_Type="application/json")


def metric(port: int, name: str) -> float:
    """A counter's value; 0 where it has not counted yet."""
    lines = call(port, "/metrics")[2].decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


def png(image: Image.Image) -> bytes:
    """The file of an image."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def form(fields: dict[str, object], **files: bytes) -> tuple[bytes, str]:
    """The body of a form with files, and its content type."""
    mark = "xxxxxxxxxxxxxxxxxxxxxxxx"
    parts = [(f'name="{name}"', str(value).encode()) for name, value in fields.items()]
    parts += [(f'name="{name}"; filename="a.png"', content) for name, content in files.items()]
    lines = [f"--{mark}\r\nContent-Disposition: form-data; {about}\r\n\r\n".encode() + value for about, value in parts]
    return b"\r\n".join([*lines, f"--{mark}--\r\n".encode()]), f"multipart/form-data; boundary={mark}"
