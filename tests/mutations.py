"""Checkpoints with one thing wrong: a JSON value of another type, size or nesting; bytes flipped, cut or repeated.

Which thing it is follows from a seed, so that a finding can be had again.
"""

import functools
import inspect
import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mindone.diffusers.loading.gguf import GGUFFile
from mindone.diffusers.loading.original.layout import layout_of
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file

# fmt: off
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 1000, 2**31, 2**40, 2**64, 10**400, 0.0, 0.5, -0.5, 1e-30, 1e30,
    float("nan"), float("inf"), "", "a", "1", "\ud800", "a\nb", [], [1], ["a"], [[1]], [1, 2, 3], [None], {}, {"a": 1},
    {"a": {"b": []}},
)
# fmt: on


@dataclass(frozen=True)
class Mutation:
    """What was done to which file, and for JSON to which value."""

    file: str
    what: str
    field: str | None = None


def mutate(checkpoint: Path, folder: Path, seed: int) -> Mutation:
    """Copy a checkpoint to ``folder`` and change one of its files."""
    shutil.copytree(checkpoint, folder)
    rng = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = rng.choice(files)
    name = str(path.relative_to(folder))
    if path.suffix == ".json" and rng.random() < 0.8:
        content = json.loads(path.read_text(encoding="utf-8"))
        field, what = _mutate_json(content, rng)
        path.write_text(json.dumps(content), encoding="utf-8")
        return Mutation(name, what, field)
    data, what = _mutate_bytes(path.read_bytes(), rng)
    path.write_bytes(data)
    return Mutation(name, what)


_VOCABULARIES = ("vocab.json", "tokenizer.json")
"""Their errors say what is wrong at which place: an entry's name would say less, or nothing."""


def attempt(checkpoint: Path, folder: Path, seed: int) -> tuple[str, str]:
    """What became of one mutation of a folder ("drew", "explained" or what is wrong), and the details."""
    from tiny_pipelines import load

    mutation = mutate(checkpoint, folder, seed)
    told = f"seed {seed}, {mutation.file}, {mutation.field or ''} {mutation.what}"
    outcome, text = _outcome(lambda: load(folder), len(str(folder)))
    if outcome == "explained":
        if mutation.file.split("/")[0] not in text:
            outcome = "names no file"
        fits = any(words in text for words in ("does not fit", "missing", "more than the weights"))
        fits = fits or mutation.file.endswith(_VOCABULARIES)
        if mutation.field and mutation.field not in text and not fits:
            outcome = "names no field"
    return outcome, f"{told}: {text}"


def attempt_file(file: Path, folder: Path, seed: int) -> tuple[str, str]:
    """The same of a single file that `convert` has written, with something wrong with a tensor or an entry."""
    from mindone.diffusers import DiffusionPipeline

    folder.mkdir()
    path = folder / "mutated.safetensors"
    what, tensor = mutate_file(file, path, seed)
    load = lambda: DiffusionPipeline.from_single_file(path, engine="openvino")  # noqa: E731
    outcome, text = _outcome(load, len(str(folder)))
    if outcome == "explained" and path.name not in text:
        outcome = "names no file"
    if outcome == "explained" and tensor and not any(name in text for name in names_of(file)[tensor]):
        outcome = "names no tensor"
    return outcome, f"seed {seed}, {what}: {text}"


def attempt_gguf(file: Path, folder: Path, seed: int) -> tuple[str, str]:
    """The same of the GGUF file of a transformer, whose pipeline is `tiny_gguf.folder`."""
    import tiny_gguf
    from mindone.diffusers import SD3Transformer2DModel
    from tiny_pipelines import load

    folder.mkdir()
    path = folder / "mutated.gguf"
    whole = file.read_bytes()
    data, what = _mutate_gguf(whole, random.Random(seed))
    path.write_bytes(data)

    def pipeline() -> Any:
        transformer = SD3Transformer2DModel.from_single_file(
            path, config=tiny_gguf.folder(), subfolder="transformer", mindspore_dtype="bfloat16"
        )
        return load(tiny_gguf.folder(), transformer=transformer)

    outcome, text = _outcome(pipeline, len(str(folder)))
    tensor = _changed_entry(whole, data)
    if outcome == "explained" and path.name not in text:
        outcome = "names no file"
    if outcome == "explained" and tensor and not any(name in text for name in names_of(file)[tensor]):
        outcome = "names no tensor"
    return outcome, f"seed {seed}, {what}: {text}"


