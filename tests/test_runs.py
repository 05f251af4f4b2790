"""One pipeline, many threads; and the memory of what was compiled."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from mindone.diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
    functional as F,
)
from mindone.diffusers.engines.cache import GraphCache
from tiny_pipelines import checkpoint, load

SCHEDULERS = [DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler]


def draw(pipe, i):
    """Number ``i`` of draws that differ in everything a call can choose."""
    size = 16 * (1 + i % 3)
    return pipe(
        f"prompt number {i}",
        height=size,
        width=16,
        num_inference_steps=1 + i % 3,
        guidance_scale=(7.5, 1.0, 3.0)[i % 3],
        num_images_per_prompt=1 + i % 2,
        generator=np.random.Generator(np.random.PCG64(i)),
        output_type="np",
    ).images


def assert_threads_draw_what_they_would_draw_alone(family, engine, draws, rounds=1):
    pipe = load(checkpoint(family), engine=engine)
    alone = [draw(pipe, i) for i in range(draws)]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda i: draw(pipe, i), list(range(draws)) * rounds))
    for i, images in enumerate(together):
        assert np.array_equal(images, alone[i % draws])


@pytest.mark.heavy
def test_threads_that_share_a_pipeline_draw_what_they_would_draw_alone():
    # Six have every size with every number of images.
    assert_threads_draw_what_they_would_draw_alone("bk_sdm", "openvino", 6, rounds=2)


@pytest.mark.heavy
def test_threads_that_share_a_pipeline_on_mindspore_draw_what_they_would_draw_alone():
    # In a process of its own, where operations do not wait for each other as they do in this one.
    call = "assert_threads_draw_what_they_would_draw_alone('bk_sdm', 'mindspore', 2)"
    script = f"from test_runs import *; {call}"
    ended = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_threads_may_use_schedulers_of_their_own_on_shared_networks():
    pipe = load(checkpoint("bk_sdm"), engine="openvino")
    pipes = [
        StableDiffusionPipeline(**{**pipe.components, "scheduler": kind.from_config(pipe.scheduler.config)})
        for kind in SCHEDULERS
    ]
    for each in pipes:
        each.engine = pipe.engine
        each.set_progress_bar_config(disable=True)
    alone = [draw(each, 1) for each in pipes]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda each: draw(each, 1), pipes))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together))


def test_a_callback_stops_its_own_run_and_no_other():
    pipe, steps = load(checkpoint("bk_sdm")), {True: [], False: []}
    barrier = threading.Barrier(2)

    def run(stops):
        def callback(given, step, timestep, tensors):
            barrier.wait(timeout=600) if step == 0 else None
            steps[stops].append(step)
            given._interrupt = stops and step == 1
            return {}

        pipe("x", height=16, width=16, num_inference_steps=4, output_type="latent", callback_on_step_end=callback)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(run, [True, False]))
    assert steps == {True: [0, 1], False: [0, 1, 2, 3, 4]}  # PNDM calls once more than it counts


def test_another_thread_can_stop_what_is_in_progress():
    pipe, steps = load(checkpoint("bk_sdm")), []

    def callback(given, step, timestep, tensors):
        steps.append(step)
        stopper = threading.Thread(target=lambda: setattr(pipe, "_interrupt", True))
        stopper.start()
        stopper.join()
        return {}

    pipe("x", height=16, width=16, num_inference_steps=4, output_type="latent", callback_on_step_end=callback)
    assert steps == [0]
    pipe("x", height=16, width=16, num_inference_steps=2, output_type="latent")
    assert pipe.interrupt is False


def test_guidance_outside_the_whole_interval_is_no_guidance():
    pipe = load(checkpoint("bk_sdm"))

    def images(**options):
        generator = np.random.Generator(np.random.PCG64(0))
        return pipe("x", height=16, width=16, num_inference_steps=4, generator=generator, output_type="np", **options)[
            0
        ]

    assert np.array_equal(images(guidance_interval=(0.0, 1.0)), images())
    assert np.array_equal(images(guidance_interval=(0.0, 0.0)), images(guidance_scale=1.0))
    partly = images(guidance_interval=(0.0, 0.5))
    assert not np.array_equal(partly, images()) and not np.array_equal(partly, images(guidance_scale=1.0))


def test_the_last_used_graphs_are_kept():
    cache = GraphCache(limit=2)
    for key in ("a", "b", "a", "c"):
        cache.get(key, lambda key=key: key.upper())
    assert list(cache) == ["a", "c"]
    cache.limit = 1
    assert list(cache) == ["c"]
    with pytest.raises(ValueError, match="at least 1 compiled graph, got 0"):
        cache.limit = 0


def test_a_graph_is_made_once_however_many_threads_ask():
    cache, made = GraphCache(), []
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: cache.get("key", lambda: made.append(1)), range(32)))
    assert made == [1]


@pytest.mark.heavy
def test_a_pipeline_keeps_few_sizes_and_releases_them():
    pipe = load(checkpoint("bk_sdm"), engine="openvino")
    before = draw(pipe, 0)
    for i in range(6):
        pipe("x", height=16 + 8 * i, width=16, num_inference_steps=1)
    assert len(pipe.unet.graphs) == len(pipe.vae.graphs) == 4
    pipe.set_compiled_limit(2)
    assert len(pipe.unet.graphs) == 2
    pipe.release()
    assert len(pipe.unet.graphs) == len(pipe.text_encoder.graphs) == 0
    assert np.array_equal(draw(pipe, 0), before)


class Twice(nn.Cell):
    """A cell put in another one's place."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def construct(self, *inputs):
        return F.affine(self.inner(*inputs), 2.0)


