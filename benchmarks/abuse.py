"""What a server withstands: single requests made to be expensive, and crowds of idle connections.

python benchmarks/abuse.py single      each alone: seconds until the answer, memory, how late /healthz is meanwhile
python benchmarks/abuse.py crowd       idle and slow connections, endless bodies, a queue of large pictures

It starts its own server on this machine's loopback and attacks only that. Each part ends with an error if a promise is
broken; times count only if nothing else runs.
"""

import argparse
import base64
import contextlib
import http.client
import io
import json
import multiprocessing
import socket
import statistics
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from serving import call, form, png, post, serving

ANSWER_SECONDS, MORE_BYTES, HEALTH_SECONDS = 2.0, 100e6, 0.1
"""What one request of at most a megabyte may cost on an idle server, until it is answered or refused."""
MORE_MEMORY = 1.3
"""How many times the memory of before may be held after a crowd has gone."""
SIDE = 4096
JSON = "application/json"


# ---- what is watched -------------------------------------------------------------------------------------------------


@dataclass
class Watch:
    """A process's memory and how soon it answers, many times a second."""

    port: int
    pid: int
    memory: list[int] = field(default_factory=list)
    health: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Once."""
        self.memory.append(resident(self.pid))
        began = time.perf_counter()
        status = call(self.port, "/healthz")[0]
        self.health.append(time.perf_counter() - began)
        assert status == 200, f"/healthz was answered {status}"


def resident(pid: int) -> int:
    """The bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@contextlib.contextmanager
def watching(port: int, pid: int) -> Iterator[Watch]:
    """Look on from a thread of its own."""
    watch, done, wrong = Watch(port, pid), threading.Event(), []

    def repeat() -> None:
        try:
            while not done.wait(0.01):
                watch.look()
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield watch
    finally:
        done.set()
        thread.join()
    if wrong:
        raise wrong[0]


# ---- one request -----------------------------------------------------------------------------------------------------


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def with_texts(*texts: tuple[str, bytes]) -> bytes:
    """A small PNG file with compressed texts."""
    whole = png(Image.new("RGB", (8, 8)))
    end = whole.rindex(b"IEND") - 4
    chunks = [chunk(b"zTXt", keyword.encode() + b"\0\0" + zlib.compress(text, 9)) for keyword, text in texts]
    return whole[:end] + b"".join(chunks) + whole[end:]


def picture(mode: str, kind: str = "PNG", side: int = SIDE, **options: object) -> bytes:
    """A large picture in a small file."""
    file = io.BytesIO()
    white = 255 if len(Image.new(mode, (1, 1)).getbands()) == 1 else "white"
    Image.new(mode, (side, side), white).save(file, kind, **({"lossless": True} if kind == "WEBP" else options))
    return file.getvalue()


def in_base64(content: bytes) -> str:
    """For JSON."""
    return base64.b64encode(content).decode()


