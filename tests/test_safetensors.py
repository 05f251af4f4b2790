"""Safetensors files: what is read and written, and that no file, however broken, does worse than a ValueError."""

import errno
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from mindone.diffusers.loading import SafetensorsFile, StoredTensor, save_file
from mindone.diffusers.loading.safetensors import Float8Tensor

TENSORS = {
    "half": np.arange(6, dtype=np.float16).reshape(2, 3),
    "single": np.array([1.5, -2.0, np.inf], dtype=np.float32),
    "double": np.array([[0.1]], dtype=np.float64),
    "ids": np.array([1, -2, 3], dtype=np.int64),
    "flags": np.array([True, False, True]),
    "bytes": np.array([1, 2, 255], dtype=np.uint8),
    "scalar": np.array(7.0, dtype=np.float32),
    "empty": np.zeros((0, 4), dtype=np.float32),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("safetensors")


def pack(header: Any, data: bytes = b"") -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def entry(dtype: Any = "U8", shape: Any = (4,), offsets: Any = (0, 4)) -> dict[str, Any]:
    listed = [list(value) if isinstance(value, tuple) else value for value in (shape, offsets)]
    return {"dtype": dtype, "shape": listed[0], "data_offsets": listed[1]}


def test_saved_tensors_read_back_equal(folder):
    save_file(TENSORS, folder / "all.safetensors", metadata={"note": "hello"})
    file = SafetensorsFile(folder / "all.safetensors")
    assert file.metadata == {"note": "hello"}
    assert set(file) == set(TENSORS)
    for name, array in TENSORS.items():
        read = file[name].numpy()
        assert read.dtype == array.dtype and read.shape == array.shape
        np.testing.assert_array_equal(read, array)


def test_the_safetensors_library_reads_what_we_write(folder):
    library = pytest.importorskip("safetensors.numpy")
    save_file(TENSORS, folder / "ours.safetensors")
    read = library.load_file(folder / "ours.safetensors")
    for name, array in TENSORS.items():
        np.testing.assert_array_equal(read[name], array)


def test_we_read_what_the_safetensors_library_writes(folder):
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(TENSORS, folder / "theirs.safetensors")
    for name, tensor in SafetensorsFile(folder / "theirs.safetensors").items():
        np.testing.assert_array_equal(tensor.numpy(), TENSORS[name])


def test_reading_is_zero_copy_and_read_only(folder):
    save_file({"x": np.ones(8, dtype=np.float32)}, folder / "view.safetensors")
    file = SafetensorsFile(folder / "view.safetensors")
    array = file["x"].numpy(np.float32)
    assert np.shares_memory(array, file["x"].data)
    assert not array.flags.writeable


def test_views_outlive_the_file_object(folder):
    save_file({"x": np.arange(1000, dtype=np.int32)}, folder / "outlive.safetensors")
    array = SafetensorsFile(folder / "outlive.safetensors")["x"].numpy()
    assert array.sum() == 499500


def test_release_keeps_views_valid(folder):
    save_file({"x": np.arange(100_000, dtype=np.float32)}, folder / "release.safetensors")
    file = SafetensorsFile(folder / "release.safetensors")
    array = file["x"].numpy()
    before = array.sum()
    file.release()
    assert array.sum() == before


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's memory accounting")
def test_release_gives_memory_back(folder):
    def resident() -> int:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"RssFile:\s+(\d+)", status)[1])  # kB of mapped files

    save_file({"x": np.ones(32 << 20, dtype=np.uint8)}, folder / "big.safetensors")
    file = SafetensorsFile(folder / "big.safetensors")
    assert file["x"].numpy()[::4096].sum() == 8192
    touched = resident()
    file.release()
    assert touched - resident() > 30 << 10


def test_unaligned_tensors_are_read(folder):
    data = np.array([1.0, 2.0, 3.0], dtype="<f4").tobytes()
    header = {"a": entry("U8", (1,), (0, 1)), "b": entry("F32", (3,), (1, 13))}
    (folder / "odd.safetensors").write_bytes(pack(header, b"\x07" + data))
    array = SafetensorsFile(folder / "odd.safetensors")["b"].numpy()
    assert array.flags.aligned
    np.testing.assert_array_equal(array, [1.0, 2.0, 3.0])