@pytest.mark.parametrize("engine", ["openvino", pytest.param("mindspore", marks=pytest.mark.heavy)])
def test_a_cell_can_be_wrapped_after_loading(engine, tmp_path):
    pipe = load(checkpoint("bk_sdm"), engine=engine)
    before = draw(pipe, 0)
    block = pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0]
    names = set(tiny_names(pipe.unet))
    block.attn1 = Twice(block.attn1)
    pipe.unet.graphs.clear()
    wrapped = draw(pipe, 0)
    assert not np.array_equal(wrapped, before)
    pipe.unet.save_pretrained(tmp_path)
    assert set(tiny_names(UNet2DConditionModel.from_pretrained(tmp_path))) == names
    block.attn1 = block.attn1.inner
    pipe.unet.graphs.clear()
    assert np.array_equal(draw(pipe, 0), before)


def tiny_names(network):
    return [name for name, _ in network.parameters_and_names()]


def test_switching_flash_attention_off_outlasts_a_change_of_its_cast():
    unet = load(checkpoint("bk_sdm")).unet
    attention = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    unet.enable_flash_sdp(False)
    unet.set_flash_attention_force_cast_dtype(None)
    assert attention.flash.enabled is False and attention.flash.cast_dtype is None
    unet.enable_flash_sdp(True)
    assert attention.flash.enabled is True and attention.flash.cast_dtype is None


def test_the_device_decides_what_is_computed_in_by_one_rule():
    unet = load(checkpoint("bk_sdm"), mindspore_dtype="float16").unet
    inputs = (np.zeros((1, 4, 8, 8)), np.zeros(1), np.zeros((1, 3, unet.config.cross_attention_dim)))
    called = unet(*(ms.Tensor(x.astype(np.float32)) for x in inputs))
    assert called.sample.dtype == ms.float32 and unet.conv_in.weight.dtype == ms.float32


def test_importing_the_package_loads_neither_engine():
    script = "import sys, mindone.diffusers, mindone.diffusers.utils, mindone.diffusers.schedulers\n"
    script += "print(sorted({'mindspore', 'openvino'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize("side", [16, 32])
def test_a_dynamic_shift_grows_with_the_tokens_of_the_image(side):
    """μ lies on FLUX.1's line: 0.5 at 256 tokens, 1.15 at 4096."""
    pipe = load(checkpoint("bk_sdm"))
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    pipe("a cat", num_inference_steps=3, height=side, width=side, output_type="latent")
    alone, tokens = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), (side // pipe.vae_scale_factor) ** 2
    alone.set_timesteps(3, mu=0.5 + 0.65 * (tokens - 256) / 3840)
    np.testing.assert_allclose(pipe.scheduler.timesteps, alone.timesteps, rtol=1e-6)
