"""Textual inversions live against diffusers, on the same tiny checkpoint and the same noise."""

import numpy as np
import pytest

from golden.make_pipelines import draw, generators, reference
from tiny_pipelines import checkpoint, load

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-3
"""Of the mean difference of pixels in [0, 1]."""


@pytest.mark.parametrize("count, engine", [(1, "openvino"), (3, "openvino"), (3, "mindspore")])
def test_a_word_draws_the_same(count, engine):
    import torch

    theirs, ours = reference(checkpoint("sd1")), load(checkpoint("sd1"), engine=engine)
    vectors = 3 * np.random.default_rng(0).standard_normal((count, ours.text_encoder.config["hidden_size"]))
    arguments = {"prompt": "a <cat-toy> on a mat", "num_inference_steps": 3}
    plain = draw(theirs, generators(1), **arguments)
    theirs.load_textual_inversion({"<cat-toy>": torch.tensor(vectors, dtype=torch.float32)})
    ours.load_textual_inversion({"<cat-toy>": vectors.astype(np.float32)})
    expected = draw(theirs, generators(1), **arguments)
    images = ours(**arguments, output_type="np", generator=generators(1)).images
    assert float(np.abs(expected - images).mean()) <= TOLERANCE
    assert float(np.abs(plain - images).mean()) > 3 * TOLERANCE
