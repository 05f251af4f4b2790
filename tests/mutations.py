"""Checkpoints with one thing wrong: a JSON value of another type, size or nesting; bytes flipped, cut or repeated.

Which thing it is follows from a seed, so that a finding can be had again.
"""

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def attempt(checkpoint: Path, folder: Path, seed: int) -> tuple[str, str]:
    """What became of one mutation ("drew", "explained" or what is wrong), and the details."""
    from tiny_pipelines import load

    mutation = mutate(checkpoint, folder, seed)
    told = f"seed {seed}, {mutation.file}, {mutation.field or ''} {mutation.what}"
    try:
        pipe = load(folder)
        pipe("a red cat", num_inference_steps=1, height=64, width=64, output_type="np")
        return "drew", told
    except (ValueError, OSError) as error:
        text = str(error)
        if len(text.splitlines()) != 1:
            return "several lines", f"{told}: {text!r}"
        part = mutation.file.split("/")[0]
        if part not in text:
            return "names no file", f"{told}: {type(error).__name__}: {text}"
        fits = "does not fit" in text or "missing" in text
        if mutation.field and mutation.field not in text and not fits and "vocab" not in mutation.file:
            return "names no field", f"{told}: {type(error).__name__}: {text}"
        return "explained", told
    except BaseException as error:
        return f"raised {type(error).__name__}", f"{told}: {error!s:.300}"


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
