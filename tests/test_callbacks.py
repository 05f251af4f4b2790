"""Callbacks of published scripts run word for word, in the newer form and the older one."""

import mindspore as ms
import numpy as np
import pytest
from mindone.diffusers.callbacks import (
    IPAdapterScaleCutoffCallback,
    MultiPipelineCallbacks,
    PipelineCallback,
    SDCFGCutoffCallback,
    SDXLCFGCutoffCallback,
)

from mindone.diffusers import EulerDiscreteScheduler, HeunDiscreteScheduler
from mindone.diffusers.pipelines.callbacks import StepArray
from tiny_pipelines import PROMPT, images_of, sharing

STEPS = 5


def callback_dynamic_cfg(pipe, step_index, timestep, callback_kwargs):
    if step_index == int(pipe.num_timesteps * 0.4):
        prompt_embeds = callback_kwargs["prompt_embeds"]
        prompt_embeds = prompt_embeds.chunk(2)[-1]
        pipe._guidance_scale = 0.0
        callback_kwargs["prompt_embeds"] = prompt_embeds
    return callback_kwargs


@pytest.mark.heavy
@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
@pytest.mark.parametrize("prompts", [1, 2])
def test_the_published_dynamic_guidance_is_that_of_an_interval(engine, prompts):
    pipe = sharing("sd2", engine)
    arguments = {"prompt": [PROMPT] * prompts, "num_inference_steps": STEPS}
    images = images_of(
        pipe,
        callback_on_step_end=callback_dynamic_cfg,
        callback_on_step_end_tensor_inputs=["prompt_embeds"],
        **arguments,
    )
    expected = images_of(pipe, guidance_interval=(0.0, 0.6), **arguments)
    np.testing.assert_array_equal(images, expected)
    assert np.abs(images - images_of(pipe, **arguments)).max() > 1e-3


@pytest.mark.parametrize(
    "family, callback",
    [
        ("sd2", SDCFGCutoffCallback(cutoff_step_ratio=0.4)),
        pytest.param(
            "sdxl", SDXLCFGCutoffCallback(cutoff_step_ratio=None, cutoff_step_index=2), marks=pytest.mark.heavy
        ),
        pytest.param(
            "sdxl", MultiPipelineCallbacks([SDXLCFGCutoffCallback(cutoff_step_ratio=0.4)]), marks=pytest.mark.heavy
        ),
    ],
)
def test_ready_made_callbacks_switch_guidance_off(family, callback):
    pipe = sharing(family)
    arguments = {"prompt": [PROMPT, "on"], "num_inference_steps": STEPS}
    images = images_of(pipe, callback_on_step_end=callback, **arguments)
    np.testing.assert_array_equal(images, images_of(pipe, guidance_interval=(0.0, 0.6), **arguments))


def test_a_callback_of_ones_own_names_its_tensors():
    class Halve(PipelineCallback):
        tensor_inputs = ("latents",)

        def callback_fn(self, pipeline, step_index, timestep, callback_kwargs):
            assert list(callback_kwargs) == ["latents"]
            return {"latents": callback_kwargs["latents"] * 0.5} if self.is_cutoff(pipeline, step_index) else {}

    def halve(pipe, step, timestep, tensors):
        tensors["latents"] = tensors["latents"].clone().cpu() * (0.5 if step == 1 else 1.0)
        return tensors

    pipe = sharing("bk_sdm")
    halved = images_of(pipe, callback_on_step_end=Halve(None, 1))
    np.testing.assert_array_equal(halved, images_of(pipe, callback_on_step_end=halve))
    assert np.abs(halved - images_of(pipe)).max() > 1e-3


@pytest.mark.parametrize("arguments", [(0.5, 3), (None, None), (1, None), (1.5, None)])
def test_a_cutoff_is_a_ratio_or_a_step(arguments):
    with pytest.raises(ValueError, match="cutoff_step_ratio"):
        IPAdapterScaleCutoffCallback(*arguments)


def test_the_older_callback_counts_as_published():
    """Which steps it sees with PNDM, which begins with an extra one, and with a solver of second order."""
    seen = []
    pipe = sharing("bk_sdm")
    first = images_of(pipe, num_inference_steps=STEPS, callback=lambda *step: seen.append(step))
    assert [step for step, _, _ in seen] == [1, 2, 3, 4, 5] and type(seen[0][2]) is StepArray
    np.testing.assert_array_equal(first, images_of(pipe, num_inference_steps=STEPS))
    seen.clear()
    images_of(pipe, num_inference_steps=STEPS, callback=lambda *step: seen.append(step[0]), callback_steps=2)
    assert seen == [2, 4]
    seen.clear()
    pipe.scheduler = HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    images_of(pipe, num_inference_steps=3, callback=lambda *step: seen.append(step[0]))
    assert seen == [0, 1, 2]


def test_both_forms_of_callback_may_be_given_at_once():
    seen = []
    pipe = sharing("bk_sdm")
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    newer = {"callback_on_step_end": lambda pipe, step, *_: seen.append(("newer", step))}
    images_of(pipe, callback=lambda step, *_: seen.append(("older", step)), **newer)
    assert seen == [("newer", 0), ("older", 0), ("newer", 1), ("older", 1)]
    with pytest.raises(ValueError, match="callback_steps must be a whole number of at least 1, got 0"):
        images_of(pipe, callback=print, callback_steps=0)
    with pytest.raises(ValueError, match="callback must be a function, got str"):
        images_of(pipe, callback="print")


@pytest.mark.parametrize(
    "returned, message",
    [
        (np.zeros(3), "must return a dict of tensors or None, got ndarray"),
        ({"latnts": 0}, "returned latnts, which no run"),
        ({"latents": 3}, "latents that callback_on_step_end returns must be an array or None, got 3"),
        ({"latents": "a"}, "latents that callback_on_step_end returns must be an array or None, got 'a'"),
        ({"latents": np.zeros(3)}, r"returned latents of the shape \(3,\), and those of the run have \(1, 4, 8, 8\)"),
    ],
)
def test_what_a_callback_returns_is_checked(returned, message):
    with pytest.raises(ValueError, match=message):
        images_of(sharing("bk_sdm"), callback_on_step_end=lambda *_: returned)


def test_the_arrays_of_callbacks_are_cut_as_tensors_are():
    """The same pieces as MindSpore's, of even and of uneven lengths."""
    values = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    for chunks in (1, 2, 3, 5):
        ours, theirs = values.view(StepArray).chunk(chunks), ms.Tensor(values).chunk(chunks)
        assert [piece.shape for piece in ours] == [piece.shape for piece in theirs]
        np.testing.assert_array_equal(np.concatenate(ours), values)
    assert type(values.view(StepArray).numpy()) is np.ndarray
