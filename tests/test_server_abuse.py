"""What clients do that mean no good, or mean nothing: connections, bodies, pictures, signals."""

import asyncio
import base64
import contextlib
import gc
import io
import json
import logging
import signal
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from unittest.mock import Mock

import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="the [serve] extra is not installed")


from live_server import serving, wait_for
from mindone.diffusers.jobs import Job
from mindone.diffusers.jobs.pictures import Pictures
from mindone.diffusers.server import Settings
from mindone.diffusers.server.connection import Door
from mindone.diffusers.server.intake import Intake
from mindone.diffusers.server.keys import Keys
from mindone.diffusers.server.queue import Full
from mindone.diffusers.server.refusals import Cancelled, Refusal
from mindone.diffusers.server.run import run
from mindone.diffusers.server.service import Service
from mindone.diffusers.server.ticket import Ticket
from mindone.diffusers.server.turns import Turns
from mindone.diffusers.server.uploads import Opening
from tiny_pipelines import checkpoint

DRAW = {"prompt": "a red cat", "steps": 2, "seed": 1, "size": "64x64"}


def make_service(**more) -> Service:
    return Service(Settings(**{"model": (f"tiny={checkpoint('bk_sdm')}",), **more}))


def post(port: int, path: str, body: object, timeout: float = 600) -> tuple[int, bytes]:
    """Status and body of an answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def ticket(service: Service, pictures=Pictures) -> Ticket:
    job = Job(**{**service.catalogue.key().to_dict(), "prompt": "a", "steps": 1, "height": 64, "width": 64, "seed": 1})
    return Ticket(job, "somebody", pictures)


@contextlib.contextmanager
def busy(service: Service):
    """While the engine's thread has something to do."""
    goes_on = threading.Event()
    service.submit(ticket(service, lambda: Pictures() if goes_on.wait(600) else None))
    wait_for(lambda: service.running)
    try:
        yield
    finally:
        goes_on.set()


# ---- connections -----------------------------------------------------------------------------------------------------


class FakeConnection:
    """A connection that waits for its request."""

    is_busy = given_up = False

    def __init__(self) -> None:
        self.loop = Mock()

    def give_up(self) -> None:
        self.given_up = True


def connect(port: int, first: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=600)
    connection.sendall(first)
    return connection


def test_connections_that_say_nothing_are_closed_and_keep_nobody_out():
    service = make_service()
    with serving(service, Door(most=40, most_per_address=8, head_seconds=3)) as (_, port):
        quiet = [connect(port, first) for first in (b"", b"GET / HTTP/1.1\r\nX: ") * 30]
        assert post(port, "/v1/images/generations", DRAW)[0] == 200
        for each in quiet:
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1) == b""


def test_a_crowd_does_not_close_a_connection_before_its_request_can_arrive():
    door, good = Door(most=40, most_per_address=4), FakeConnection()
    crowd = [FakeConnection() for _ in range(20)]
    for each in (good, *crowd):
        assert door.enter(each, "10.0.0.1") and not good.given_up
    good.is_busy = True  # its request arrives only now
    for each in crowd:
        for call in each.loop.call_later.call_args_list:
            assert call.args[0] == 1.0
            call.args[1](*call.args[2:])
    assert not good.given_up and [each.given_up for each in crowd] == 17 * [True] + 3 * [False]


def test_at_the_limit_of_all_the_address_with_the_most_connections_loses_one():
    door = Door(most=6, most_per_address=4)
    held = {name: FakeConnection() for name in ("good", *"abcdef")}
    assert door.enter(held["good"], "10.0.0.1")
    assert all(door.enter(held[name], "10.0.0.2") for name in "abcdef")
    assert [name for name, each in held.items() if each.given_up] == ["a"]


def test_a_client_that_is_being_served_keeps_its_connection_in_a_crowd():
    service = make_service()
    with serving(service, Door(most=40, most_per_address=4, head_seconds=600)) as (_, port):
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(post(port, "/v1/images/generations", {**DRAW, "steps": 60}))
        )
        asking.start()
        wait_for(lambda: service.running)
        quiet = [connect(port) for _ in range(20)]
        asking.join()
        assert answers[0][0] == 200 and len(quiet) == 20


