"""AUTOMATIC1111's API: what its clients send is honoured, accepted because it asks for nothing, or refused by name."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the [serve] extra is not installed")

from fastapi.testclient import TestClient

import tiny_sd3
from mindone.diffusers.pipelines.regions import filled_from_around
from mindone.diffusers.schedulers import SHORT_NAMES
from mindone.diffusers.server import Settings
from mindone.diffusers.server.app import create_app
from mindone.diffusers.server.webui_fields import Overrides, Txt2Img
from tiny_pipelines import checkpoint

DRAW = {"prompt": "a red cat", "steps": 2, "seed": 1, "width": 64, "height": 64, "sampler_name": "Euler"}


@pytest.fixture(scope="module")
def client():
    settings = Settings(
        model=(f"tiny={checkpoint('bk_sdm')}",), lora=("style=/secret/style.safetensors",), dtype="float32"
    )
    with TestClient(create_app(settings), base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(autouse=True)
def with_the_options_of_the_start(client):
    yield
    client.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 1})


def base64_of(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def answer(client, path: str, body: dict) -> dict:
    given = client.post(f"/sdapi/v1/{path}", json=body)
    assert given.status_code == 200, given.text
    return given.json()


def images(client, path: str, body: dict) -> list[np.ndarray]:
    files = (io.BytesIO(base64.b64decode(text)) for text in answer(client, path, body)["images"])
    return [np.asarray(Image.open(file).convert("RGB"), np.float32) for file in files]


def txt2img(client, **fields) -> np.ndarray:
    return images(client, "txt2img", {**DRAW, **fields})[0]


PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
MASK = Image.new("L", (64, 64))
MASK.paste(255, (16, 24, 48, 56))
INPAINT = {**DRAW, "steps": 4, "init_images": [base64_of(PHOTO)], "mask": base64_of(MASK), "mask_blur": 0}


def img2img(client, **fields) -> np.ndarray:
    return images(client, "img2img", {**INPAINT, **fields})[0]


# ---- options ---------------------------------------------------------------------------------------------------------


def test_an_option_acts_on_the_requests_that_follow_until_it_is_changed(client):
    plain, skipped = txt2img(client), txt2img(client, override_settings={"CLIP_stop_at_last_layers": 2})
    assert np.abs(plain - skipped).mean() > 0.1
    answer(client, "options", {"CLIP_stop_at_last_layers": 2})
    answer(client, "options", {"sd_model_checkpoint": "tiny"})  # leaves the other option as it is
    assert client.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 2
    np.testing.assert_array_equal(txt2img(client), skipped)
    np.testing.assert_array_equal(txt2img(client, override_settings={"CLIP_stop_at_last_layers": 1}), plain)
    np.testing.assert_array_equal(txt2img(client), skipped)


def test_a_request_s_own_options_stay_only_where_they_are_not_to_be_restored(client):
    own = {"override_settings": {"CLIP_stop_at_last_layers": 2}}
    txt2img(client, **own)
    assert client.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 1
    skipped = txt2img(client, **own, override_settings_restore_afterwards=False)
    assert client.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 2
    np.testing.assert_array_equal(txt2img(client), skipped)


def test_options_that_cannot_act_are_refused_by_name_and_those_that_ask_for_nothing_accepted(client):
    for harmless in ({"sd_vae": "Automatic"}, {"samples_save": True}, {"face_restoration": False}, {"unknown": []}):
        answer(client, "options", harmless)
        txt2img(client, override_settings=harmless)
    for name, value in (("sd_vae", "other.pt"), ("token_merging_ratio", 0.5), ("unknown", 1)):
        for path, body in (("options", {name: value}), ("txt2img", {**DRAW, "override_settings": {name: value}})):
            given = client.post(f"/sdapi/v1/{path}", json=body)
            assert given.status_code == 422 and name in given.json()["detail"][0]["msg"]


def test_skipped_layers_come_from_clip_skip_as_well(client):
    skipped = txt2img(client, override_settings={"CLIP_stop_at_last_layers": 2})
    np.testing.assert_array_equal(txt2img(client, clip_skip=2), skipped)


# ---- fields that ask for nothing -------------------------------------------------------------------------------------

PUBLISHED = {
    **{"prompt": "", "negative_prompt": "", "styles": None, "seed": -1, "subseed": -1, "subseed_strength": 0},
    **{"seed_resize_from_h": -1, "seed_resize_from_w": -1, "sampler_name": None, "scheduler": None, "batch_size": 1},
    **{"n_iter": 1, "steps": 50, "cfg_scale": 7.0, "width": 512, "height": 512, "restore_faces": None, "tiling": None},
    **{"do_not_save_samples": False, "do_not_save_grid": False, "eta": None, "denoising_strength": 0.75},
    **{"s_min_uncond": None, "s_churn": None, "s_tmax": None, "s_tmin": None, "s_noise": None},
    **{"override_settings": None, "override_settings_restore_afterwards": True, "refiner_checkpoint": None},
    **{"refiner_switch_at": None, "disable_extra_networks": False, "firstpass_image": None, "comments": None},
    **{"sampler_index": "Euler", "script_name": None, "script_args": [], "send_images": True, "save_images": False},
    **{"alwayson_scripts": {}, "force_task_id": None, "infotext": None},
}
"""The defaults of its published schema, for both endpoints."""
PUBLISHED_TXT2IMG = {
    **{"enable_hr": False, "firstphase_width": 0, "firstphase_height": 0, "hr_scale": 2.0, "hr_upscaler": None},
    **{"hr_second_pass_steps": 0, "hr_resize_x": 0, "hr_resize_y": 0, "hr_checkpoint_name": None},
    **{"hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": "", "hr_negative_prompt": ""},
}
PUBLISHED_IMG2IMG = {
    **{"init_images": None, "resize_mode": 0, "image_cfg_scale": None, "mask": None, "mask_blur_x": 4},
    **{"mask_blur_y": 4, "mask_blur": None, "mask_round": True, "inpainting_fill": 0, "inpaint_full_res": True},
    **{"inpaint_full_res_padding": 0, "inpainting_mask_invert": 0, "initial_noise_multiplier": None},
    **{"latent_mask": None, "include_init_images": False},
}
WEBUIAPI = {
    **{"styles": [], "subseed": -1, "subseed_strength": 0.0, "seed_resize_from_h": 0, "seed_resize_from_w": 0},
    **{"batch_size": 1, "n_iter": 1, "cfg_scale": 7.0, "restore_faces": False, "tiling": False, "eta": 1.0},
    **{"do_not_save_samples": False, "do_not_save_grid": False, "negative_prompt": "", "s_churn": 0, "s_tmax": 0},
    **{"s_tmin": 0, "s_noise": 1, "override_settings": {}, "override_settings_restore_afterwards": True},
    **{"sampler_name": "Euler a", "scheduler": "automatic", "sampler_index": "Euler a", "script_name": None},
    **{"script_args": [], "send_images": True, "save_images": False, "alwayson_scripts": {}},
}
"""What webuiapi 0.9.17 sends where nothing is said, to both endpoints."""
WEBUIAPI_TXT2IMG = {
    **{"enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0, "hr_resize_x": 0},
    **{"hr_resize_y": 0, "hr_checkpoint_name": None, "hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": ""},
    **{"hr_negative_prompt": "", "denoising_strength": 0.7, "firstphase_width": 0, "firstphase_height": 0},
}
WEBUIAPI_IMG2IMG = {
    **{"resize_mode": 0, "denoising_strength": 0.75, "mask_blur": 4, "inpainting_fill": 0, "inpaint_full_res": True},
    **{"inpaint_full_res_padding": 0, "inpainting_mask_invert": 0, "initial_noise_multiplier": 1},
    **{"image_cfg_scale": 1.5, "include_init_images": False},
}
SILLYTAVERN = {
    **{"url": "http://localhost:7860", "auth": "", "negative_prompt": "lowres", "sampler_name": "DDIM"},
    **{"scheduler": "normal", "cfg_scale": 7, "restore_faces": False, "enable_hr": False, "hr_upscaler": "Latent"},
    **{"hr_scale": 1.0, "hr_additional_modules": [], "denoising_strength": 0.7, "hr_second_pass_steps": 10},
    **{"override_settings": {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic", "forge_additional_modules": []}},
    **{"override_settings_restore_afterwards": True, "clip_skip": 1, "save_images": True, "send_images": True},
    **{"do_not_save_grid": False, "do_not_save_samples": False},
}


@pytest.mark.parametrize(
    ("path", "defaults"),
    [
        ("txt2img", {**PUBLISHED, **PUBLISHED_TXT2IMG}),
        ("txt2img", {**WEBUIAPI, **WEBUIAPI_TXT2IMG}),
        ("txt2img", SILLYTAVERN),
        ("img2img", {**PUBLISHED, **PUBLISHED_IMG2IMG}),
        ("img2img", {**WEBUIAPI, **WEBUIAPI_IMG2IMG}),
    ],
    ids=["published txt2img", "webuiapi txt2img", "SillyTavern", "published img2img", "webuiapi img2img"],
)
def test_a_client_s_defaults_ask_for_nothing(client, path, defaults):
    """The picture is the one of the few fields that matter alone."""
    own = {"prompt": "a red cat", "steps": 2, "seed": 1, "width": 64, "height": 64}
    own |= {"init_images": [base64_of(PHOTO)], "mask": base64_of(MASK)} if path == "img2img" else {}
    matter = ("negative_prompt", "sampler_name", "sampler_index", "scheduler", "cfg_scale", "denoising_strength")
    plain = {name: defaults[name] for name in matter if defaults.get(name) is not None} | own
    [drawn], [expected] = (images(client, path, body) for body in ({**defaults, **own}, plain))
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize(
    "change",
    [
        {"hr_resize_x": 128, "enable_hr": True},
        {"hr_second_pass_steps": 9, "enable_hr": True},
        {"hr_prompt": "a dog", "enable_hr": True},
        {"hr_upscaler": "R-ESRGAN 4x+", "enable_hr": True},
        {"subseed": 5, "subseed_strength": 0.5},
        {"refiner_checkpoint": "xl-refiner"},
        {"tiling": True},
        {"eta": 0.5, "sampler_name": "Euler a"},
        {"scheduler": "align_your_steps"},
        {"scheduler": "karras", "sampler_name": None},
        {"alwayson_scripts": {"ADetailer": {"args": [True]}}},
        {"a_new_field": 0.3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_would_change_the_picture_is_refused_by_name(client, change):
    given = client.post("/sdapi/v1/txt2img", json={**DRAW, **change})
    assert given.status_code == 422 and next(iter(change)) in str(given.json()["detail"])
    assert len(given.json()["detail"][0]["msg"]) <= 500


def test_a_second_pass_that_repeats_the_first_asks_for_nothing(client):
    same = {"hr_sampler_name": "Euler", "hr_second_pass_steps": 2, "hr_prompt": "a red cat"}
    second = {"enable_hr": True, "denoising_strength": 0.5, "hr_scale": 2}
    np.testing.assert_array_equal(txt2img(client, **second, **same), txt2img(client, **second))


def test_a_second_pass_enlarges_latents_whatever_is_left_out(client):
    published = {"enable_hr": True, "hr_upscaler": "Latent", "hr_scale": 2, "denoising_strength": 0.75}
    drawn, text = txt2img(client, enable_hr=True, steps=4), answer(client, "txt2img", {**DRAW, "enable_hr": True})
    np.testing.assert_array_equal(drawn, txt2img(client, **published, steps=4))
    assert "Hires upscaler: Latent" in json.loads(text["info"])["infotexts"][0]


def test_eta_is_ddim_s(client):
    steps = {"sampler_name": "DDIM", "steps": 3}
    without, full = txt2img(client, **steps, eta=0), txt2img(client, **steps, eta=1)
    assert np.abs(without - full).mean() > 0.1
    np.testing.assert_array_equal(txt2img(client, **steps), without)
    np.testing.assert_array_equal(txt2img(client, sampler_name="Heun", eta=1), txt2img(client, sampler_name="Heun"))


def test_schedules_are_named_in_any_case(client):
    karras = txt2img(client, sampler_name="DPM++ 2M", scheduler="karras")
    for sampler, schedule in (("DPM++ 2M", "Karras"), ("DPM++ 2M", "KARRAS"), ("DPM++ 2M Karras", None)):
        np.testing.assert_array_equal(txt2img(client, sampler_name=sampler, scheduler=schedule), karras)
    uniform = txt2img(client, sampler_name="DPM++ 2M", scheduler="normal")
    np.testing.assert_array_equal(txt2img(client, sampler_name="DPM++ 2M", scheduler="Uniform"), uniform)
    assert np.abs(uniform - karras).mean() > 0.1


def test_a_negative_prompt_without_guidance_draws_as_without_it(client):
    plain = txt2img(client, cfg_scale=1)
    np.testing.assert_array_equal(txt2img(client, cfg_scale=1, negative_prompt="lowres"), plain)
    np.testing.assert_array_equal(txt2img(client, cfg_scale=0.5, negative_prompt="lowres"), plain)


def test_images_are_not_sent_where_they_are_not_wanted(client):
    assert answer(client, "txt2img", {**DRAW, "send_images": False})["images"] == []


def test_sides_are_rounded_down_to_multiples_of_8(client):
    assert txt2img(client, width=71, height=40).shape == (40, 64, 3)
    assert client.post("/sdapi/v1/txt2img", json={**DRAW, "width": 7}).status_code == 422


# ---- inpainting ------------------------------------------------------------------------------------------------------


def test_the_opaque_part_of_a_mask_is_the_mask_whatever_its_colours(client):
    expected = img2img(client)
    for mode, ground, stroke in (("RGBA", (255, 255, 255, 0), (0, 0, 0, 255)), ("LA", (0, 0), (0, 200))):
        mask = Image.new(mode, (64, 64), ground)
        mask.paste(stroke, (16, 24, 48, 56))
        np.testing.assert_array_equal(img2img(client, mask=base64_of(mask)), expected)
    opaque = MASK.convert("RGBA")
    np.testing.assert_array_equal(img2img(client, mask=base64_of(opaque)), expected)


def test_only_the_masked_part_is_drawn_at_the_full_size_and_put_back(client):
    photo = PHOTO.resize((96, 80))
    mask = Image.new("L", photo.size)
    mask.paste(255, (8, 8, 24, 24))
    drawn = img2img(client, init_images=[base64_of(photo)], mask=base64_of(mask))
    assert drawn.shape == (80, 96, 3)
    outside = np.asarray(mask) == 0
    np.testing.assert_array_equal(drawn[outside], np.asarray(photo, np.float32)[outside])
    assert np.abs(drawn - np.asarray(photo))[~outside].mean() > 1
    whole = img2img(client, init_images=[base64_of(photo)], mask=base64_of(mask), inpaint_full_res=False)
    assert whole.shape == (64, 64, 3)
    near, far = (
        img2img(client, init_images=[base64_of(photo)], mask=base64_of(mask), inpaint_full_res_padding=padding)
        for padding in (0, 32)
    )
    assert np.abs(near - far)[~outside].mean() > 1


def test_each_fill_starts_from_another_picture_under_the_mask(client):
    drawn = [img2img(client, inpainting_fill=fill, denoising_strength=0.3) for fill in range(4)]
    inside = np.asarray(MASK) > 0
    for i, one in enumerate(drawn):
        np.testing.assert_array_equal(one[~inside], np.asarray(PHOTO, np.float32)[~inside])
        assert all(np.abs(one - other)[inside].mean() > 0.1 for other in drawn[:i])
    np.testing.assert_array_equal(img2img(client, denoising_strength=0.3), drawn[0])


def test_blurred_colours_come_from_around_the_mask():
    """Left red and right blue: in the middle of the mask both, at its edges what is beside it; outside the picture."""
    photo = Image.new("RGB", (64, 64), (200, 0, 0))
    photo.paste((0, 0, 200), (32, 0, 64, 64))
    under = photo.copy()
    under.paste((0, 255, 0), (8, 8, 56, 56))
    filled = np.asarray(filled_from_around(under, _square(8, 56)), np.float32)
    assert filled[32, 32, 1] == 0  # nothing of what was under the mask
    assert filled[32, 10, 0] > 150 > 50 > filled[32, 10, 2] and filled[32, 54, 2] > 150 > 50 > filled[32, 54, 0]
    assert abs(filled[32, 32, 0] - filled[32, 32, 2]) < 40
    np.testing.assert_array_equal(filled[:6], np.asarray(photo, np.float32)[:6])


def _square(start: int, end: int) -> Image.Image:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (start, start, end, end))
    return mask


def test_the_infotext_says_how_the_mask_was_used(client):
    given = answer(client, "img2img", {**INPAINT, "inpaint_full_res_padding": 8, "inpainting_fill": 2})
    text = json.loads(given["info"])["infotexts"][0]
    assert "Masked content: latent noise, Inpaint area: Only masked, Masked area padding: 8" in text


def test_a_mask_of_another_size_is_stretched_over_the_picture(client):
    for size in ((256, 128), (16, 8)):
        other = MASK.resize(size, Image.Resampling.NEAREST)
        np.testing.assert_array_equal(img2img(client, mask=base64_of(other)), img2img(client))
    black = {**INPAINT, "mask": base64_of(Image.new("L", (9, 9)))}
    assert client.post("/sdapi/v1/img2img", json=black).status_code == 422


def test_a_mask_is_blurred_along_each_axis(client):
    def changed(**blur) -> np.ndarray:
        given = {name: value for name, value in INPAINT.items() if name != "mask_blur"}
        [drawn] = images(client, "img2img", {**given, **blur, "inpaint_full_res_padding": 16})
        return np.abs(drawn - np.asarray(PHOTO)).max(axis=2) > 0

    sideways, upright = changed(mask_blur_x=4, mask_blur_y=0), changed(mask_blur_x=0, mask_blur_y=4)
    assert sideways[40, 12:16].any() and not sideways[20:24].any()
    assert upright[20:24, 32].any() and not upright[:, 12:16].any()
    np.testing.assert_array_equal(changed(mask_blur=4), changed())
    small = {**INPAINT, "mask": base64_of(_square(30, 31)), "mask_blur": 8}
    refused = client.post("/sdapi/v1/img2img", json=small)
    assert refused.status_code == 422 and "mask_blur" in refused.text


def test_too_little_strength_takes_the_last_step(client):
    none = img2img(client, denoising_strength=0, mask=None)
    np.testing.assert_array_equal(img2img(client, denoising_strength=0.1, mask=None), none)
    np.testing.assert_array_equal(img2img(client, denoising_strength=0.25, mask=None), none)
    more = img2img(client, denoising_strength=0.5, mask=None)
    photo = np.asarray(PHOTO, np.float32)
    assert none.shape == photo.shape and np.abs(none - more).mean() > 0.1


def test_a_picture_of_other_proportions_is_stretched_cut_or_extended(client):
    wide = PHOTO.resize((128, 64))
    body = {"init_images": [base64_of(wide)], "mask": None, "denoising_strength": 0.25}
    stretched, cut, extended = (img2img(client, **body, resize_mode=mode) for mode in (0, 1, 2))
    middle = base64_of(wide.crop((32, 0, 96, 64)))
    np.testing.assert_array_equal(cut, img2img(client, **{**body, "init_images": [middle]}))
    assert np.abs(stretched - cut).mean() > 1 and np.abs(stretched - extended).mean() > 1


def test_a_narrow_picture_is_extended_or_refused_in_one_line(client):
    narrow = {"init_images": [base64_of(Image.new("RGB", (1, 3000)))], "mask": None, "denoising_strength": 0.25}
    assert img2img(client, **narrow, resize_mode=2).shape == (64, 64, 3)
    body = {**INPAINT, **narrow, "width": 512, "height": 512, "resize_mode": 1}
    refused = client.post("/sdapi/v1/img2img", json=body)
    assert refused.status_code == 422 and "1×3000 is too narrow to fill 512×512" in refused.text


def test_sizes_are_bounded_before_a_picture_is_fitted_into_them(client, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    for field in ("width", "height"):
        refused = client.post("/sdapi/v1/img2img", json={**INPAINT, field: 100_000, "resize_mode": 2})
        assert refused.status_code == 422 and f"{field} must be at most 1024 here, got 100000" in refused.text


@pytest.mark.parametrize(("mode", "count", "size"), [("RGB", 2, "3288×3288"), ("L", 1, "4027×4027")])
def test_images_as_large_as_the_picture_are_no_more_than_there_is_memory_for(client, mode, count, size):
    body = {**INPAINT, "init_images": [base64_of(Image.new(mode, (4096, 4096)))], "inpaint_full_res": True}
    refused = client.post("/sdapi/v1/img2img", json={**body, "n_iter": count})
    assert refused.status_code == 413, refused.text
    assert f"{count} images of 4096×4096 take " in refused.text and f"send at most {size}" in refused.text


# ---- lists -----------------------------------------------------------------------------------------------------------


def listed(client, path: str):
    given = client.get(path if path.startswith("/") else f"/sdapi/v1/{path}")
    assert given.status_code == 200, path
    return given.json()


def test_lists_have_the_field_names_of_that_interface(client):
    names = {
        "sd-models": {"title", "model_name", "hash", "sha256", "filename", "config"},
        "samplers": {"name", "aliases", "options"},
        "schedulers": {"name", "label", "aliases", "default_rho", "need_inner_model"},
        "loras": {"name", "alias", "path", "metadata"},
        "latent-upscale-modes": {"name"},
    }
    for path, fields in names.items():
        assert listed(client, path) and all(entry.keys() == fields for entry in listed(client, path)), path
    for path in ("upscalers", "sd-vae", "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles"):
        assert listed(client, path) == []
    assert listed(client, "embeddings") == {"loaded": {}, "skipped": {}}
    assert listed(client, "scripts") == {"txt2img": [], "img2img": []}
    assert listed(client, "memory")["ram"].keys() == {"free", "used", "total"}
    assert listed(client, "cmd-flags")["api"] is True and listed(client, "/internal/ping") == {}
    assert client.post("/sdapi/v1/refresh-checkpoints").status_code == client.post("/sdapi/v1/skip").status_code == 200
    assert "secret" not in json.dumps(listed(client, "loras"))


def test_every_scheduler_is_asked_for_as_it_is_listed(client):
    samplers = {entry["name"] for entry in listed(client, "samplers")}
    schedules = {entry["label"]: entry["name"] for entry in listed(client, "schedulers")}
    for name, setup in SHORT_NAMES.items():
        sampler, schedule = setup.sampler, setup.schedule
        assert sampler in samplers
        for written in (schedules[schedule or "Automatic"], schedule.upper() or None):
            asked = Txt2Img(sampler_name=sampler, scheduler=written).job_fields(Overrides())["scheduler"]
            assert asked == name, (sampler, written)


# ---- warnings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("large", "unguided"),
    [
        ({"width": 128, "height": 64}, {"cfg_scale": 1, "negative_prompt": "lowres"}),
        ({"size": "128x64"}, {"guidance_scale": 1, "negative_prompt": "lowres"}),
    ],
    ids=["webui", "openai"],
)
def test_the_answer_warns_of_sizes_above_the_trained_one_and_of_what_has_no_effect(client, large, unguided):
    def warnings(fields: dict) -> list[str]:
        if "size" in large:
            given = {"prompt": "a red cat", "size": "64x64", "steps": 2, "seed": 1, **fields}
            drawn = client.post("/v1/images/generations", json=given)
            assert drawn.status_code == 200, drawn.text
            return drawn.json().get("warnings", [])
        return json.loads(answer(client, "txt2img", {**DRAW, **fields})["info"])["warnings"]

    assert warnings({}) == []
    assert warnings(large) == ["128×64 is more than the 64×64 that the network was trained on: expect repetitions"]
    assert warnings(unguided) == ["negative_prompt has no effect at guidance_scale 1, without guidance"]


# ---- what only clients of that interface say -------------------------------------------------------------------------


def test_a_value_asks_for_nothing_only_where_it_is_that_interface_s_own(client):
    starts = {"enable_emphasis": True, "enable_batch_seeds": True, "comma_padding_backtrack": 20, "randn_source": "GPU"}
    starts |= {"sdxl_crop_left": 0, "emphasis": "Original", "uni_pc_order": 3, "unknown": 0}
    answer(client, "options", starts)
    changes = {"enable_emphasis": False, "enable_batch_seeds": False, "comma_padding_backtrack": 0}
    for name, value in {**changes, "uni_pc_lower_order_final": False, "randn_source": "CPU"}.items():
        given = client.post("/sdapi/v1/options", json={name: value})
        assert given.status_code == 422, name
        assert given.json()["detail"][0]["msg"].startswith(f"{name} is not supported"), given.text
    inpaint = {**INPAINT, "mask_round": False}
    given = client.post("/sdapi/v1/img2img", json=inpaint)
    assert given.status_code == 422 and "mask_round is not supported" in given.text
    assert txt2img(client, a_new_field=0).shape == (64, 64, 3)


@pytest.mark.parametrize("tag", ["<hypernet:foo:1>", "<lyco:bar>"])
def test_networks_of_other_kinds_are_refused_by_name(client, tag):
    given = client.post("/sdapi/v1/txt2img", json={**DRAW, "prompt": f"a red cat {tag}"})
    assert given.status_code == 422 and f"{tag} is not supported" in given.text


def test_an_empty_prompt_is_for_that_interface_alone(client):
    assert txt2img(client, prompt="").shape == (64, 64, 3)
    for prompt in ("", "   "):
        given = client.post("/v1/images/generations", json={"prompt": prompt, "size": "64x64"})
        error = given.json()["error"]
        assert (given.status_code, error["param"]) == (422, "prompt")
        assert error["message"] == "prompt is empty; describe the image"


def test_more_layers_than_the_text_encoder_has_are_refused_in_the_client_s_own_count(client):
    layers = json.loads((checkpoint("bk_sdm") / "text_encoder/config.json").read_text())["num_hidden_layers"]
    assert txt2img(client, override_settings={"CLIP_stop_at_last_layers": layers + 1}).shape == (64, 64, 3)
    stop = {"CLIP_stop_at_last_layers": 12}
    for path, body in (
        ("options", stop),
        ("txt2img", {**DRAW, "override_settings": stop}),
        ("txt2img", {**DRAW, "clip_skip": 12}),
    ):
        given = client.post(f"/sdapi/v1/{path}", json=body)
        name = "clip_skip" if "clip_skip" in body else "CLIP_stop_at_last_layers"
        assert given.status_code == 422, given.text
        assert f"{name} must be from 1 to {layers + 1} for this model, got 12" in given.text
    assert client.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 1


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny [0a1b2c3d4e]", "tiny.safetensors [0a1b2c3d4e]"])
def test_a_model_is_named_as_that_interface_lists_it(client, name):
    assert txt2img(client, override_settings={"sd_model_checkpoint": name}).shape == (64, 64, 3)


def test_the_schedules_of_a_sampler_are_named_where_it_has_no_such_one(client):
    given = client.post("/sdapi/v1/txt2img", json={**DRAW, "sampler_name": "Euler a", "scheduler": "Karras"})
    assert given.status_code == 422
    assert "'Euler a' has no schedule 'Karras'; it takes Automatic, Uniform" in given.text
    given = client.post("/sdapi/v1/txt2img", json={**DRAW, "sampler_name": "Eular", "scheduler": "Karras"})
    assert "'Eular' with scheduler 'Karras' is not here" in given.text


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        ({"sampler_name": "Euler"}, "flow-euler"),
        ({"sampler_name": "heun", "scheduler": "Automatic"}, "flow-heun"),
        ({"sampler_name": "DPM++ 2M"}, "DPM++ 2M, Schedule type: Uniform"),
    ],
)
def test_samplers_of_flow_matching_are_known_by_their_names_there(asked, drawn):
    with TestClient(
        create_app(Settings(model=(str(tiny_sd3.checkpoint()),), dtype="float32")), base_url="http://localhost"
    ) as client:
        info = json.loads(answer(client, "txt2img", {**DRAW, "sampler_name": None, **asked})["info"])
    assert f"Sampler: {drawn}," in info["infotexts"][0]
