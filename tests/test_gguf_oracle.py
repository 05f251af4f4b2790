"""GGUF files live against diffusers' own reader of them."""

import diffusers
import numpy as np
import pytest

from golden.make_pipelines import draw, generators, reference
from golden.make_sd3 import SMALL
from mindone.diffusers import SD3Transformer2DModel
from tiny_gguf import folder, transformer_file
from tiny_pipelines import load

pytestmark = pytest.mark.oracle

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_images_are_those_of_the_reference(engine):
    """The reference multiplies scales in half precision."""
    config = diffusers.GGUFQuantizationConfig(compute_dtype=torch.float32)
    theirs = diffusers.SD3Transformer2DModel.from_single_file(
        str(transformer_file()),
        quantization_config=config,
        torch_dtype=torch.float32,
        config=str(folder()),
        subfolder="transformer",
    )
    expected_pipe = diffusers.StableDiffusion3Pipeline(**{**reference(folder()).components, "transformer": theirs})
    expected_pipe.set_progress_bar_config(disable=True)
    ours = SD3Transformer2DModel.from_single_file(transformer_file(), config=folder(), subfolder="transformer")
    pipe = load(folder(), transformer=ours, engine=engine)
    expected = draw(expected_pipe, generators(1), **SMALL)
    images = pipe(**{"output_type": "np", **SMALL}, generator=generators(1)).images
    assert expected.shape == images.shape
    assert float(np.abs(expected - images).mean()) <= 2e-3
