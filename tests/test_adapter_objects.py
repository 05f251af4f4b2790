"""``pipe.loras``, ``pipe.words`` and ``pipe.image_prompts``, and the published names for their methods."""

import inspect

import numpy as np
import pytest

from lora_cases import kohya, layers
from mindone.diffusers import StableDiffusionPipeline, StableDiffusionXLInpaintPipeline, UNet2DConditionModel
from mindone.diffusers.adapters.image_prompts import IPAdapters
from mindone.diffusers.adapters.loras import Loras
from mindone.diffusers.adapters.words import Words
from mindone.diffusers.families.stable_diffusion.adapters import LORA as NAMES
from tiny_pipelines import checkpoint, images_of, load

LORA = {"unet": layers("bk_sdm", "unet", ("to_q",))}
FORWARDED = {
    "load_lora_weights": Loras.load,
    "set_adapters": Loras.set_active,
    "fuse_lora": Loras.fuse,
    "lora_weights": Loras.weighted,
    "load_textual_inversion": Words.load,
    "maybe_convert_prompt": Words.spelled_out,
    "load_ip_adapter": IPAdapters.load,
    "prepare_ip_adapter_image_embeds": IPAdapters.embeds,
}


@pytest.mark.parametrize("name", FORWARDED)
@pytest.mark.parametrize("pipeline", [StableDiffusionPipeline, StableDiffusionXLInpaintPipeline])
def test_a_published_name_has_the_signature_and_the_help_of_what_it_forwards_to(pipeline, name):
    published = getattr(pipeline, name)
    assert inspect.signature(published) == inspect.signature(FORWARDED[name])
    assert published.__name__ == name and published.__doc__ == FORWARDED[name].__doc__


def test_objects_and_published_names_change_the_same():
    pipe, expected = load(checkpoint("bk_sdm")), load(checkpoint("bk_sdm"))
    expected.load_lora_weights(kohya("bk_sdm", LORA), adapter_name="one")
    expected.set_adapters("one", 0.5)
    pipe.loras.load(kohya("bk_sdm", LORA), adapter_name="one")
    pipe.loras.set_active("one", 0.5)
    assert pipe.get_list_adapters() == {"unet": ["one"]}
    np.testing.assert_array_equal(images_of(pipe), images_of(expected))
    pipe.words.load(np.ones((1, pipe.text_encoder.config["hidden_size"]), np.float32), token="<one>")
    assert pipe.words.loaded == ["<one>"] and "<one>" in pipe.tokenizer.get_vocab()
    pipe.unload_textual_inversion()
    assert pipe.words.loaded == [] and pipe.image_prompts.loaded == ()


def test_loras_follow_a_network_that_is_replaced():
    pipe = load(checkpoint("bk_sdm"))
    pipe.loras.load(kohya("bk_sdm", LORA), adapter_name="one")
    taken = pipe.unet
    pipe.unet = UNet2DConditionModel.from_pretrained(checkpoint("bk_sdm"), subfolder="unet")
    assert pipe.loras.get_active() == []
    assert Loras({"unet": taken}, NAMES, Words({})).get_active() == ["one"]


def test_a_network_alone_loads_and_unloads_loras_without_a_pipeline_or_words():
    unet = UNet2DConditionModel.from_pretrained(checkpoint("bk_sdm"), subfolder="unet")
    loras = Loras({"unet": unet}, NAMES, Words({}))
    loras.load(kohya("bk_sdm", LORA), adapter_name="one")
    assert unet.active_adapters() == ["one"]
    loras.unload()
    assert loras.get_list() == {}
