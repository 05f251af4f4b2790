"""LoRAs that prompts name: one pipeline for a set of them, and weights that belong to the request."""

import threading
from itertools import pairwise

import numpy as np
import pytest

from lora_cases import kohya, layers, stored
from mindone.diffusers.jobs import Job, LoadedPipelines, draw, load
from mindone.diffusers.jobs.loaded import held_bytes
from mindone.diffusers.loading.safetensors import save_file
from mindone.diffusers.server.catalogue import Catalogue, Choice
from mindone.diffusers.server.refusals import Refusal
from mindone.diffusers.server.settings import Settings
from tiny_pipelines import checkpoint


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loras")
    for name, mark in (("style", "attn1.to_q"), ("film", "conv1")):
        modules = {
            "unet": layers("bk_sdm", "unet", (mark,)),
            "text_encoder": layers("bk_sdm", "text_encoder", ("fc1",)),
        }
        save_file(stored(kohya("bk_sdm", modules)), folder / f"{name}.safetensors")
    names = tuple(str(folder / f"{name}.safetensors") for name in ("style", "film"))
    return Catalogue(Settings(model=(str(checkpoint("bk_sdm")),), lora=names, dtype="float32", engine="openvino"))


def job_of(catalogue, prompt):
    key, text = catalogue.key_for(Choice(), prompt)
    return Job(**key.to_dict(), prompt=text, steps=2, seed=0)


def image_of(pipe, job):
    return np.asarray(draw(pipe, job)[0], np.float32)


PROMPTS = [f"a cat <lora:style:{i / 10}>" for i in range(15)]


@pytest.mark.heavy
def test_fifteen_weights_are_one_pipeline_and_compile_nothing_again(catalogue):
    loaded = []

    def noted(key):
        loaded.append(key)
        return load(key)

    kept = LoadedPipelines(load=noted)
    images, graphs = [], set()
    for prompt in PROMPTS:
        job = job_of(catalogue, prompt)
        pipe = kept.get(job.pipeline_key)
        images.append(image_of(pipe, job))
        graphs.add(tuple(map(id, pipe.unet.graphs._graphs.values())))
    assert len(loaded) == 1 and len(graphs) == 1
    assert all(np.abs(a - b).mean() > 0.05 for a, b in pairwise(images))  # of 255: each weight has its picture
    fixed = job_of(catalogue, PROMPTS[7])
    np.testing.assert_array_equal(image_of(load(fixed), fixed), images[7])


def test_sixty_tags_of_one_lora_are_one(catalogue):
    many, one = job_of(catalogue, "a cat" + " <lora:style:0.01>" * 60), job_of(catalogue, "a cat <lora:style:0.6>")
    assert many.pipeline_key == one.pipeline_key and len(many.lora) == 1
    pipe = load(many)
    assert pipe.get_active_adapters() == ["lora_0"]
    assert np.abs(image_of(pipe, many) - image_of(pipe, one)).mean() < 0.1


def test_two_loras_in_any_order_are_one_pipeline(catalogue):
    a = job_of(catalogue, "a cat <lora:style:0.5> <lora:film:0.8>")
    b = job_of(catalogue, "a cat <lora:film:0.8> <lora:style:0.5>")
    assert a == b
    other = job_of(catalogue, "a cat <lora:film:0.1> <lora:style>")
    assert other.pipeline_key == a.pipeline_key != job_of(catalogue, "a cat <lora:film>").pipeline_key


def test_the_two_weights_of_a_tag_are_those_of_text_encoder_and_unet(catalogue):
    job = job_of(catalogue, "a cat <lora:style:0.3:0.9>")
    assert catalogue.public(job).lora == ("style:0.3:0.9",)
    pipe = load(job)
    pipe.set_adapters("lora_0", {"unet": 0.9, "text_encoder": 0.3})
    expected = image_of(pipe, job.changed(lora=()))
    np.testing.assert_array_equal(image_of(pipe, job), expected)
    assert np.abs(image_of(pipe, job_of(catalogue, "a cat <lora:style:0.9>")) - expected).mean() > 0.05


def test_threads_have_weights_of_their_own(catalogue):
    jobs = [job_of(catalogue, prompt) for prompt in PROMPTS[:9:4]]
    pipe = load(jobs[0])
    alone = [image_of(pipe, job) for job in jobs]
    together = {}

    def work(i):
        together[i] = image_of(pipe, jobs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, image in enumerate(alone):
        np.testing.assert_array_equal(together[i], image)


@pytest.mark.parametrize("tag", ["<lora:style:->", "<lora:style:1e999>", "<lora:style:1:2:3>", "<lora:style:999>" * 2])
def test_a_tag_whose_weights_are_none_is_refused(catalogue, tag):
    with pytest.raises(Refusal) as refusal:
        catalogue.key_for(Choice(), f"a cat {tag}")
    assert (refusal.value.status, refusal.value.field) == (422, "prompt")
    assert "safetensors" not in refusal.value.message  # nor does it say the operator's paths


def test_what_is_compiled_counts_against_the_limit(catalogue):
    jobs = [job_of(catalogue, prompt) for prompt in ("a cat", "a cat <lora:style>")]
    first = load(jobs[0])
    bare = held_bytes(first)
    kept = LoadedPipelines(limit=int(2.5 * bare))
    pipes = [kept.get(job.pipeline_key) for job in jobs]
    assert len(list(kept)) == 2
    draw(pipes[1], jobs[1])
    assert held_bytes(pipes[1]) > 1.8 * bare  # one graph of each network
    kept.get(jobs[1].pipeline_key)
    assert list(kept) == [jobs[1].pipeline_key]


@pytest.mark.parametrize("precision, each", [("bf16", 2), ("f32", 4)])
def test_a_cpu_without_16_bits_holds_weights_in_float32(precision, each, catalogue, monkeypatch):
    monkeypatch.setattr("mindone.diffusers.engines.openvino.compiling.half_precision", lambda: precision)
    monkeypatch.setattr("mindone.diffusers.engines.openvino.compiling._half_types", lambda: {precision})
    pipe = load(job_of(catalogue, "a cat").changed(dtype="float16"))
    networks = (pipe.unet, pipe.vae, pipe.text_encoder)
    assert held_bytes(pipe) == each * sum(network.num_parameters() for network in networks)
