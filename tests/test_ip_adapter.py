"""IP-Adapters on pipelines: pictures as prompts, together with what makes drawing faster; and what is refused."""

import numpy as np
import pytest

from adapter_cases import CLIP_WIDTH, SUBFOLDER, WEIGHTS, ip_adapter, ip_adapter_folder
from image_pipelines import photo
from lora_cases import kohya, layers, networks
from mindone.diffusers import AutoPipelineForImage2Image, CLIPVisionModelWithProjection, DeepCacheConfig
from mindone.diffusers.loading.clip_image_processor import CLIPImageProcessor
from tiny_pipelines import checkpoint, images_of, load

SEEN = {"ip_adapter_image": photo(50, 70)}


def adapted(kind="plain", family="sd1", **options):
    pipe = load(checkpoint(family), **options)
    pipe.load_ip_adapter(ip_adapter_folder(family, kind), SUBFOLDER, WEIGHTS)
    return pipe


def difference(a, b):
    return float(np.abs(a - b).mean())


@pytest.fixture(scope="module")
def pipe():
    return adapted()


@pytest.fixture(scope="module")
def plain():
    return load(checkpoint("sd1"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"guidance_interval": (0.0, 0.5), "num_inference_steps": 4}, marks=pytest.mark.heavy),
        pytest.param({"cache": DeepCacheConfig(cache_interval=2), "num_inference_steps": 3}, marks=pytest.mark.heavy),
        pytest.param({"cross_attention_kwargs": {"scale": 0.5}}, marks=pytest.mark.heavy),
    ],
    ids=["alone", "guidance interval", "DeepCache", "LoRA"],
)
def test_with_the_scale_0_a_picture_changes_nothing(options, pipe, plain):
    options = dict(options)
    cache, lora = options.pop("cache", None), "cross_attention_kwargs" in options
    for each in (pipe, plain):
        if cache:
            each.unet.enable_cache(cache)
        if lora:
            each.load_lora_weights(kohya("sd1", {"unet": layers("sd1", "unet", ("attn2.to_q", "attn2.to_k"))}))
    try:
        pipe.set_ip_adapter_scale(1.0)
        seen = images_of(pipe, **SEEN, **options)
        pipe.set_ip_adapter_scale(0.0)
        unseen, expected = images_of(pipe, **SEEN, **options), images_of(plain, **options)
    finally:
        for each in (pipe, plain):
            each.unet.disable_cache()
            each.unload_lora_weights()
    assert difference(unseen, expected) < 1e-6
    assert difference(seen, expected) > 1e-3


def test_changing_the_scale_compiles_nothing_again(pipe):
    pipe.set_ip_adapter_scale(0.7)
    images_of(pipe, **SEEN)
    graphs = list(pipe.unet.graphs._graphs.values())
    pipe.set_ip_adapter_scale({"up": {"block_1": [0.1, 0.2, 0.3]}})
    images_of(pipe, **SEEN)
    assert list(pipe.unet.graphs._graphs.values()) == graphs


def test_a_callback_changes_the_scale_in_the_middle_of_a_run(pipe):
    pipe.set_ip_adapter_scale(1.0)
    to_the_end = images_of(pipe, **SEEN, num_inference_steps=4)

    def cut_off(pipe, step, timestep, tensors):
        pipe.set_ip_adapter_scale(0.0)
        return tensors

    assert difference(images_of(pipe, **SEEN, num_inference_steps=4, callback_on_step_end=cut_off), to_the_end) > 1e-4


def test_unguided_steps_see_the_picture_and_not_its_opposite(pipe):
    pipe.set_ip_adapter_scale(1.0)
    never = images_of(pipe, **SEEN, guidance_interval=(0.0, 0.0))
    np.testing.assert_array_equal(never, images_of(pipe, **SEEN, guidance_scale=1.0))


def test_the_networks_own_parameters_stay_what_they_are_called(plain):
    pipe = adapted("plus")
    names = plain.unet.published_parameters().keys()
    assert pipe.unet.published_parameters().keys() == names
    before = images_of(plain)
    pipe.unload_ip_adapter()
    assert pipe.image_encoder is None and pipe.unet.published_parameters().keys() == names
    np.testing.assert_array_equal(images_of(pipe), before)


def test_a_pipeline_with_an_image_encoder_is_saved_and_loaded(tmp_path):
    adapted().save_pretrained(tmp_path)
    pipe = load(tmp_path)
    assert isinstance(pipe.image_encoder, CLIPVisionModelWithProjection)
    pipe.load_ip_adapter(ip_adapter_folder("sd1", "plain"), SUBFOLDER, WEIGHTS, None)
    np.testing.assert_array_equal(images_of(pipe, **SEEN), images_of(adapted(), **SEEN))


def test_another_pipeline_of_the_same_networks_sees_pictures_too(pipe):
    other = AutoPipelineForImage2Image.from_pipe(pipe)
    pipe.set_ip_adapter_scale(1.0)
    one, two = (images_of(other, image=photo(), ip_adapter_image=photo(seed=seed), strength=1.0) for seed in (1, 2))
    assert difference(one, two) > 1e-3