@functools.cache
def names_of(file: Path) -> dict[str, set[str]]:
    """The names of each tensor of a single file: its own, and ours of all that is made of it."""
    tensors = GGUFFile(file) if file.suffix == ".gguf" else SafetensorsFile(file)
    names = sorted(tensors)
    marked = {
        name: StoredTensor.from_numpy(np.full(tensors[name].shape, number, np.float32))
        for number, name in enumerate(names, 2)  # an identity matrix, which is made of none, has zeros and ones
    }
    found = {name: {name} for name in names}
    for section in layout_of(marked).sections(marked, extract_ema=False).values():
        for ours, part in section.network.ours(section.tensors).items():
            number = int(part.numpy().max())
            if number >= 2:
                found[names[number - 2]].add(ours)
    return found


def _changed_entry(whole: bytes, mutated: bytes) -> str | None:
    """The tensor of a GGUF file whose entry in the header has other numbers; None if it is not one tensor alone."""
    if len(mutated) != len(whole):
        return None
    changed = [at for at, (old, new) in enumerate(zip(whole[:_HEADER], mutated)) if old != new]
    entries = [
        (match.end(), match.end() + 4 + 8 * whole[match.end()] + 4 + 8, match[0].decode())
        for match in re.finditer(rb"[A-Za-z0-9_.]+\.(?:weight|bias)|pos_embed", whole[:_HEADER])
    ]
    found = {name for at in changed for begin, end, name in entries if begin <= at < end}
    inside = all(any(begin <= at < end for begin, end, _ in entries) for at in changed)
    return found.pop() if len(found) == 1 and inside else None


def _outcome(load: Callable[[], Any], path_length: int) -> tuple[str, str]:
    """What loading and drawing come to, and what was said."""
    try:
        pipe = load()
        pipe.set_progress_bar_config(disable=True)
        is_binned = "use_resolution_binning" in inspect.signature(pipe.__call__).parameters
        plain = {"use_resolution_binning": False} if is_binned else {}
        pipe("a red cat", num_inference_steps=1, height=64, width=64, output_type="np", **plain)
        return "drew", ""
    except (ValueError, OSError) as error:
        text = str(error)
        if len(text.splitlines()) != 1 or not text.isprintable():
            return "several lines", f"{type(error).__name__}: {text!r}"
        return "too long" if len(text) > 500 + 2 * path_length else "explained", f"{type(error).__name__}: {text}"
    except BaseException as error:
        return f"raised {type(error).__name__}", f"{error!s:.300}"


