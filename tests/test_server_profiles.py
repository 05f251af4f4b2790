"""What the operator offers beside models: profiles with their predicted seconds, and ControlNets."""

import base64
import io

import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the [serve] extra is not installed")

from fastapi.testclient import TestClient

from image_pipelines import controlnet_folder
from mindone.diffusers.families.convert import folder_to_file
from mindone.diffusers.jobs import Job, PipelineKey, draw, load
from mindone.diffusers.jobs.own_values import own_values
from mindone.diffusers.jobs.pictures import Pictures
from mindone.diffusers.jobs.profile import Evidence, Profile, Settings as Speed, save_under_name
from mindone.diffusers.server import Settings
from mindone.diffusers.server.app import create_app
from mindone.diffusers.server.catalogue import Catalogue
from mindone.diffusers.server.profiles import Speeds
from tiny_pipelines import checkpoint

FAST = {"prompt": "a red cat", "seed": 1, "profile": "fast"}
PICTURE = Image.effect_noise((64, 64), 80).convert("RGB")


def tiny_model() -> str:
    return str(checkpoint("bk_sdm"))


def profile(seconds: float | None = None, **settings) -> Profile:
    evidence = seconds and Evidence(predicted_seconds=seconds, baseline_seconds=8 * seconds, speed_up=8)
    speed = Speed(**{"steps": 3, "scheduler": "euler", "cache": ("deepcache:2",), **settings})
    return Profile(
        checkpoint=tiny_model(), fingerprint="", height=64, width=64, settings=speed, evidence=evidence or None
    )


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    for name, made in (("fast", profile(0.5)), ("slow", profile(4.0, steps=24))):
        made.save(folder / f"{name}.json")
    settings = Settings(
        model=(f"tiny={tiny_model()}", "icons"),
        profile=(str(folder / "fast.json"), f"slow={folder / 'slow.json'}"),
        controlnet=(f"follow={controlnet_folder('bk_sdm')}",),
    )
    with TestClient(create_app(settings), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def text_of(answer) -> str:
    """The first image in base64."""
    assert answer.status_code == 200, answer.text
    return answer.json()["images"][0] if "images" in answer.json() else answer.json()["data"][0]["b64_json"]


def image_of(answer) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text_of(answer))))


def base64_of(image: Image.Image) -> str:
    return base64.b64encode(png(image)).decode()


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_profile_draws_what_generate_draws_with_it_and_the_image_remembers_its_name(client):
    answer = client.post("/v1/images/generations", json=FAST)
    job = Job.of(profile().job_fields_with({"prompt": "a red cat", "seed": 1}))
    assert image_of(answer).tobytes() == draw(load(job), job)[0].tobytes()
    read = client.post("/sdapi/v1/png-info", json={"image": text_of(answer)}).json()["parameters"]
    assert (read["profile"], read["steps"], read["model"]) == ("fast", 3, "tiny")


def test_both_apis_know_profiles_and_what_is_given_beside_one_comes_first(client):
    theirs = {"prompt": "a red cat", "seed": 1, "override_settings": {"profile": "fast"}}
    web_ui = image_of(client.post("/sdapi/v1/txt2img", json={**theirs, "steps": 4}))
    ours = image_of(client.post("/v1/images/generations", json={**FAST, "steps": 4}))
    assert web_ui.tobytes() == ours.tobytes()
    assert ours.tobytes() != image_of(client.post("/v1/images/generations", json=FAST)).tobytes()


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"profile": "../fast.json"}, 404, "profile"),
        ({"model": "icons"}, 422, "profile"),
        ({"controlnet": "/etc"}, 422, "control_image"),
        ({"controlnet": "/etc", "control_image": base64_of(PICTURE)}, 404, "controlnet"),
        ({"control_image": base64_of(PICTURE)}, 422, "controlnet"),
        ({"controlnet": "follow", "control_image": "http://localhost/a.png"}, 422, "control_image"),
    ],
)
def test_only_what_is_offered_can_be_named(client, change, status, field):
    answer = client.post("/v1/images/generations", json={**FAST, **change})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, field)


@pytest.mark.heavy
def test_a_controlnet_follows_a_picture_from_noise_and_from_another_picture(client):
    given = {"prompt": "a red cat", "seed": 1, "steps": 2, "controlnet": "follow", "control_kind": "image"}
    body = {**given, "size": "64x64", "control_image": base64_of(PICTURE)}
    image = image_of(client.post("/v1/images/generations", json=body))
    job = Job(model=tiny_model(), prompt="a red cat", seed=1, steps=2, height=64, width=64, control=("image=a.png",),
              controlnet=(str(controlnet_folder("bk_sdm")),))  # fmt: skip
    followed = draw(load(job), job, pictures=Pictures(controls=(("image", PICTURE),)))[0]
    assert image.tobytes() == followed.tobytes()
    files = {name: ("a.png", png(PICTURE), "image/png") for name in ("image", "control_image")}
    assert image_of(client.post("/v1/images/edits", data=given, files=files)).size == (64, 64)