def test_a_head_that_never_ends_is_refused_when_it_is_too_long():
    with serving(make_service()) as (_, port):
        with contextlib.suppress(ConnectionError):
            endless = connect(port, b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 70_000)
            assert endless.recv(20).startswith(b"HTTP/1.1 431")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/" + "a" * 60_000, timeout=600)


def taken_before_the_end(connection: socket.socket, piece: bytes, most: int = 12_000_000) -> int:
    """Bytes that the server lets a client send before it closes the connection, or stops reading."""
    connection.settimeout(1)
    sent = 0
    with contextlib.suppress(ConnectionError, TimeoutError):
        while sent < most:
            sent += connection.send(piece)
    return sent


JSON_HEAD = b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("then", "piece"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", b"X:a\r\n" * 20_000),
        (b"GET /", b"a" * 100_000),
        (b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000),
    ],
)
def test_what_follows_a_request_that_is_being_drawn_is_not_kept(then, piece):
    service = make_service()
    body = json.dumps(DRAW).encode()
    with serving(service) as (_, port), busy(service):
        connection = connect(port, JSON_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_for(lambda: len(service.queue) == 1)
        connection.sendall(then)
        assert taken_before_the_end(connection, piece) < 12_000_000


@pytest.mark.parametrize(("first", "piece"), [(b"0\r\n", b"X:a\r\n" * 20_000), (b"1;", b"x" * 100_000)])
def test_trailers_and_extensions_of_a_body_are_bounded(first, piece):
    with serving(make_service()) as (_, port):
        connection = connect(port, JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + first)
        assert taken_before_the_end(connection, piece) < 12_000_000


def test_a_body_in_pieces_of_a_byte_is_refused_and_one_in_larger_pieces_is_taken():
    with serving(make_service()) as (_, port):
        with contextlib.suppress(ConnectionError):
            tiny = connect(port, JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 40_000)
            assert tiny.recv(20).startswith(b"HTTP/1.1 431")
        body = b"10\r\n" + b" " * 16 + b"\r\n"
        whole = connect(port, JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body * 40_000 + b"0\r\n\r\n")
        assert whole.recv(20).startswith(b"HTTP/1.1 422")


def test_a_client_that_does_not_read_its_answer_is_dropped():
    with serving(make_service(), Door(most=40, write_seconds=0.2)) as (server, port):
        connection = connect(port)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(ConnectionError):
            for _ in range(2000):
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: not server.server_state.connections)


# ---- bodies ----------------------------------------------------------------------------------------------------------


class Sender:
    """A client that sends what it is told to, and then nothing."""

    def __init__(self, *sizes: int):
        self.sizes = list(sizes)

    async def __call__(self):
        if not self.sizes:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b" " * self.sizes.pop(0), "more_body": True}


async def take_all(body) -> int:
    """The status with which a body that never ends is refused."""
    try:
        while True:
            await body()
    except Refusal as error:
        return error.status


def test_a_body_that_does_not_go_on_is_given_up():
    async def refused() -> tuple[int, int]:
        intake = Intake(16_000_000, 64_000_000, window=0.05)
        body = intake.begin(Sender(500_000, 400_000))
        status = await take_all(body)
        body.release()
        return status, intake.held

    assert asyncio.run(refused()) == (408, 0)


def test_the_oldest_bodies_on_their_way_make_room_for_new_ones():
    async def held() -> tuple[list[int], int]:
        intake = Intake(16_000_000, 64_000_000, window=60)
        bodies = [intake.begin(Sender(*[1_000_000] * 15)) for _ in range(100)]
        waiting = [asyncio.ensure_future(take_all(body)) for body in bodies]
        while sum(each.done() for each in waiting) < 96:
            await asyncio.sleep(0)
        most = intake.held
        statuses = [each.result() for each in waiting[:96]]
        for each in waiting:
            each.cancel()
        return statuses, most

    statuses, most = asyncio.run(held())
    assert statuses == [429] * 96 and most <= 64_000_000


def test_a_prompt_is_taken_however_much_is_held():
    async def taken() -> tuple[bytes, int]:
        intake = Intake(16_000_000, 16_000_000)
        whole = intake.begin(Sender(15_000_000))
        await whole()
        intake.end(whole)  # it waits in the queue: nothing to drop
        small = await intake.begin(Sender(60_000))()
        return small["body"], await take_all(intake.begin(Sender(1_500_000)))

    body, status = asyncio.run(taken())
    assert len(body) == 60_000 and status == 429


