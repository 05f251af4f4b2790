"""Caches, forecasts, the guidance interval, token downsampling and int8 on top of each other, and in every pipeline."""

import copy
import functools
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import image_pipelines
from image_pipelines import controlnets, mask, photo
from mindone.diffusers import (
    DeepCacheConfig,
    DPMSolverMultistepScheduler,
    GuidanceCacheConfig,
    Int8Config,
    SpectrumConfig,
)
from test_caches import TAYLOR, images, recorded
from tiny_pipelines import checkpoint, load

INT8 = Int8Config(prompts=("a red cat",), num_inference_steps=2)
CACHES = {"deep": DeepCacheConfig(2), "steps": TAYLOR, "guidance": GuidanceCacheConfig(2, 0, 1)}
SPEEDUPS = (*CACHES, "interval", "tokens", "int8")


@functools.cache
def shared(tokens=False, int8=False):
    """A pipeline that several tests draw with."""
    pipe = load(checkpoint("bk_sdm"), quantization_config=INT8 if int8 else None)
    pipe.set_compiled_limit(16)  # pairs have graphs in common
    if tokens:
        pipe.unet.enable_token_downsampling()
    return pipe


def sped_up(pipe, names, **options):
    """Images after four steps with those of these speed-ups that a call can ask for."""
    caches = [cache for name, cache in CACHES.items() if name in names]
    interval = (0.0, 0.5) if "interval" in names else (0.0, 1.0)
    return images(pipe, caches, **{"steps": 4, "guidance_interval": interval, **options})


@functools.cache
def plain():
    return images(shared(), steps=4)


@pytest.mark.heavy
@pytest.mark.parametrize("pair", itertools.combinations(SPEEDUPS, 2), ids="-".join)
def test_every_pair_of_speedups_runs(pair):
    both = sped_up(shared("tokens" in pair, "int8" in pair), pair)
    assert np.isfinite(both).all() and not np.array_equal(both, plain())


def test_all_of_them_give_the_same_on_mindspore():
    # But int8, which computes on OpenVINO, and says so: see test_int8.
    pipe = load(checkpoint("bk_sdm"), engine="mindspore")
    pipe.unet.enable_token_downsampling()
    names = [name for name in SPEEDUPS if name != "int8"]
    np.testing.assert_allclose(sped_up(pipe, names), sped_up(shared(tokens=True), names), atol=1e-3)


@pytest.mark.heavy
def test_all_of_them_go_with_stable_diffusion_xl():
    pipe = load(checkpoint("sdxl"), quantization_config=INT8)
    pipe.unet.enable_token_downsampling()
    assert np.isfinite(sped_up(pipe, SPEEDUPS)).all()


PICTURES = {
    "StableDiffusionImg2ImgPipeline": {"image": photo(16, 16), "strength": 0.8, "steps": 6},
    "StableDiffusionInpaintPipeline": {"image": photo(16, 16), "mask_image": mask(16, 16), "strength": 0.8, "steps": 6},
    "StableDiffusionControlNetPipeline": {"image": photo(16, 16)},
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", PICTURES)
def test_the_whole_stack_goes_with_pictures_and_nothing_carries_over(name):
    options = dict(PICTURES[name])
    if "Img2Img" in name:  # the size is the picture's
        options |= {"height": None, "width": None}
    nets = {"controlnet": controlnets("bk_sdm")} if "ControlNet" in name else {}
    pipe = image_pipelines.load(name, checkpoint("bk_sdm"), **nets)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    plain = {"steps": 4, **options}
    before = images(pipe, **plain)
    pipe.unet.enable_token_downsampling()
    calls = recorded(pipe)
    stacked, again = (sped_up(pipe, ("deep", "steps", "interval"), **options) for _ in range(2))
    assert np.isfinite(stacked).all() and not np.array_equal(stacked, before)
    assert {kind for kind, _ in calls} == {"deep", "shallow"} and {rows for _, rows in calls} == {1, 2}
    assert np.array_equal(again, stacked)
    pipe.unet.disable_token_downsampling()
    assert np.array_equal(images(pipe, **plain), before)


@pytest.mark.heavy
def test_threads_draw_with_caches_of_their_own_on_shared_networks():
    base = load(checkpoint("sd2"))
    pipes = [copy.copy(base) for _ in range(3)]
    caches = [[DeepCacheConfig(2), TAYLOR], [DeepCacheConfig(3)], [SpectrumConfig(warmup_steps=2)]]
    alone = [images(pipe, cache) for pipe, cache in zip(pipes, caches)]
    with ThreadPoolExecutor(3) as threads:
        again = list(threads.map(images, pipes, caches))
    assert all(np.array_equal(a, b) for a, b in zip(alone, again))


def test_nothing_carries_over_to_the_next_run():
    pipe = load(checkpoint("sd2"))
    before = images(pipe)
    cached = images(pipe, [DeepCacheConfig(3), TAYLOR])
    assert np.array_equal(images(pipe, [DeepCacheConfig(3), TAYLOR]), cached)
    assert np.array_equal(images(pipe), before)
