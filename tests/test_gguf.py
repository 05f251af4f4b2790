"""GGUF files: the values of each type against the gguf package's own, and what is refused, in one line each."""

import re
import struct

import gguf
import numpy as np
import pytest

from gguf_files import SCALES, Quantised, random_blocks, write_gguf
from grouped_products import Products, executed
from mindone.diffusers.engines.base import is_grouped
from mindone.diffusers.engines.openvino import OpenVINOEngine
from mindone.diffusers.loading.gguf import GGUFFile
from mindone.diffusers.loading.safetensors import StoredTensor

WITH_LEAST = {kind for kind, places in SCALES.items() if len(places) > 1}


def opened(tmp_path, tensors, *args, **options) -> GGUFFile:
    return GGUFFile(write_gguf(tmp_path / "x.gguf", tensors, *args, **options))


@pytest.mark.parametrize("kind", SCALES)
def test_values_are_those_of_the_gguf_package(kind, tmp_path):
    blocks = random_blocks(kind, 6, 512)
    tensor = opened(tmp_path, {"w": blocks})["w"]
    assert tensor.shape == (6, 512) and is_grouped(tensor)
    # (q - zp) · s instead of q · s + least: two roundings of float32 apart.
    np.testing.assert_allclose(tensor.numpy(), blocks.values, rtol=0, atol=1e-7 if kind in WITH_LEAST else 0)
    assert (tensor.zero_point is not None) == (kind in WITH_LEAST)
    np.testing.assert_array_equal(tensor.rows(2, 5).numpy(), tensor.numpy()[2:5])
    assert is_grouped(tensor.rows(2, 5)) and is_grouped(tensor.reshape((6, 32, 4, 4)))


@pytest.mark.parametrize("kind", sorted(WITH_LEAST))
def test_a_group_without_a_scale_has_its_least_value_throughout(kind, tmp_path):
    blocks = random_blocks(kind, 4, 256)
    place = SCALES[kind][0]
    flat = blocks.blocks.reshape(4, -1, gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][1])
    flat[:2, :, place : place + 2] = 0
    expected = Quantised(kind, blocks.blocks).values
    assert np.ptp(expected[:2].reshape(2, -1, 16), axis=-1).max() == 0
    np.testing.assert_allclose(opened(tmp_path, {"w": blocks})["w"].numpy(), expected, rtol=0, atol=1e-7)


def test_types_without_blocks_are_what_they_are(tmp_path):
    values = np.random.default_rng(0).standard_normal((3, 8), np.float32)
    half = StoredTensor.from_numpy(values).cast("bfloat16")
    file = opened(tmp_path, {"a": values, "b": values.astype(np.float16), "c": half})
    assert [tensor.dtype for tensor in file.values()] == ["F32", "F16", "BF16"]
    np.testing.assert_array_equal(file["a"].numpy(), values)
    np.testing.assert_array_equal(file["c"].numpy(), half.numpy())
    assert file.architecture == "sd3" and dict(file.types) == {"a": "F32", "b": "F16", "c": "BF16"}


def test_rows_of_256_get_the_shape_back_that_comfyui_notes(tmp_path):
    blocks = random_blocks("Q4_K", 9, 256)
    shapes = {"kernel": (8, 32, 3, 3), "few": (64, 4, 3, 3)}
    file = opened(tmp_path, {"kernel": blocks, "few": blocks, "vector": random_blocks("Q8_0", 64)}, shapes=shapes)
    assert file["kernel"].shape == (8, 32, 3, 3) and is_grouped(file["kernel"])
    for name, shape in shapes.items():
        np.testing.assert_allclose(file[name].numpy(), blocks.values.reshape(shape), rtol=0, atol=1e-7)
    # Groups of 32 do not come out even in rows of 36, and a vector has no rows.
    assert not is_grouped(file["few"]) and not is_grouped(file["vector"]) and file["vector"].shape == (64,)
    np.testing.assert_array_equal(file["few"].rows(8, 16).numpy(), file["few"].numpy()[8:16])


def test_opening_a_file_unpacks_nothing_and_what_is_unpacked_is_kept_in_a_file(tmp_path):
    file = opened(tmp_path, {"w": random_blocks("Q6_K", 64, 256)})
    tensor = file["w"].rows(0, 32)
    assert file._scratch.nbytes == 0
    values = tensor.numpy()
    used = file._scratch.nbytes
    assert used > 0
    file.release()
    np.testing.assert_array_equal(tensor.numpy(), values)
    assert file["w"].packed.base is not None and file._scratch.nbytes == used