def mutate_file(file: Path, path: Path, seed: int) -> tuple[str, str | None]:
    """Copy a single file to ``path`` with one thing wrong; what it is, and which tensor is another if it is one."""
    rng = random.Random(seed)
    source = SafetensorsFile(file)
    tensors, metadata = dict(source), dict(source.metadata)
    name = rng.choice(sorted(tensors))
    kind = rng.choice(["name", "shape", "type", "drop", "marker", "many", "entry", "config", "bytes"])
    if kind == "bytes":
        data, what = _mutate_bytes(file.read_bytes(), rng)
        path.write_bytes(data)
        return what, None
    at_fault = name if kind in ("shape", "type") else None
    if kind == "name":
        parts = name.split(".")
        at = rng.randrange(len(parts))
        parts[at : at + 1] = rng.choice([[], ["7"], ["999999"], ["x" * 600], ["a\nb"], [parts[at]] * 2])
        tensors[".".join(parts) or "x"] = tensors.pop(name)
    elif kind == "shape":
        values = tensors[name].numpy()
        shapes = [values.reshape(-1), values.reshape(1, *values.shape), values.reshape(-1)[0], values[:0], values[:1]]
        tensors[name] = StoredTensor.from_numpy(np.ascontiguousarray(rng.choice(shapes)))
    elif kind == "type":
        stored = tensors[name]
        kinds = {"I64": 8, "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "BF16": 2, "F64": 8}
        dtype = rng.choice(sorted(kinds))
        tensors[name] = StoredTensor(dtype, stored.shape, np.ones(stored.size * kinds[dtype], np.uint8))
    elif kind == "drop":
        for each in rng.sample(sorted(tensors), rng.choice([1, 3, 100])):
            del tensors[each]
    elif kind == "marker":
        value = rng.choice(
            [np.zeros(0), np.float32(1), np.float32(np.nan), np.ones((2, 2)), np.int64(7), np.bool_(True)]
        )
        name = rng.choice([*_MARKERS, name.removesuffix("weight") + "scale_weight", name + ".comfy_quant"])
        tensors[name] = StoredTensor.from_numpy(np.asarray(value))
    elif kind == "many":
        stem = name.rsplit(".", rng.randint(1, 3))[0]
        tensors |= {f"{stem}.{i}.weight": tensors[name] for i in range(300)}
    elif kind == "entry":
        metadata[rng.choice(_ENTRIES)] = rng.choice(
            ["", "v", "epsilon", "x", "[" * 9999, "x" * 9999, "1" * 9999, "a\nb"]
        )
    else:
        configs = json.loads(metadata["mindone.configs"])
        holder = configs[rng.choice([each for each in sorted(configs) if each.endswith(".json") and configs[each]])]
        name = ".".join(_mutate_json(holder, rng))
        metadata["mindone.configs"] = json.dumps(configs)
    save_file(tensors, path, metadata)
    return f"{kind} {name!r:.200}", at_fault


_MARKERS = ("v_pred", "ztsnr", "edm_vpred.sigma_max", "edm_vpred.sigma_min", "global_step", "scaled_fp8", "edm_std")
_HEADER = 20_000
"""The header of a GGUF file ends before this byte."""
_ENTRIES = ("mindone.configs", "modelspec.prediction_type", "modelspec.predict_key", "format")


def _mutate_json(content: dict[str, Any], rng: random.Random) -> tuple[str, str]:
    """Change one entry, or one inside it. Returns the name at the top, and what was done."""
    field = rng.choice(sorted(content))
    holder: Any = content
    key: Any = field
    while isinstance(holder[key], (list, dict)) and holder[key] and rng.random() < 0.6:
        holder = holder[key]
        key = rng.choice(sorted(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
    old = holder[key]
    kind = rng.choice(["value", "value", "value", "wrap", "drop", "repeat", "scale"])
    if kind == "wrap":
        holder[key] = rng.choice([[old], {"value": old}, [old, old]])
    elif kind == "drop":
        del holder[key]
    elif kind == "repeat" and isinstance(old, (list, str)):
        holder[key] = old * rng.choice([2, 3, 100])
    elif kind == "scale" and isinstance(old, (int, float)) and not isinstance(old, bool):
        holder[key] = rng.choice([-old, old * 2, old + 1, old - 1, old / 2, old * 10**6])
    else:
        holder[key] = rng.choice(VALUES)
    return field, f"{kind} {key!r}: {old!r:.60} -> {holder.get(key) if isinstance(holder, dict) else holder!r:.60}"


def _mutate_gguf(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Change bytes, most often of the header, or write another number where it has a count, a type, a size or a
    place."""
    if rng.random() < 0.4:
        return _mutate_bytes(data, rng)
    end = data.index(b"\x00" * 40) if b"\x00" * 40 in data[:_HEADER] else _HEADER
    names = [match.end() for match in re.finditer(rb"[a-z0-9_]\.(?:weight|bias)", data[:end])]
    # A name is followed by the number of its dimensions, these, a type and a place in the file.
    at = rng.choice([4, 8, 16, *(place + rng.choice([0, 4, 12, 20, 24, 28]) for place in rng.sample(names, 8))])
    number = rng.choice([0, 1, 2, 3, 5, 16, 19, 29, 39, 255, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1, 4711])
    width = rng.choice([4, 8])
    changed = (number % 2 ** (8 * width)).to_bytes(width, "little")
    return data[:at] + changed + data[at + width :], f"{number} in {width} bytes at {at}"


def _mutate_bytes(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    kind = rng.choice(["flip", "flip", "flip header", "cut", "cut head", "repeat", "empty"])
    # A safetensors file's header, or a text's first lines, are where a changed byte means most.
    end = min(len(data), 2000) if kind == "flip header" else len(data)
    at = rng.randrange(max(end, 1))
    if kind.startswith("flip"):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
        return bytes(changed), kind
    if kind == "repeat":
        length = rng.choice([1, 8, 100, len(data)])
        return data[:at] + data[at : at + length] * 2 + data[at + length :], f"repeat {length} at {at}"
    return {"cut": data[:at], "cut head": data[at:], "empty": b""}[kind], f"{kind} at {at}"
