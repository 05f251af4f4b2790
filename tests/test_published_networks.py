"""Networks are called, cast, saved and asked about as the published API has it."""

import json

import mindspore as ms
import numpy as np
import pytest

from mindone.diffusers import AutoencoderKL, AutoencoderTiny, engines
from mindone.diffusers.models.outputs import DiagonalGaussianDistribution
from tiny_pipelines import checkpoint, load, tiny_autoencoder_folder

PROMPT = np.array([[1, 5, 9, 2]], np.int32)


@pytest.fixture(scope="module")
def pipe():
    return load(checkpoint("bk_sdm"))


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def kinds(x):
    """An array as NumPy and as a MindSpore tensor."""
    return x, ms.Tensor(x)


def test_a_unet_called_by_hand_gives_what_engines_get_from_it(pipe):
    unet = pipe.unet
    sample, text = draw(2, 4, 8, 8), draw(2, 6, unet.config.cross_attention_dim, seed=1)
    expected = engines.get("openvino").run(unet, sample, np.full(1, 10, np.float32), text)
    for x, y in zip(kinds(sample), kinds(text)):
        output = unet(x, 10, y)
        assert type(output.sample) is type(x)
        # The engines order their sums differently.
        np.testing.assert_allclose(np.asarray(output.sample), expected, atol=2e-5)
        plain = unet(x, np.array(10), encoder_hidden_states=y, return_dict=False)
        assert type(plain) is tuple
        np.testing.assert_array_equal(np.asarray(plain[0]), np.asarray(output["sample"]))


def test_an_autoencoder_encodes_to_a_distribution_and_decodes_back(pipe):
    vae, image = pipe.vae, np.tanh(draw(1, 3, 32, 32))
    expected = vae.encode_with(engines.get("openvino"), image)
    for x in kinds(image):
        latents = vae.encode(x).latent_dist
        assert type(latents.mode()) is type(x)
        np.testing.assert_allclose(np.asarray(latents.mode()), expected, atol=2e-5)
        decoded = vae.decode(latents.mode(), return_dict=False)[0]
        assert type(decoded) is type(x) and decoded.shape == x.shape
        np.testing.assert_array_equal(np.asarray(decoded), np.asarray(vae.decode(latents.mode()).sample))


def test_a_tiny_autoencoder_encodes_to_latents_that_scale_to_a_picture_and_back():
    vae = AutoencoderTiny.from_pretrained(tiny_autoencoder_folder())
    latents = vae.encode(np.tanh(draw(1, 3, 32, 32))).latents
    stored = vae.scale_latents(latents)
    assert stored.min() >= 0 and stored.max() <= 1
    np.testing.assert_allclose(vae.unscale_latents(stored), latents.clip(-3, 3), atol=1e-5)
    assert vae.decode(latents).sample.shape == (1, 3, 32, 32)


def test_latents_are_drawn_from_their_distribution():
    moments = np.concatenate([np.full((1, 4, 50, 50), 3.0), np.full((1, 4, 50, 50), np.log(4.0))], 1).astype(np.float32)
    latents = DiagonalGaussianDistribution(engines.get("openvino"), moments)
    drawn = latents.sample(np.random.default_rng(0))
    # 10,000 numbers of mean 3 and deviation 2: their mean is within 0.08 four times in a hundred thousand otherwise
    assert drawn.mean() == pytest.approx(3, abs=0.08) and drawn.std() == pytest.approx(2, abs=0.08)
    assert np.all(latents.std == 2) and np.all(latents.var == 4) and np.all(latents.mean == latents.mode())
    # KL(N(3, 4) || N(0, 1)) = (9 + 4 - 1 - log 4) / 2 for each number
    assert latents.kl() == pytest.approx([10_000 * (12 - np.log(4)) / 2], rel=1e-5)
    assert latents.kl(latents) == pytest.approx([0], abs=1e-3)
    assert latents.nll(latents.mean) == pytest.approx([10_000 * 0.5 * np.log(2 * np.pi * 4)], rel=1e-5)


def test_a_text_encoder_tells_its_states_by_name_and_index(pipe):
    encoder = pipe.text_encoder
    for ids in kinds(PROMPT):
        output = encoder(ids, output_hidden_states=True)
        assert output[0] is output.last_hidden_state and output[1] is output.pooler_output
        layers = encoder.config.num_hidden_layers
        assert len(output.hidden_states) == layers + 1
        skipped, _ = encoder(ids, skip=1, apply_final_norm=False, return_dict=False)
        np.testing.assert_allclose(np.asarray(output.hidden_states[-2]), np.asarray(skipped), atol=1e-6)
    with pytest.raises(ValueError, match="attention_mask must be None"):
        encoder(PROMPT, np.ones_like(PROMPT))


