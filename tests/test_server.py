"""The server: two APIs, one fair queue, bounds and keys."""

import base64
import io
import json
import socket
import struct
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

pytest.importorskip("fastapi", reason="the [serve] extra is not installed")

from fastapi.testclient import TestClient

from mindone.diffusers.jobs import Job
from mindone.diffusers.jobs.pictures import Pictures
from mindone.diffusers.jobs.png import KEYWORD, picture_file, png_bytes
from mindone.diffusers.server import Settings
from mindone.diffusers.server.app import create_app
from mindone.diffusers.server.catalogue import Catalogue, Choice
from mindone.diffusers.server.keys import Keys
from mindone.diffusers.server.listening import addresses
from mindone.diffusers.server.on_ray import shares
from mindone.diffusers.server.preview import Estimate, apply_affine, fit_affine
from mindone.diffusers.server.queue import FairQueue, Full
from mindone.diffusers.server.refusals import Cancelled, Refusal
from mindone.diffusers.server.service import Service
from mindone.diffusers.server.ticket import Ticket
from mindone.diffusers.server.uploads import Opening
from tiny_pipelines import checkpoint, load

DRAW = {"prompt": "a red cat", "steps": 2, "seed": 1, "size": "64x64"}
WEB_DRAW = {"prompt": "a red cat", "steps": 2, "seed": 1, "width": 64, "height": 64, "sampler_name": "Euler"}


def settings(**more) -> Settings:
    return Settings(**{"model": (f"tiny={checkpoint('bk_sdm')}",), "max_queue": 2, **more})


def client_for(app) -> TestClient:
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def app():
    return create_app(settings())


@pytest.fixture(scope="module")
def client(app):
    with client_for(app) as client:
        yield client


@pytest.fixture(scope="module")
def service(app, client) -> Service:
    return app.state.service


def png(image: Image.Image, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", **options)
    return file.getvalue()


PICTURE = png(Image.effect_noise((64, 64), 80).convert("RGB"))


def image_of(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


# ---- OpenAI's images API ---------------------------------------------------------------------------------------------


def test_generations_give_images_that_remember_their_job_but_no_path_of_the_server(client):
    answer = client.post("/v1/images/generations", json={**DRAW, "n": 2}).json()
    assert answer["size"] == "64x64" and [entry["seed"] for entry in answer["data"]] == [1, 2]
    image = image_of(answer["data"][0]["b64_json"])
    job = json.loads(image.text["mindone-diffusers"])["job"]
    assert job["model"] == "tiny" and job["prompt"] == "a red cat" and job["num_images"] == 2
    assert str(checkpoint("bk_sdm")) not in str(image.text)


@pytest.mark.parametrize(("scheduler", "steps"), [("pndm", [0, 1, 2, 3, 4]), ("heun", [0, 1, 1, 2, 2, 3, 4])])
def test_progress_counts_the_steps_that_were_asked_for_however_often_the_network_is_called(client, scheduler, steps):
    body = {**DRAW, "steps": 4, "scheduler": scheduler, "stream": True, "progress": True}
    answer = client.post("/v1/images/generations", json=body)
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data")]
    told = [(event["step"], event["steps"]) for event in events if "step" in event]
    assert told == [(step, 4) for step in steps]


def test_a_stream_tells_steps_and_previews_and_ends_with_the_image(client):
    body = {**DRAW, "steps": 4, "scheduler": "euler", "stream": True, "partial_images": 1, "progress": True}
    answer = client.post("/v1/images/generations", json=body)
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data")]
    kinds = [event["type"].removeprefix("image_generation.") for event in events]
    kinds = [kind for kind in kinds if kind != "waiting"]  # which depends on the time that it takes
    assert kinds == ["progress", "progress", "partial_image", "progress", "progress", "completed"]
    assert [event["step"] for event in events if "step" in event] == [1, 2, 3, 4]
    whole = client.post(
        "/v1/images/generations", json={**body, "stream": False, "partial_images": 0, "progress": False}
    )
    assert image_of(events[-1]["b64_json"]).tobytes() == image_of(whole.json()["data"][0]["b64_json"]).tobytes()


def test_an_edit_repaints_where_the_mask_is_transparent(client):
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (32, 0, 64, 64))
    given = {"prompt": "a dog", "steps": "2", "strength": "1", "seed": "0"}
    files = {"image": ("a.png", PICTURE, "image/png"), "mask": ("m.png", png(mask), "image/png")}
    answer = client.post("/v1/images/edits", data=given, files=files)
    assert answer.status_code == 200, answer.text
    assert image_of(answer.json()["data"][0]["b64_json"]).size == (64, 64)


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"model": "../../etc/passwd"}, 404, "model"),
        ({"model": "https://example.com/model"}, 404, "model"),
        ({"prompt": "a cat <lora:/etc/passwd:1>"}, 404, "lora"),
        ({"prompt": "x" * 3000}, 422, "prompt"),
        ({"prompt": "\ud800"}, 422, "prompt"),
        ({"n": 5}, 422, "n"),
        ({"size": "4096x64"}, 422, "size"),
        ({"size": "64"}, 422, "size"),
        ({"steps": 101}, 422, "steps"),
        ({"style": "natural"}, 422, "style"),
        ({"quality": "best"}, 422, "quality"),
        ({"partial_images": 2}, 422, "partial_images"),
        ({"progress": True}, 422, "progress"),
        ({"output_compression": 50}, 422, "output_compression"),
        ({"a_new_field": 0.3}, 422, "a_new_field"),
        ({"response_format": "url"}, 422, "response_format"),
        ({"background": "transparent"}, 422, "background"),
        ({"size": "60x60"}, 422, None),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(client, change, status, field):
    body = json.dumps({**DRAW, **change})
    answer = client.post("/v1/images/generations", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, field)
    assert "Traceback" not in answer.text


