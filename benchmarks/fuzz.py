"""Feed broken files and request bodies to every reader: each reads, or refuses in one line of at most 500 characters.

    PYTHONPATH=tests python benchmarks/fuzz.py --seconds 120            # every reader, 120 s each
    PYTHONPATH=tests python benchmarks/fuzz.py --only safetensors webui --seconds 20 --seed 7

A file may raise ValueError or OSError, and a request may get a status below 500. Each may take 2 CPU seconds and 100
MB; a picture may take as much as the largest that is read, decoded and converted. Exits with 1 if an input ends
otherwise, and prints the smallest such input found.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import json
import logging
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as st
from PIL import Image

if TYPE_CHECKING:
    from mindone.diffusers.loading.tokenizer_base import TokenizerBase

SECONDS, CHARACTERS = 2.0, 500
HANGS_AFTER = 20
ROUND = 200
"""Examples between two looks at the clock."""


REFUSED = object()
"""What a request comes to that is refused; files are refused by raising."""


class Finding(AssertionError):
    """An input that ended otherwise than it may."""


@dataclass(frozen=True)
class Target:
    """Something that reads what strangers wrote.

    ``read`` takes a file with the given suffix; ``examples`` are whole inputs, which are broken before each reading.
    ``megabytes`` is the most memory that a reading may take.
    """

    suffix: str
    examples: Sequence[bytes]
    read: Callable[[Path], object]
    megabytes: float = 100


# ---- inputs ----------------------------------------------------------------------------------------------------------

NASTY = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 3000, b'{"a":' * 900,
    b'"', b"\\ud800", b"../../../../etc/passwd", b"\n", b"\r\n", b"\x1b]0;x\x07", b":", b",", b"(" * 400, b"a" * 40_000,
    "\u202e\U0001f600".encode() * 50, b"<lora:x:->", b"%s%n", b"null", b"true", b"{}", b"[]",
)  # fmt: skip

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**18, 10**400]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "\ud800", "x" * 5000, "NaN", "F32", "BF16", "I64", "F8_E4M3", "\x1b[2J", "a\nb"]),
)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


@st.composite
def broken_bytes(draw: st.DrawFn, examples: Sequence[bytes]) -> bytes:
    """An example with a few places changed, cut out, repeated or filled with something nasty."""
    data = bytearray(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(data), 4000) if draw(st.booleans()) else len(data)))
        kind = draw(st.sampled_from(("flip", "cut", "insert", "nasty", "repeat", "end")))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 64))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "nasty":
            data[at:at] = draw(st.sampled_from(NASTY))
        elif kind == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 256))] * draw(st.integers(1, 50))
        elif kind == "end":
            del data[at:]
    return bytes(data)


@st.composite
def broken_json(draw: st.DrawFn, example: object) -> object:
    """A JSON value in which one entry, at any depth, is replaced, dropped, wrapped or repeated."""
    value = json.loads(json.dumps(example))
    holder: list[object] | dict[str, object] | None = None
    key: str | int = 0
    inner: object = value
    while isinstance(inner, (dict, list)) and inner and (holder is None or draw(st.booleans())):
        holder = inner
        key = draw(st.sampled_from(sorted(inner))) if isinstance(inner, dict) else draw(st.integers(0, len(inner) - 1))
        inner = holder[key]  # type: ignore[index, call-overload]
    if holder is None:
        return draw(VALUES)
    kind = draw(st.sampled_from(("replace", "replace", "replace", "drop", "wrap", "repeat", "name")))
    if kind == "drop":
        del holder[key]  # type: ignore[arg-type]
    elif kind == "name" and isinstance(holder, dict):
        holder[draw(st.text(max_size=8))] = holder.pop(str(key))
    else:
        made = {"wrap": [inner], "repeat": [inner] * 3}.get(kind)
        holder[key] = draw(VALUES) if made is None else made  # type: ignore[index, call-overload]
    return value


def json_bytes(value: object) -> bytes:
    """As a careless program writes it: lone surrogates and NaN included."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Broken bytes; where the examples are JSON or safetensors, broken values inside them as well."""
    ways = [broken_bytes(target.examples)]
    if target.suffix == ".json":
        ways += [broken_json(json.loads(each)).map(json_bytes) for each in target.examples]
    if target.suffix == ".safetensors":
        ways += [_broken_header(each) for each in target.examples]
    return st.one_of(ways)


def _broken_header(example: bytes) -> st.SearchStrategy[bytes]:
    length = int.from_bytes(example[:8], "little")
    header, rest = json.loads(example[8 : 8 + length]), example[8 + length :]

    def whole(changed: object) -> bytes:
        text = json_bytes(changed)
        return len(text).to_bytes(8, "little") + text + rest

    return broken_json(header).map(whole)


# ---- what reads files ------------------------------------------------------------------------------------------------


