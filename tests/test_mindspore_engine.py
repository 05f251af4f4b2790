"""The MindSpore engine: its operations against NumPy, eagerly and in Graph mode, and what Ascend's kernel is handed."""

import inspect
import math
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from checkpoints import tiny
from functional_cases import ACTIVATIONS
from mindone.diffusers import functional as F
from mindone.diffusers.engines import FlashAttention
from mindone.diffusers.engines.binding import InMemory, bind
from mindone.diffusers.engines.cache import GraphCache
from mindone.diffusers.engines.mindspore import attention, convolution as by_columns, device
from mindone.diffusers.engines.mindspore.engine import MindSporeEngine
from mindone.diffusers.engines.openvino.engine import OpenVINOEngine
from mindone.diffusers.models.autoencoder_kl import AutoencoderKL
from tiny_pipelines import images_of, sharing

TOLERANCE = 2e-6  # float32 keeps 6e-8 of each term; a few hundred terms are summed, relative to a result of order one


@pytest.fixture(params=["eager", pytest.param("graph", marks=pytest.mark.heavy)])
def mode(request):
    """Every claim holds op by op and inside a compiled graph, two of them in the fast tests, too."""
    previous = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE if request.param == "graph" else ms.PYNATIVE_MODE)
    yield request.param
    ms.set_context(mode=previous)


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def test_numbers_of_numpy_are_those_of_python():
    pipe = sharing("bk_sdm", "mindspore")
    given = {"guidance_scale": 2.0, "num_inference_steps": 1, "height": 64, "output_type": "latent"}
    theirs = {"guidance_scale": np.float32(2), "num_inference_steps": np.int64(1), "height": np.int32(64)}
    np.testing.assert_array_equal(images_of(pipe, **{**given, **theirs}), images_of(pipe, **given))


def test_operators_with_settings_are_made_once(monkeypatch):
    """To make one takes longer than a small one runs, and an eager step of a UNet ran hundreds."""
    x, weight, bias = ms.Tensor(draw(1, 4, 8, 8)), ms.Tensor(draw(8, 4, 3, 3)), ms.Tensor(draw(8))
    grouped, tokens = ms.Tensor(draw(4, 1, 3, 3)), ms.Tensor(draw(1, 8, 8))

    def run_all():
        F.conv2d(x, weight, bias, padding=1)
        F.conv2d(x, grouped, None, padding=1, groups=4)
        F.linear(tokens, ms.Tensor(draw(8, 8)), bias)
        F.attention(tokens, tokens, tokens, heads=2)
        F.relu_linear_attention(tokens, tokens, tokens, heads=2)
        F.rms_norm(tokens, bias)
        F.average_channels(x, 2)

    run_all()
    made, init = [], ms.ops.Primitive.__init__
    monkeypatch.setattr(ms.ops.Primitive, "__init__", lambda self, *args: made.append(self) or init(self, *args))
    run_all()
    assert made == []


class Network(nn.Cell):
    """A network of one operation: ``function`` of its inputs and then its parameters, with static options."""

    def __init__(self, function, parameters=(), **options):
        super().__init__()
        self.function, self.options = function, options
        self.weights = ms.ParameterTuple([ms.Parameter(ms.Tensor(p), name=f"p{i}") for i, p in enumerate(parameters)])

    def construct(self, *inputs):
        return self.function(*inputs, *self.weights, **self.options)


def run(function, inputs, parameters=(), **options):
    result = Network(function, parameters, **options)(*[ms.Tensor(x) for x in inputs])
    return result.asnumpy()


def assert_close(given, expected, tolerance=TOLERANCE):
    assert given.dtype == np.float32
    assert given.shape == expected.shape
    np.testing.assert_allclose(given, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


# ---- the formulas, in float64 ----------------------------------------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def convolution(x, weight, bias, stride, sides):
    top, bottom, left, right = sides
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("bchwij,ocij->bohw", windows, weight.astype(np.float64)) + bias[:, None, None]


def multi_head(q, k, v, heads, causal=False):
    def split(x):
        return x.astype(np.float64).reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    scores = split(q) @ split(k).transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1] // heads)
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    return (softmax(scores) @ split(v)).transpose(0, 2, 1, 3).reshape(q.shape)


# ---- layers ----------------------------------------------------------------------------------------------------------


