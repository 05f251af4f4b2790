"""Pictures' files that record how they were made: the job travels in text chunks, or in EXIF data."""

import io
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..pipelines.mask_fills import MaskFill
from ..utils.exif_texts import exif_bytes, read_exif_texts
from ..utils.files import atomic_write, check_file
from ..utils.png_texts import NotPng, PngTexts, read_png_texts
from .infotext import format_infotext, parse_infotext
from .job import Job
from .loras import WeighedLora

KEYWORD = "mindone-diffusers"
"""The text chunk that holds the job and more as JSON."""
INFOTEXT = "parameters"
"""The text chunk in AUTOMATIC1111's form, for other programs."""

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""The format of a file by its suffix."""
_OPTIONS: Mapping[str, dict[str, int]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}
_MOST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
"""The longest side in pixels that each format's header can hold."""
_ENDINGS = (".safetensors", ".gguf")
_LARGE = 4_000_000
"""From this number of pixels on, compression is the fastest: zlib's default takes seconds for a smooth picture."""


def save_png(image: Image.Image, path: str | os.PathLike[str], job: Job | None, about: Mapping[str, object]) -> None:
    """Write ``image`` to ``path``, completely or not at all, with its job in the text chunks.

    Args:
        image: one of the job's images, or several of them in one.
        path: the file.
        job: the image's job; None to record nothing.
        about: further facts as JSON values: which image it is, the version that made it.
    """
    content = png_bytes(image, job, about)
    with atomic_write(path) as file:
        file.write(content)


def png_bytes(image: Image.Image, job: Job | None, about: Mapping[str, object]) -> bytes:
    """The bytes that ``save_png`` writes, for writing elsewhere."""
    file, is_large = io.BytesIO(), image.width * image.height > _LARGE
    fast = {"compress_level": 1, "compress_type": zlib.Z_RLE} if is_large else {}
    image.save(file, format="PNG", pnginfo=None if job is None else _chunks(image, job, about), **fast)
    return file.getvalue()


def picture_file(path: Path, image: Image.Image, job: Job | None, about: Mapping[str, object]) -> tuple[Path, bytes]:
    """The bytes of an image's file, and its name; that ends in ``.png`` if the wanted format cannot hold the image.

    Args:
        path: the wanted name.
        image: one of the job's images, or several of them in one.
        job: the image's job; None to record nothing.
        about: further facts to record, see `save_png`.
    """
    kind = SUFFIXES[path.suffix.lower()]
    if kind != "PNG" and max(image.size) <= _MOST_SIDE[kind]:
        try:
            exif = b"" if job is None else _exif(image, job, about)
        except ValueError:  # a prompt of tens of thousands of letters
            return path.with_suffix(".png"), png_bytes(image, job, about)
        file = io.BytesIO()
        image.convert("RGB").save(file, format=kind, exif=exif, **_OPTIONS[kind])
        return path, file.getvalue()
    return path.with_suffix(".png") if kind != "PNG" else path, png_bytes(image, job, about)


def read_job(path: str | os.PathLike[str]) -> Job:
    """The job of an image made by this program, also by version 0.1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no PNG, JPEG or WebP, or has none of our parameters, or some that this version does not
            know."""
    remembered = read_parameters(path)
    try:
        return _job_of(remembered)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def read_parameters(path: str | os.PathLike[str], content: bytes | None = None) -> dict[str, object]:
    """Read what ``save_png`` wrote into the file: "job" and the further facts.

    Args:
        path: the file.
        content: its bytes, if they were downloaded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no PNG, JPEG or WebP, or has none of our parameters.
    """
    text = _read(path, (KEYWORD,), content).texts.get(KEYWORD)
    if text is None:
        raise ValueError(
            f"{os.fspath(path)} holds no parameters: `mindone-diffusers generate` did not make it, or made it with "
            "--metadata none, or a program that saved it again dropped them"
        )
    try:
        parameters = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise ValueError(f"the parameters in {os.fspath(path)} are not valid JSON: {why}") from None
    if not isinstance(parameters, dict):
        raise ValueError(f"the parameters in {os.fspath(path)} are no JSON object")
    return parameters


def read_infotext(path: str | os.PathLike[str]) -> dict[str, object] | None:
    """A file's parameters, under the names of `parse_infotext`; None if it has none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no PNG, JPEG or WebP.
    """
    return parameters_of(_read(path, (KEYWORD, INFOTEXT)))


def parameters_of(said: PngTexts) -> dict[str, object] | None:
    """The same from texts already read: our own if complete, else AUTOMATIC1111's."""
    try:
        remembered = json.loads(said.texts.get(KEYWORD, ""))
        job = _job_of(remembered)
    except (ValueError, TypeError, AttributeError, RecursionError):
        text = said.texts.get(INFOTEXT)
        return None if text is None else parse_infotext(text)
    return _without_halves(_words(said.width, said.height, job, remembered))


def has_chunk(path: str | os.PathLike[str], keyword: str) -> bool:
    """Whether a file has a text with this keyword; raises as `read_infotext`."""
    return keyword in _read(path, (keyword,)).texts


