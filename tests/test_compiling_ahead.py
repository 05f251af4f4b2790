"""Graphs that a thread makes before they are needed: who waits for them, where errors go, and when there are none;
and who may record, or run on tensors, at a time."""

import threading
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from PIL import Image

from image_pipelines import load as load_class
from mindone.diffusers.engines import operations
from mindone.diffusers.engines.cache import GraphCache, compiling
from mindone.diffusers.engines.mindspore import operators
from mindone.diffusers.engines.openvino.engine import OpenVINOEngine
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


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.heavy)])
def test_the_graph_made_ahead_is_the_one_that_decodes_and_pictures_are_the_same(family, monkeypatch):
    pipe = load(checkpoint(family))
    ahead = images_of(pipe)
    settle()
    assert len(pipe.vae.graphs) == 1
    monkeypatch.setattr(GraphCache, "make_ahead", lambda *arguments: None)
    assert np.array_equal(ahead, images_of(load(checkpoint(family))))


def test_a_picture_to_start_from_is_encoded_beside_it():
    pipe = load_class("StableDiffusionImg2ImgPipeline", checkpoint("bk_sdm"))
    images_of(pipe, image=Image.new("RGB", (40, 56), "red"), strength=0.5)
    settle()
    assert len(pipe.vae.graphs) == 2  # encoder and decoder


@pytest.mark.parametrize("change", ["tiling", "offload", "latents", "big"])
def test_no_decoder_is_compiled_ahead_where_memory_or_the_call_forbids_it(change, monkeypatch):
    pipe = load(checkpoint("bk_sdm"))
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


@pytest.fixture(params=["eager", "graph"])
def mode(request):
    """MindSpore's mode, which users choose."""
    previous = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE if request.param == "graph" else ms.PYNATIVE_MODE)
    yield ms.get_context("mode")
    ms.set_context(mode=previous)


def test_threads_record_side_by_side_each_with_its_own_recorder(mode):
    everyone, seen = threading.Barrier(3, timeout=60), []

    def record(recorder):
        with operations.recording(recorder):
            everyone.wait()  # none gets here before all record
            seen.append((operations.ops.name == recorder.name, ms.get_context("mode") == ms.PYNATIVE_MODE))
            everyone.wait()

    threads = [threading.Thread(target=record, args=(SimpleNamespace(name=name),)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(True, True)] * 3
    assert operations.ops is operators and ms.get_context("mode") == mode


def test_who_runs_on_tensors_waits_for_recordings_and_they_for_it():
    recording, go, order = threading.Event(), threading.Event(), []

    def record(name):
        with operations.recording(SimpleNamespace()):
            recording.set()
            assert go.wait(60)
            order.append(name)

    def run():
        with operations.executing(), operations.executing():
            order.append("run")
            second.start()
            second.join(0.05)  # it would record meanwhile, if it could
            order.append("ran" if operations.ops is operators else "disturbed")

    first, second = (threading.Thread(target=record, args=(name,)) for name in ("first", "second"))
    runner = threading.Thread(target=run)
    first.start()
    assert recording.wait(60)
    runner.start()
    go.set()
    for thread in (first, runner, second):
        thread.join()
    assert order == ["first", "run", "ran", "second"]


def test_networks_that_are_recorded_at_once_compute_what_they_compute_alone(mode):
    engine, inputs = OpenVINOEngine(), np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    alone, *together = (load(checkpoint("bk_sdm")).vae for _ in range(4))
    expected = alone.decode_with(engine, inputs)
    found = []
    threads = [
        threading.Thread(target=lambda vae=vae: found.append(vae.decode_with(engine, inputs))) for vae in together
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and all(np.array_equal(expected, each) for each in found)
