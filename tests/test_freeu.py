"""FreeU: what the reference draws with it, put on and taken off without a trace."""

import functools

import numpy as np
import pytest

from image_pipelines import difference, draw, load as load_class, reference
from mindone.diffusers import DeepCacheConfig, engines, functional as F
from tiny_pipelines import checkpoint, images_of, load

FACTORS = {"s1": 0.9, "s2": 0.2, "b1": 1.5, "b2": 1.6}


@functools.cache
def pipe_of(family, engine="openvino"):
    return load(checkpoint(family), engine=engine)


@pytest.mark.parametrize("engine", ["openvino", pytest.param("mindspore", marks=pytest.mark.heavy)])
def test_it_changes_pictures_and_leaves_no_trace(engine):
    pipe = pipe_of("sd1", engine)
    before, names = images_of(pipe), [name for name, _ in pipe.unet.parameters_and_names()]
    pipe.enable_freeu(**FACTORS)
    changed = images_of(pipe)
    assert np.abs(changed - before).max() > 1e-2
    assert [name for name, _ in pipe.unet.parameters_and_names()] == names
    pipe.enable_freeu(**{**FACTORS, "b2": 1.2})
    assert np.abs(images_of(pipe) - changed).max() > 1e-3
    pipe.disable_freeu()
    np.testing.assert_array_equal(images_of(pipe), before)


@pytest.mark.heavy
def test_both_engines_agree():
    images = []
    for engine in ("openvino", "mindspore"):
        pipe = pipe_of("sdxl", engine)
        pipe.enable_freeu(**FACTORS)
        images.append(images_of(pipe))
        pipe.disable_freeu()
    assert difference(*images) <= 1e-5


def test_factors_of_one_change_nothing():
    pipe = pipe_of("sd2")
    before = images_of(pipe)
    pipe.enable_freeu(1.0, 1.0, 1.0, 1.0)
    np.testing.assert_allclose(images_of(pipe), before, atol=1e-5)
    pipe.disable_freeu()


def test_feature_caches_see_it():
    pipe = pipe_of("sd2")
    pipe.enable_freeu(**FACTORS)
    expected = images_of(pipe)
    pipe.caches = [DeepCacheConfig(cache_interval=1)]
    np.testing.assert_allclose(images_of(pipe), expected, atol=1e-5)
    pipe.caches = None
    pipe.disable_freeu()


@pytest.mark.parametrize("name, value", [("s1", "0.9"), ("s2", 0), ("b1", -1.0), ("b2", float("nan")), ("b2", True)])
def test_factors_are_numbers_above_0(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a number above 0, got "):
        pipe_of("sd1").enable_freeu(**{**FACTORS, name: value})


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (2, 3)])
def test_the_slowest_waves_are_those_of_the_fourier_transform(size):
    """Against NumPy's transform, with the coefficients -1 and 0 of both axes scaled."""
    x = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)
    spectrum = np.fft.fftshift(np.fft.fft2(x), axes=(2, 3))
    row, column = size[0] // 2, size[1] // 2
    spectrum[..., row - 1 : row + 1, column - 1 : column + 1] *= 0.2
    expected = np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(2, 3))).real
    unet = pipe_of("sd1").unet
    type(unet).waves = lambda self, x: F.add_lowest_frequencies(x, -0.8)
    try:
        for name in ("openvino", "mindspore"):
            engine = engines.get(name)
            made = engine.numpy(engine.run(unet, x, method="waves"))
            np.testing.assert_allclose(made, expected, atol=2e-6)
    finally:
        del type(unet).waves


@pytest.mark.oracle
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_pictures_are_the_references(family):
    # Not without a middle stage: there the reference amplifies the lowest skip connection, which is the same tensor.
    name = "StableDiffusionXLPipeline" if family == "sdxl" else "StableDiffusionPipeline"
    pipes = reference(name, checkpoint(family)), load_class(name, checkpoint(family))
    for pipe in pipes:
        pipe.enable_freeu(**FACTORS)
    expected, images = (draw(pipe, height=72, width=88) for pipe in pipes)
    assert difference(expected, images) <= 1e-4