def test_linear_is_a_product_with_the_transposed_weight(mode):
    x, w, b = draw(2, 3, 5), draw(7, 5), draw(7)
    assert_close(run(F.linear, [x], [w, b]), x @ w.T + b)
    assert_close(run(F.linear, [x], [w]), x @ w.T)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(3, 1, 1), (3, 2, 1), (3, 2, (0, 1, 0, 1)), (3, 1, (2, 0, 1, 3)), (1, 1, 0), (14, 14, 0)],
)
def test_conv2d_is_the_sum_over_windows(mode, kernel, stride, padding):
    x, w, b = draw(2, 4, 28, 29), draw(6, 4, kernel, kernel) / kernel, draw(6)
    sides = (padding,) * 4 if isinstance(padding, int) else padding
    expected = convolution(x, w, b, stride, sides)
    assert_close(run(F.conv2d, [x], [w, b], stride=stride, padding=padding), expected)


def test_conv2d_in_bands_of_rows_gives_the_same_image(mode, monkeypatch):
    monkeypatch.setattr(by_columns, "COLUMNS_BYTES", 4 * 4 * 9 * 12 * 5)  # five rows at a time
    x, w, b = draw(1, 4, 12, 12, seed=1), draw(3, 4, 3, 3, seed=1), draw(3)
    assert_close(run(F.conv2d, [x], [w, b], padding=1), convolution(x, w, b, 1, (1, 1, 1, 1)))
    assert_close(run(F.conv2d, [x], [w, b], stride=2, padding=1), convolution(x, w, b, 2, (1, 1, 1, 1)))


def group_norm(x, weight, bias, groups, eps):
    return F.group_norm(x, groups, weight, bias, eps)


def test_group_norm_has_mean_zero_and_variance_one_in_each_group(mode):
    for shape in ((2, 12, 5, 7), (2, 12)):
        x, w, b = 3 * draw(*shape) + 2, draw(12), draw(12, seed=1)
        groups = x.astype(np.float64).reshape(2, 4, -1)
        y = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
        broadcast = (1, 12, 1, 1)[: len(shape)]
        expected = y.reshape(shape) * w.reshape(broadcast) + b.reshape(broadcast)
        assert_close(run(group_norm, [x], [w, b], groups=4, eps=1e-5), expected)


def test_layer_norm_has_mean_zero_and_variance_one_in_each_row(mode):
    x, w, b = 3 * draw(2, 3, 64) + 2, draw(64), draw(64, seed=1)
    wide = x.astype(np.float64)
    y = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    assert_close(run(F.layer_norm, [x], [w, b], eps=1e-5), y * w + b)


def test_embedding_takes_rows(mode):
    ids, table = np.array([[0, 3], [2, 2]], np.int32), draw(4, 5)
    assert_close(run(F.embedding, [ids], [table]), table[ids])


@pytest.mark.parametrize("mode", ["eager", "graph"], indirect=True)
def test_geglu_gates_its_first_half_with_its_second(mode):
    x, w, b = draw(2, 3, 5), draw(8, 5), draw(8)
    a, gate = np.split(x @ w.T + b, 2, -1)
    assert_close(run(F.geglu, [x], [w, b]), a * ACTIVATIONS[F.gelu](gate))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [0, 1])
def test_timestep_embedding_is_exact_at_large_timesteps(mode, flip, shift):
    values = np.array([[0.0, 1.0, 999.0]], np.float32)
    half = 16
    angles = values[..., None].astype(np.float64) * 10000.0 ** -(np.arange(half) / (half - shift))
    waves = [np.cos(angles), np.sin(angles)] if flip else [np.sin(angles), np.cos(angles)]
    given = run(F.timestep_embedding, [values], channels=32, flip_sin_to_cos=flip, downscale_freq_shift=shift)
    # float32 keeps 3e-5 of an angle of 999 and rounds each frequency once more
    assert_close(given, np.concatenate(waves, -1), 1e-4)


class Recorded(SimpleNamespace):
    """As much of a network as an engine needs for one operation; unlike its parent it can be referred to weakly."""