def test_models_are_listed_with_their_speeds(client):
    tiny, icons = client.get("/v1/models").json()["data"]
    assert [each["id"] for each in tiny["profiles"]] == ["fast", "slow"] and icons["profiles"] == []
    assert "3 euler steps" in tiny["profiles"][0]["settings"] and tiny["profiles"][0]["seconds"] > 0
    assert tiny["controlnets"] == ["follow"]


def test_a_models_own_values_are_those_that_it_uses_where_a_request_says_nothing(client):
    own = {each["id"]: each["own"] for each in client.get("/v1/models").json()["data"]}
    icons = own["icons"]
    assert [icons[name] for name in ("steps", "guidance_scale", "width", "height", "multiple")] == [
        25,
        2.0,
        256,
        256,
        8,
    ]
    assert icons["negative_prompts"] and "dpm++" in icons["schedulers"] and "flow-euler" not in icons["schedulers"]
    assert "a rocket on a blue background" in icons["examples"] and own["tiny"]["examples"] == []
    text = image_of(client.post("/v1/images/generations", json={"prompt": "a red cat"})).text["parameters"]
    tiny = own["tiny"]
    assert f"Steps: {tiny['steps']}," in text and f"CFG scale: {tiny['guidance_scale']:g}," in text
    assert f"Size: {tiny['width']}x{tiny['height']}," in text


def test_own_values_of_one_file_are_those_of_its_folder_and_none_are_told_of_what_is_not_here(tmp_path):
    folder_to_file(tiny_model(), tmp_path / "one.safetensors")
    own = own_values(PipelineKey(model=tiny_model()))
    assert own is not None and own_values(PipelineKey(model=str(tmp_path / "one.safetensors"))) == own
    assert own_values(PipelineKey(model="nobody/nothing")) is None


def test_an_enlargement_and_weights_of_words_are_what_a_job_has_of_that_name(client):
    asked = {"prompt": "a (red:1.5) cat", "seed": 1, "steps": 2, "prompt_weights": True, "upscale": 2, "strength": 0.5}
    image = image_of(client.post("/v1/images/generations", json=asked))
    job = Job(model=tiny_model(), **asked)
    assert image.size == (128, 128) and image.tobytes() == draw(load(job), job)[0].tobytes()
    refused = client.post("/v1/images/generations", json={"prompt": "a cat", "strength": 0.5})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "strength")


def test_a_model_that_takes_more_steps_by_default_than_are_allowed_takes_as_many_as_are():
    app = create_app(Settings(model=(f"tiny={tiny_model()}",), max_steps=2))
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.post("/v1/images/generations", json={"prompt": "a red cat", "size": "64x64"})
        assert "Steps: 2," in image_of(answer).text["parameters"]
        stages = [stage.partition(";dur=") for stage in answer.headers["Server-Timing"].split(", ")]
        assert [name for name, _, _ in stages] == ["wait", "load", "draw"]


def test_a_size_that_follows_from_the_model_or_a_picture_is_bounded_as_well():
    app = create_app(Settings(model=(f"tiny={tiny_model()}",), max_side=48))
    wide = {"image": ("a.png", png(Image.new("RGB", (640, 64))), "image/png")}
    with TestClient(app, base_url="http://localhost") as client:
        own = client.post("/v1/images/generations", json={"prompt": "a red cat"})
        its = client.post("/v1/images/edits", data={"prompt": "a red cat"}, files=wide)
    assert (own.status_code, its.status_code) == (422, 422)
    assert "the image would be 64×64; the server allows at most 48×48" in own.text
    assert "the image would be 640×64" in its.text


def test_seconds_are_told_by_the_file_scaled_by_what_was_drawn_and_then_measured():
    speeds = Speeds({"fast": profile(0.5), "slow": profile(4.0, steps=24), "unknown": profile()})
    assert (speeds.seconds("fast"), speeds.seconds("slow"), speeds.seconds("unknown")) == (0.5, 4.0, None)
    job = Job.of(profile().job_fields_with({"prompt": ""}))
    for seconds in (9.0, 1.0, 1.1, 0.9):  # the first one compiles
        speeds.note("fast", job, seconds)
    speeds.note("fast", job.changed(num_images=4), 4.0)
    assert (speeds.seconds("fast"), speeds.seconds("slow")) == (1.0, 8.0)


def test_a_profile_of_a_model_that_is_not_offered_is_refused_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("MINDONE_PROFILES", str(tmp_path))
    save_under_name(profile(), "4x", tiny_model())
    assert Catalogue(Settings(model=("icons", tiny_model()), profile=("4x",))).profiles["4x"].profile.height == 64
    with pytest.raises(FileNotFoundError, match="2x"):
        Catalogue(Settings(profile=("2x",)))
    profile().save(tmp_path / "a.json")
    with pytest.raises(ValueError, match="offer that as well: --model"):
        Catalogue(Settings(profile=(str(tmp_path / "a.json"),)))
