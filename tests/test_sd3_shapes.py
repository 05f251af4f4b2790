"""Checkpoints with random weights in the published shapes of Stable Diffusion 3."""

import numpy as np
import pytest

from checkpoints import TEXTS
from mindone.diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from mindone.diffusers.bench.shapes import SHAPES
from tiny_pipelines import images_of
from tiny_sd3 import TEXT_ENCODER_3, TINY_VAE, TRANSFORMER, VAE


@pytest.mark.parametrize(
    ("name", "millions"), [("sd3-medium", 2028.3), ("sd35-medium", 2243.2), ("sd35-large", 8056.6)]
)
def test_shapes_have_as_many_parameters_as_published(name, millions):
    shapes = dict(SD3Transformer2DModel(**SHAPES[name].config("transformer")).published_shapes())
    del shapes["pos_embed.pos_embed"]  # which the reference counts as a buffer
    assert sum(map(np.prod, shapes.values())) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["sd35-medium", "sd35-medium-without-t5"])
def test_a_shape_is_a_checkpoint_like_any_other(name, tmp_path):
    shape = SHAPES[name]
    text = {**TEXTS["projection"], "vocab_size": 520, "max_position_embeddings": 77}
    configs = {"transformer": TRANSFORMER, "text_encoder": text, "text_encoder_2": text, "vae": VAE}
    configs["text_encoder_3"] = {**TEXT_ENCODER_3, "vocab_size": 300}
    small = shape.changed({component: configs[component] for component in shape.networks}, tiny_vae=TINY_VAE)
    roles = small.write(name, tmp_path)
    assert roles["tiny_vae"][1].is_dir()
    pipe = StableDiffusion3Pipeline.from_pretrained(roles["model"][1])
    assert (pipe.text_encoder_3 is None) == name.endswith("without-t5")
    assert images_of(pipe, height=64, width=64, num_inference_steps=1, max_sequence_length=16).shape == (1, 64, 64, 3)