@pytest.mark.parametrize("channels", [33, 320])
def test_both_engines_compute_the_same_timestep_embedding(mode, channels):
    values = np.array([0.0, 251.0, 999.0], np.float32)
    options = {"channels": channels, "flip_sin_to_cos": True, "downscale_freq_shift": 0}
    recorded = Recorded(
        dtype="float32",
        graphs=GraphCache(),
        passes=(),
        free_axes={},
        exceeds_float16=False,
        release_weights=lambda: None,
        construct=lambda x: F.timestep_embedding(x, **options),
    )
    expected = OpenVINOEngine().run(recorded, values)
    # With frequencies of float64 on one of them, the cosines of 999 would differ by 6e-5.
    assert_close(run(F.timestep_embedding, [values], **options), expected, 2e-6)


# ---- attention -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_softmax_of_scaled_products(mode, causal):
    q = draw(2, 9, 24)
    k, v = (q, draw(2, 9, 24, seed=1)) if causal else (draw(2, 5, 24), draw(2, 5, 24, seed=1))
    assert_close(run(F.attention, [q, k, v], heads=3, causal=causal), multi_head(q, k, v, 3, causal))


@pytest.mark.parametrize("budget", [4 * 9 * 4, 4 * 9 * 9 * 2])
def test_attention_in_slices_gives_the_same_result(mode, monkeypatch, budget):
    monkeypatch.setattr(attention, "SCORES_BYTES", budget)  # four queries, two heads at a time
    q, k, v = draw(1, 9, 24), draw(1, 9, 24, seed=1), draw(1, 9, 24, seed=2)
    assert_close(run(F.attention, [q, k, v], heads=3, causal=True), multi_head(q, k, v, 3, True))


class StandInKernel:
    """The formula that Ascend's kernel computes, and what it was handed."""

    def __init__(self):
        self.dtypes, self.size, self.scale = set(), None, None

    def __call__(self, q, k, v, heads, scale):
        self.dtypes, self.size, self.scale = {x.dtype for x in (q, k, v)}, q.shape[-1], scale
        assert q.shape[1] == k.shape[1] == v.shape[1] == heads
        q, k, v = (x.asnumpy().astype(np.float32) for x in (q.float(), k.float(), v.float()))
        return ms.Tensor(softmax(q @ k.transpose(0, 1, 3, 2) * scale) @ v).astype(min(self.dtypes, key=str))


@pytest.mark.parametrize(
    ("size", "taken"), [(40, 64), (64, 64), (72, 80), (88, 96), (112, 120), (128, 128), (160, 256)]
)
def test_flash_attention_pads_heads_and_keeps_the_scale(size, taken):
    q, k, v = (draw(1, 2, 6, size, seed=i).astype(np.float16) for i in range(3))
    kernel = StandInKernel()
    y = attention.flash_attention(ms.Tensor(q), ms.Tensor(k), ms.Tensor(v), "float16", kernel)
    assert (kernel.size, kernel.scale, kernel.dtypes) == (taken, 1 / math.sqrt(size), {ms.float16})
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    expected = softmax(q @ k.transpose(0, 1, 3, 2) / math.sqrt(size)) @ v
    np.testing.assert_allclose(y.asnumpy(), expected, atol=2e-3)  # one rounding to float16 of numbers up to two


@pytest.mark.parametrize("cast_dtype", ["float16", "bfloat16"])
def test_flash_attention_casts_float32_and_casts_back(cast_dtype):
    q, k, v = (ms.Tensor(draw(1, 2, 6, 40, seed=i)) for i in range(3))
    kernel = StandInKernel()
    y = attention.flash_attention(q, k, v, cast_dtype, kernel)
    assert kernel.dtypes == {getattr(ms, cast_dtype)}
    assert y.dtype == ms.float32
    expected = attention.plain_attention(q, k, v).asnumpy()
    np.testing.assert_allclose(y.asnumpy(), expected, atol=2e-2)  # bfloat16 keeps 8 bits


@pytest.mark.parametrize(("size", "cast_dtype"), [(512, "float16"), (40, None)])
def test_flash_attention_leaves_what_the_kernel_does_not_take_to_plain_attention(size, cast_dtype):
    q, k, v = (ms.Tensor(draw(1, 2, 6, size, seed=i)) for i in range(3))
    kernel = StandInKernel()
    y = attention.flash_attention(q, k, v, cast_dtype, kernel)
    assert kernel.size is None
    assert_close(y.asnumpy(), attention.plain_attention(q, k, v).asnumpy())