def test_bfloat16_reads_as_float32():
    stored = StoredTensor("BF16", (3,), np.array([0x80, 0x3F, 0x00, 0xC0, 0x80, 0x7F], dtype=np.uint8))
    np.testing.assert_array_equal(stored.numpy(), np.array([1.0, -2.0, np.inf], dtype=np.float32))
    assert stored.numpy(np.float16).dtype == np.float16


def test_bfloat16_rounds_to_nearest_even():
    # One bfloat16 step at 1 is 2^-7: half a step up goes to the even neighbour, a little more goes up.
    values = np.array([1.0, 1 + 2**-8, 1 + 2**-8 + 2**-16, 1 + 3 * 2**-8, 3.4e38, -0.0], dtype=np.float32)
    rounded = StoredTensor.from_numpy(values).cast("bfloat16").numpy()
    expected = np.array([1.0, 1.0, 1 + 2**-7, 1 + 2**-6, np.inf, -0.0], dtype=np.float32)
    np.testing.assert_array_equal(rounded, expected)
    assert np.signbit(rounded[-1])


def test_bfloat16_keeps_nan_and_infinity():
    nans = np.array([0x7F800001, 0xFFFFFFFF, 0x7FC00000], dtype=np.uint32).view(np.float32)
    assert np.isnan(StoredTensor.from_numpy(nans).cast("bfloat16").numpy()).all()
    infinities = np.array([np.inf, -np.inf], dtype=np.float32)
    np.testing.assert_array_equal(StoredTensor.from_numpy(infinities).cast("bfloat16").numpy(), infinities)


@given(st.lists(st.floats(width=32), max_size=20))
def test_casting_to_bfloat16_twice_changes_nothing_more(values):
    once = StoredTensor.from_numpy(np.array(values, dtype=np.float32)).cast("bfloat16")
    twice = StoredTensor.from_numpy(once.numpy()).cast("bfloat16")
    np.testing.assert_array_equal(twice.numpy(), once.numpy())


def test_casting_between_half_and_single():
    single = StoredTensor.from_numpy(np.array([0.5, 1e6], dtype=np.float32))
    half = single.cast("float16")
    assert half.dtype == "F16"
    np.testing.assert_array_equal(half.numpy(), np.array([0.5, np.inf], dtype=np.float16))
    assert single.cast("float32") is single


def test_stored_tensors_are_saved_verbatim(folder):
    stored = StoredTensor.from_numpy(np.array([1.25, -3.0], dtype=np.float32)).cast("bfloat16")
    save_file({"x": stored}, folder / "bf16.safetensors")
    read = SafetensorsFile(folder / "bf16.safetensors")["x"]
    assert (read.dtype, read.shape) == ("BF16", (2,))
    np.testing.assert_array_equal(read.data, stored.data)


def test_non_contiguous_and_big_endian_arrays_are_saved(folder):
    arrays = {"t": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.arange(3, dtype=">f4")}
    save_file(arrays, folder / "order.safetensors")
    file = SafetensorsFile(folder / "order.safetensors")
    for name, array in arrays.items():
        np.testing.assert_array_equal(file[name].numpy(), array)


def test_headers_are_padded_so_that_tensors_are_aligned(folder):
    save_file({"n" * k: np.ones(3, dtype=np.float32) for k in range(1, 4)}, folder / "aligned.safetensors")
    raw = (folder / "aligned.safetensors").read_bytes()
    assert int.from_bytes(raw[:8], "little") % 8 == 0


def test_types_without_a_counterpart_are_refused_and_leave_no_file(folder):
    with pytest.raises(ValueError, match=r"arrays of type complex64 cannot be stored; use one of float64"):
        save_file({"x": np.ones(1, dtype=np.complex64)}, folder / "complex.safetensors")
    assert not list(folder.glob("*complex*"))


