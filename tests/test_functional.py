"""The operations of `functional` give PyTorch's numbers on both engines, and repeat shared rows where they meet."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from executed import executed
from functional_cases import ACTIVATIONS, CASES, Case
from mindone.diffusers import engines, functional as F
from mindone.diffusers.engines.binding import InMemory, bind
from mindone.diffusers.engines.cache import GraphCache
from mindone.diffusers.engines.openvino import activations

GOLDEN = np.load(Path(__file__).parent / "golden" / "functional.npz")
FLOAT32 = 2e-6  # of the largest value: float32 keeps 6e-8 of each term, and a few dozen are summed
HALF = 2e-2  # bfloat16 rounds each number by up to 2⁻⁹; PyTorch itself is off by up to 9e-3 in it


class Network(nn.Cell):
    """A network of one operation."""

    exceeds_float16 = False

    def __init__(self, case: Case, dtype: str = "float32"):
        super().__init__()
        self.function, self.constants = case.function, case.constants
        self.weights = ms.ParameterTuple([ms.Parameter(ms.Tensor(x), f"p{i}") for i, x in enumerate(case.weights)])
        for parameter, values in zip(self.weights, case.weights):
            bind(parameter, InMemory(values.astype(dtype)))
        self.dtype, self.graphs, self.passes, self.free_axes = dtype, GraphCache(), [], {}

    def release_weights(self):
        pass

    def construct(self, *inputs):
        return self.function(*inputs, *self.weights, **self.constants)


class InOneGraph(nn.Cell):
    """The results of several such networks, each for inputs of its own: Graph mode reads what they share once."""

    def __init__(self, cases: Sequence[Case]):
        super().__init__()
        self.networks = nn.CellList([Network(case) for case in cases])
        ends = np.cumsum([0, *(len(case.inputs) for case in cases)]).tolist()
        self.parts = tuple(pairwise(ends))
        self.dtype, self.graphs = "float32", GraphCache()

    def release_weights(self):
        pass

    def construct(self, *inputs):
        results = ()
        for i, (first, last) in enumerate(self.parts):
            results = (*results, self.networks[i](*inputs[first:last]))
        return results


def run(engine, network: Network, case: Case) -> np.ndarray:
    return engine.numpy(engine.run(network, *case.inputs))


def assert_close(given: np.ndarray, expected: np.ndarray, tolerance: float, name: str = "") -> None:
    assert given.shape == expected.shape, name
    np.testing.assert_allclose(given, expected, rtol=0, atol=tolerance * np.abs(expected).max(), err_msg=name)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", FLOAT32), ("float16", HALF)])
@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_operation_matches_reference(engine, name, dtype, tolerance):
    assert_close(run(engines.get(engine), Network(CASES[name], dtype), CASES[name]), GOLDEN[name], tolerance)


@pytest.mark.heavy
def test_operations_match_reference_in_graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        inputs = [x for case in CASES.values() for x in case.inputs]
        results = engines.get("mindspore").run(InOneGraph([*CASES.values()]), *inputs)
    finally:
        ms.set_context(mode=ms.PYNATIVE_MODE)
    for name, result in zip(CASES, results, strict=True):
        assert_close(result.asnumpy(), GOLDEN[name], FLOAT32, name)


@pytest.mark.skipif(not activations.MEASURED, reason="the device's own are used")
@pytest.mark.parametrize("function", ACTIVATIONS)
def test_activation_after_a_product_is_computed_apart_from_it_and_right_for_numbers_of_any_size(function):
    values = np.concatenate([np.linspace(-12, 12, 97), [-1e12, -1e4, -700, 700, 1e4, 1e12]]).astype(np.float32)
    case = Case(lambda x, weight: function(F.linear(x, weight)), (values[:, None],), (np.ones((1, 1), np.float32),))
    network = Network(case)
    given = run(engines.get("openvino"), network, case)[:, 0]
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(given, ACTIVATIONS[function](values.astype(np.float64)), rtol=1e-5, atol=2e-6)
    kinds = executed(network)
    assert kinds[kinds.index("FullyConnected") + 1] == "Subgraph"


@pytest.mark.parametrize("name", ["relu_linear_attention", "relu_linear_attention_of_pixels"])
def test_linear_attention_is_in_float32_whatever_its_network_computes_in(name):
    """Its operands are rounded as those of all layers are; these are chosen so that bfloat16 holds them as they are."""
    inputs = tuple((x.view(np.uint32) & 0xFFFF0000).view(np.float32) for x in CASES[name].inputs)
    case, engine = replace(CASES[name], inputs=inputs), engines.get("openvino")
    whole, half = (run(engine, Network(case, dtype), case) for dtype in ("float32", "bfloat16"))
    assert_close(half, whole, FLOAT32)


@pytest.mark.parametrize(
    ("name", "repeated"),
    [("modulated", 0), ("modulated_shared_timestep", 0), ("modulated_one_row", 1), ("modulated_shared_rows", 2)],
)
def test_shared_rows_are_repeated_once_where_they_meet_others(name, repeated):
    """Those of what is modulated, and those of the shortcut beside it; a single row is broadcast with other axes."""
    network, recorded = Network(CASES[name]), []
    network.passes.append(lambda graph, _: recorded.extend(node.get_type_name() for node in graph.get_ops()))
    run(engines.get("openvino"), network, CASES[name])
    assert recorded.count("Concat") == repeated


@pytest.mark.oracle
@pytest.mark.parametrize("name", CASES)
def test_golden_numbers_are_the_references(name):
    reference_functional = pytest.importorskip("reference_functional")
    assert_close(GOLDEN[name], reference_functional.run(CASES[name]), 1e-6)