@pytest.mark.parametrize("kind", SCALES)
def test_openvino_keeps_every_type_in_the_compiled_graph(kind, tmp_path):
    blocks = [random_blocks(kind, outs, 256, seed=i, largest=1.0) for i, outs in enumerate((300, 256, 64))]
    file = opened(tmp_path, {f"w{i}": each for i, each in enumerate(blocks)})
    network = Products(*file.values())
    ids = np.array([[3, 0, 299]], np.int32)
    a, b = np.split(blocks[0].values[ids] @ blocks[1].values.T @ blocks[2].values.T, 2, -1)
    error = np.abs(OpenVINOEngine().run(network, ids) - (a + b)).max() / np.abs(a + b).max()
    assert error <= 1e-5
    kept = {"Q8_0": "i8", "Q5_0": "i8", "Q6_K": "i8", "Q5_1": "u8", "Q5_K": "u8", "Q4_0": "i4", "Q3_K": "i4"}
    assert executed(network) == {("FullyConnected", kept.get(kind, "u4")): 3, ("Gather", kept.get(kind, "u4")): 1}


# ---- what is refused -------------------------------------------------------------------------------------------------


def refusal(path) -> str:
    with pytest.raises(ValueError) as found:
        GGUFFile(path)
    message = str(found.value)
    assert message.startswith(str(path)) and len(message.splitlines()) == 1 and len(message) < 400 + len(str(path))
    return message


@pytest.mark.parametrize("kind", ["IQ4_XS", "TQ1_0", "MXFP4"])
def test_types_with_code_books_are_named(kind, tmp_path):
    _, nbytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    blocks = Quantised(kind, np.zeros((2, nbytes), np.uint8))
    path = write_gguf(tmp_path / "x.gguf", {"w": blocks})
    assert f"tensor 'w' has unsupported type {kind}; supported: Q8_0, " in refusal(path)


def test_a_type_that_nobody_knows_is_named(tmp_path):
    path = write_gguf(tmp_path / "x.gguf", {"w": random_blocks("Q8_0", 2, 32)})
    content = path.read_bytes()
    place = content.index(b"\x01\x00\x00\x00\x00\x00\x00\x00w") + 9 + 4 + 16
    path.write_bytes(content[:place] + struct.pack("<I", 4711) + content[place + 4 :])
    assert "tensor 'w' has the unknown type 4711" in refusal(path)


def test_a_file_that_is_cut_off_is_refused_wherever(tmp_path):
    whole = write_gguf(
        tmp_path / "x.gguf", {"w": random_blocks("Q4_K", 8, 256), "b": np.ones(8, np.float32)}
    ).read_bytes()
    cut = tmp_path / "cut.gguf"
    for size in [*range(0, 300, 7), len(whole) - 64, len(whole) - 1]:
        cut.write_bytes(whole[:size])
        refusal(cut)
    assert "tensor 'b', F32 of shape (8,), is not all there" in refusal(cut)


def test_counts_that_a_file_cannot_have_end_at_once(tmp_path):
    path = write_gguf(tmp_path / "x.gguf", {"w": random_blocks("Q8_0", 2, 32)})
    content = path.read_bytes()
    for place in (8, 16):  # of tensors, of entries
        path.write_bytes(content[:place] + struct.pack("<Q", 2**62) + content[place + 8 :])
        refusal(path)


@pytest.mark.heavy
def test_an_array_of_the_header_that_never_ends_is_refused(tmp_path):
    entry = struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 0, 2**40)
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry + bytes(1_000_000))
    assert "its header has more than 400,000 values" in refusal(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shapes": {"w": (3, 32)}}, r"tensor 'w' of shape \(2, 32\) cannot have the original shape \[3, 32\]"),
        ({"split__count": 3}, "is one of 3 parts; merge them"),
        ({"general__alignment": 33}, "Invalid alignment"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(options, message, tmp_path):
    assert re.search(message, refusal(write_gguf(tmp_path / "x.gguf", {"w": random_blocks("Q8_0", 2, 32)}, **options)))


@pytest.mark.parametrize(
    ("content", "message"), [(b"PK\x03\x04" + bytes(99), "pickle"), (b"", "GGUF"), (b"{}", "JSON")]
)
def test_other_files_are_refused_under_their_names(content, message, tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    assert message in refusal(path)
