"""The server's overhead over the pipeline, the delay until its page shows a picture, and its robustness, with
``icons``.

python benchmarks/serve.py page --times 10      first load to first picture, click to first preview, in chromium
python benchmarks/serve.py stop --times 30      steps after a client hangs up, or Stop is pressed on the page
python benchmarks/serve.py load --clients 50    the server's own time per request; none wrong, none lost, the bound held
python benchmarks/serve.py soak --minutes 30    good and bad requests, hang-ups, schemathesis: answers of 500, memory

Each prints its figures and ends with an error if a promise is broken. ``page`` and ``stop`` need the playwright
package and chromium, ``soak`` needs schemathesis.
"""

import argparse
import base64
import contextlib
import functools
import http.client
import io
import json
import queue
import shutil
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator

from PIL import Image

from mindone.diffusers.jobs import Job, draw, load
from mindone.diffusers.server import Settings
from mindone.diffusers.server.service import Service
from mindone.diffusers.server.ticket import Ticket
from mindone.diffusers.utils import logging
from serving import metric, post, serving
from soak import soak

PROMPTS = ("a rocket", "a cat", "a red apple", "a house", "a tree", "a guitar", "a bicycle", "a fish", "a crown")


def pixels(content: bytes) -> bytes:
    """Those of the first image of a response."""
    return Image.open(io.BytesIO(base64.b64decode(json.loads(content)["data"][0]["b64_json"]))).tobytes()


# ---- load ------------------------------------------------------------------------------------------------------------


def bare_pictures(steps: int, count: int) -> list[tuple[dict[str, object], bytes]]:
    """Requests, and the pixels that the pipeline alone draws for each."""
    wanted = [{"prompt": PROMPTS[i % len(PROMPTS)], "seed": i, "steps": steps} for i in range(count)]
    jobs = [Job.of(fields) for fields in wanted]
    pipe = load(jobs[0])
    drawn = [(fields, draw(pipe, job)[0].tobytes()) for fields, job in zip(wanted, jobs)]
    pipe.release()
    return drawn


def under_load(options: argparse.Namespace) -> None:
    """Every client asks for one picture after the other; then all at once in front of a short queue."""
    wanted = bare_pictures(options.steps, 2 * len(PROMPTS))
    with serving("--max-queue", str(2 * options.clients)) as (port, _):
        print(f"/healthz on a kept connection: median {_kept_time(port):.1f} ms")
        own = _own_times(port, wanted, options.clients, options.requests)
    print(f"{len(own)} requests of {options.clients} clients, all as the bare pipeline draws them")
    print(f"own time per request: median {statistics.median(own):.1f} ms, 95 % below {_percentile(own, 95):.1f} ms")
    with serving("--max-queue", str(options.queue)) as (port, _):
        _check_bound(port, wanted, options.clients, options.queue)


def _kept_time(port: int, requests: int = 50) -> float:
    """Milliseconds of a request on a connection that has had others: what an answer in small parts waits shows here."""
    connection, times = http.client.HTTPConnection("127.0.0.1", port, timeout=60), []
    for _ in range(requests):
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        times.append(1000 * (time.perf_counter() - began))
    connection.close()
    return statistics.median(times[1:])


def _own_times(port: int, wanted: list[tuple[dict[str, object], bytes]], clients: int, requests: int) -> list[float]:
    """Milliseconds of each request beyond waiting, loading and drawing, which the server tells of itself."""
    own: list[float] = []

    def client(number: int) -> None:
        for i in range(requests):
            fields, picture = wanted[(number * requests + i) % len(wanted)]
            began = time.perf_counter()
            status, headers, content = post(port, "/v1/images/generations", fields)
            taken = 1000 * (time.perf_counter() - began)
            assert status == 200, f"a request was answered {status}"
            assert pixels(content) == picture, f"a wrong picture for {fields}"
            own.append(taken - sum(float(part.partition("dur=")[2]) for part in headers["Server-Timing"].split(", ")))

    at_once([functools.partial(client, number) for number in range(clients)])
    assert len(own) == clients * requests, "a request was lost"
    return own


def _check_bound(port: int, wanted: list[tuple[dict[str, object], bytes]], clients: int, most: int) -> None:
    """All clients at once; refused ones come back after the given time."""
    lengths, refused, done = [], [], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            lengths.append(metric(port, "mindone_diffusers_queue_length"))

    def client(number: int) -> None:
        fields, picture = wanted[number % len(wanted)]
        while True:
            status, headers, content = post(port, "/v1/images/generations", fields)
            if status == 200:
                assert pixels(content) == picture, f"a wrong picture for {fields}"
                return
            assert status == 429, f"a request was answered {status}"
            refused.append(int(headers["Retry-After"]))
            time.sleep(refused[-1])

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        at_once([functools.partial(client, number) for number in range(clients)])
    finally:
        done.set()
        watching.join()
    assert max(lengths) <= most, f"{max(lengths):.0f} requests waited in a queue of {most}"
    print(f"a queue of {most}: {max(lengths):.0f} waited at most, {len(refused)} refusals, all {clients} were served")


