"""First-block caching: what it computes, on both engines and for one stream and two, and what it refuses."""

import numpy as np
import pytest

from golden.make_pipelines import draw, generators, reference
from mindone.diffusers import (
    FirstBlockCacheConfig,
    PixArtTransformer2DModel,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    engines,
)
from mindone.diffusers.acceleration.first_block_cache import FirstBlockCache
from mindone.diffusers.acceleration.stack import parse_cache
from mindone.diffusers.acceleration.steps import Step
from mindone.diffusers.models.random_weights import write_random_network
from tiny_pipelines import checkpoint as checkpoint_of, load
from tiny_pixart import TRANSFORMER as PIXART
from tiny_sana import TRANSFORMER, checkpoint

ARGUMENTS = {"prompt": "A red cat", "height": 64, "width": 96, "use_resolution_binning": False}
STEPS = 6
MMDIT = {
    "sample_size": 8,
    "in_channels": 4,
    "num_layers": 3,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 12,
    "caption_projection_dim": 16,
    "pooled_projection_dim": 10,
    "out_channels": 4,
    "pos_embed_max_size": 8,
    "dual_attention_layers": [0],
    "qk_norm": "rms_norm",
}
KINDS = {
    "one stream": (SanaTransformer2DModel, TRANSFORMER),
    "one stream, and positions": (PixArtTransformer2DModel, PIXART),
    "two streams": (SD3Transformer2DModel, MMDIT),
}


class Calls:
    """A run of one network, whose calls are counted."""

    def __init__(self, network, engine):
        self.denoiser, self.engine, self.taps = network, engines.get(engine), []

    def __call__(self, step, *inputs, taps=None, **options):
        self.taps.append(taps)
        arrays = {name: self.engine.asarray(x) if name != "values" else x for name, x in options.items()}
        return self.engine.run(self.denoiser, *map(self.engine.asarray, inputs), taps=taps, **arrays)


def conditions(kind, rows, seed=0):
    rng = np.random.default_rng(seed)
    config = KINDS[kind][1]
    width = config.get("caption_channels") or config["joint_attention_dim"]
    texts = {"encoder_hidden_states": rng.standard_normal((rows, 5, width))}
    if kind == "two streams":
        texts["pooled_projections"] = rng.standard_normal((rows, 10))
    return {name: x.astype(np.float32) for name, x in texts.items()}


@pytest.mark.parametrize("engine", ["openvino", pytest.param("mindspore", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_block_and_what_the_others_added_are_the_whole_network(kind, engine, tmp_path):
    """Under guidance, whose halves share latents: a whole step, and then one at the same latents that is not."""
    network_class, config = KINDS[kind]
    write_random_network(network_class, config, tmp_path)
    run = Calls(network_class.from_pretrained(tmp_path), engine)
    latents = np.random.default_rng(1).standard_normal((1, config["in_channels"], 4, 6)).astype(np.float32)
    time, texts = np.full(1, 500.0, np.float32), conditions(kind, 2)
    expected = run.engine.numpy(run(None, latents, time, **texts))
    cached = FirstBlockCache(0.05, run, run)
    for index, left_out in enumerate((1, len(run.denoiser.blocks))):
        made = run.engine.numpy(cached(Step(index, 2, 500.0), latents, time, **texts))
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
        assert len(run.taps[-1].left_out) == left_out


def images_of(pipe, **options):
    return pipe(**ARGUMENTS, num_inference_steps=STEPS, generator=generators(1), output_type="np", **options).images


def test_a_threshold_of_nothing_changes_nothing():
    pipe = load(checkpoint("sana"))
    plain = images_of(pipe)
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=0))
    np.testing.assert_allclose(images_of(pipe), plain, atol=1e-5)
    pipe.transformer.disable_cache()


@pytest.mark.oracle
@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.2])
def test_images_and_whole_steps_are_the_references(threshold):
    import diffusers
    from diffusers.hooks import HookRegistry, apply_first_block_cache
    from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
    from diffusers.models.transformers.sana_transformer import SanaTransformerBlock

    TransformerBlockRegistry.register(SanaTransformerBlock, TransformerBlockMetadata(return_hidden_states_index=0))
    theirs, whole = reference(checkpoint("sana")), []
    apply_first_block_cache(theirs.transformer, diffusers.hooks.FirstBlockCacheConfig(threshold=threshold))
    HookRegistry.check_if_exists_or_initialize(theirs.transformer)._set_context("all")
    theirs.transformer.transformer_blocks[-1].attn1.register_forward_hook(lambda *_: whole.append(1))
    expected = draw(theirs, generators(1), **ARGUMENTS, num_inference_steps=STEPS)

    pipe, calls = load(checkpoint("sana")), []
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    run = pipe.engine.run
    pipe.engine.run = lambda *x, taps=None, **options: (calls.append(taps), run(*x, taps=taps, **options))[1]
    try:
        images = images_of(pipe)
    finally:
        del pipe.engine.run
    assert sum(taps is not None and len(taps.results) == 1 and not taps.read for taps in calls) == len(whole)
    assert float(np.abs(images - expected).mean()) <= 1e-4


def test_the_text_form_is_its_threshold():
    assert parse_cache("fbcache:0.1") == FirstBlockCacheConfig(threshold=0.1)
    assert FirstBlockCacheConfig(threshold=0.1).text == "fbcache:0.1"


@pytest.mark.parametrize(
    "model, why", [("sana-sprint", "starts from new noise"), ("sd1", "this denoiser is no sequence of blocks")]
)
def test_runs_in_which_it_means_nothing_are_refused(model, why):
    pipe = load(checkpoint(model) if model.startswith("sana") else checkpoint_of(model))
    pipe.denoiser.enable_cache(FirstBlockCacheConfig())
    try:
        with pytest.raises(ValueError, match=why):
            pipe("a cat")
    finally:
        pipe.denoiser.disable_cache()
