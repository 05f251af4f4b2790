"""Calls that read or replace the inputs of layers, and leave layers out; the network stays as it is."""

from concurrent.futures import ThreadPoolExecutor

import mindspore as ms
import numpy as np
import pytest

from mindone.diffusers import UNet2DConditionModel, engines
from mindone.diffusers.engines import Taps, several, single
from mindone.diffusers.models.wrapping import cell_at
from tiny_pipelines import checkpoint


@pytest.fixture
def unet():
    return UNet2DConditionModel.from_pretrained(checkpoint("sd1"), subfolder="unet")


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    arrays = rng.normal(size=(1, 4, 8, 8)), np.full(1, 500.0), rng.normal(size=(2, 7, 16))
    return [array.astype(np.float32) for array in arrays]


@pytest.fixture
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.mark.heavy
def test_taps_act_in_graph_mode(unet, graph_mode):
    mindspore, openvino, cut = engines.get("mindspore"), engines.get("openvino"), unet.cuts[0]
    kept = []
    for seed in range(2):  # the first of each is the one that compiles
        noise, feature = mindspore.run(unet, *inputs(seed), taps=cut.reading)
        expected = openvino.run(unet, *inputs(seed), taps=cut.reading)
        for ours, other in zip((noise, feature), expected):
            np.testing.assert_allclose(ours.asnumpy(), other, atol=1e-4)
        kept.append((feature, expected[1]))
    for feature, expected in kept:
        above = mindspore.run(unet, *inputs(7), taps=cut.replacing, values=(feature,)).asnumpy()
        other = openvino.run(unet, *inputs(7), taps=cut.replacing, values=(expected,))
        np.testing.assert_allclose(above, other, atol=1e-4)


@pytest.mark.parametrize("name", ["openvino", "mindspore"])
def test_a_network_with_taps_is_the_network_without_them_once_they_are_gone(unet, name):
    engine, cut = engines.get(name), unet.cuts[1]
    cells = [cell_at(unet, path) for path in (cut.layer, *cut.below)]
    before = engine.numpy(engine.run(unet, *inputs()))
    _, feature = engine.run(unet, *inputs(), taps=cut.reading)
    engine.run(unet, *inputs(), taps=cut.replacing, values=(feature,))
    assert [cell_at(unet, path) for path in (cut.layer, *cut.below)] == cells
    np.testing.assert_array_equal(engine.numpy(engine.run(unet, *inputs())), before)


def test_the_weights_of_layers_that_are_left_out_are_not_read(unet):
    cut = unet.cuts[0]
    _, feature = engines.get("openvino").run(unet, *inputs(), taps=cut.reading)
    other = UNet2DConditionModel.from_pretrained(checkpoint("sd1"), subfolder="unet")
    engines.get("openvino").run(other, *inputs(), taps=cut.replacing, values=(feature,))
    read = {name for name, parameter in other.parameters_and_names() if hasattr(parameter, "found_sound")}
    assert read and not [name for name in read if name.startswith(tuple(f"{path}." for path in cut.below))]


def test_several_taps_at_a_time(unet):
    engine, cuts = engines.get("openvino"), unet.cuts
    whole = engine.run(unet, *inputs())
    noise, low, high = engine.run(unet, *inputs(), taps=Taps(read=(cuts[2].layer, cuts[0].layer)))
    np.testing.assert_array_equal(noise, whole)
    for cut, feature in ((cuts[2], low), (cuts[0], high)):
        above = engine.run(unet, *inputs(), taps=cut.replacing, values=(feature,))
        np.testing.assert_allclose(above, whole, atol=1e-5)


def test_threads_use_a_network_with_taps_and_without(unet):
    engine = engines.get("openvino")
    whole = engine.run(unet, *inputs())
    unet.graphs.clear()

    def run(number):
        taps = unet.cuts[number % 3].reading if number % 2 else None
        made = engine.run(unet, *inputs(), taps=taps)
        return made[0] if taps else made

    with ThreadPoolExecutor(4) as threads:
        for made in threads.map(run, range(8)):
            np.testing.assert_allclose(made, whole, atol=1e-6)


def test_a_result_of_another_kind_than_the_caller_knows_is_refused():
    x = np.zeros(3, np.float32)
    assert single(x) is x and several((x, x)) == (x, x)
    with pytest.raises(TypeError, match="expected one array, got tuple"):
        single((x, x))
    with pytest.raises(TypeError, match="expected a tuple of arrays, got ndarray"):
        several(x)