def test_what_may_be_held_is_at_least_one_request():
    with pytest.raises(ValueError, match="max_held must be at least max_upload, 16, got 8"):
        Settings(max_held=8)


# ---- pictures --------------------------------------------------------------------------------------------------------


def upload(side: int) -> dict[str, object]:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "green").save(file, "PNG")
    picture = base64.b64encode(file.getvalue()).decode()
    return {"init_images": [picture], "steps": 2, "width": 64, "height": 64, "prompt": "a"}


def test_pictures_wait_as_they_came_and_are_drawn_all_the_same():
    service = make_service()
    with serving(service) as (_, port):
        answers = []
        with busy(service):
            asking = [
                threading.Thread(target=lambda: answers.append(post(port, "/sdapi/v1/img2img", upload(1234))[0]))
                for _ in range(4)
            ]
            for each in asking:
                each.start()
            wait_for(lambda: len(service.queue) == 4)
            gc.collect()
            pictures = [each for each in gc.get_objects() if issubclass(type(each), Image.Image)]
            assert [each for each in pictures if each.size == (1234, 1234)] == []
        for each in asking:
            each.join()
        assert answers == [200] * 4


def test_a_picture_is_not_decoded_where_there_is_no_place_for_its_request(monkeypatch):
    monkeypatch.setattr(Opening, "picture", lambda *_: pytest.fail("it was decoded"))
    service = make_service(max_queue=1)
    with serving(service) as (_, port), busy(service):
        service.submit(ticket(service))
        assert post(port, "/sdapi/v1/img2img", upload(64))[0] == 429


def test_pictures_are_decoded_one_request_at_a_time(monkeypatch):
    at_once, most, lock, opened = 0, 0, threading.Lock(), Opening.picture

    def counted(*given):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        try:
            return opened(*given)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(Opening, "picture", counted)
    service = make_service()
    with serving(service) as (_, port), busy(service):
        asking = [threading.Thread(target=post, args=(port, "/sdapi/v1/img2img", upload(600))) for _ in range(6)]
        for each in asking:
            each.start()
        wait_for(lambda: len(service.queue) == 6)
        assert most == 1
    for each in asking:
        each.join()


def test_clients_take_turns_at_having_their_pictures_decoded():
    async def order() -> list[str]:
        turns, had = Turns(most=4), []

        async def have(client: str) -> None:
            async with turns.of(client):
                had.append(client)
                await asyncio.sleep(0)

        asking = [asyncio.ensure_future(have(client)) for client in ("a", "a", "a", "a", "b")]
        await asyncio.sleep(0)
        with pytest.raises(Full):
            await have("c")
        asking[2].cancel()  # it leaves the others their turns
        await asyncio.gather(*asking, return_exceptions=True)
        return had

    assert asyncio.run(order()) == ["a", "a", "b", "a"]


def test_room_is_looked_for_again_when_the_turn_to_decode_has_come():
    async def decoded(service: Service) -> None:
        async with service.decoding("a"):
            second = asyncio.ensure_future(turn(service))
            await asyncio.sleep(0)
            service.submit(ticket(service))
        await second

    async def turn(service: Service) -> None:
        async with service.decoding("b"):
            pytest.fail("it was decoded")

    with pytest.raises(Refusal, match="1 requests wait already") as refused:
        asyncio.run(decoded(make_service(max_queue=1)))
    assert refused.value.status == 429


# ---- hang-ups and full disks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/images/generations HTTP/1.1\r\nContent-Type: application/json",
        b"POST /v1/images/edits HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x",
        b"POST /v1/images/edits HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded",
        b"POST /sdapi/v1/txt2img HTTP/1.1\r\nX: no type",
    ],
)
def test_a_client_that_hangs_up_in_the_middle_of_a_body_leaves_no_traceback(caplog, head):
    caplog.set_level(logging.INFO, "mindone.diffusers.server.access")
    with serving(make_service()) as (_, port):
        connect(port, head + b"\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n--x\r\n").close()
        wait_for(lambda: caplog.records, 60)
    assert [record.levelname for record in caplog.records] == ["INFO"] and " 499 " in caplog.text