def test_ascend_kernel_takes_the_arguments_it_is_given():
    q = np.zeros((1, 2, 6, 64))
    given = inspect.signature(ms.ops.flash_attention_score).bind(q, q, q, 2, scalar_value=0.1, input_layout="BNSD")
    assert list(given.arguments) == ["query", "key", "value", "head_num", "scalar_value", "input_layout"]


@pytest.fixture
def as_on_ascend(monkeypatch):
    """Takes the calls that are meant for Ascend, to those kernels of the same names that the CPU build has."""
    monkeypatch.setattr(device, "on_ascend", lambda: True)


@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, (0, 1, 0, 1)), (1, (2, 2, 1, 1))])
def test_convolution_kernel_gets_stride_and_sides_in_its_order(as_on_ascend, stride, padding):
    x, w, b = draw(2, 4, 6, 7), draw(6, 4, 3, 3) / 3, draw(6)
    sides = (padding,) * 4 if isinstance(padding, int) else padding
    given = F.conv2d(*map(ms.Tensor, (x, w, b)), stride, padding)
    assert_close(given.asnumpy(), convolution(x, w, b, stride, sides))


def test_kernels_compute_in_the_type_of_the_weights_on_ascend(as_on_ascend):
    x, w, b = ms.Tensor(draw(2, 3, 4)), ms.Tensor(draw(6, 4)).half(), ms.Tensor(draw(6)).half()
    y = F.linear(x, w, b)
    assert y.dtype == ms.float16
    expected = x.asnumpy() @ w.asnumpy().astype(np.float32).T + b.asnumpy()
    np.testing.assert_allclose(y.asnumpy(), expected, atol=1e-2)  # float16 keeps 11 bits of numbers up to eight
    assert F.timestep_embedding(ms.Tensor(np.float32([999.0])), 8, True, 0).dtype == ms.float32


def test_attention_on_ascend_goes_to_the_kernel_unless_causal_or_told_not_to(as_on_ascend, monkeypatch):
    kernel = StandInKernel()
    monkeypatch.setattr(attention, "_ascend_flash_kernel", kernel)
    q, k, v = draw(2, 9, 24), draw(2, 9, 24, seed=1), draw(2, 9, 24, seed=2)
    for causal, flash in ((True, FlashAttention()), (False, None), (False, FlashAttention(None))):
        given = F.attention(*map(ms.Tensor, (q, k, v)), 3, causal, flash)
        assert kernel.size is None
        assert_close(given.asnumpy(), multi_head(q, k, v, 3, causal))
    given = F.attention(*map(ms.Tensor, (q, k, v)), 3, False, FlashAttention())
    assert (kernel.size, kernel.scale) == (64, 1 / math.sqrt(8))
    np.testing.assert_allclose(given.asnumpy(), multi_head(q, k, v, 3), atol=5e-3)  # float16 in between


def test_interpolate_nearest_on_ascend_repeats_by_broadcasting(as_on_ascend):
    x = draw(2, 3, 4, 5)
    assert_close(F.interpolate_nearest(ms.Tensor(x), (8, 15)).asnumpy(), x.repeat(2, 2).repeat(3, 3))


def test_attention_on_a_cpu_is_exact_whatever_flash_says(mode):
    q, k, v = draw(2, 9, 24), draw(2, 5, 24), draw(2, 5, 24, seed=1)
    given = run(F.attention, [q, k, v], heads=3, flash=FlashAttention())
    assert_close(given, multi_head(q, k, v, 3))


def half_less_one(x):
    return F.affine(x, 0.5, -1.0)


# ---- element by element, shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "formula"),
    [
        *ACTIVATIONS.items(),
        (F.relu, lambda x: np.maximum(x, 0)),
        (F.tanh, np.tanh),
        (half_less_one, lambda x: 0.5 * x - 1),
    ],
)
def test_activation_is_its_formula(mode, function, formula):
    x = 3 * draw(2, 3, 5)
    assert_close(run(function, [x]), formula(x.astype(np.float64)))


