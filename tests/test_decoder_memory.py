"""What decoding is expected to take: the channels of the largest feature maps, by an autoencoder's config."""

import numpy as np
import pytest

from checkpoints import AUTOENCODER as KL, TINY_AUTOENCODER, random_weights, shapes_of
from mindone.diffusers import AutoencoderDC, AutoencoderKL, AutoencoderTiny
from mindone.diffusers.engines.openvino import graph
from mindone.diffusers.engines.openvino.engine import OpenVINOEngine
from mindone.diffusers.loading.weights import Weights
from mindone.diffusers.utils.decoder_memory import widest
from tiny_sana import AUTOENCODER as DC

STAGES = {f"{side}_block_out_channels": [16, 32, 32, 32, 32, 32] for side in ("encoder", "decoder")}
NARROW_KL = {
    **KL,
    "block_out_channels": [8, 16],
    "down_block_types": KL["down_block_types"][:2],
    "up_block_types": KL["up_block_types"][:2],
}


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("cls", "config", "channels"),
    [
        (AutoencoderKL, NARROW_KL, 16),
        (AutoencoderDC, {**DC, **STAGES}, 16),
        (AutoencoderDC, {**DC, **STAGES, "upsample_block_type": "interpolate"}, 16),
        (AutoencoderDC, {**DC, **STAGES, "decoder_layers_per_block": [0, 1, 1, 1, 1, 1]}, 8),
        (AutoencoderTiny, {**TINY_AUTOENCODER, "decoder_block_out_channels": [16, 16, 16, 8]}, 8),
    ],
    ids=["KL", "DC", "DC by neighbours", "DC without a last stage", "tiny"],
)
def test_the_largest_feature_maps_have_as_many_channels_as_the_config_says(cls, config, channels, monkeypatch):
    recorded = []
    compiled = graph.compile_graph
    monkeypatch.setattr(graph, "compile_graph", lambda made, *rest: recorded.append(made) or compiled(made, *rest))
    network = cls(**config)
    network.load(Weights.from_arrays(random_weights(shapes_of(network))), "float32")
    side = 8
    image = network.decode_with(
        OpenVINOEngine(), np.zeros((1, network.config["latent_channels"], side, side), np.float32)
    )
    [made] = recorded
    maps = [
        node.get_output_shape(i)
        for node in made.get_ordered_ops()
        if node.get_type_name() != "Constant" and node.get_output_partial_shape(0).is_static
        for i in range(node.get_output_size())
    ]
    largest = max(int(np.prod(shape)) for shape in maps if len(shape) == 4)
    assert largest == channels * np.prod(image.shape[2:])
    assert widest(network.config) == channels