def _chunks(image: Image.Image, job: Job, about: Mapping[str, object]) -> PngInfo:
    """The text chunks."""
    chunks = PngInfo()
    chunks.add_itxt(KEYWORD, json.dumps({"job": job.to_dict(), **about}, ensure_ascii=False))
    chunks.add_itxt(INFOTEXT, infotext(image, job, about))
    return chunks


def _exif(image: Image.Image, job: Job, about: Mapping[str, object]) -> bytes:
    """The same for other files."""
    return exif_bytes(KEYWORD, json.dumps({"job": job.to_dict(), **about}), infotext(image, job, about))


def infotext(image: Image.Image, job: Job, about: Mapping[str, object]) -> str:
    """The job in AUTOMATIC1111's form.

    LoRAs are in the prompt, and the size is the first pass's.
    """
    return format_infotext(_words(image.width, image.height, job, about))


def _words(width: int, height: int, job: Job, about: Mapping[str, object]) -> dict[str, object]:
    """A job as the input of `format_infotext`, for an image of this size, without unset fields."""
    loras = [WeighedLora.parse(text) for text in job.lora]
    tags = [f"<lora:{_short_name(lora.path)}:{lora.weights}>" for lora in loras]
    names = ("negative_prompt", "steps", "scheduler", "true_cfg_scale", "guidance_scale", "clip_skip", "strength")
    words: dict[str, object] = {"prompt": " ".join([job.prompt, *tags]), "model": _short_name(job.model)}
    words |= {name: getattr(job, name) for name in names}
    times = job.upscale or 1
    if not about.get("grid"):  # a grid has the size of several images
        words |= {"width": round(width / times), "height": round(height / times)}
    seed = about.get("image_seed")
    words |= {"seed": seed if isinstance(seed, int) else job.seed, "extra": _extra(job)}
    return {name: value for name, value in words.items() if value not in (None, {})}


def _short_name(path: str) -> str:
    """The last part of a path or a hub id, without a file's ending; FLUX.1-dev and other folders have none."""
    last = PurePath(path)
    return last.stem if last.suffix in _ENDINGS else last.name


def _without_halves(words: dict[str, object]) -> dict[str, object]:
    """Remove lone surrogates, which JSON can write but no encoding can."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in words.items()
    }


def _extra(job: Job) -> dict[str, str]:
    """AUTOMATIC1111's last entries: the upscaling, the fill under the mask, the ControlNets."""
    extra = {} if job.eta is None else {"Eta": f"{job.eta:g}"}
    if job.upscale is not None:
        by = "Lanczos" if job.strength is None else "Latent"
        extra |= {"Hires upscale": f"{job.upscale:g}", "Hires upscaler": by}
    if job.mask is not None:
        extra["Masked content"] = _MASKED_CONTENT[job.mask_fill or "original"]
    if job.padding_mask_crop is not None:
        extra |= {"Inpaint area": "Only masked", "Masked area padding": str(job.padding_mask_crop)}
    scales = job.control_scale or (1.0,) * len(job.control)
    for i, (control, net, scale) in enumerate(zip(job.control, job.controlnet, scales)):
        module = control.partition("=")[0]
        named = {"Module": "none" if module == "image" else module, "Model": _short_name(net), "Weight": f"{scale:g}"}
        extra[f"ControlNet {i}"] = ", ".join(f"{name}: {value}" for name, value in named.items())
    return extra


_MASKED_CONTENT: Mapping[MaskFill, str] = {
    "original": "original",
    "blur": "fill",
    "noise": "latent noise",
    "nothing": "latent nothing",
}


def _job_of(remembered: Mapping[str, object]) -> Job:
    fields = remembered.get("job")
    if not isinstance(fields, dict):  # version 0.1 wrote them next to all others, and the engine actually used
        fields = {name: remembered[name] for name in Job.model_fields if name in remembered and name != "engine"}
    return Job.of(fields)


def _read(path: str | os.PathLike[str], keywords: tuple[str, ...], content: bytes | None = None) -> PngTexts:
    with _opened(path) if content is None else io.BytesIO(content) as file:
        return texts_in(file, os.fspath(path), keywords)


def texts_in(file: BinaryIO, name: str, keywords: tuple[str, ...] = (KEYWORD, INFOTEXT)) -> PngTexts:
    """The texts of an open image file, by keyword.

    Args:
        file: positioned at its beginning.
        name: its name in errors.
        keywords: the keywords of the texts to read.

    Raises:
        ValueError: it is no PNG, JPEG or WebP, or is damaged.
    """
    try:
        try:
            return read_png_texts(file, keywords)
        except NotPng:
            file.seek(0)
            return read_exif_texts(file, KEYWORD, INFOTEXT)
    except UnidentifiedImageError:
        raise ValueError(f"{name} is not a PNG, JPEG or WebP image") from None
    except ValueError as error:
        raise ValueError(f"{name} is unusable: {error}") from None


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    check_file(Path(path))
    return open(path, "rb")