def test_shapes_change_as_in_numpy(mode):
    x = draw(1, 3, 4, 5)
    assert_close(run(F.reshape, [x], shape=(3, -1)), x.reshape(3, -1))
    assert_close(run(F.transpose, [x], axes=(0, 2, 3, 1)), x.transpose(0, 2, 3, 1))
    assert_close(run(F.select, [x], index=2, axis=1), x[:, 2])
    assert_close(run(F.select, [x], index=-1, axis=-1), x[..., -1])
    assert_close(run(F.slice_axis, [], [x[0, 0]], axis=0, begin=0, end=3), x[0, 0, :3])
    assert_close(run(F.slice_axis, [x], axis=-1, begin=1, end=x.shape[-1], step=2), x[..., 1::2])
    assert_close(run(F.repeat_rows, [], [x[:1, 0, 0]], rows=2), np.tile(x[:1, 0, 0], (2, 1)))
    assert_close(run(F.add, [x[0, :1], x[0]]), x[0, :1] + x[0])


def join(a, b):
    return F.concat([a, b], 1)


def test_concat_joins_along_an_axis_and_widens_half_precision(mode):
    a, b = draw(2, 3), draw(2, 5)
    assert_close(run(join, [a, b]), np.concatenate([a, b], 1))
    assert_close(run(join, [a, b.astype(np.float16)]), np.concatenate([a, b.astype(np.float16)], 1))


@pytest.mark.parametrize("size", [(8, 10), (7, 9), (3, 11)])
def test_interpolate_nearest_repeats_the_neighbour(mode, size):
    x = draw(2, 3, 4, 5)
    rows, columns = np.arange(size[0]) * 4 // size[0], np.arange(size[1]) * 5 // size[1]
    assert_close(run(F.interpolate_nearest, [x], size=size), x[:, :, rows][..., columns])


@pytest.mark.parametrize(("token", "positions"), [(None, (2, 1)), (7, (1, 0)), (9, (2, 1))])
def test_token_at_first_is_the_first_of_equal_tokens(mode, token, positions):
    """An id that does not occur counts as found at the start, as in the published text encoders."""
    x, ids = draw(2, 4, 5), np.array([[1, 7, 9, 9], [1, 9, 0, 9]], np.int32)
    assert_close(run(F.token_at_first, [x, ids], token=token), x[[0, 1], positions])


def test_parameters_stored_in_half_precision_compute_in_float32_on_a_cpu(mode):
    x, w, b = draw(1, 4, 6, 6), draw(6, 4, 3, 3).astype(np.float16), draw(6).astype(np.float16)
    given = run(F.conv2d, [x], [w, b], padding=1)
    assert_close(given, convolution(x, w.astype(np.float32), b.astype(np.float32), 1, (1, 1, 1, 1)))
    tokens, matrix = draw(2, 3, 5), draw(7, 5).astype(np.float16)
    assert_close(run(F.linear, [tokens], [matrix]), tokens @ matrix.astype(np.float32).T)


def test_on_ascend_is_false_on_a_cpu():
    assert device.on_ascend() is False


# ---- the engine ------------------------------------------------------------------------------------------------------


class Doubler(nn.Cell):
    """What the engine asks of a model, with one weight: ``weight · x + shift``, or times two."""

    def __init__(self, dtype="float32"):
        super().__init__()
        self.weight = ms.Parameter(ms.Tensor(np.float32([[3.0]])), name="weight")
        self.dtype, self.graphs = dtype, GraphCache()
        bind(self.weight, InMemory(np.float16([[3.0]])))

    def release_weights(self):
        pass

    def construct(self, x, shift=None):
        y = F.linear(x, self.weight)
        return y if shift is None else y + shift

    def doubled(self, x, times: int = 1):
        y = x
        for _ in range(times):
            y = F.affine(y, 2.0)
        return y, x


@pytest.mark.parametrize("mode", ["eager", "graph"], indirect=True)
def test_engine_runs_any_method_on_numpy_arrays(mode):
    engine, model = MindSporeEngine(), Doubler()
    x = np.float32([[1.0], [2.0]])
    assert engine.numpy(engine.run(model, x)).tolist() == [[3.0], [6.0]]
    assert engine.numpy(engine.run(model, x, shift=x)).tolist() == [[4.0], [8.0]]
    assert engine.numpy(engine.run(model, x, shift=None)).tolist() == [[3.0], [6.0]]
    for times in (1, 3):
        y, same = engine.run(model, engine.asarray(x), method="doubled", times=times)
        assert engine.numpy(y).tolist() == (x * 2**times).tolist()
        assert engine.numpy(same).tolist() == x.tolist()


def test_engine_compiles_in_graph_mode_only_and_keeps_the_graph_on_the_model(mode):
    engine, model = MindSporeEngine(), Doubler()
    for _ in range(2):
        engine.run(model, np.float32([[1.0]]), method="doubled")
    assert len(model.graphs) == (1 if mode == "graph" else 0)