HARMLESS = {
    **{"quality": "hd", "style": "vivid", "user": "someone", "safety_identifier": "x", "moderation": "low"},
    **{"background": "auto", "output_format": "png", "output_compression": 100, "partial_images": 0, "stream": False},
    **{"a_new_list": [], "n": None, "response_format": None, "seed": 1},
}


@pytest.mark.parametrize("change", [{name: value} for name, value in HARMLESS.items()] + [{"quality": "standard"}])
def test_what_asks_for_nothing_is_accepted(client, change):
    """Fields are checked before bounds: what is refused is the steps, so that nothing has to be drawn."""
    body = {**DRAW, **change, "steps": 10**6}
    assert client.post("/v1/images/generations", json=body).json()["error"]["param"] == "steps"


def test_all_that_asks_for_nothing_draws_the_same_picture_in_both_endpoints(client):
    def drawn_with(more: dict) -> bytes:
        [entry] = client.post("/v1/images/generations", json={**DRAW, **more}).json()["data"]
        return image_of(entry["b64_json"]).tobytes()

    def edited_with(more: dict) -> bytes:
        [entry] = client.post("/v1/images/edits", data={**more, **own}, files=files).json()["data"]
        return image_of(entry["b64_json"]).tobytes()

    own = {"prompt": "a dog", "steps": "2", "seed": "0"}
    files = {"image": ("a.png", PICTURE, "image/png")}
    texts = {name: str(value) for name, value in HARMLESS.items() if value not in (None, [])}
    assert drawn_with({}) == drawn_with(HARMLESS)
    assert edited_with({}) == edited_with({**texts, "input_fidelity": "low"})
    refused = client.post("/v1/images/edits", data={**own, "input_fidelity": "high"}, files=files)
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "input_fidelity")


def test_a_broken_body_is_refused_in_the_same_form(client):
    answer = client.post("/v1/images/generations", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422 and "JSON" in answer.json()["error"]["message"]
    assert client.get("/v1/nowhere").json()["error"]["code"] == "not_found"
    assert client.put("/healthz").headers["Allow"] == "GET"
    deep = client.post("/v1/images/generations", content=b"[" * 100_000, headers={"Content-Type": "application/json"})
    assert deep.status_code == 400


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([1], "the body must be a JSON object, got [1]"),
        ({**DRAW, "steps": "x"}, "steps must be a valid integer, got 'x'"),
        ({**DRAW, "size": "64y64"}, "size must be WIDTHxHEIGHT in pixels, such as 512x512, or auto, got '64y64'"),
    ],
)
def test_a_refusal_says_what_was_given(client, body, message):
    assert client.post("/v1/images/generations", json=body).json()["error"]["message"] == message