def requests() -> Iterator[tuple[str, str, bytes, dict[str, str]]]:
    """What it is, path, body and headers."""
    kind = {"Content-Type": JSON}
    texts = {
        "parameters without a colon": [("parameters", b"a" * 40_000)],
        "parameters of commas": [("parameters", b"a," * 500_000)],
        "parameters of quotes": [("parameters", b'a:"b",' * 170_000)],
        "60 compressed texts": [(f"note {i}", b"a" * 1_000_000) for i in range(60)],
        "60 times our own text": [("mindone-diffusers", b"a" * 1_000_000)] * 60,
        "our own text, nested": [("mindone-diffusers", b"[" * 1_000_000)],
        "our own text, a number": [("mindone-diffusers", b"9" * 1_000_000)],
        "our own text, long": [("mindone-diffusers", json.dumps({"job": {"prompt": "a" * 900_000}}).encode())],
    }
    for what, each in texts.items():
        yield what, "/sdapi/v1/png-info", json.dumps({"image": in_base64(with_texts(*each))}).encode(), kind
    noted = in_base64(with_texts(*texts["60 compressed texts"]))
    drawn_from = {"init_images": [noted], "steps": 2, "width": 64, "height": 64}
    yield "the same to draw from", "/sdapi/v1/img2img", json.dumps(drawn_from).encode(), kind
    pictures = [picture(mode) for mode in ("RGB", "L", "P", "1", "I;16", "LA", "RGBA")]
    pictures += [picture("RGB", "JPEG"), picture("CMYK", "JPEG"), picture("RGB", "JPEG", progressive=True)]
    pictures += [picture(mode, "WEBP", side) for mode in ("RGB", "RGBA") for side in (2_200, SIDE)]
    for content in pictures:
        with Image.open(io.BytesIO(content)) as opened:
            what = f"{opened.format} of {opened.width}×{opened.height}, {opened.mode}"
            what += ", progressive" if "progressive" in opened.info else ""
        body = {
            "init_images": [in_base64(content)],
            "mask": in_base64(picture("L")),
            "steps": 2,
            "inpaint_full_res": False,
        }
        if len(json.dumps(body)) < 1_000_000:
            yield what, "/sdapi/v1/img2img", json.dumps({**body, "width": 64, "height": 64}).encode(), kind
    for mode, mask in (("RGB", "L"), ("RGB", "RGBA"), ("L", "L")):
        sent = {"init_images": [in_base64(picture(mode, side=4000))], "mask": in_base64(picture(mask))}
        drawn = {**sent, "steps": 2, "width": 64, "height": 64}
        for full in (False, True):
            what = f"{mode}, 4000×4000, {mask} of another size" + ", full res" * full
            yield what, "/sdapi/v1/img2img", json.dumps({**drawn, "inpaint_full_res": full}).encode(), kind
    for mode in ("RGB", "L"):
        drawn = {"init_images": [in_base64(picture(mode))], "mask": in_base64(picture("L")), "steps": 2}
        body = {**drawn, "width": 64, "height": 64, "inpaint_full_res": True}
        yield f"{mode}, {SIDE}×{SIDE}, full res", "/sdapi/v1/img2img", json.dumps(body).encode(), kind
    body, form_kind = form({"prompt": "a", "steps": 2, "size": "64x64"}, image=pictures[0], mask=picture("RGBA"))
    yield "a form with two of them", "/v1/images/edits", body, {"Content-Type": form_kind}
    bodies = {
        "nested lists": b"[" * 1_000_000,
        "unknown fields": json.dumps({f"a{i}": 1 for i in range(90_000)}).encode(),
        "a number of a million digits": b'{"prompt": "a", "seed": ' + b"9" * 990_000 + b"}",
        "a long prompt": json.dumps({"prompt": "a" * 990_000}).encode(),
        "a list for a text": json.dumps({"prompt": [1] * 300_000}).encode(),
        "LoRAs": json.dumps({"prompt": "<lora:" * 300}).encode(),
        "halves of characters": b'{"prompt": "' + b"\\ud800" * 160_000 + b'"}',
    }
    for what, content in bodies.items():
        yield what, "/v1/images/generations", content, kind
        yield f"{what}, web UI", "/sdapi/v1/txt2img", content, kind
    yield (
        "scripts of the web UI",
        "/sdapi/v1/txt2img",
        json.dumps({"prompt": "a", "alwayson_scripts": {f"a{i}": {"args": []} for i in range(40_000)}}).encode(),
        kind,
    )
    options = json.dumps({f"a{i}": 1 for i in range(90_000)}).encode()
    yield "options", "/sdapi/v1/options", options, kind
    pairs = "&".join(f"a{i}=1" for i in range(100_000)).encode()
    yield "a form of many fields", "/v1/images/edits", pairs, {"Content-Type": "application/x-www-form-urlencoded"}
    many, form_kind = form({f"a{i}": "1" for i in range(9000)})
    yield "a form of many parts", "/v1/images/edits", many, {"Content-Type": form_kind}
    yield "a long path", "/" + "%41" * 20_000, b"", {}
    yield "many headers", "/v1/models", b"", {f"X-{i}": "a" for i in range(5000)}
    yield "a long header", "/v1/models", b"", {"Authorization": "Basic " + "A" * 900_000}
    yield "a long cookie", "/v1/models", b"", {"Cookie": "a=b; " * 12_000}


def single(options: argparse.Namespace) -> None:
    """Every request alone."""
    broken = []
    with serving("--max-side", "256") as (port, pid):
        small = in_base64(png(Image.new("RGB", (64, 64), "white")))
        warm = {"init_images": [small], "steps": 2, "width": 64, "height": 64, "inpaint_full_res": False}
        post(port, "/sdapi/v1/img2img", {**warm, "mask": small})  # what they compute is compiled once
        for what, path, body, headers in requests():
            time.sleep(0.3)
            before = resident(pid)
            with watching(port, pid) as watch:
                time.sleep(0.05)
                began = time.perf_counter()
                status = _answer(port, path, body, headers)
                seconds = time.perf_counter() - began
            more, late = max(watch.memory) - before, max(watch.health)
            line = f"{what:36} {len(body) / 1000:6.0f} kB → {status}  {seconds:5.2f} s  {more / 1e6:+6.0f} MB  "
            print(f"{line}/healthz {1000 * late:4.0f} ms", flush=True)
            if seconds > ANSWER_SECONDS or more > MORE_BYTES or late > HEALTH_SECONDS or status == "500":
                broken.append(what)
    assert not broken, f"too dear: {', '.join(broken)}"