def test_engine_computes_in_float32_on_a_cpu_whatever_the_model_is_stored_in():
    model = Doubler("float16")
    result = MindSporeEngine().run(model, np.float64([[1.0]]))
    assert model.weight.dtype == ms.float32
    assert result.dtype == ms.float32


def test_engine_hands_over_integers_as_int32():
    _, ids = MindSporeEngine().run(Doubler(), np.int64([[1]]), method="doubled")
    assert ids.dtype == ms.int32


def test_engine_arrays_come_and_go_as_float32():
    engine = MindSporeEngine()
    a = engine.asarray(np.float64([[0.5, 1.5]]))
    assert isinstance(a, ms.Tensor) and a.dtype == ms.float32
    half = a.astype(ms.bfloat16)
    assert engine.numpy(half).dtype == np.float32
    assert engine.numpy(engine.concat([a, a * 2.0, half])).tolist() == [[0.5, 1.5], [1.0, 3.0], [0.5, 1.5]]
    assert engine.numpy(engine.concat([a, a], axis=-1)).shape == (1, 4)


def test_a_result_does_not_change_with_the_tensor_it_came_from():
    engine = MindSporeEngine()
    tensor = engine.asarray(np.zeros(2))
    result = engine.numpy(tensor)
    result += 1
    assert engine.numpy(tensor).tolist() == [0.0, 0.0]


# ---- whole networks --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny("bk_sdm", tmp_path_factory.mktemp("tiny") / "bk_sdm")


def eager_and_compiled(model, *inputs, **options):
    engine, results = MindSporeEngine(), []
    previous = ms.get_context("mode")
    for mode in (ms.PYNATIVE_MODE, ms.GRAPH_MODE):
        ms.set_context(mode=mode)
        try:
            result = engine.run(model, *inputs, **options)
            results.append([engine.numpy(x) for x in (result if isinstance(result, tuple) else (result,))])
        finally:
            ms.set_context(mode=previous)
    return zip(*results)


@pytest.mark.heavy
def test_autoencoder_gives_the_same_compiled(checkpoint):
    model = AutoencoderKL.from_pretrained(checkpoint, subfolder="vae")
    latents = draw(1, model.config.latent_channels, 4, 4)
    for eager, compiled in eager_and_compiled(model, latents, method="decode_latents"):
        assert_close(compiled, eager)


# ---- against PyTorch -------------------------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize(("channels", "size", "stride"), [(32, 33, 1), (64, 16, 2), (320, 32, 1)])
def test_conv2d_matches_torch(channels, size, stride):
    torch = pytest.importorskip("torch")
    x, w, b = draw(2, channels, size, size), draw(48, channels, 3, 3) / math.sqrt(9 * channels), draw(48)
    # In float64: where PyTorch picks Winograd's algorithm, its float32 is further off than ours.
    exact = [torch.from_numpy(each).double() for each in (x, w, b)]
    expected = torch.nn.functional.conv2d(*exact, stride=stride, padding=1)
    assert_close(run(F.conv2d, [x], [w, b], stride=stride, padding=1), expected.numpy())


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("queries", "keys", "heads", "causal"), [(256, 256, 8, False), (64, 77, 4, False), (77, 77, 2, True)]
)
def test_attention_matches_torch(queries, keys, heads, causal):
    torch = pytest.importorskip("torch")
    q, k, v = draw(2, queries, 64), draw(2, keys, 64, seed=1), draw(2, keys, 64, seed=2)
    split = [torch.from_numpy(x).unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*split, is_causal=causal)
    given = run(F.attention, [q, k, v], heads=heads, causal=causal)
    assert_close(given, expected.transpose(1, 2).flatten(2).numpy())


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(2, 320, 16, 16), (1, 128, 64, 64)])
def test_group_norm_matches_torch(shape):
    torch = pytest.importorskip("torch")
    x, w, b = 3 * draw(*shape) + 2, draw(shape[1]), draw(shape[1], seed=1)
    expected = torch.nn.functional.group_norm(torch.from_numpy(x), 32, torch.from_numpy(w), torch.from_numpy(b), 1e-5)
    assert_close(run(group_norm, [x], [w, b], groups=32, eps=1e-5), expected.numpy())
