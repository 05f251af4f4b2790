"""One compiled network at a time."""

import numpy as np

from mindone.diffusers.engines.openvino.graph import Graph
from tiny_pipelines import checkpoint, images_of, load


def test_offloading_holds_one_network_at_a_time_and_changes_no_image():
    pipe, most = load(checkpoint("bk_sdm")), []
    before = images_of(pipe)
    pipe.release()
    pipe.enable_model_cpu_offload()

    def look(given, step, timestep, tensors):
        most.append([name for name, part in pipe.components.items() if len(getattr(part, "graphs", ()))])
        return {}

    assert np.array_equal(images_of(pipe, callback_on_step_end=look), before)
    assert set(map(tuple, most)) == {("unet",)}
    assert not any(len(getattr(part, "graphs", ())) for part in pipe.components.values())
    pipe.disable_model_cpu_offload()
    images_of(pipe)
    assert all(len(pipe.components[name].graphs) for name in ("text_encoder", "unet", "vae"))


def test_a_big_network_gives_back_its_intermediate_results_and_draws_the_same(monkeypatch):
    pipe, rests = load(checkpoint("bk_sdm")), []
    before = images_of(pipe)
    monkeypatch.setattr(pipe.unet, "is_big", True)
    rest = Graph.rest
    monkeypatch.setattr(Graph, "rest", lambda graph: (rests.append(graph), rest(graph)))
    assert np.array_equal(images_of(pipe), before) and np.array_equal(images_of(pipe), before)
    assert len(rests) == 4  # once before the decoding and once after it, two times
