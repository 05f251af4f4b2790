"""Configs and types."""

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from mindone.diffusers.loading import Config, parse_dtype, read_config, to_mindspore, write_config


def test_entries_are_attributes_too():
    config = Config({"sample_size": 64}, extra="kept")
    assert config.sample_size == config["sample_size"] == 64
    assert dict(config) == {"sample_size": 64, "extra": "kept"}
    assert dict(**config) == dict(config)


def test_later_values_win():
    assert Config({"a": 1, "b": 1}, {"b": 2}, b=3).b == 3


def test_a_config_is_read_only():
    config = Config(a=1)
    with pytest.raises(AttributeError, match="read-only"):
        config.a = 2
    with pytest.raises(AttributeError, match="read-only"):
        del config.a
    with pytest.raises(TypeError):
        config["a"] = 2


def test_a_missing_entry_lists_those_there_are():
    with pytest.raises(AttributeError, match="no entry 'size'; it has a, b"):
        Config(a=1, b=2).size  # noqa: B018
    assert not hasattr(Config(), "size")


def test_a_config_can_be_copied_and_pickled():
    config = Config(a=[1, 2])
    assert dict(copy.deepcopy(config)) == dict(pickle.loads(pickle.dumps(config))) == {"a": [1, 2]}
    assert copy.copy(config) == config


def test_configs_round_trip_with_unknown_keys(tmp_path):
    write_config(tmp_path / "new", {"_class_name": "X", "unheard_of": [1, None]}, "x_config.json")
    assert read_config(tmp_path / "new", "x_config.json") == {"_class_name": "X", "unheard_of": [1, None]}


def test_a_missing_config_names_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no config.json in {tmp_path}: no such file in it"):
        read_config(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no config.json in .*unet: it does not exist"):
        read_config(tmp_path / "unet")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "must hold a JSON object, not a list"),
        (b'{"a": 1,\n "b" 2}', r"config.json is not valid JSON: line 2, column 6: Expecting ':' delimiter"),
        (b"\xff\xfe", "byte 0 is not UTF-8"),
        (b'{"a":\n' + b"[" * 100_000, r"config.json is not usable JSON: line 2: it is nested too deeply"),
        (b'{"a": 1,\n"b": ' + b"9" * 5000 + b"}", r"config.json is not usable JSON: line 2: a number has thousands"),
    ],
)
def test_a_broken_config_is_explained(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        (None, "float32"),
        ("float16", "float16"),
        ("fp16", "float16"),
        ("bf16", "bfloat16"),
        ("BFloat16", "bfloat16"),
        ("mindspore.float16", "float16"),
        ("ms.float32", "float32"),
        (np.float16, "float16"),
        (np.dtype("float32"), "float32"),
    ],
)
def test_types_have_one_spelling(given, canonical):
    assert parse_dtype(given) == canonical


@pytest.mark.parametrize("given", ["int8", "float64", "half precision", np.int32, np.float64, float, 16, True])
def test_other_types_are_refused_with_what_works(given):
    with pytest.raises(ValueError, match=r"mindspore_dtype must be float32, float16 or bfloat16 .*, got "):
        parse_dtype(given)


def test_mindspore_types_are_understood():
    ms = pytest.importorskip("mindspore")
    for name in ("float32", "float16", "bfloat16"):
        assert parse_dtype(getattr(ms, name)) == name
        assert to_mindspore(name) == getattr(ms, name)
    for given in (ms.int32, ms.bool_, ms.float64):
        with pytest.raises(ValueError, match="mindspore_dtype must be"):
            parse_dtype(given)


def test_loading_does_not_import_mindspore():
    code = (
        "import sys, mindone.diffusers.loading.tokenizer, mindone.diffusers.loading.hub, mindone.diffusers.utils;"
        "print([name for name in ('mindspore', 'huggingface_hub', 'tokenizers', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.replace("'", '"')) == []
