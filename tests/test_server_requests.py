"""Requests as strangers write them: who they say they are, where they come from, and what no reader expects."""

import asyncio
import base64
import io
import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

pytest.importorskip("uvicorn", reason="the [serve] extra is not installed")

from starlette.requests import Request
from starlette.testclient import TestClient

import tiny_flux
import tiny_pixart
from mindone.diffusers.server import Settings, run
from mindone.diffusers.server.app import create_app
from mindone.diffusers.server.backend import Drawn
from mindone.diffusers.server.listening import listen
from mindone.diffusers.server.openai_fields import EditFields, GenerationFields
from mindone.diffusers.server.request import client_of
from mindone.diffusers.server.service import Service
from mindone.diffusers.server.webui_fields import NEUTRAL, NEUTRAL_OPTIONS, Img2Img, Overrides, Txt2Img
from tiny_pipelines import checkpoint

JSON = {"Content-Type": "application/json"}


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(file, "PNG")
    return file.getvalue()


PICTURE = picture()
INPAINT = {"init_images": [base64.b64encode(PICTURE).decode()], "mask": base64.b64encode(PICTURE).decode()}


class Blank:
    """A backend whose pictures are there at once."""

    places = 1

    def prepare(self, place, is_over):
        return not is_over()

    def draw(self, place, ticket):
        images = [Image.new("RGB", (8, 8)) for _ in ticket.job.seeds]
        return Drawn(ticket.job, images, 0.0, 0.0, 1)

    def stop_early(self, ticket):
        pass

    def close(self):
        pass


@pytest.fixture(scope="module")
def client():
    service = Service(Settings(model=("tiny=/nowhere",), lora=("x=/nowhere",)))
    service.backend = Blank()
    with TestClient(create_app(service.settings, service), base_url="http://localhost") as client:
        yield client


# ---- who a client is -------------------------------------------------------------------------------------------------


def clip_skip_seen_by(proxies: str | None, address: str, forwarded: str | None) -> int:
    """The option that a request sees after another client, 198.51.100.1 behind a proxy at 10.0.0.1, has chosen 2."""
    own = Settings(model=("tiny=/nowhere",), forwarded_allow_ips=proxies)
    config = run.make_server(Service(own)).config
    config.load()

    def at(address: str, forwarded: str | None) -> TestClient:
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        return TestClient(config.loaded_app, "http://localhost", client=(address, 1), headers=headers)

    chosen = at("10.0.0.1", "198.51.100.1").post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 2})
    assert chosen.status_code == 200
    return at(address, forwarded).get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"]


@pytest.mark.parametrize(
    ("proxies", "address", "forwarded", "seen"),
    [
        (None, "10.0.0.1", None, 2),  # the address is the client, whatever it says
        (None, "10.0.0.2", "198.51.100.1", 1),
        ("10.0.0.1", "10.0.0.1", "198.51.100.1", 2),
        ("10.0.0.1", "10.0.0.1", "198.51.100.2", 1),
        ("10.0.0.1", "10.0.0.2", "198.51.100.1", 1),
        ("127.0.0.1,10.0.0.0/8", "10.0.0.2", "198.51.100.1", 2),
    ],
)
def test_who_a_client_says_it_is_counts_behind_the_operator_s_proxies_alone(proxies, address, forwarded, seen):
    assert clip_skip_seen_by(proxies, address, forwarded) == seen