def refused(message, pipe, **options):
    with pytest.raises(ValueError, match=message) as error:
        images_of(pipe, **options)
    assert "\n" not in str(error.value)


def test_calls_that_cannot_work_are_refused(pipe, plain, monkeypatch):
    picture, vectors = SEEN["ip_adapter_image"], np.zeros((2, 1, CLIP_WIDTH), np.float32)
    refused("an IP-Adapter is loaded: pass ip_adapter_image", pipe)
    refused("needs an IP-Adapter: call load_ip_adapter first", plain, **SEEN)
    refused("were both given", pipe, **SEEN, ip_adapter_image_embeds=[vectors])
    refused("for each of 1 IP-Adapters, got 2", pipe, ip_adapter_image=[picture, picture])
    refused("must be PIL images, got ndarray", pipe, ip_adapter_image=np.zeros((8, 8, 3)))
    refused("must be PIL images, got NoneType", pipe, ip_adapter_image=[[]])
    refused("a list with an array for each of 1 IP-Adapters, got ndarray", pipe, ip_adapter_image_embeds=vectors)
    shape = r"\[0\] must have the shape \(2, pictures, 24\), the first row for the negative prompt, got \(1, 1, 24\)"
    refused(shape, pipe, ip_adapter_image_embeds=[vectors[:1]])
    refused(r"\(1, pictures, 24\), got \(2, 1, 24\)", pipe, ip_adapter_image_embeds=[vectors], guidance_scale=1.0)
    monkeypatch.setattr(pipe, "image_encoder", None)
    refused("needs an image_encoder and the pipeline has None", pipe, **SEEN)


@pytest.mark.parametrize(
    "scale, message",
    [
        ([0.5, 0.5], "a list with one entry for each of 1 IP-Adapters, got 2"),
        ("0.5", "must be a number or a dict of blocks, got '0.5'"),
        ({"up": {"block_1": [0.1, 0.2]}}, "up.block_1 has 3 transformers, got 2"),
        ({"down": {"block_7": 1.0}}, "down has no transformers in 'block_7'"),
    ],
)
def test_scales_of_another_shape_are_refused(scale, message, pipe):
    with pytest.raises(ValueError, match=message):
        pipe.set_ip_adapter_scale(scale)


def test_adapters_that_do_not_fit_are_refused_and_leave_the_pipeline_as_it_was(plain, tmp_path):
    folder = ip_adapter_folder("sd1", "plain", encoder=False)
    with pytest.raises(FileNotFoundError, match=r"image encoder is missing: .*; image_encoder_folder= names its"):
        plain.load_ip_adapter(folder, SUBFOLDER, WEIGHTS)
    with pytest.raises(ValueError, match="is for another network"):
        plain.load_ip_adapter(ip_adapter_folder("sdxl", "plain"), SUBFOLDER, WEIGHTS)
    tensors = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in ip_adapter(networks("sd1")["unet"], "plain").items():
        part, name = name.split(".", 1)
        tensors[part][name] = tensor
    with pytest.raises(ValueError, match="tensors bring no image encoder"):
        plain.load_ip_adapter(tensors)
    with pytest.raises(ValueError, match="must agree in number, got 1, 2, 3"):
        plain.load_ip_adapter(folder, [SUBFOLDER] * 2, [WEIGHTS] * 3)
    pipe = load(checkpoint("sd1"))
    pipe.image_encoder = CLIPVisionModelWithProjection(projection_dim=12, hidden_size=16, num_attention_heads=2)
    with pytest.raises(ValueError, match=r"takes vectors of 24 channels, this one gives 12 \(projection_dim\)"):
        pipe.load_ip_adapter(folder, SUBFOLDER, WEIGHTS)
    with pytest.raises(ValueError, match="no IP-Adapter is loaded, so there is no scale"):
        pipe.set_ip_adapter_scale(1.0)
    assert images_of(pipe).shape == images_of(plain).shape


def test_an_adapter_without_image_encoder_takes_vectors(pipe):
    pipe.set_ip_adapter_scale(1.0)
    vectors = pipe.prepare_ip_adapter_image_embeds(SEEN["ip_adapter_image"], None)
    bare = load(checkpoint("sd1"))
    bare.load_ip_adapter(ip_adapter_folder("sd1", "plain", encoder=False), SUBFOLDER, WEIGHTS, None)
    assert bare.image_encoder is None and vectors[0].shape == (2, 1, CLIP_WIDTH)
    np.testing.assert_array_equal(images_of(bare, ip_adapter_image_embeds=vectors), images_of(pipe, **SEEN))


def test_the_file_itself_may_be_named(pipe):
    pipe = load(checkpoint("sd1"))
    pipe.load_ip_adapter(ip_adapter_folder("sd1", "plain") / SUBFOLDER / WEIGHTS, low_cpu_mem_usage=True)
    assert isinstance(pipe.feature_extractor, CLIPImageProcessor) and pipe.image_encoder is not None
