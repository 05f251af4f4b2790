"""GGUF files live against diffusers' own reader of them."""

import diffusers
import numpy as np
import pytest

import mindone.diffusers
from golden.make_pipelines import draw, generators
from golden.make_sd3 import SMALL
from tiny_gguf import folder, published_file, transformer_file
from tiny_pipelines import load

pytestmark = pytest.mark.oracle

torch = pytest.importorskip("torch")


FLUX = {"prompt": "a red cat", "height": 64, "width": 96, "num_inference_steps": 3, "max_sequence_length": 16}
CASES = {
    "sd3": ("StableDiffusion3Pipeline", "SD3Transformer2DModel", SMALL),
    "flux": ("FluxPipeline", "FluxTransformer2DModel", FLUX),
}


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
@pytest.mark.parametrize("family", CASES)
def test_images_are_those_of_the_reference(family, engine):
    """The reference multiplies scales in half precision. It cuts FLUX.1's matrices where those of the published width
    are to be cut, and so gets them cut already."""
    pipeline, network, asked = CASES[family]
    theirs = getattr(diffusers, network).from_single_file(
        str(published_file(family) if family == "flux" else transformer_file(family)),
        quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=torch.float32),
        torch_dtype=torch.float32,
        config=str(folder(family)),
        subfolder="transformer",
    )
    expected_pipe = getattr(diffusers, pipeline).from_pretrained(folder(family), transformer=theirs)
    expected_pipe.set_progress_bar_config(disable=True)
    read = getattr(mindone.diffusers, network).from_single_file
    ours = read(transformer_file(family), config=folder(family), subfolder="transformer")
    pipe = load(folder(family), transformer=ours, engine=engine)
    expected = draw(expected_pipe, generators(1), **asked)
    images = pipe(**{"output_type": "np", **asked}, generator=generators(1)).images
    assert expected.shape == images.shape
    error = float(np.abs(expected - images).mean())
    print(f"{family} {engine}: {error:.1e}")
    assert error <= 2e-3
