"""A pipeline's call is made of its task's dataclass: published order, real types, help and checks."""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

from mindone.diffusers import LatentConsistencyModelPipeline
from mindone.diffusers.pipelines.auto import pipelines
from mindone.diffusers.pipelines.calls import Arguments, Ending, Prompt, Sampled, Shown, Steps, TextCall, argument
from mindone.diffusers.pipelines.output import StableDiffusionPipelineOutput
from mindone.diffusers.pipelines.stable_diffusion import StableDiffusion
from mindone.diffusers.pipelines.stages import published
from mindone.diffusers.pipelines.starts import FromNoise
from mindone.diffusers.utils.finite import all_finite
from tiny_pipelines import PROMPT, checkpoint, images_of, load

GOLDEN = json.loads((Path(__file__).parent / "golden" / "published_calls.json").read_text(encoding="utf-8"))


def test_every_pipeline_has_a_published_order():
    assert GOLDEN.keys() == pipelines().keys()


@pytest.mark.parametrize("name", GOLDEN)
def test_arguments_stand_in_the_published_order_with_their_defaults(name):
    parameters = [*inspect.signature(pipelines()[name].__call__).parameters.values()][1:]
    assert [(each.name, repr(each.default)) for each in parameters] == [*GOLDEN[name].items()]


@pytest.mark.parametrize("name", GOLDEN)
def test_every_argument_has_a_type_and_help(name):
    call = pipelines()[name].__call__
    signature, help = inspect.signature(call), inspect.getdoc(call)
    assert list(call.__annotations__) == [*GOLDEN[name], "return"]
    assert all(each.annotation is not inspect.Parameter.empty for each in [*signature.parameters.values()][1:])
    assert [argument for argument in GOLDEN[name] if f"\n    {argument}: " not in help] == []


ARRAYS = {
    *("latents", "prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "prompt_attention_mask"),
    *("image", "mask_image", "masked_image_latents", "control_image", "depth_map", "ip_adapter_image_embeds"),
    *("sigmas", "timesteps"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_that_are_not_finite_are_refused_by_name_before_anything_else(name):
    call, anything = pipelines()[name].__call__, SimpleNamespace(usual_arguments=dict, arguments=None)
    latents = np.zeros((1, 4, 8, 8), np.float32)
    latents[0, 3, 2, 1] = np.nan
    half = ms.Tensor(np.where(np.isnan(latents), -np.inf, latents), ms.bfloat16)
    for taken in GOLDEN[name].keys() & ARRAYS:
        for value, got in (
            (latents, r"got nan at \[0, 3, 2, 1\], the first of 1"),
            (half, r"got -inf at \[0, 3, 2, 1\], the first of 1"),
            ([1.0, float("inf")], "got inf"),
            ([np.float16("nan")], "got nan"),
        ):
            finite, array = f"{taken} must hold finite numbers, {got}$", f"{taken} must be an array or None, got"
            expected = f"^({finite}|{array}|negative_prompt means nothing)"
            with pytest.raises(ValueError, match=expected):
                call(anything, **{taken: value})


@pytest.fixture(scope="module")
def pipe():
    return load(checkpoint("sd1"))


def test_finite_arrays_pass_and_come_as_they_are():
    values = {"latents": np.full((1, 2), 65504, np.float16), "timesteps": [999, 1], "image": [Image.new("L", (1, 1))]}
    values |= {"mask": np.zeros(0, np.float32), "ids": np.array([1]), "prompt": "nan", "scale": {"scale": 0.5}}
    assert all_finite(values) is values
    with pytest.raises(ValueError, match=r"^scale\['scale'\] must hold finite numbers, got nan$"):
        all_finite({"scale": {"scale": float("nan")}})


def check_hour(name, value):
    if not 0 <= value < 24:
        raise ValueError(f"{name} must be from 0 to 23, got {value}")


@dataclass(frozen=True)
class Hour:
    """When it is."""

    hour: int = argument(12, "the hour of the day.", check_hour)


@dataclass(frozen=True)
class HourCall(Ending, Shown, Sampled, Steps, Hour, Prompt):
    """A text and an hour to images."""

    hour: int = 9
    num_inference_steps: int = 2


@dataclass(frozen=True)
class HourArguments(Hour, Arguments):
    """Any call with an hour."""


class HourPipeline(StableDiffusion):
    """A task of its own: a group, a call and a line."""

    arguments = HourArguments

    def condition(self, run, call, height, width):
        super().condition(run, call, height, width)
        run.tensors["latents_at"] = call.hour

    __call__ = published(HourCall, FromNoise, StableDiffusionPipelineOutput)


def test_a_task_is_a_dataclass_and_a_line(pipe):
    mine, hours = HourPipeline.from_pipe(pipe), []
    mine.set_progress_bar_config(disable=True)

    def look(pipe, step, timestep, tensors):
        hours.append(pipe.runs.own().tensors["latents_at"])

    options = {"generator": np.random.default_rng(0), "output_type": "np"}
    made = mine(PROMPT, 17, callback_on_step_end=look, **options).images
    mine(PROMPT, num_inference_steps=1, callback_on_step_end=look, **options)
    assert set(hours[:-1]) == {17} and hours[-1] == 9
    np.testing.assert_array_equal(made, images_of(pipe))
    with pytest.raises(ValueError, match="hour must be from 0 to 23, got 24"):
        mine(PROMPT, 24)
    with pytest.raises(TypeError, match=r"HourPipeline.__call__ has no argument 'huor'; did you mean 'hour'\?"):
        mine(PROMPT, huor=1)
    assert "hour: the hour of the day." in inspect.getdoc(HourPipeline.__call__)


def test_too_many_arguments_and_one_twice_name_the_function(pipe):
    with pytest.raises(TypeError, match=r"StableDiffusionPipeline.__call__: too many positional arguments"):
        pipe(*range(30))
    with pytest.raises(TypeError, match=r"StableDiffusionPipeline.__call__: multiple values for argument 'prompt'"):
        pipe(PROMPT, prompt=PROMPT)


def test_defaults_are_looked_up_once_a_call(pipe, monkeypatch):
    other, asked = LatentConsistencyModelPipeline.from_pipe(pipe), []
    other.set_progress_bar_config(disable=True)
    usual = type(other).usual_arguments
    monkeypatch.setattr(type(other), "usual_arguments", lambda self: (asked.append(self), usual(self))[1])
    other.call_defaults = {"num_inference_steps": 1}
    other(PROMPT, output_type="np")
    assert asked == [other] and other.num_inference_steps == 1


def test_a_call_is_a_value():
    call = TextCall("a cat", num_inference_steps=4)
    assert (call.prompt, call.num_inference_steps, call.eta) == ("a cat", 4, 0.0)
    with pytest.raises(AttributeError):
        call.prompt = "a dog"