def _answer(port: int, path: str, body: bytes, headers: dict[str, str]) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST" if body else "GET", path, body or None, headers)
        response = connection.getresponse()
        response.read()
        return str(response.status)
    except OSError as error:  # the connection was closed
        return type(error).__name__
    finally:
        connection.close()


# ---- crowds ----------------------------------------------------------------------------------------------------------


def crowd(options: argparse.Namespace) -> None:
    """One after the other, each beside a good client."""
    with serving("--max-side", "256") as (port, pid):
        for _ in range(3):
            post(port, "/v1/images/generations", GOOD)
        time.sleep(1)
        before = resident(pid)
        attacks = (idle, slow_heads, endless_bodies, large_pictures)
        for attack in [each for each in attacks if options.only in (None, each.__name__)]:
            _beside(port, pid, attack, options.seconds)
        time.sleep(3)
        after = resident(pid)
    print(f"memory before {before / 1e6:.0f} MB, afterwards {after / 1e6:.0f} MB")
    assert after <= MORE_MEMORY * before, "memory is not given back"


Attack: TypeAlias = Callable[[int, Event], str]
"""It gets the port and the time to end, and reports the fate of its connections. It runs in its own process."""

GOOD: dict[str, object] = {"prompt": "a cat", "steps": 2, "size": "64x64"}


def _beside(port: int, pid: int, attack: Attack, seconds: float) -> None:
    done, said = multiprocessing.Event(), multiprocessing.Queue()
    attacking = multiprocessing.Process(target=_attack, args=(attack, port, done, said))
    drawn, before = [], resident(pid)
    attacking.start()
    until = time.monotonic() + seconds
    with watching(port, pid) as watch:
        while time.monotonic() < until or not drawn:
            began = time.perf_counter()
            status = post(port, "/v1/images/generations", GOOD)[0]
            if status == 200:
                drawn.append(time.perf_counter() - began)
            else:
                assert status == 429, f"the good client was answered {status}"
                time.sleep(0.5)
        done.set()
        became = said.get()
        attacking.join()
    more = (max(watch.memory) - before) / 1e6
    print(
        f"{attack.__name__.replace('_', ' ')} ({became}): {len(drawn)} pictures for the good client, median "
        f"{statistics.median(drawn):.2f} s; /healthz at most {1000 * max(watch.health):.0f} ms; {more:+.0f} MB",
        flush=True,
    )


def _attack(attack: Attack, port: int, done: Event, said: "multiprocessing.Queue[str]") -> None:
    said.put(attack(port, done))


def _open(port: int, count: int, first: bytes) -> list[socket.socket]:
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        connection.sendall(first)
        connections.append(connection)
    return connections


def _alive(connections: list[socket.socket]) -> int:
    """How many the server has not closed."""
    alive = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            while connection.recv(4096):
                pass
        except BlockingIOError:
            alive += 1
        except OSError:
            pass
        connection.close()
    return alive


def idle(port: int, done: Event) -> str:
    """Connections that send nothing."""
    connections = _open(port, 1000, b"")
    done.wait()
    return f"{_alive(connections)} of {len(connections)} still open"


def slow_heads(port: int, done: Event) -> str:
    """A byte of a header now and then."""
    connections = _open(port, 1000, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
    while not done.wait(1):
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sendall(b"a")
    return f"{_alive(connections)} of {len(connections)} still open"


def endless_bodies(port: int, done: Event) -> str:
    """Bodies of nearly as much as is allowed, which then go on byte by byte."""
    head = b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    connections = []
    for _ in range(100):
        if done.is_set():
            break
        try:
            [connection] = _open(port, 1, head)
            connections.append(connection)
            for _ in range(15):
                connection.sendall(b"f4240\r\n" + b" " * 1_000_000 + b"\r\n")
        except OSError:
            pass
    while not done.wait(1):
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sendall(b"1\r\n \r\n")
    return f"{_alive(connections)} of {len(connections)} still open"


def large_pictures(port: int, done: Event) -> str:
    """A queue of large pictures."""
    content = picture("RGB")
    body = json.dumps({"init_images": [in_base64(content)], "steps": 2, "width": 64, "height": 64}).encode()
    statuses: list[str] = []

    def send() -> None:
        while not done.is_set():
            statuses.append(_answer(port, "/sdapi/v1/img2img", body, {"Content-Type": JSON}))
            if statuses[-1] != "200":
                time.sleep(0.5)

    threads = [threading.Thread(target=send) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ", ".join(f"{statuses.count(status)} × {status}" for status in sorted(set(statuses)))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["single", "crowd"])
    parser.add_argument("--seconds", type=float, default=30, help="crowd: how long each of them stays")
    parser.add_argument("--only", help="crowd: one of idle, slow_heads, endless_bodies and large_pictures")
    options = parser.parse_args()
    {"single": single, "crowd": crowd}[options.what](options)


if __name__ == "__main__":
    main()