def _safetensors(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> bytes:
    from mindone.diffusers.loading.safetensors import save_file

    with tempfile.TemporaryDirectory() as folder:
        save_file(dict(tensors), Path(folder) / "x.safetensors", dict(metadata or {}))
        return (Path(folder) / "x.safetensors").read_bytes()


def _png(**texts: str) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    chunks, file = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        chunks.add_itxt(name, text, zip=len(text) % 2 == 0)
    Image.effect_noise((16, 16), 50).convert("RGB").save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


INFOTEXT = (
    "a (cat:1.3) <lora:x:0.5>\nNegative prompt: lowres\n"
    'Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: "a, b", Clip skip: 2'
)


def targets() -> dict[str, Target]:
    """Every reader, by name."""
    from adapter_cases import ip_adapter
    from lora_cases import kohya, layers, networks
    from mindone.diffusers import CLIPTokenizer
    from mindone.diffusers.adapters.ip_adapter_files import open_ip_adapter
    from mindone.diffusers.adapters.lora_files import LoraFile
    from mindone.diffusers.adapters.textual_inversion_files import open_textual_inversion
    from mindone.diffusers.batch.rows import read_rows
    from mindone.diffusers.families.convert import folder_to_file
    from mindone.diffusers.families.stable_diffusion.adapters import LORA, text_attentions
    from mindone.diffusers.jobs.infotext import parse_infotext
    from mindone.diffusers.jobs.png import read_infotext, read_parameters
    from mindone.diffusers.jobs.profile import load_profile
    from mindone.diffusers.loading.config import read_config
    from mindone.diffusers.loading.gguf import GGUFFile
    from mindone.diffusers.loading.safetensors import SafetensorsFile
    from mindone.diffusers.loading.single_file import open_single_file
    from mindone.diffusers.schedulers.base import Scheduler
    from mindone.diffusers.server.keys import Keys
    from mindone.diffusers.utils.images import MOST_PICTURE_PIXELS, load_image
    from mindone.transformers import GemmaTokenizerFast, T5TokenizerFast
    from t5_files import write_t5_tokenizer
    from tiny_pipelines import checkpoint
    from tiny_sana import write_tokenizer

    shapes = networks("sd1")
    lora = kohya("sd1", {"unet": layers("sd1", "unet", ("attn1.to_q",)), "text_encoder": []})
    words = {"emb_params": np.zeros((3, 16), np.float32)}
    folder = checkpoint("sd1")
    whole = Path(tempfile.mkdtemp()) / "whole.safetensors"
    folder_to_file(folder, whole)
    tokenizer = {name: (folder / "tokenizer" / name).read_bytes() for name in ("vocab.json", "merges.txt")}

    def read_tokenizer(path: Path) -> object:
        beside = path.parent / "tokenizer"
        beside.mkdir(exist_ok=True)
        for name, content in tokenizer.items():
            same = name.endswith(path.suffix)
            (beside / name).write_bytes(path.read_bytes() if same else content)
        return CLIPTokenizer.from_pretrained(beside)("a red cat")

    def read_texts_with(kind: type[TokenizerBase], name: str, beside: Mapping[str, str]) -> Callable[[Path], object]:
        def read(path: Path) -> object:
            folder = path.parent / f"{kind.__name__}-{name}"
            folder.mkdir(exist_ok=True)
            for other, content in beside.items():
                (folder / other).write_text(content)
            (folder / name).write_bytes(path.read_bytes())
            found = kind.from_pretrained(folder)
            return found.decode(found.encode("a red cat"))

        return read

    def read_scheduler(path: Path) -> object:
        scheduler = Scheduler.from_config(read_config(path.parent, path.name))
        scheduler.set_timesteps(4)
        return scheduler

    def read_text(path: Path) -> object:
        return parse_infotext(path.read_text(encoding="utf-8", errors="replace"))

    def read_prompt(path: Path) -> object:
        from mindone.diffusers.prompts.syntax import parse_prompt

        return parse_prompt(path.read_text(encoding="utf-8", errors="replace"))

    job = {"prompt": "a cat", "steps": 3, "seed": 1, "width": 64, "height": 64, "negative_prompt": "dog"}
    rows = [json.dumps(job), json.dumps({**job, "cache": ["deepcache:2"], "guidance_scale": 3.5})]
    own = Path(tempfile.mkdtemp())
    write_t5_tokenizer(own / "spiece")
    T5TokenizerFast.from_pretrained(own / "spiece").save_pretrained(own / "t5")
    write_tokenizer(own / "gemma")
    pieces = (own / "spiece" / "spiece.model").read_bytes()
    serialized = {name: (own / name / "tokenizer.json").read_bytes() for name in ("t5", "gemma")}
    t5, gemma = ({"tokenizer_config.json": (own / name / "tokenizer_config.json").read_text()} for name in serialized)
    profile = {
        "format": 1, "checkpoint": "icons", "fingerprint": "0", "height": 64, "width": 64,
        "settings": {"steps": 5, "cache": ["deepcache:2:0"], "guidance_interval": [0.0, 0.8]},
    }  # fmt: skip
    remembered = json.dumps({"job": {**job, "model": "icons"}, "version": "0.1.0"})
    pictures = [_png(parameters=INFOTEXT), *(_picture(kind) for kind in ("JPEG", "WEBP", "GIF", "BMP", "TIFF"))]
    files = {
        "safetensors": Target(".safetensors", [_safetensors(lora)], lambda path: dict(SafetensorsFile(path))),
        "gguf": Target(".gguf", [_gguf()], lambda path: [each.numpy() for each in GGUFFile(path).values()]),
        "single-file": Target(".safetensors", [_small(whole)], open_single_file),
        "lora": Target(".safetensors", [_safetensors(lora)], lambda path: LoraFile.open(path, LORA).layers(shapes)),
        "ip-adapter": Target(
            ".safetensors",
            [_safetensors(ip_adapter(shapes["unet"], kind)) for kind in ("plain", "plus")],
            lambda path: open_ip_adapter(path, shapes["unet"], text_attentions(shapes["unet"])),
        ),
        "textual-inversion": Target(
            ".safetensors", [_safetensors(words)], lambda path: open_textual_inversion(path, {"text_encoder": 16})
        ),
        "vocabulary": Target(".json", [tokenizer["vocab.json"]], read_tokenizer),
        "merges": Target(".txt", [tokenizer["merges.txt"]], read_tokenizer),
        "pieces": Target(".model", [pieces], read_texts_with(T5TokenizerFast, "spiece.model", t5)),
        "t5-tokenizer": Target(".json", [serialized["t5"]], read_texts_with(T5TokenizerFast, "tokenizer.json", t5)),
        "gemma-tokenizer": Target(
            ".json", [serialized["gemma"]], read_texts_with(GemmaTokenizerFast, "tokenizer.json", gemma)
        ),
        "scheduler": Target(".json", [(folder / "scheduler" / "scheduler_config.json").read_bytes()], read_scheduler),
        "infotext": Target(".txt", [INFOTEXT.encode()], read_text),
        "prompt": Target(".txt", [b"a (red:1.2) [cat] BREAK ((x)) \\(y\\)"], read_prompt),
        "png": Target(".png", [_png(parameters=INFOTEXT)], read_infotext),
        "png-of-ours": Target(".png", [_png(**{"mindone-diffusers": remembered})], read_parameters),
        "picture": Target(".png", pictures, load_image, 2 * 4e-6 * MOST_PICTURE_PIXELS),
        "jsonl": Target(".jsonl", ["\n".join(rows).encode()], read_rows),
        "csv": Target(".csv", [b'prompt,steps,seed\n"a cat",3,1\n"a ""dog""",4,2\n'], read_rows),
        "profile": Target(".json", [json.dumps(profile).encode()], load_profile),
        "keys": Target(".txt", [b"# ours\n0123456789abcdef0123\nfedcba98765432100123\n"], Keys),
    }
    return files | _requests(folder)


def _picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((16, 16), 50).convert("RGB").save(file, kind)
    return file.getvalue()


def _gguf() -> bytes:
    from gguf_files import random_blocks, write_gguf

    blocks = {kind: random_blocks(kind, 2, 256) for kind in ("Q8_0", "Q4_1", "Q4_K", "Q6_K")}
    with tempfile.TemporaryDirectory() as folder:
        tensors = {**blocks, "plain": np.ones((3, 4), np.float16)}
        return write_gguf(Path(folder) / "x.gguf", tensors, shapes={"Q4_K": (8, 64)}).read_bytes()


def _small(path: Path) -> bytes:
    return path.read_bytes()


def _requests(folder: Path) -> dict[str, Target]:
    """The server's request bodies; pictures are not drawn but taken from a shelf, as reading is what is attacked."""
    from fastapi.testclient import TestClient

    from mindone.diffusers.server import Settings
    from mindone.diffusers.server.app import create_app
    from mindone.diffusers.server.backend import Drawn
    from mindone.diffusers.server.service import Service

    service = Service(Settings(model=(f"tiny={folder}",)))
    shelf = Image.new("RGB", (64, 64))
    service.backend.draw = lambda place, ticket: Drawn(ticket.job, [shelf] * ticket.job.num_images, 0.0, 0.0, 1)
    client = TestClient(
        create_app(service.settings, service), base_url="http://localhost", raise_server_exceptions=False
    )
    client.__enter__()
    picture = base64.b64encode(_png(parameters=INFOTEXT)).decode()
    web = {"prompt": "a (cat:1.3)", "negative_prompt": "x", "steps": 2, "seed": 1, "width": 64, "height": 64}
    bodies: dict[str, dict[str, object]] = {
        "/sdapi/v1/txt2img": {**web, "sampler_name": "Euler", "cfg_scale": 7, "override_settings": {}},
        "/sdapi/v1/img2img": {**web, "init_images": [picture], "mask": picture, "denoising_strength": 0.5},
        "/sdapi/v1/png-info": {"image": picture},
        "/sdapi/v1/options": {"CLIP_stop_at_last_layers": 1},
        "/v1/images/generations": {"prompt": "a cat", "n": 1, "size": "64x64", "steps": 2, "seed": 1},
    }

    def sender(path: str) -> Callable[[Path], object]:
        def send(file: Path) -> object:
            answer = client.post(path, content=file.read_bytes(), headers={"Content-Type": "application/json"})
            if answer.status_code >= 500:
                raise Finding(f"{path} answers {answer.status_code}: {answer.text[:300]}")
            if answer.status_code >= 400 and len(answer.content) > 4 * CHARACTERS:
                raise Finding(f"{path} refuses in {len(answer.content)} bytes")
            return REFUSED if answer.status_code >= 400 else answer

        return send

    return {f"POST {path}": Target(".json", [json.dumps(body).encode()], sender(path)) for path, body in bodies.items()}


# ---- judging ---------------------------------------------------------------------------------------------------------


LOGGED: list[str] = []
"""What the library has said since the last input."""


class _Keep(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        LOGGED.append(record.getMessage())


def _look_at(how: str, text: str) -> None:
    """What the library says of an input must be one short line that prints."""
    if len(text) > CHARACTERS or len(text.splitlines()) > 1:
        raise Finding(f"{how} {len(text)} characters in {len(text.splitlines())} lines: {text[:200]!r}") from None
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in text):
        raise Finding(f"{how} control characters: {text[:200]!r}") from None


class _Hangs(Exception):
    pass


def _ring(*_: object) -> None:
    raise _Hangs


def judge(target: Target, content: bytes, folder: Path) -> str:
    """Read one input; "read" or "refused".

    Raises:
        Finding: it ended otherwise.
    """
    path = folder / f"input{target.suffix}"
    path.write_bytes(content)
    memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    signal.alarm(HANGS_AFTER)
    outcome = "read"
    LOGGED.clear()
    try:
        if target.read(path) is REFUSED:
            outcome = "refused"
    except Finding:
        raise
    except (ValueError, OSError) as error:
        outcome = "refused"
        _look_at("refused", str(error).replace(str(folder), ""))
    except _Hangs:
        raise Finding(f"took more than {HANGS_AFTER} s") from None
    except Exception as error:
        raise Finding(f"raised {type(error).__name__}: {str(error)[:200]}") from error
    finally:
        signal.alarm(0)
    seconds = time.process_time() - began
    for message in LOGGED:
        _look_at("logged", message.replace(str(folder), ""))
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    if seconds > SECONDS:
        raise Finding(f"took {seconds:.1f} s of the processor")
    if more > target.megabytes:
        raise Finding(f"took {more:.0f} MB more than ever before")
    return outcome


def fuzz(name: str, target: Target, seconds: float, first_seed: int) -> str | None:
    """Break inputs for a reader until the time is up; what was found, or None."""
    counts = {"read": 0, "refused": 0}
    until, number = time.monotonic() + seconds, first_seed
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for example in target.examples:  # imports, and caches that are filled once
            with contextlib.suppress(ValueError):  # pictures of kinds that are not read
                target.read(_written(folder, target, example))

        def one_round(number: int) -> None:
            @seed(number)
            @settings(
                max_examples=ROUND,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=(Phase.generate, Phase.shrink),
                print_blob=False,
                report_multiple_bugs=False,
            )
            @given(inputs(target))
            def every_input_is_read_or_refused(content: bytes) -> None:
                counts[judge(target, content, folder)] += 1

            every_input_is_read_or_refused()

        while time.monotonic() < until:
            try:
                one_round(number)
            except Finding as finding:
                content = (folder / f"input{target.suffix}").read_bytes()
                return f"seed {number}: {finding}; the input: {content[:300]!r}"
            number += 1
    print(f"ok    {name}: {counts['read']} read, {counts['refused']} refused", flush=True)
    return None


def _written(folder: Path, target: Target, content: bytes) -> Path:
    path = folder / f"input{target.suffix}"
    path.write_bytes(content)
    return path


def main() -> int:
    """Fuzz the readers one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="readers whose names contain one of these")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _ring)
    logging.getLogger().addHandler(_Keep())
    found = 0
    for name, target in targets().items():
        if options.only and not any(part in name for part in options.only):
            continue
        finding = fuzz(name, target, options.seconds, options.seed)
        if finding is not None:
            found += 1
            print(f"FOUND {name}: {finding}", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
