"""The long part of `serve.py`, with everything at once: good and bad requests, hang-ups, schemathesis."""

import argparse
import base64
import collections
import http.client
import importlib.util
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from serving import call, form, metric, png, post, serving

WRONG = "wrong"
FLAT = 0.02
"""How much the memory of the last third may grow, in parts of it."""


def soak(options: argparse.Namespace) -> None:
    """Ask for good and bad things at once until the time is over."""
    if importlib.util.find_spec("schemathesis") is None:
        raise SystemExit("soak needs schemathesis: pip install schemathesis")
    statuses: collections.Counter[str] = collections.Counter()
    until = time.monotonic() + 60 * options.minutes
    with serving("--max-side", "256", "--max-steps", "20") as (port, pid):
        kinds = (good, malformed, hang_up)
        threads = [threading.Thread(target=_repeat, args=(kind, port, until, statuses)) for kind in kinds]
        for thread in threads:
            thread.start()
        fuzzed: list[subprocess.CompletedProcess[str]] = []
        fuzzing = threading.Thread(target=lambda: fuzzed.append(_schemathesis(port, until - time.monotonic())))
        fuzzing.start()
        memory = _watch(pid, until)
        for thread in (*threads, fuzzing):
            thread.join()
        failed = metric(port, 'mindone_diffusers_refusals_total{reason="server_error"}')
    print(f"answers: {dict(sorted(statuses.items()))}")
    print(f"schemathesis: {'nothing found' if fuzzed[0].returncode == 0 else fuzzed[0].stdout}")
    print(f"responses of 500, by the server's own count: {failed:.0f}")
    third = memory[-max(len(memory) // 3, 2) :]
    half = len(third) // 2
    growth = statistics.mean(third[half:]) / statistics.mean(third[:half]) - 1
    print(f"memory of the last third: {min(third)}–{max(third)} MB; its second half has {growth:+.1%}")
    assert not any(each.startswith(WRONG) for each in statuses), "a good request was not served"
    assert not failed and not statuses["500"] and fuzzed[0].returncode == 0, "the server has failed"
    assert growth <= FLAT, "memory grows"


def _watch(pid: int, until: float) -> list[int]:
    """The resident megabytes of a process, twelve times a minute, printed by the minute."""
    memory: list[int] = []
    while time.monotonic() < until:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        memory.append(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")))
        if len(memory) % 12 == 1:
            print(f"minute {len(memory) // 12}: {memory[-1]} MB", flush=True)
        time.sleep(5)
    return memory


def _schemathesis(port: int, seconds: float) -> subprocess.CompletedProcess[str]:
    """Requests made from the OpenAPI document, half of them wrong by it."""
    checks = "not_a_server_error,content_type_conformance,unsupported_method"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json"]
    limits = ["--max-time", str(max(int(seconds), 1)), "--request-timeout", "600", "--rate-limit", "auto"]
    rest = ["--checks", checks, "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--no-color"]
    with tempfile.TemporaryDirectory() as folder:  # where it leaves what it remembers
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.run([*command, *limits, *rest], cwd=folder, **output)


def _repeat(
    kind: Callable[[int, random.Random], str], port: int, until: float, statuses: collections.Counter[str]
) -> None:
    chance = random.Random(kind.__name__)
    while time.monotonic() < until:
        try:
            statuses[kind(port, chance)] += 1
        except (AssertionError, OSError, http.client.HTTPException) as error:
            statuses[f"{WRONG}: {kind.__name__}: {error!r}"] += 1


def good(port: int, chance: random.Random) -> str:
    """A request that is to be drawn, to one of the endpoints."""
    fields: dict[str, object] = {"prompt": "a cat", "steps": chance.randint(1, 8), "seed": chance.randrange(2**32)}
    picture = png(Image.effect_noise((64, 64), 80).convert("RGB"))
    which = chance.randrange(5)
    if which == 0:
        streamed = {"stream": True, "partial_images": 3, "progress": True, "n": chance.randint(1, 2)}
        status, _, content = post(port, "/v1/images/generations", {**fields, **streamed})
        assert status != 200 or b"image_generation.completed" in content, "a stream without its image"
    elif which == 1:
        body, kind = form({**fields, "strength": 1}, image=picture, mask=png(Image.new("RGBA", (64, 64))))
        status = call(port, "/v1/images/edits", body, Content_Type=kind)[0]
    elif which == 2:
        encoded = base64.b64encode(picture).decode()
        more = {"init_images": [encoded], "denoising_strength": 1, "width": 64, "height": 64}
        status = post(port, "/sdapi/v1/img2img", {**fields, **more})[0]
    elif which == 3:
        status = post(port, "/sdapi/v1/png-info", {"image": base64.b64encode(picture).decode()})[0]
    else:
        status = post(port, "/v1/images/generations", fields)[0]
    assert status in (200, 429), f"a good request was answered {status}"
    return str(status)


def malformed(port: int, chance: random.Random) -> str:
    """A picture that is none, is cut off, has wrong bytes, or is a bomb; or a body that is no body."""
    picture = bytearray(png(Image.effect_noise((64, 64), 80).convert("RGB")))
    which = chance.randrange(6)
    if which == 0:
        content = chance.randbytes(chance.randrange(2000))
    elif which == 1:
        content = bytes(picture[: chance.randrange(len(picture))])
    elif which == 2:
        for _ in range(20):
            picture[chance.randrange(len(picture))] = chance.randrange(256)
        content = bytes(picture)
    elif which == 3:
        content = png(Image.new("1", (20_000, 20_000)))
    else:
        nested = b"[" * 100_000 if which == 4 else b'{"prompt": "\xff", "n": 1e999}'
        return str(call(port, "/v1/images/generations", nested, Content_Type="application/json")[0])
    body, kind = form({"prompt": "a cat", "steps": 1, "strength": 1}, image=content)
    return str(call(port, "/v1/images/edits", body, Content_Type=kind)[0])


def hang_up(port: int, chance: random.Random) -> str:
    """A client that goes away at any moment of its request, or of its answer."""
    body = json.dumps({"prompt": "a cat", "steps": 20, "stream": chance.random() < 0.5, "size": "64x64"}).encode()
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    whole = head.encode() + b"Content-Type: application/json\r\n\r\n" + body
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(whole[: chance.randrange(len(whole))] if chance.random() < 0.2 else whole)
        time.sleep(chance.uniform(0, 0.5))
    time.sleep(0.2)
    return "hung up"