def at_once(tasks: list[Callable[[], None]]) -> None:
    """Run each in a thread; the first thing that goes wrong is raised."""
    wrong: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            wrong.put(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not wrong.empty():
        raise wrong.get()


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


# ---- the page --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def browsing() -> Iterator[Callable[[str], contextlib.AbstractContextManager[object]]]:
    """Headless chromium: a function that opens an address with nothing cached."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])

        @contextlib.contextmanager
        def opened(address: str):
            context = chromium.new_context()
            page = context.new_page()
            page.set_default_timeout(300_000)
            page.goto(address)
            yield page
            context.close()

        yield opened
        chromium.close()


# In the page itself: from outside, a picture is only looked for again after up to half a second.
_CLICK = """async () => {
  const began = performance.now();
  const first = (id, what) => new Promise((resolve) => {
    new MutationObserver(() => resolve(performance.now() - began)).observe(document.getElementById(id), what);
  });
  const both = [first("preview", { attributeFilter: ["src"] }), first("gallery", { childList: true })];
  document.querySelector("#examples button").click();
  return Promise.all(both);
}"""


def page(options: argparse.Namespace) -> None:
    """The page as it comes, opened, and the first thing that it says to try clicked at once."""
    whole, previews = [], []
    with serving() as (port, _), browsing() as opened:
        address = f"http://127.0.0.1:{port}/"
        for turn in range(options.times + 1):
            began = time.perf_counter()
            with opened(address) as tab:
                tab.wait_for_selector("text=Ready.")
                preview, _ = tab.evaluate(_CLICK)
                seconds = time.perf_counter() - began
                assert tab.is_visible("#gallery img")
            if turn:  # the first one has compiled what the page asks for
                whole.append(seconds)
                previews.append(preview / 1000)
    print(f"load to first picture: median {statistics.median(whole):.2f} s, slowest {max(whole):.2f} s")
    print(f"click to first preview: median {statistics.median(previews):.2f} s, slowest {max(previews):.2f} s")


# ---- stop ------------------------------------------------------------------------------------------------------------


class Watched(Service):
    """A service that remembers when each step of the last ticket ended."""

    def submit(self, ticket: Ticket) -> None:
        """As every service."""
        tell = ticket.listener
        self.last, self.ends = ticket, []

        def listener(progress):
            self.ends.append(time.time())
            tell(progress)

        ticket.listener = listener
        super().submit(ticket)

    def steps_after(self, moment: float) -> int:
        """How many steps of the last ticket ended after a moment, once it is given up."""
        with contextlib.suppress(Exception):
            self.last.images.result(60)
        return sum(end > moment for end in self.ends)


def stop(options: argparse.Namespace) -> None:
    """Clients that hang up, and Stop on the page, while a picture of 100 steps is drawn."""
    import uvicorn

    from mindone.diffusers.server.app import create_app

    service = Watched(Settings())
    service.backend.warm_up()
    with socket.create_server(("127.0.0.1", 0)) as listening, browsing() as opened:
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(create_app(service.settings, service), log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        hung_up = [_hang_up(service, port, streams=i % 2 == 0) for i in range(options.times)]
        with opened(f"http://127.0.0.1:{port}/") as tab:
            tab.wait_for_selector("text=Ready.")
            tab.fill("#prompt", PROMPTS[0])
            tab.fill("#steps", "100")
            pressed = [_press_stop(service, tab) for _ in range(options.times)]
        server.should_exit = True
        thread.join()
    for what, steps in (("hang-up", hung_up), ("Stop", pressed)):
        print(f"{what}: steps after the one under way: {statistics.mean(steps):.2f} on average, {max(steps)} at most")
    assert max(hung_up + pressed) <= 1, "it went on for more than a step"


def _hang_up(service: Watched, port: int, streams: bool) -> int:
    fields = {"prompt": PROMPTS[0], "steps": 100, "stream": streams}
    body = json.dumps(fields).encode()
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    service.ends = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        while len(service.ends) < 10:
            time.sleep(0.001)
    return service.steps_after(time.time())


def _press_stop(service: Watched, tab) -> int:
    service.ends = []
    tab.click("#generate")
    while len(service.ends) < 10:
        time.sleep(0.001)
    clicked = tab.evaluate(
        "() => { document.getElementById('stop').click(); return performance.timeOrigin + performance.now(); }"
    )
    steps = service.steps_after(clicked / 1000)
    tab.wait_for_selector("text=Stopped.")
    return steps


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["page", "stop", "load", "soak"])
    parser.add_argument("--times", type=int, default=10, help="page, stop: how often")
    parser.add_argument("--clients", type=int, default=50, help="load: how many at once")
    parser.add_argument("--requests", type=int, default=8, help="load: of each client")
    parser.add_argument("--steps", type=int, default=5, help="load: of each picture")
    parser.add_argument("--queue", type=int, default=8, help="load: places of the short queue")
    parser.add_argument("--minutes", type=float, default=30, help="soak: how long")
    options = parser.parse_args()
    logging.disable_progress_bar()
    {"page": page, "stop": stop, "load": under_load, "soak": soak}[options.what](options)


if __name__ == "__main__":
    main()
