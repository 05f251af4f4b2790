"""Cells around a network's cells: they nest, come off in any order, and leave paths and names alone."""

import itertools

import numpy as np
import pytest

from lora_cases import kohya, layers
from mindone.diffusers import UNet2DConditionModel
from mindone.diffusers.models.wrapping import Wrapper, bare, cell_at, wrap
from tiny_pipelines import checkpoint, images_of, load

PATH = "down_blocks.0.attentions.0.transformer_blocks.0.ff"


class Scaled(Wrapper):
    def __init__(self, inner, factor):
        super().__init__(inner)
        self.factor = factor

    def construct(self, x):
        return self.inner(x) * self.factor


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_wrappers_nest_and_come_off_in_any_order(order):
    unet = UNet2DConditionModel.from_pretrained(checkpoint("sd1"), subfolder="unet")
    own = cell_at(unet, PATH)
    take_off = [wrap(unet, PATH, lambda inner, factor=factor: Scaled(inner, factor)) for factor in (2.0, 3.0, 5.0)]
    left = [2.0, 3.0, 5.0]
    for number in order:
        take_off[number]()
        left[number] = None
        factors, cell = [], cell_at(unet, PATH)
        while isinstance(cell, Wrapper):
            factors.insert(0, cell.factor)
            cell = cell.inner
        assert factors == [factor for factor in left if factor] and cell is own


def test_paths_and_names_are_those_of_the_bare_network_also_without_weights():
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(checkpoint("sd1"), subfolder="unet"))
    names = list(unet.published_parameters())
    inside = cell_at(unet, f"{PATH}.net.0")
    wrap(unet, PATH.rpartition(".")[0], lambda inner: Scaled(inner, 2.0))
    wrap(unet, PATH, lambda inner: Scaled(inner, 2.0))
    assert list(unet.published_parameters()) == names
    assert cell_at(unet, f"{PATH}.net.0") is inside and bare(cell_at(unet, PATH)).net[0] is inside


@pytest.mark.parametrize("lora_first", [True, pytest.param(False, marks=pytest.mark.heavy)])
def test_a_lora_on_what_token_downsampling_wraps_comes_off_in_either_order(lora_first):
    """Put on, taken off first, and taken off last, the LoRA acts alike, and leaves the image as it was."""
    pipe, expected = load(checkpoint("sd1")), load(checkpoint("sd1"))
    plain = images_of(pipe)
    lora = kohya("sd1", {"unet": layers("sd1", "unet", ("attn1.to_q", "attn1.to_k"))})
    expected.load_lora_weights(lora)
    expected.unet.enable_token_downsampling(2)
    steps = [lambda: pipe.load_lora_weights(lora), lambda: pipe.unet.enable_token_downsampling(2)]
    for step in steps if lora_first else steps[::-1]:
        step()
    np.testing.assert_array_equal(images_of(pipe), images_of(expected))
    ends = [pipe.unload_lora_weights, pipe.unet.disable_token_downsampling]
    for end in ends if lora_first else ends[::-1]:
        end()
    np.testing.assert_array_equal(images_of(pipe), plain)
