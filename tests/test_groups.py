"""Weights in 4 or 8 bits by group: what they stand for, and that OpenVINO keeps and multiplies them as they are."""

import numpy as np
import pytest

from grouped_products import IDS, SHAPES, Products, executed, expected, grouped, plain
from mindone.diffusers.engines.base import is_grouped
from mindone.diffusers.engines.mindspore.engine import MindSporeEngine
from mindone.diffusers.engines.openvino import OpenVINOEngine, groups
from mindone.diffusers.loading.groups import GroupedTensor, joined_groups
from mindone.diffusers.loading.original.key_map import joined
from mindone.diffusers.loading.safetensors import StoredTensor

KINDS = [(bits, signed, has_zero) for bits in (4, 8) for signed in (False, True) for has_zero in (False, True)]


@pytest.mark.parametrize(("bits", "signed", "has_zero"), KINDS)
def test_values_are_integers_less_the_zero_point_times_the_scale(bits, signed, has_zero):
    tensor = grouped(bits=bits, signed=signed, has_zero=has_zero)
    assert is_grouped(tensor) and tensor.group_size == 32
    np.testing.assert_allclose(tensor.numpy(), plain(tensor), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(tensor.rows(5, 9).numpy(), tensor.numpy()[5:9])
    np.testing.assert_array_equal(
        joined_groups([tensor.rows(9, 96), tensor.rows(0, 9)]).numpy()[:87], tensor.numpy()[9:]
    )
    kernel = tensor.reshape((96, 32, 2, 2))
    assert is_grouped(kernel)
    np.testing.assert_array_equal(kernel.numpy(), tensor.numpy().reshape(96, 32, 2, 2))


def test_weights_of_different_types_are_joined_in_one_that_holds_both():
    four, eight = grouped(), grouped(bits=8)
    half = StoredTensor.from_numpy(plain(eight)).cast("bfloat16")
    for parts in (
        (four, eight),
        (four, half),
        (half, four),
        (half, StoredTensor.from_numpy(plain(four).astype(np.float32))),
    ):
        whole = joined(parts)
        assert whole.dtype == "F32" and not is_grouped(whole)
        np.testing.assert_array_equal(whole.numpy(), np.concatenate([part.numpy(np.float32) for part in parts]))
    with pytest.raises(ValueError, match="types F32 and I8 cannot be joined"):
        joined([four, StoredTensor.from_numpy(np.zeros((1, 64), np.int8))])


@pytest.mark.parametrize(("bits", "signed", "has_zero"), KINDS)
def test_openvino_multiplies_and_looks_up_what_is_stored(bits, signed, has_zero):
    weights = [grouped(shape, bits, signed, has_zero, seed=i) for i, shape in enumerate(SHAPES)]
    network, engine = Products(*weights), OpenVINOEngine()
    result, wanted = engine.run(network, IDS), expected(*weights)
    assert np.abs(result - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert executed(network) == {("FullyConnected", TYPES[bits, signed]): 3, ("Gather", TYPES[bits, signed]): 1}


TYPES = {(4, False): "u4", (4, True): "i4", (8, False): "u8", (8, True): "i8"}


def test_scales_in_float16_are_widened_once_into_a_file_as_openvino_would_hold_them_twice():
    weights = [grouped(shape, 4, True, i > 0, 16, np.float16, i) for i, shape in enumerate(SHAPES)]
    network, types = Products(*weights), set()
    network.passes.append(lambda graph, *_: types.update(output_types(graph, "Constant")))
    wanted = expected(*weights)
    assert np.abs(OpenVINOEngine().run(network, IDS) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert executed(network) == {("FullyConnected", "i4"): 3, ("Gather", "i4"): 1}
    assert {"i4", "f32"} <= types and "f16" not in types


def output_types(graph, kind):
    return {each.get_output_element_type(0).get_type_name() for each in graph.get_ops() if each.get_type_name() == kind}


def test_half_precision_rounds_what_it_multiplies_and_not_the_zero_points():
    weights = [grouped(shape, seed=i) for i, shape in enumerate(SHAPES)]
    network, wanted = Products(*weights), expected(*weights)
    network.dtype = "bfloat16"
    assert np.abs(OpenVINOEngine().run(network, IDS) - wanted).max() <= 0.02 * np.abs(wanted).max()
    assert sum(count for (_, kind), count in executed(network).items() if kind == "u4") == 4


def test_a_weight_that_openvino_would_widen_is_named(monkeypatch):
    """Groups of two are too small for its kernels."""
    monkeypatch.setattr(groups, "LEAST_GROUP", 1)
    weights = [grouped(shape, size=2 if i == 1 else 32, seed=i) for i, shape in enumerate(SHAPES)]
    with pytest.raises(
        ValueError, match=r"Products: OpenVINO \S+ would widen the weight linear\.weight, stored in 4 or 8 bits"
    ) as found:
        OpenVINOEngine().run(Products(*weights), IDS)
    assert len(str(found.value).splitlines()) == 1


@pytest.mark.parametrize("widens", ["groups of two", "no kernels"])
def test_what_has_no_kernels_is_widened_before_it_is_compiled(widens, monkeypatch):
    if widens == "no kernels":
        monkeypatch.setattr(groups, "has_kernels", lambda: False)
    weights = [grouped(shape, size=2 if widens == "groups of two" else 32, seed=i) for i, shape in enumerate(SHAPES)]
    network, wanted = Products(*weights), expected(*weights)
    assert np.abs(OpenVINOEngine().run(network, IDS) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert {kind for _, kind in executed(network)} <= {"f32"}


def test_mindspore_widens_while_loading_and_says_so(caplog):
    weights = [grouped(shape, seed=i) for i, shape in enumerate(SHAPES)]
    network, wanted = Products(*weights), expected(*weights)
    for _ in range(2):
        result = MindSporeEngine().run(network, IDS).asnumpy()
    assert np.abs(result - wanted).max() <= 1e-5 * np.abs(wanted).max()
    (line,) = [record.getMessage() for record in caplog.records if "widened" in record.getMessage()]
    assert "3 are widened to float32" in line


def test_a_scale_that_is_no_number_is_refused_by_the_name_of_its_weight():
    weights = [grouped(shape, seed=i) for i, shape in enumerate(SHAPES)]
    weights[2].scale[5] = np.nan
    with pytest.raises(ValueError, match=r"the weight halves\.weight has values that are NaN or infinite"):
        OpenVINOEngine().run(Products(*weights), IDS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"packed": np.zeros((8, 3, 16), np.uint8)}, "groups of 32, 3 in a row, do not make a weight of"),
        ({"packed": np.zeros((8, 4, 16), np.int8)}, "integers in 4 bits must be uint8"),
        ({"scale": np.ones((8, 4), np.float32)}, "scale must be floats of shape"),
        ({"zero_point": np.ones((8, 4, 1), np.float64)}, "zero_point must be floats"),
        ({"bits": 5}, "has 4 or 8 bits and 2 axes or more"),
    ],
)
def test_parts_that_do_not_fit_one_another_are_refused(change, message):
    parts = {"packed": np.zeros((8, 4, 16), np.uint8), "scale": np.ones((8, 4, 1), np.float32), "zero_point": None}
    with pytest.raises(ValueError, match=message):
        GroupedTensor(**{"shape": (8, 128), "bits": 4, "signed": True, **parts, **change})
