"""Two replicas under Ray Serve, with one killed under load: the fate of the requests, and the delay.

python benchmarks/replicas.py --clients 4 --images 40

Clients keep requesting images of the bundled model. After ``--images`` of them a replica gets a SIGKILL. Once another
one has replaced it and the same number of images has arrived, the server gets a SIGTERM during requests. Ends in an
error if an accepted request is lost or takes 5 s longer than the longest one before.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MOST = 5.0
"""Seconds that a request may take longer than the longest before the kill."""


@dataclass
class Load:
    """Clients that ask for an image, wait for it, and ask again."""

    url: str
    is_over: threading.Event = field(default_factory=threading.Event)
    answers: list[tuple[float, float, int]] = field(default_factory=list)
    """When each request began and ended, and its status."""

    def ask(self, client: int) -> None:
        """One client's requests."""
        seed = 0
        while not self.is_over.is_set():
            seed += 1
            body = json.dumps({"prompt": f"a rocket, {client}", "seed": seed, "steps": 10}).encode()
            request = urllib.request.Request(
                f"{self.url}/v1/images/generations", data=body, headers={"Content-Type": "application/json"}
            )
            began = time.monotonic()
            try:
                with urllib.request.urlopen(request) as answer:
                    json.load(answer)
                    status = answer.status
            except urllib.error.HTTPError as error:
                status = error.code
            self.answers.append((began, time.monotonic(), status))


def replica_processes() -> list[int]:
    """The process ids; Ray gives its workers the name of what they run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ServeReplica:mindone-diffusers" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return sorted(found)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it is true."""
    while not condition():
        time.sleep(0.05)


def main() -> None:
    """Run it once, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--images", type=int, default=40)
    options = parser.parse_args()
    command = ["-m", "mindone.diffusers.cli", "serve", "--ray", "local", "--replicas", "2", "--port", "0"]
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as server:
        load = Load(server.stdout.readline().strip())
        clients = [threading.Thread(target=load.ask, args=(i,)) for i in range(options.clients)]
        for client in clients:
            client.start()
        wait_for(lambda: len(load.answers) >= options.images)
        before, killed = replica_processes(), time.monotonic()
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda: len(set(replica_processes()) - set(before)) == 1)
        come = len(load.answers)
        wait_for(lambda: len(load.answers) >= come + options.images)
        load.is_over.set()
        time.sleep(0.05)  # the last requests are accepted, and not yet drawn
        server.send_signal(signal.SIGTERM)
        for client in clients:
            client.join()
        code = server.wait()
    parts = {
        "before": [end - began for began, end, _ in load.answers if end < killed],
        "under way at the kill": [end - began for began, end, _ in load.answers if began < killed <= end],
        "after": [end - began for began, end, _ in load.answers if began >= killed],
    }
    for name, seconds in parts.items():
        print(
            f"{name:22} {len(seconds):4} requests, median {statistics.median(seconds):.2f} s, {max(seconds):.2f} s most"
        )
    more = max(parts["under way at the kill"] + parts["after"]) - max(parts["before"])
    print(f"at most {more:.2f} s longer than before the kill; the server ended with {code}")
    assert {status for _, _, status in load.answers} == {200}, "a request was lost"
    assert not replica_processes(), "a replica was left over"
    assert more <= MOST, "a request took too long"


if __name__ == "__main__":
    main()
