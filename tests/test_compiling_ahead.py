"""Graphs that a thread makes before they are needed: who waits for them, where errors go, and when there are none."""

import threading

import numpy as np
import pytest
from PIL import Image

from image_pipelines import load as load_class
from mindone.diffusers.engines.cache import GraphCache, compiling
from tiny_pipelines import checkpoint, images_of, load


def settle():
    """Wait for the threads that compile ahead."""
    for thread in threading.enumerate():
        if thread.name == "compile-ahead":
            thread.join()


def test_who_needs_the_graph_waits_and_gets_the_one_that_was_made_ahead():
    cache, begun, go, made = GraphCache(), threading.Event(), threading.Event(), []

    def make():
        begun.set()
        assert go.wait(60)
        made.append(object())
        return made[0]

    cache.make_ahead("key", make)
    assert begun.wait(60)
    found = []
    waiting = threading.Thread(target=lambda: found.append(cache.get("key", object)))
    waiting.start()
    while waiting.ident not in compiling:
        assert waiting.is_alive()
    go.set()
    waiting.join()
    assert found == made and len(made) == 1 and not compiling


def test_what_goes_wrong_is_raised_where_the_graph_is_needed():
    def make():
        raise ValueError("weights are NaN")

    cache = GraphCache()
    cache.make_ahead("key", make)
    settle()
    assert len(cache) == 0
    with pytest.raises(ValueError, match="weights are NaN"):
        cache.get("key", make)


def test_nothing_is_made_ahead_that_is_there_or_would_drop_another():
    cache, made = GraphCache(limit=1), []
    kept = cache.get("kept", object)
    cache.make_ahead("kept", lambda: made.append(1))
    cache.make_ahead("other", lambda: made.append(1))
    settle()
    assert made == [] and cache.get("kept", object) is kept


def test_two_graphs_are_made_ahead_at_a_time():
    go, made = threading.Event(), []

    def make():
        assert go.wait(60)
        made.append(1)

    caches = [GraphCache() for _ in range(4)]
    for cache in caches:
        cache.make_ahead("key", make)
    go.set()
    settle()
    assert len(made) == 2
    caches[3].make_ahead("key", make)
    settle()
    assert len(made) == 3


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_graph_made_ahead_is_the_one_that_decodes_and_pictures_are_the_same(family, monkeypatch):
    pipe = load(checkpoint(family))
    ahead = images_of(pipe)
    settle()
    assert len(pipe.vae.graphs) == 1
    monkeypatch.setattr(GraphCache, "make_ahead", lambda *arguments: None)
    assert np.array_equal(ahead, images_of(load(checkpoint(family))))


def test_a_picture_to_start_from_is_encoded_beside_it():
    pipe = load_class("StableDiffusionImg2ImgPipeline", checkpoint("sd1"))
    images_of(pipe, image=Image.new("RGB", (40, 56), "red"), strength=0.5)
    settle()
    assert len(pipe.vae.graphs) == 2  # encoder and decoder


@pytest.mark.parametrize("change", ["tiling", "offload", "latents", "big"])
def test_no_decoder_is_compiled_ahead_where_memory_or_the_call_forbids_it(change, monkeypatch):
    pipe = load(checkpoint("sd1"))
    ahead = []
    monkeypatch.setattr(type(pipe.engine), "compile_ahead", lambda *arguments, **options: ahead.append(options))
    options = {}
    if change == "tiling":
        pipe.enable_vae_tiling()
    elif change == "offload":
        pipe.enable_model_cpu_offload()
    elif change == "big":
        monkeypatch.setattr(type(pipe.unet), "is_big", True)
    else:
        options["output_type"] = "latent"
    images_of(pipe, **options)
    assert ahead == []
    if change == "big":
        monkeypatch.setattr(type(pipe.unet), "is_big", False)
        images_of(pipe)
        assert ahead == [{"method": "decode_latents"}]