def test_files_of_a_form_are_held_in_memory(monkeypatch):
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", lambda _: pytest.fail("it went to the disk"))
    form = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        + b"a" * 3_000_000
        + b"\r\n--x--\r\n"
    )
    with serving(make_service()) as (_, port):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/images/edits", form)
        request.add_header("Content-Type", "multipart/form-data; boundary=x")
        with pytest.raises(urllib.error.HTTPError, match="422"):
            urllib.request.urlopen(request, timeout=60)


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_the_first_signal_refuses_new_requests_and_the_second_answers_those_that_are_given_up(monkeypatch):
    def draw(place, ticket):
        wait_for(lambda: ticket.is_cancelled)
        raise Cancelled

    service = make_service()
    monkeypatch.setattr(service.backend, "draw", draw)
    with serving(service) as (server, port):
        answers: list[tuple[int, bytes]] = []
        asking = [
            threading.Thread(target=lambda: answers.append(post(port, "/v1/images/generations", DRAW)))
            for _ in range(2)
        ]
        for each in asking:
            each.start()
        wait_for(lambda: service.running and len(service.queue) == 1)
        server.handle_exit(signal.SIGTERM, None)
        wait_for(lambda: not service.is_ready)
        status, body = post(port, "/v1/images/generations", DRAW)  # on a connection of its own
        assert status == 503 and b"stopping" in body and answers == []
        server.handle_exit(signal.SIGTERM, None)
        for each in asking:
            each.join()
        assert [status for status, _ in answers] == [503, 503] and all(b"was stopped" in body for _, body in answers)
        wait_for(lambda: server.should_exit)


def test_a_server_with_nothing_to_draw_ends_at_the_first_signal():
    with serving(make_service()) as (server, _):
        server.handle_exit(signal.SIGINT, None)
        wait_for(lambda: server.should_exit)


def test_a_port_that_is_in_use_is_found_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(Service, "__init__", lambda *_: pytest.fail("it was made"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"):
            run(Settings(port=port))


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_a_file_of_keys_may_begin_with_a_mark_and_names_the_line_of_a_key_that_no_header_carries(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_bytes(b"\xef\xbb\xbf0123456789abcdef\r\n")
    assert Keys(path).find("Bearer 0123456789abcdef") == 1
    for key in ("schlüssel-0123456789", "0123456789 abcdefgh"):
        path.write_text(f"0123456789abcdef\n\n{key}\n", encoding="utf-8")
        with pytest.raises(ValueError, match=r"keys\.txt, line 3: a key may have ASCII letters"):
            Keys(path)
    path.write_bytes("0123456789abcdef".encode("utf-16"))
    with pytest.raises(ValueError, match=r"keys\.txt, line 1: byte 0 is not UTF-8"):
        Keys(path)


# ---- the log ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("log", "shows"), [("requests", False), ("prompts", True)])
def test_a_request_has_a_line_and_its_prompt_only_on_demand(caplog, log, shows):
    caplog.set_level(logging.INFO, "mindone.diffusers.server.access")
    with serving(make_service(log=log)) as (_, port):
        post(port, "/v1/images/generations", {**DRAW, "prompt": "a\x1b[31m cat"})
        post(port, "/v1/images/generations", {**DRAW, "steps": 0})
        for path in ("/healthz", "/a%1b%0ab"):
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=600)
        wait_for(lambda: "/a" in caplog.text)
    drawn, refused, unknown = [record.message for record in caplog.records]
    assert " 127.0.0.1 POST /v1/images/generations 200 " in drawn and "tiny, 2 steps, 64×64, seed 1, wait " in drawn
    assert (r"a\\x1b[31m cat" in drawn) == shows and drawn.isprintable()
    assert " POST /v1/images/generations 422 " in refused and r" GET /a\x1b\nb 404 " in unknown


# ---- the unit --------------------------------------------------------------------------------------------------------


def test_the_unit_bounds_what_the_service_may_do_gives_it_a_home_and_takes_an_end_by_sigterm_for_success():
    lines = (Path(__file__).parents[1] / "deploy" / "mindone-diffusers.service").read_text().splitlines()
    unit = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert int(unit["LimitNOFILE"]) >= 4096 + 256
    assert unit["CapabilityBoundingSet"] == "" and unit["MemoryMax"] and unit["SystemCallFilter"] == "@system-service"
    assert "HOME=%C/mindone-diffusers" in unit["Environment"].split() and unit["CacheDirectory"] == "mindone-diffusers"
    assert int(unit["SuccessExitStatus"]) == 128 + signal.SIGTERM
