"""IP-Adapters live against diffusers, on the same tiny checkpoints and the same noise."""

import numpy as np
import pytest

from adapter_cases import SUBFOLDER, WEIGHTS, ip_adapter_folder
from image_pipelines import difference, draw, load, photo, reference
from tiny_pipelines import checkpoint

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1]: a tenth of what is asked for."""
NAMES = {"sd1": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}


class Both:
    """The same calls for a pipeline of the reference and one of ours, each with IP-Adapters."""

    def __init__(self, family, kinds, engines=("openvino",)):
        folder, self.engines = checkpoint(family), engines
        self.pipes = reference(NAMES[family], folder), load(NAMES[family], folder)
        folders = [str(ip_adapter_folder(family, kind)) for kind in kinds]
        self.call("load_ip_adapter", folders, subfolder=[SUBFOLDER] * len(kinds), weight_name=[WEIGHTS] * len(kinds))

    def call(self, method, *arguments, **options):
        return [getattr(pipe, method)(*arguments, **options) for pipe in self.pipes]

    def assert_same(self, **options):
        theirs, ours = self.pipes
        expected = draw(theirs, num_inference_steps=2, **options)
        for ours.engine in self.engines:
            images = draw(ours, num_inference_steps=2, **options)
            assert difference(expected, images) <= TOLERANCE, ours.engine
        return images


def differ(a, b):
    return difference(a, b) > 10 * TOLERANCE


@pytest.mark.parametrize(
    "family, kind, engines",
    [
        ("sd1", "plain", ("openvino", "mindspore")),
        ("sd1", "plus", ("openvino",)),
        ("sdxl", "plain", ("openvino",)),
        ("sdxl", "plus", ("openvino", "mindspore")),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_picture_as_a_prompt(family, kind, engines):
    both = Both(family, [kind], engines)
    seen = {"ip_adapter_image": photo(50, 70)}
    full = both.assert_same(**seen)
    both.call("set_ip_adapter_scale", {"mid": 0.3, "up": 0.7})
    assert differ(full, both.assert_same(**seen))
    both.assert_same(**seen, guidance_scale=1.0)


def test_two_adapters_with_several_pictures():
    both = Both("sd1", ["plain", "plus"])
    both.call("set_ip_adapter_scale", [0.6, {"up": {"block_1": [0.0, 1.0, 0.5]}}])
    pictures = [[photo(seed=1), photo(seed=2)], photo(seed=3)]
    options = {"ip_adapter_image": pictures, "prompt": ["a cat", "red mat"], "num_images_per_prompt": 2}
    one = both.assert_same(**options)
    both.call("set_ip_adapter_scale", [0.0, 0.5])
    assert differ(one, both.assert_same(**options))


@pytest.mark.parametrize("kind", ["plain", "plus"])
def test_what_the_image_encoder_makes_can_be_kept(kind):
    both = Both("sd1", [kind])
    theirs, ours = both.call("prepare_ip_adapter_image_embeds", photo(50, 70), None, "cpu", 1, True)
    theirs = [embeds.detach() for embeds in theirs]
    assert theirs[0].shape == ours[0].shape and np.allclose(theirs[0].numpy(), ours[0], atol=1e-5)
    expected = draw(both.pipes[0], ip_adapter_image_embeds=theirs, num_inference_steps=2)
    images = draw(both.pipes[1], ip_adapter_image_embeds=ours, num_inference_steps=2)
    assert difference(expected, images) <= TOLERANCE


def test_the_vision_towers_outputs():
    import torch

    theirs, ours = (pipe.image_encoder for pipe in Both("sd1", ["plain"]).pipes)
    pixels = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(pixels), output_hidden_states=True)
    output = ours(pixels, output_hidden_states=True)
    assert np.allclose(expected.image_embeds.numpy(), output.image_embeds, atol=1e-5)
    assert np.allclose(expected.last_hidden_state.numpy(), output.last_hidden_state, atol=1e-5)
    assert len(expected.hidden_states) == len(output.hidden_states)
    assert all(np.allclose(a.numpy(), b, atol=1e-5) for a, b in zip(expected.hidden_states, output.hidden_states))