@pytest.mark.parametrize(
    ("address", "key", "client"),
    [
        ("2001:db8:1:2:3::4", None, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::5", None, "2001:db8:1:2::/64"),
        ("fe80::1%eth0", None, "fe80::/64"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", None, "192.0.2.1"),
        ("testclient", None, "testclient"),
        ("192.0.2.1", "3", "key 3"),
        ("2001:db8::1", "3", "key 3"),
    ],
)
def test_a_client_is_its_key_or_else_its_address_or_network(address, key, client):
    state = {} if key is None else {"key": key}
    assert client_of(Request({"type": "http", "client": (address, 1), "state": state})) == client


def test_a_proxy_that_is_no_address_is_refused():
    with pytest.raises(ValueError, match="forwarded_allow_ips must be addresses") as refused:
        Settings(forwarded_allow_ips="127.0.0.1,proxy.example.com")
    assert "proxy.example.com" in str(refused.value)


def test_answers_are_sent_without_waiting_for_more():
    """What an answer's second part would wait for on a kept connection, 40 ms, is switched off on every connection."""
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def ask() -> None:
        with listen(Settings(port=0)) as listening:
            async with await asyncio.start_server(answer, sock=listening):
                reader, writer = await asyncio.open_connection(*listening.getsockname())
                await reader.read()
                writer.close()

    asyncio.run(ask())
    assert seen and all(seen)


# ---- where a request comes from --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/models", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/sdapi/v1/progress", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("/v1/models", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
        ("/", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ("/", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ("/v1/models", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("/v1/models", {"Sec-Fetch-Site": "none"}, 200),
        ("/v1/models", {}, 200),
        ("/v1/models", {"Host": "["}, 400),
        ("/v1/models", {"Host": "[::1"}, 400),
        ("/v1/models", {"Origin": "http://["}, 400),
        ("/v1/models", {"Origin": "null"}, 403),
        ("/healthz", {"Content-Length": "9" * 5000}, 413),
    ],
)
def test_headers_say_where_a_request_comes_from(client, path, headers, status):
    answer = client.get(path, headers=headers)
    assert answer.status_code == status and answer.headers.get_list("X-Content-Type-Options") == ["nosniff"]


# ---- what is in it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/images/generations", "/sdapi/v1/txt2img", "/sdapi/v1/img2img"])
@pytest.mark.parametrize(
    "field",
    [
        '"prompt": "a <lora:x:->"',
        '"prompt": "\\ud800"',
        '"negative_prompt": "\\udc00 a"',
        '"scheduler": "\\ud800"',
        '"unknown": {"\\ud800": 1}',
        '"\\ud800": null',
        f'"steps": {"9" * 5000}',
        f'"seed": -{"9" * 5000}',
        f'"width": {"9" * 300}, "size": "{"9" * 5000}x8"',
        f'"comments": [{"9" * 5000}]',
        f'"steps": 1{"0" * 400}, "denoising_strength": 0.5, "init_images": ["{base64.b64encode(PICTURE).decode()}"]',
        f'"batch_size": 1{"0" * 3000}, "n_iter": 1{"0" * 3000}, "n": 1{"0" * 3000}',
        f'"enable_hr": true, "hr_prompt": "b", "prompt": "{"a" * 10_000}"',
        '"cfg_scale": NaN, "guidance_scale": NaN',
        '"subseed_strength": Infinity, "unknown": -Infinity',
        '"cfg_scale": 1e999, "guidance_scale": 1e999',
    ],
)
def test_what_no_field_can_hold_is_refused_in_one_line(client, path, field):
    body = f'{{"prompt": "a", "init_images": [], {field}}}'
    answer = client.post(path, content=body.encode(), headers=JSON)
    assert 400 <= answer.status_code < 500
    assert "\n" not in answer.text and len(answer.text) <= 700


def test_bytes_that_are_no_text_are_refused(client):
    for content in (b'{"prompt": "\xed\xa0\x80"}', b'{"prompt": "\xff"}', b"\xff\xfe{\x00", b"[" * 100_000, b"nul"):
        assert client.post("/v1/images/generations", content=content, headers=JSON).status_code in (400, 422), content
    form = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n+2AA-\r\n--b--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b; charset=utf-7"}
    answer = client.post("/v1/images/edits", content=form, headers=kind)
    assert answer.status_code == 422 and answer.json()["error"]["param"] in ("prompt", "image")


NUMBERS = [-1, 0, 1, 2, 8, 64, 10**30, -(10**400), 10**400, 10**4000, 2**63, 0.5, 1e308]
WORDS = ["", "Euler a", "karras", "Latent", "tiny", "8x8", "a <lora:x:->", "<lora:x:1e9:9>", "(a:1.5", "[[", "BREAK"]
HALVES = ["\ud800", "a\udfff", "\x00", "data:,", "((((a:nan))))", "AND"]
TEXTS = st.sampled_from([*WORDS, *HALVES]) | st.text(max_size=20)
SCALARS = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def bodies(*known) -> st.SearchStrategy[dict]:
    names = st.sampled_from(sorted({name for fields in known for name in fields})) | st.text(max_size=8)
    return st.dictionaries(names, VALUES, max_size=6)


def sent_to(path: str, body: st.SearchStrategy[dict]) -> st.SearchStrategy[tuple[str, dict]]:
    return st.tuples(st.just(path), body)


OPTIONS = bodies(Overrides.model_fields, NEUTRAL_OPTIONS)
REQUESTS = st.one_of(
    sent_to("/sdapi/v1/txt2img", bodies(Txt2Img.model_fields, NEUTRAL)),
    sent_to("/sdapi/v1/txt2img", OPTIONS.map(lambda options: {"override_settings": options, "prompt": "a"})),
    sent_to("/sdapi/v1/img2img", bodies(Img2Img.model_fields, NEUTRAL).map(lambda body: {**INPAINT, **body})),
    sent_to("/sdapi/v1/options", OPTIONS),
    sent_to("/sdapi/v1/png-info", VALUES.map(lambda value: {"image": value})),
    sent_to("/v1/images/generations", bodies(GenerationFields.model_fields).map(lambda body: {"prompt": "a", **body})),
)
FORMS = st.dictionaries(st.sampled_from(sorted(EditFields.model_fields)), TEXTS | SCALARS.map(str), max_size=5)
MANY = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.too_slow]}


@pytest.mark.heavy
@settings(max_examples=400, **MANY)
@given(REQUESTS)
def test_no_body_is_answered_with_500(client, request):
    """An exception that nobody answers is raised here by the client, and fails the test."""
    path, body = request
    answer = client.post(path, content=json.dumps(body), headers=JSON)
    assert answer.status_code < 500 and json.loads(answer.text) is not None
    assert answer.status_code == 200 or len(answer.text) <= 700
    client.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 1})


