"""Published clients, unmodified, against a live server; what a client that hangs up costs; SIGTERM."""

import base64
import io
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="the [serve] extra is not installed")

from live_server import listening, wait_for
from mindone.diffusers.server import Settings
from mindone.diffusers.server.service import Service
from test_docs import NEED_A_SERVER, blocks, name
from tiny_pipelines import checkpoint

openai = pytest.importorskip("openai", reason="the openai package is not installed")

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def service() -> Service:
    return Service(Settings(model=(f"tiny={checkpoint('sd1')}",)))


@pytest.fixture(scope="module")
def port(service):
    with listening(service) as port:
        yield port


@pytest.fixture
def client(port):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)


DRAW = {"prompt": "a red cat", "size": "64x64", "extra_body": {"steps": 4, "seed": 1, "scheduler": "euler"}}


def test_the_openai_package_draws_streams_and_edits(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    content = base64.b64decode(client.images.generate(**DRAW).data[0].b64_json)
    assert Image.open(io.BytesIO(content)).size == (64, 64)
    events = list(client.images.generate(**DRAW, stream=True, partial_images=1))
    assert [type(event).__name__ for event in events] == ["ImageGenPartialImageEvent", "ImageGenCompletedEvent"]
    mask = io.BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(mask, "PNG")
    files = {"image": ("a.png", content, "image/png"), "mask": ("m.png", mask.getvalue(), "image/png")}
    assert client.images.edit(**DRAW, **files).data[0].b64_json


@pytest.mark.parametrize("page", NEED_A_SERVER, ids=name)
def test_the_guides_snippets_run_as_they_are_shown(page, port, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "python"):
        exec(compile(block.replace("127.0.0.1:7860", f"127.0.0.1:{port}"), name(page), "exec"), {})
    assert Image.open("rocket.png").format == "PNG"


def test_the_openai_package_raises_its_own_errors(client):
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.images.generate(prompt="a cat", style="natural")
    assert refused.value.param == "style"
    with pytest.raises(openai.NotFoundError):
        client.images.generate(prompt="a cat", model="dall-e-3")


def test_a_client_that_hangs_up_is_stopped_within_a_step(port, service):
    body = json.dumps({"prompt": "a red cat", "size": "64x64", "steps": 100}).encode()
    head = f"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
        wait_for(lambda: service.running and service.running[0].progress is not None)
        [ticket] = service.running
    wait_for(lambda: ticket.is_cancelled)
    seen = ticket.progress.step
    wait_for(lambda: ticket not in service.running)
    assert ticket.progress.step <= seen + 1 < 100


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_sigterm_finishes_what_was_accepted():
    command = [sys.executable, "-m", "mindone.diffusers.cli", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--model", f"tiny={checkpoint('sd1')}"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            address = process.stdout.readline().strip()
            client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
            options = {**DRAW, "extra_body": {"steps": 100, "progress": True, "seed": 1}}
            stream = iter(client.images.generate(**options, stream=True))
            next(stream)
            process.send_signal(signal.SIGTERM)
            assert list(stream)[-1].type == "image_generation.completed"
            assert process.wait(600) == 128 + signal.SIGTERM
        finally:
            process.kill()


def test_the_answer_says_what_of_a_prompt_is_cut(client):
    long = {**DRAW, "prompt": "a red cat, " * 20 + "at night"}
    answer, events = client.images.generate(**long), list(client.images.generate(**long, stream=True))
    for said in (answer, events[-1]):
        (warning,) = said.model_extra["warnings"]
        reads = "the 77 tokens that this model's text encoder reads"
        assert warning.startswith(f"The prompt is longer than {reads}; this part is ignored: ")
        assert warning.endswith("at night")
    assert "warnings" not in client.images.generate(**DRAW).model_extra


def webui(port, **fields):
    """The picture of a request to AUTOMATIC1111's API, or its status where that is an error."""
    given = {"steps": 2, "width": 64, "height": 64, "seed": 1, **fields}
    address = f"http://127.0.0.1:{port}/sdapi/v1/txt2img"
    request = urllib.request.Request(address, json.dumps(given).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            content = base64.b64decode(json.load(answer)["images"][0])
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), float) / 255


def test_the_web_user_interfaces_api_reads_weights_and_prompts_of_any_length(port):
    plain = webui(port, prompt="a cat")
    assert np.abs(webui(port, prompt="a (cat:1.0)", negative_prompt="") - plain).max() == 0
    assert np.abs(webui(port, prompt="a (cat:1.9)") - plain).mean() > 1e-4
    long = "cat red " * 60
    assert np.abs(webui(port, prompt=f"{long} dog") - webui(port, prompt=f"{long} mat at night")).mean() > 1e-5
    status, said = webui(port, prompt="a [cat:dog:0.5]")
    assert status == 422 and "prompt has prompt editing" in said