def test_a_full_disk_leaves_no_file(folder, monkeypatch):
    class Full(dict):
        asked = 0

        def __getitem__(self, name):
            self.asked += 1
            if self.asked > 3:  # the two names once for the header, then the first one's bytes
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().__getitem__(name)

    with pytest.raises(OSError, match="No space left"):
        save_file(Full(a=np.ones(3), b=np.ones(3)), folder / "full.safetensors")
    assert not list(folder.glob("*full*")) and not list(folder.glob(".*full*"))


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "header too small"),
    "short": (b"\x01\x02", "header too small"),
    "header beyond the file": ((1000).to_bytes(8, "little") + b"{}", "invalid header length"),
    "absurd header": ((2**64 - 1).to_bytes(8, "little") + b"{}", "header too large"),
    "not UTF-8": (pack(b"\xff\xfe{}"), "invalid UTF-8 in header"),
    "not JSON": (pack(b"{'a': 1}"), "invalid JSON in header"),
    "deeply nested": (pack(b"[" * 100_000), "invalid JSON in header"),
    "huge number": (pack(b'{"a":' + b"9" * 10_000 + b"}"), "safetensors"),
    "not an object": (pack([1, 2]), "invalid type: sequence"),
    "entry is no object": (pack({"a": 3}), "invalid type: integer `3`"),
    "entry lacks the shape": (pack({"a": {"dtype": "U8", "data_offsets": [0, 0]}}), "missing field `shape`"),
    "invalid type: sequence": (pack({"a": entry("Q4")}, bytes(4)), "unknown variant `Q4`"),
    "dtype is no string": (pack({"a": entry(["U8"])}, bytes(4)), "invalid type: sequence"),
    "negative size": (pack({"a": entry(shape=(-4,))}, bytes(4)), "invalid value: integer `-4`"),
    "fractional size": (pack({"a": entry(shape=(4.0,))}, bytes(4)), "floating point `4.0`"),
    "boolean size": (pack({"a": entry(shape=(4, True))}, bytes(4)), "boolean `true`"),
    "infinite size": (
        pack(b'{"a":{"dtype":"U8","shape":[Infinity],"data_offsets":[0,4]}}', bytes(4)),
        "expected value",
    ),
    "shape is a number": (pack({"a": entry(shape=4)}, bytes(4)), "invalid type: integer `4`"),
    "too many dimensions": (
        pack({"a": entry(shape=(1,) * 40, offsets=(0, 1))}, bytes(1)),
        "tensor 'a' has the shape .*, which is too large",
    ),
    "overflowing shape": (pack({"a": entry(shape=(2**32, 2**32), offsets=(0, 0))}), "overflow computing buffer size"),
    "empty but overflowing": (pack({"a": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}), "which is too large"),
    "negative offset": (pack({"a": entry(offsets=(-4, 0))}, bytes(4)), "invalid value: integer `-4`"),
    "three offsets": (pack({"a": entry(offsets=(0, 1, 4))}, bytes(4)), "invalid length 3"),
    "end before begin": (pack({"a": entry(offsets=(4, 0))}, bytes(4)), "invalid offset for tensor `a`"),
    "beyond the buffer": (pack({"a": entry(offsets=(0, 8), shape=(8,))}, bytes(4)), "file not fully covered"),
    "size is not the shape's": (pack({"a": entry(shape=(3,))}, bytes(4)), "invalid shape, data type, or offset"),
    "overlap": (pack({"a": entry(), "b": entry(offsets=(2, 6))}, bytes(6)), "invalid offset for tensor `b`"),
    "hole": (
        pack({"a": entry(), "b": entry(offsets=(5, 9))}, bytes(9)),
        "invalid offset for tensor `b`",
    ),
    "hole at the start": (pack({"a": entry(offsets=(1, 5))}, bytes(5)), "invalid offset for tensor `a`"),
    "data left over": (pack({"a": entry()}, bytes(9)), "file not fully covered"),
    "truncated data": (pack({"a": entry()}, bytes(3)), "file not fully covered"),
    "duplicate name": (
        pack(b'{"a":' + json.dumps(entry()).encode() + b',"a":1}', bytes(4)),
        "invalid type: integer `1`",
    ),
    "metadata of numbers": (pack({"__metadata__": {"a": 1}}), "invalid type"),
    "metadata is a list": (pack({"__metadata__": ["a"]}), "invalid type"),
    "a zip (torch.save)": (b"PK\x03\x04" + bytes(100), "is a pickle file, which can run code and is not read"),
    "a pickle": (b"\x80\x02}q\x00." + bytes(100), "take the .safetensors file or convert it"),
    "GGUF": (b"GGUF\x03\x00\x00\x00" + bytes(100), "is a GGUF file, which only from_single_file reads"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
    "ONNX": (b"\x08\x07\x12\x07pytorch" + bytes(100), "is an ONNX model"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "is a picture, no checkpoint"),
    "an archive": (b"\x1f\x8b\x08\x00" + bytes(100), "is a gzip archive; unpack it"),
    "JSON": (b'{"weight_map": {}}', "is a JSON text, no weights"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    "a web page": (b"<!DOCTYPE html><html></html>", "is a web page"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_explained_in_one_line(name, tmp_path):
    content, message = BROKEN[name]
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        SafetensorsFile(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.ckpt", b"(dp0\n." + bytes(100), "a pickle file"),
        ("model.bin", b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        ("model.h5", b"PK\x03\x04" + bytes(100), "a pickle file"),
        ("model.h5", b"", "an HDF5 file"),
        ("model.msgpack", b"\x84" + bytes(100), "a Flax file"),
    ],
)
def test_a_file_is_called_what_its_content_shows_or_else_its_name(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is {message}, which"):
        SafetensorsFile(tmp_path / name)


def test_names_with_line_breaks_stay_in_one_line(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(pack({"a\nb\ud800": entry(shape=(3,))}, bytes(4)))
    with pytest.raises(ValueError) as caught:
        SafetensorsFile(path)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_a_header_over_the_limit_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((100_000_001).to_bytes(8, "little"))
        file.truncate(100_000_100)  # a hole: no disk is used
    with pytest.raises(ValueError, match="header too large"):
        SafetensorsFile(path)


@pytest.mark.parametrize(
    "dtype, bytes_, values",
    [
        # sign, 4 bits of exponent (bias 7), 3 of mantissa: 1, -1.5, the least and the largest number
        ("F8_E4M3", [0x38, 0xBC, 0x01, 0x7E], [1.0, -1.5, 2.0**-9, 448.0]),
        # sign, 5 bits of exponent (bias 15), 2 of mantissa
        ("F8_E5M2", [0x3C, 0xBE, 0x01, 0x7B], [1.0, -1.5, 2.0**-16, 57344.0]),
    ],
)
def test_float8_is_read_as_the_float16_it_stands_for(tmp_path, dtype, bytes_, values):
    stored = StoredTensor(dtype, (4,), np.array(bytes_, np.uint8))
    save_file({"x": stored}, tmp_path / "x.safetensors")
    read = SafetensorsFile(tmp_path / "x.safetensors")["x"]
    assert (read.dtype, read.shape, read.nbytes) == ("F16", (4,), 8)
    assert read.numpy().tolist() == stored.numpy().tolist() == values
    assert read.cast("bfloat16").numpy().tolist() == values  # each fits into 8 bits of mantissa
    assert read.rows(1, 2).numpy().tolist() == values[1:2]
    nan = StoredTensor(dtype, (2,), np.array([0x7F, 0xFF], np.uint8))
    assert np.isnan(nan.numpy()).all()


def float8_file(path: Path, **beside: np.ndarray) -> SafetensorsFile:
    """A weight of ones, two rows of two, with what else is said to stand beside it."""
    weight = StoredTensor("F8_E4M3", (2, 2), np.full(4, 0x38, np.uint8))
    save_file({"a.weight": weight, **{f"a.{name}": array for name, array in beside.items()}}, path)
    return SafetensorsFile(path)


@pytest.mark.parametrize("name", ["scale_weight", "weight_scale"])
def test_the_scale_beside_a_float8_weight_is_multiplied_in_and_is_no_tensor_of_its_own(tmp_path, name):
    tensors = float8_file(tmp_path / "one.safetensors", **{name: np.float32(0.3), "scale_input": np.float32(9)})
    assert list(tensors) == ["a.weight"]
    np.testing.assert_array_equal(tensors["a.weight"].numpy(), np.full((2, 2), np.float32(0.3)))
    rows = float8_file(tmp_path / "rows.safetensors", **{name: np.array([2.0, 3.0], np.float32)})["a.weight"]
    assert rows.numpy().tolist() == [[2, 2], [3, 3]] and rows.dtype == "F32"
    # What is cut out of it, or seen in another shape, stays in the file as well.
    assert rows.rows(1, 2).numpy().tolist() == [[3, 3]] and isinstance(rows.rows(1, 2), Float8Tensor)
    assert rows.reshape((2, 1, 2)).numpy().tolist() == [[[2, 2]], [[3, 3]]]
    assert rows.reshape((4,)).numpy().tolist() == [2, 2, 3, 3]


def test_what_says_how_weights_are_quantised_is_honoured_or_refused(tmp_path):
    def told(kind):
        return np.frombuffer(json.dumps({"format": kind}).encode(), np.uint8)

    read = float8_file(tmp_path / "a.safetensors", comfy_quant=told("float8_e4m3fn"), scaled_fp8=np.zeros(0, "f2"))
    assert list(read) == ["a.weight"]
    with pytest.raises(ValueError, match=r"'a\.comfy_quant' declares a weight quantised as 'nvfp4'"):
        float8_file(tmp_path / "b.safetensors", comfy_quant=told("nvfp4"))
    with pytest.raises(ValueError, match=r"the scale 'a\.weight_scale' is F32 of shape \(2, 2\)"):
        float8_file(tmp_path / "c.safetensors", weight_scale=np.ones((2, 2), np.float32))


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.safetensors"):
        SafetensorsFile(tmp_path / "nothing.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        SafetensorsFile(tmp_path)


def read_all(path: Path, content: bytes) -> None:
    """Open and read everything; only ValueError may come out."""
    path.write_bytes(content)
    try:
        file = SafetensorsFile(path)
    except ValueError:
        return
    for tensor in file.values():
        tensor.numpy()


fuzz = settings(
    max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@fuzz
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_value_errors(folder, content):
    read_all(folder / "fuzz.safetensors", content)


@fuzz
@given(st.binary(max_size=200), st.binary(max_size=20))
def test_random_headers_raise_nothing_but_value_errors(folder, header, data):
    read_all(folder / "fuzz.safetensors", pack(header, data))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["F32", "U8", "BF16"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
sizes = st.integers(-2, 9) | st.integers(2**31, 2**65) | json_values
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "U8", "BOOL", "F8_E4M3", "I64"]) | json_values,
        "shape": st.lists(sizes, max_size=4) | json_values,
        "data_offsets": st.lists(sizes, min_size=2, max_size=2) | json_values,
    }
)


@fuzz
@given(st.dictionaries(st.text(max_size=3) | st.just("__metadata__"), entries | json_values, max_size=3), st.binary())
def test_plausible_headers_raise_nothing_but_value_errors(folder, header, data):
    read_all(folder / "fuzz.safetensors", pack(json.dumps(header).encode(), data))


@pytest.fixture(scope="module")
def valid(folder: Path) -> bytes:
    save_file(TENSORS, folder / "valid.safetensors")
    return (folder / "valid.safetensors").read_bytes()


@fuzz
@given(st.data())
def test_mutated_files_raise_nothing_but_value_errors(folder, valid, data):
    content = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    read_all(folder / "fuzz.safetensors", bytes(content[:cut]))


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@settings(fuzz, max_examples=25)  # each one waits for the disk
@given(st.dictionaries(st.text(max_size=8), st.tuples(st.sampled_from(["f2", "f4", "i8", "?"]), shapes), max_size=5))
def test_any_names_types_and_shapes_round_trip(folder, described):
    arrays = {
        name: np.ones(shape, dtype=kind)
        for name, (kind, shape) in described.items()
        if name.isprintable() and name != "__metadata__"
    }
    save_file(arrays, folder / "any.safetensors")
    file = SafetensorsFile(folder / "any.safetensors")
    assert set(file) == set(arrays)
    for name, array in arrays.items():
        assert file[name].numpy().dtype == array.dtype
        np.testing.assert_array_equal(file[name].numpy(), array)


def test_what_a_broken_header_says_is_shown_escaped(tmp_path):
    header = b'{"a": {"dtype": "\\u001b]0;x\\u0007", "shape": [], "data_offsets": [0, 0]}}'
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match=r"unknown variant `\\x1b\]0;x\\x07`") as error:
        SafetensorsFile(tmp_path / "a.safetensors")
    assert str(error.value).isprintable()