@pytest.mark.parametrize("entry", [(0x11A, 2, 1, b"\1\0\0\0"), (0x10E, 11, 1, b"A\0\0\0")], ids=["a length", "a text"])
def test_pictures_whose_exif_data_are_of_a_wrong_type_are_taken_all_the_same(entry):
    entries = [(0x112, 3, 1, b"\6\0\0\0"), entry]  # the first one turns the picture
    tags = b"".join(struct.pack("<HHI", *each[:3]) + each[3] for each in entries)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + tags + b"\0\0\0\0"
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    assert Opening(64).picture(file.getvalue(), "image").picture.size == (8, 8)


# ---- the web user interface's ----------------------------------------------------------------------------------------


def test_txt2img_draws_what_generations_draws(client):
    theirs = client.post("/sdapi/v1/txt2img", json={**WEB_DRAW, "batch_size": 1, "subseed": -1, "alwayson_scripts": {}})
    ours = client.post("/v1/images/generations", json={**DRAW, "scheduler": "euler"})
    images = theirs.json()["images"]
    assert image_of(images[0]).tobytes() == image_of(ours.json()["data"][0]["b64_json"]).tobytes()
    read = client.post("/sdapi/v1/png-info", json={"image": images[0]}).json()
    assert read["parameters"]["seed"] == 1 and "Sampler: Euler" in read["info"]


def test_img2img_follows_its_picture_and_mask(client):
    body = {**WEB_DRAW, "init_images": [base64.b64encode(PICTURE).decode()], "denoising_strength": 0.5}
    mask = base64.b64encode(png(Image.new("L", (64, 64), 255))).decode()
    assert client.post("/sdapi/v1/img2img", json=body).status_code == 200
    assert client.post("/sdapi/v1/img2img", json={**body, "mask": mask}).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"restore_faces": True},
        {"styles": ["vivid"]},
        {"script_name": "x/y/z plot"},
        {"sampler_name": "no such"},
        {"alwayson_scripts": {"a": 1}},
        {"steps": 0},
        {"unknown": 1},
        {"send": ["x"]},
    ],
)
def test_fields_of_the_web_ui_are_refused_by_name(client, change):
    answer = client.post("/sdapi/v1/txt2img", json={**WEB_DRAW, **change})
    assert answer.status_code == 422 and next(iter(change)) in str(answer.json()["detail"])


def test_options_choose_the_model_of_further_requests(client):
    assert client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "tiny"}).status_code == 200
    assert client.get("/sdapi/v1/options").json()["sd_model_checkpoint"] == "tiny"
    assert client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "/etc"}).status_code == 404
    assert [each["title"] for each in client.get("/sdapi/v1/sd-models").json()] == ["tiny"]
    assert "Euler a" in [each["name"] for each in client.get("/sdapi/v1/samplers").json()]


def test_interrupt_gives_the_image_as_far_as_it_is_and_progress_shows_it(client, service):
    answers = []
    body = {**WEB_DRAW, "steps": 100}
    drawing = threading.Thread(target=lambda: answers.append(client.post("/sdapi/v1/txt2img", json=body)))
    drawing.start()
    wait_for(lambda: client.get("/sdapi/v1/progress").json()["current_image"])
    [running] = service.running
    assert client.post("/sdapi/v1/interrupt").status_code == 200
    drawing.join()
    assert answers[0].status_code == 200 and len(answers[0].json()["images"]) == 1
    assert 0 < running.progress.step < 100


# ---- the queue -------------------------------------------------------------------------------------------------------


def wait_for(condition, seconds=600):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


def ticket(service: Service, client="a", steps=100) -> Ticket:
    key = service.catalogue.key()
    job = Job(**{**key.to_dict(), "prompt": "a red cat", "steps": steps, "height": 64, "width": 64, "seed": 1})
    return Ticket(job, client, Pictures)