def test_a_text_encoder_with_projection_names_its_result():
    output = load(checkpoint("sdxl")).text_encoder_2(PROMPT)
    assert list(output) == ["text_embeds", "last_hidden_state"]
    assert output.text_embeds.shape[0] == 1 and output.text_embeds.ndim == 2


def test_a_network_is_cast_and_says_where_it_is(pipe):
    vae = pipe.vae
    try:
        assert vae.to(ms.float16) is vae and vae.dtype == "float16"
        assert vae.get_memory_footprint() == 2 * vae.num_parameters()
        assert vae.to("cpu").dtype == "float16" and vae.device == "cpu"
        with pytest.raises(ValueError, match="this process runs on cpu, got device 'cuda'; leave the device out"):
            vae.to("cuda:0")
        with pytest.raises(ValueError, match="float32, float16"):
            vae.to(ms.int32)
        with pytest.raises(TypeError, match="got memory_format; leave it out: the engines choose the layout"):
            vae.to(memory_format="channels_last")
    finally:
        vae.to(dtype="float32")


def test_parameters_are_counted(pipe):
    encoder = pipe.text_encoder
    config = encoder.config
    tables = (config.vocab_size + config.max_position_embeddings) * config.hidden_size
    assert encoder.num_parameters() - encoder.num_parameters(exclude_embeddings=True) == tables


def test_a_config_is_saved_read_and_makes_a_network_without_weights(pipe, tmp_path):
    pipe.vae.save_config(tmp_path)
    assert json.loads(pipe.vae.to_json_string()) == AutoencoderKL.load_config(tmp_path)
    again = AutoencoderKL.from_config(AutoencoderKL.load_config(tmp_path), scaling_factor=0.5)
    assert {**again.config, "scaling_factor": None} == {**pipe.vae.config, "scaling_factor": None}
    assert again.config.scaling_factor == 0.5


def test_memory_efficient_attention_has_its_published_names(pipe):
    unet = pipe.unet
    flashes = lambda: {cell.flash.enabled for _, cell in unet.cells_and_names() if getattr(cell, "flash", None)}  # noqa: E731
    unet.disable_xformers_memory_efficient_attention()
    assert flashes() == {False}
    unet.enable_xformers_memory_efficient_attention()
    assert flashes() == {True}
    with pytest.raises(ValueError, match="attention_op must be None"):
        unet.enable_xformers_memory_efficient_attention(attention_op="cutlass")


@pytest.mark.heavy
def test_arrays_and_tensors_may_be_mixed_in_one_call(pipe):
    x, y = draw(1, 4, 8, 8), draw(1, 77, 16)
    expected = pipe.unet(x, 10, y).sample
    mixed, other = pipe.unet(x, 10, ms.Tensor(y)).sample, pipe.unet(ms.Tensor(x), 10, y).sample
    assert isinstance(mixed, np.ndarray) and isinstance(other, ms.Tensor)
    np.testing.assert_array_equal(mixed, expected)
    np.testing.assert_allclose(other.asnumpy(), expected, atol=2e-5)
    residuals = pipe.unet(x, 10, y, mid_block_additional_residual=ms.Tensor(np.zeros((1, 16, 4, 4), np.float32))).sample
    np.testing.assert_array_equal(residuals, expected)


def test_what_is_no_array_is_refused_in_one_line(pipe):
    class Tensor:
        shape = (1, 77, 16)

    with pytest.raises(
        TypeError, match=r"UNet2DConditionModel takes NumPy arrays or ms.Tensor, got .*Tensor as input 3"
    ):
        pipe.unet(draw(1, 4, 8, 8), 10, Tensor())
    with pytest.raises(TypeError, match=r"CLIPTextModel takes NumPy arrays or ms.Tensor, got list as input 1"):
        pipe.text_encoder([[0, 1]])


@pytest.mark.parametrize("method", ["encode", "decode", "tiled_decode"])
def test_an_autoencoder_refuses_a_list_in_one_line(pipe, method):
    with pytest.raises(ValueError, match=r"^AutoencoderKL takes a NumPy array or an ms\.Tensor, got list$"):
        getattr(pipe.vae, method)([1, 2])


def test_a_unet_refuses_a_list_in_one_line(pipe):
    with pytest.raises(ValueError, match=r"^UNet2DConditionModel takes a NumPy array or an ms\.Tensor, got list$"):
        pipe.unet([1, 2], 1, [1, 2])
