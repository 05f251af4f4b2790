"""Fewer keys and values at the UNet's largest level."""

import numpy as np
import pytest

from mindone.diffusers import UNet2DConditionModel
from tiny_pipelines import checkpoint, images_of, load


def sized(pipe, height=16, width=16):
    return images_of(pipe, height=height, width=width)


@pytest.mark.parametrize("engine", ["openvino", pytest.param("mindspore", marks=pytest.mark.heavy)])
def test_factor_1_equals_none_and_factor_2_does_not(engine):
    pipe = load(checkpoint("sd1"), engine=engine)
    before = sized(pipe)
    pipe.unet.enable_token_downsampling(factor=1)
    assert np.array_equal(sized(pipe), before)
    pipe.unet.enable_token_downsampling()
    assert not np.array_equal(sized(pipe), before)
    pipe.unet.disable_token_downsampling()
    assert np.array_equal(sized(pipe), before)


def test_keys_and_values_come_from_every_second_row_and_column():
    pipe = load(checkpoint("sd1"))
    attention = pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    weights = {name: np.asarray(pipe.unet.array(_path(pipe.unet, p))) for name, p in attention.parameters_and_names()}
    pipe.unet.enable_token_downsampling(2)
    replaced = pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    height, width, channels = 3, 5, weights["to_q.weight"].shape[1]
    x = np.random.default_rng(0).normal(size=(1, height * width, channels)).astype(np.float32)
    kept = x.reshape(height, width, channels)[::2, ::2].reshape(1, -1, channels)

    import mindspore as ms

    from mindone.diffusers.engines.mindspore.engine import prepare
    from mindone.diffusers.engines.operations import executing

    with executing():
        prepare(pipe.unet)
        ours = replaced(ms.Tensor(x), (height, width)).asnumpy()
    query, key, value = (
        (rows @ weights[f"to_{name}.weight"].T).reshape(-1, attention.heads, channels // attention.heads)
        for name, rows in (("q", x[0]), ("k", kept[0]), ("v", kept[0]))
    )
    scores = np.einsum("qhc,khc->hqk", query, key) / np.sqrt(query.shape[2])
    weighting = np.exp(scores - scores.max(-1, keepdims=True))
    weighting /= weighting.sum(-1, keepdims=True)
    mixed = np.einsum("hqk,khc->qhc", weighting, value).reshape(height * width, channels)
    expected = mixed @ weights["to_out.0.weight"].T + weights["to_out.0.bias"]
    assert np.abs(ours[0] - expected).max() < 1e-5


def _path(unet, parameter):
    return next(path for path, each in unet.parameters_and_names() if each is parameter)


@pytest.mark.heavy
def test_odd_sizes_are_drawn_and_the_parameters_keep_their_names(tmp_path):
    pipe = load(checkpoint("sdxl"))  # which attends at its second level alone
    names = [name for name, _ in pipe.unet.parameters_and_names()]
    pipe.unet.enable_token_downsampling(3)
    assert np.isfinite(sized(pipe, 40, 24)).all()
    assert [name for name, _ in pipe.unet.parameters_and_names()] == names
    pipe.unet.save_pretrained(tmp_path)
    again = UNet2DConditionModel.from_pretrained(tmp_path)
    assert [name for name, _ in again.parameters_and_names()] == names


def test_contradictions_are_refused():
    unet = load(checkpoint("sd1")).unet
    with pytest.raises(ValueError, match=r"whole number of at least 1, got 1\.5"):
        unet.enable_token_downsampling(1.5)
    with pytest.raises(ValueError, match="at the levels 0, got level 1"):
        unet.enable_token_downsampling(2, levels=[1])