def test_cancelling_stops_within_a_step(service):
    drawn = ticket(service)
    service.submit(drawn)
    wait_for(lambda: drawn.progress is not None)
    service.cancel(drawn)
    seen = drawn.progress.step
    with pytest.raises(Cancelled):
        drawn.images.result(30)
    assert drawn.progress.step <= seen + 1


def test_a_full_queue_says_when_to_come_back(client, service):
    running, waiting = ticket(service), [ticket(service, "a"), ticket(service, "b")]
    service.submit(running)
    wait_for(lambda: running.progress is not None)
    try:
        for each in waiting:
            service.submit(each)
        answer = client.post("/v1/images/generations", json=DRAW)
        assert answer.status_code == 429 and int(answer.headers["Retry-After"]) >= 1
        assert "mindone_diffusers_queue_length 2.0" in client.get("/metrics").text
    finally:
        for each in (*waiting, running):
            service.cancel(each)
    with pytest.raises(Cancelled):
        running.images.result(30)
    assert waiting[0].progress is None and len(service.queue) == 0


def test_clients_take_turns():
    queue = FairQueue(limit=10)
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.put(item[0], item)
    assert queue.remove("a", "a2") and not queue.remove("a", "a2")
    queue.close()
    assert [queue.take() for _ in range(6)] == ["a1", "b1", "c1", "a3", "b2", None]


def test_one_client_leaves_a_place_for_another():
    queue = FairQueue(limit=3)
    queue.put("a", 1)
    queue.put("a", 2)
    with pytest.raises(Full):
        queue.put("a", 3)
    queue.put("b", 3)


def test_what_a_replica_lost_comes_next_even_when_the_queue_is_full_and_closed():
    queue = FairQueue(limit=1)
    queue.put("a", "a1")
    assert queue.take() == "a1"
    queue.put("b", "b1")
    queue.close()
    queue.put_back("a", "a1")
    assert [queue.take(), queue.take(), queue.take()] == ["a1", "b1", None] and queue.is_over


def test_replicas_share_the_cores_of_the_nodes_that_have_most():
    assert shares([8, 8], 2) == [8, 8] and shares([8], 3) == [2, 2, 2] and shares([16, 6], 3) == [8, 8, 6]
    with pytest.raises(ValueError, match="at most 2 here, one per core of the cluster, got 3"):
        shares([2], 3)
    with pytest.raises(ValueError, match="--ray auto or --ray local"):
        Settings(replicas=2)


def test_draining_draws_what_was_accepted_and_refuses_what_is_new():
    app = create_app(settings())
    with client_for(app) as client:
        service = app.state.service
        accepted = [ticket(service, steps=1), ticket(service, steps=2)]
        for each in accepted[:1]:
            service.submit(each)
        service.drain()
        answer = client.post("/v1/images/generations", json=DRAW)
        assert answer.status_code == 503 and client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        assert len(accepted[0].images.result(60)) == 1
        with pytest.raises(Refusal):
            service.submit(accepted[1])


# ---- security --------------------------------------------------------------------------------------------------------


def test_another_host_needs_a_key():
    with pytest.raises(ValueError, match="--api-key"):
        Settings(host="0.0.0.0")
    assert Settings(host="::1").is_loopback


def test_a_server_on_all_addresses_names_those_that_lead_to_it():
    with socket.create_server(("0.0.0.0", 0)) as listening:
        port = listening.getsockname()[1]
        named = addresses("0.0.0.0", port)
        assert named[0] == f"http://127.0.0.1:{port}"
        for each in named:
            socket.create_connection((urlsplit(each).hostname, port), timeout=60).close()
    assert addresses("::1", 80) == ["http://[::1]:80"] and addresses("server.local", 80) == ["http://server.local:80"]