@pytest.mark.heavy
@settings(max_examples=150, **MANY)
@given(FORMS)
def test_no_form_is_answered_with_500(client, fields):
    texts = {name: text.encode("utf-8", "surrogatepass") for name, text in {"prompt": "a", **fields}.items()}
    answer = client.post("/v1/images/edits", data=texts, files={"image": ("a.png", PICTURE, "image/png")})
    assert answer.status_code < 500


# ---- what a family does not have -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def families():
    """A client of a server with three families, and the jobs that it was asked for."""
    jobs = []

    class Noted(Blank):
        def draw(self, place, ticket):
            jobs.append(ticket.job)
            return super().draw(place, ticket)

    paths = {"sd1": checkpoint("sd1"), "flux": tiny_flux.checkpoint(), "pixart": tiny_pixart.checkpoint("pixart-sigma")}
    service = Service(Settings(model=tuple(f"{name}={path}" for name, path in paths.items())))
    service.backend = Noted()
    with TestClient(create_app(service.settings, service), base_url="http://localhost") as client:
        yield client, jobs


def of_webui(families, model, path="txt2img", **fields):
    body = {"prompt": "a cat", "override_settings": {"sd_model_checkpoint": model}, **fields}
    return families[0].post(f"/sdapi/v1/{path}", json=body)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (None, None, None)),
        ({"distilled_cfg_scale": 2.5}, (2.5, None, None)),
        ({"cfg_scale": 1, "negative_prompt": "red"}, (None, 1, "red")),
        ({"cfg_scale": 4, "distilled_cfg_scale": 3, "negative_prompt": "red"}, (3, 4, "red")),
        ({"cfg_scale": 4}, (None, 4, "")),  # Forge leads away from the empty prompt
    ],
)
def test_both_scales_of_flux_have_the_names_of_forge(families, fields, expected):
    answer = of_webui(families, "flux", **fields)
    assert answer.status_code == 200, answer.text
    job, info = families[1][-1], json.loads(answer.json()["info"])
    assert (job.guidance_scale, job.true_cfg_scale, job.negative_prompt) == expected
    assert (info["distilled_cfg_scale"], info["cfg_scale"]) == (expected[0], expected[1] or 1)


def test_both_scales_of_flux_have_their_published_names_in_openai_s_api(families):
    body = {"model": "flux", "prompt": "a cat", "negative_prompt": "red", "guidance_scale": 3, "true_cfg_scale": 4}
    assert families[0].post("/v1/images/generations", json=body).status_code == 200
    assert (families[1][-1].guidance_scale, families[1][-1].true_cfg_scale) == (3, 4)


def test_a_model_with_one_scale_takes_no_other(families):
    assert of_webui(families, "sd1", cfg_scale=7, distilled_cfg_scale=3.5).status_code == 200  # Forge's default
    assert (families[1][-1].guidance_scale, families[1][-1].true_cfg_scale) == (7, None)
    refused = of_webui(families, "sd1", distilled_cfg_scale=2).json()["detail"][0]
    assert refused["loc"] == ["body", "distilled_cfg_scale"] and "FLUX.1, got 2" in refused["msg"]
    body = {"model": "sd1", "prompt": "a cat", "true_cfg_scale": 4}
    error = families[0].post("/v1/images/generations", json=body).json()["error"]
    assert error["param"] == "true_cfg_scale"
    assert error["message"].startswith("true_cfg_scale does not work with this model: Stable Diffusion has no guidance")


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        ("txt2img", {"enable_hr": True}, "enable_hr"),
        ("img2img", {"init_images": INPAINT["init_images"]}, "init_images"),
        ("img2img", {"init_images": INPAINT["init_images"], "mask": INPAINT["mask"]}, "mask"),
    ],
)
def test_a_model_of_texts_alone_says_so_in_the_client_s_words(families, path, fields, field):
    answer = of_webui(families, "pixart", path, **fields)
    assert answer.status_code == 422
    (detail,) = answer.json()["detail"]
    assert detail["loc"] == ["body", field]
    reason = "does not work with this model: PixArt-Σ generates from text alone here; leave it out"
    assert detail["msg"] == f"{field} {reason}"