def test_a_key_opens_everything_but_the_page_and_the_probes_are_open(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text("# ours\n0123456789abcdef\n")
    client = client_for(create_app(settings(api_key=path)))
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", headers={"Authorization": "Bearer 0123456789abcdeg"}).status_code == 401
    assert client.get("/v1/models", headers={"Authorization": "Bearer 0123456789abcdef"}).status_code == 200
    assert client.get("/sdapi/v1/options", auth=("anyone", "0123456789abcdef")).status_code == 200
    assert [client.get(path).status_code for path in ("/", "/page/page.js", "/healthz")] == [200, 200, 200]
    assert client.get("/metrics").status_code == 401
    path.write_text("short\n")
    with pytest.raises(ValueError, match="16"):
        Keys(path)


def test_pages_of_other_origins_and_other_names_are_refused(client):
    refused = client.post("/v1/images/generations", json=DRAW, headers={"Origin": "https://example.com"})
    assert refused.status_code == 403 and "access-control-allow-origin" not in refused.headers
    assert client.get("/v1/models", headers={"Host": "rebound.example.com"}).status_code == 403
    assert client.get("/v1/models", headers={"Origin": "http://localhost"}).status_code == 200


def test_bodies_and_pictures_are_bounded(client):
    large = client.post("/v1/images/generations", content=b" " * 17_000_000)
    chunks = client.post("/v1/images/generations", content=(b" " * 1_000_000 for _ in range(17)))
    assert (large.status_code, chunks.status_code) == (413, 413)
    animated = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(animated, format="WEBP", save_all=True, append_images=frames[1:])
    given = {
        "damaged": (PICTURE[:400], 422),
        "no picture": (b"hello", 422),
        "animated": (animated.getvalue(), 422),
        "a bomb": (png(Image.new("1", (20_000, 20_000))), 413),
    }
    for what, (content, status) in given.items():
        with pytest.raises(Refusal) as refusal:
            Opening(4096).picture(content, "image")
        assert refusal.value.status == status, what
    answer = client.post("/sdapi/v1/img2img", json={"init_images": ["http://127.0.0.1/a.png"]})
    assert answer.status_code == 422


def test_names_stand_for_what_the_operator_allows():
    catalogue = Catalogue(Settings(model=("small=a/b", "c/d.safetensors"), lora=("e/style.safetensors",)))
    key, prompt = catalogue.key_for(Choice("d"), "a cat <lora:style:0.5>")
    assert (key.model, key.lora, prompt) == ("c/d.safetensors", ("e/style.safetensors:0.5",), "a cat")
    job = Job(**key.to_dict(), prompt=prompt)
    assert (catalogue.public(job).model, catalogue.public(job).lora) == ("d", ("style:0.5",))
    with pytest.raises(ValueError, match="two of --model"):
        Catalogue(Settings(model=("a/x", "b/x")))


def test_a_variant_is_that_of_the_model_it_names_or_of_the_first():
    catalogue = Catalogue(Settings(model=("half=a/b", "full=a/b", "icons"), variant=("fp16", "icons=bf16")))
    keys = [catalogue.key(Choice(name)) for name in catalogue.models]
    assert [(key.model, key.variant) for key in keys] == [("a/b", "fp16"), ("a/b", None), ("icons", "bf16")]
    assert [catalogue.name_of(key) for key in keys] == ["half", "full", "icons"]
    with pytest.raises(
        ValueError, match=r"variant must be VARIANT or NAME=VARIANT, once per model \(icons\); got 'x=y'"
    ):
        Catalogue(Settings(variant=("x=y",)))


# ---- previews --------------------------------------------------------------------------------------------------------


def test_an_affine_preview_is_exact_where_the_decoder_is_affine():
    random = np.random.default_rng(0)
    latents, weights = random.standard_normal((3, 4, 8, 8)).astype(np.float32), random.uniform(-0.05, 0.05, (5, 3))
    weights[-1] = 0.5
    images = apply_affine(weights, latents).repeat(8, 1).repeat(8, 2)
    assert fit_affine(latents, images) == pytest.approx(weights, abs=1e-5)


def test_previews_are_decoded_only_where_that_takes_next_to_nothing():
    pipe = load(checkpoint("bk_sdm"))
    estimate = Estimate(pipe, pipe.engine.asarray(np.zeros((1, 4, 8, 8), np.float32)))
    decoded = [estimate.picture().size for _ in range(2)]  # the first time of a size is not held against it
    assert decoded == [(64, 64)] * 2 and estimate.picture(seconds=0).size == (8, 8)


# ---- what is told on the way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/docs", "/page/page.js", "/healthz", "/openapi.json", "/v1/models"])
def test_whatever_can_be_fetched_answers_head_as_well(client, path):
    assert client.head(path).status_code == 200


def test_the_place_in_the_queue_is_that_in_which_tickets_are_taken():
    queue = FairQueue(limit=10)
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.put(item[0], item)
    places = {item: queue.place(item[0], item) for item in ("a1", "a2", "a3", "b1", "c1", "b2")}
    queue.close()
    assert sorted(places, key=places.get) == [queue.take() for _ in range(6)]
    assert sorted(places.values()) == [1, 2, 3, 4, 5, 6] and queue.place("a", "a1") is None


def test_a_stream_says_what_it_waits_for(client, service):
    goes_on = threading.Event()
    running = ticket(service, steps=1)
    running.open_pictures = lambda: Pictures() if goes_on.wait(60) else None
    service.submit(running)
    wait_for(lambda: service.running)
    waiting = ticket(service, "another")
    service.submit(waiting)
    timer = threading.Timer(1.5, goes_on.set)
    timer.start()
    body = {**DRAW, "stream": True, "progress": True}
    answer = client.post("/v1/images/generations", json=body).text
    assert 'data: {"type": "image_generation.waiting", "stage": "waiting", "place": 2}' in answer
    assert "image_generation.completed" in answer


def test_pndm_ends_at_the_step_that_was_asked_for(client):
    body = {**DRAW, "steps": 4, "scheduler": "pndm", "stream": True, "progress": True}
    events = [line for line in client.post("/v1/images/generations", json=body).text.splitlines() if "progress" in line]
    told = [json.loads(line.removeprefix("data: ")) for line in events if line.startswith("data")]
    assert [(each["step"], each["steps"]) for each in told] == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


# ---- parameters of PNG files -----------------------------------------------------------------------------------------


def png_info(client, content: bytes):
    return client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(content).decode()})


def test_a_file_of_the_command_line_gives_its_prompt_and_not_all_that_it_says(client):
    job = Job(prompt="a red cat", steps=3, seed=7, lora=("loras/film.safetensors:0.5",), negative_prompt="dog")
    told = png_info(client, png_bytes(Image.new("RGB", (64, 32)), job, {"version": "0", "image_seed": 8})).json()
    assert told["info"].splitlines()[0] == "a red cat <lora:film:0.5>"
    parameters = {"prompt": "a red cat <lora:film:0.5>", "negative_prompt": "dog", "steps": 3, "seed": 8}
    assert told["parameters"] == {**parameters, "width": 64, "height": 32, "model": "icons"}


@pytest.mark.parametrize(
    "said",
    [
        '{"job": {"prompt": "\\ud800", "seed": 1}, "profile": "\\udfff", "image_seed": "\\ud800"}',
        '{"job": {"prompt": "a", "seed": 1, "guidance_scale": NaN}}',
        '{"job": {"prompt": "a", "seed": ' + "9" * 4000 + "}}",
        '{"job": {"prompt": "a", "seed": 1}, "image_seed": NaN, "grid": [[]]}',
        '{"job": ' + "[" * 100_000,
        "[]",
        "9" * 5000,
        "",
    ],
)
def test_whatever_a_strangers_file_says_png_info_answers(client, said):
    chunks = PngInfo()
    chunks.add_itxt(KEYWORD, said)
    chunks.add_text("parameters", "a" * 40_000)
    assert png_info(client, png(Image.new("RGB", (8, 8)), pnginfo=chunks)).status_code == 200


def test_a_jpeg_file_carries_its_parameters_too_and_what_is_no_picture_is_refused(client, tmp_path):
    job = Job(prompt="a red cat", steps=3, seed=7)
    _, content = picture_file(tmp_path / "a.jpg", Image.new("RGB", (64, 32)), job, {})
    told = png_info(client, content).json()
    assert told["info"].startswith("a red cat\nSteps: 3") and told["parameters"]["seed"] == 7
    for content in (PICTURE[:-20], b"hello", b"\xff\xd8\xff\xe1\xff"):
        assert png_info(client, content).status_code == 422
