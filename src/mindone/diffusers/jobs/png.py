"""PNG files that remember how they were made: the job travels in the file's text chunks."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import PurePath

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..utils.files import atomic_write
from ..utils.infotext import format_infotext, parse_infotext
from .job import Job
from .run import weighed

KEYWORD = "mindone-diffusers"
"""The text chunk that holds the job and more as JSON; "parameters" holds them for people, as other tools do."""
INFOTEXT = "parameters"


def save_png(
    image: Image.Image,
    path: str | os.PathLike[str],
    job: Job,
    about: Mapping[str, object],
    as_infotext: bool = False,
) -> None:
    """Write ``image`` to ``path``, completely or not at all, with the job that it comes from in its text chunks.

    Args:
        image: one of the job's images, or several of them in one.
        path: the file.
        job: what was drawn.
        about: what else to remember, as JSON values: which image it is, the version that drew it.
        as_infotext: write "parameters" as the well-known web user interface does, which then reads it.
    """
    chunks = _chunks(image, job, about, as_infotext)
    with atomic_write(path) as file:
        image.save(file, format="PNG", pnginfo=chunks)


def png_bytes(image: Image.Image, job: Job, about: Mapping[str, object], as_infotext: bool = False) -> bytes:
    """What ``save_png`` writes, for those who write it elsewhere."""
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=_chunks(image, job, about, as_infotext))
    return file.getvalue()


def read_job(path: str | os.PathLike[str]) -> Job:
    """The job that an image of ours comes from, also of a file that version 0.1 wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no PNG, carries no parameters of ours, or some that this version does not know.
    """
    remembered = read_parameters(path)
    fields = remembered.get("job")
    if not isinstance(fields, dict):  # version 0.1 wrote them beside all others, and as the engine that which was used
        fields = {name: remembered[name] for name in Job.model_fields if name in remembered and name != "engine"}
    try:
        return Job.of(fields)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def read_parameters(path: str | os.PathLike[str], content: bytes | None = None) -> dict[str, object]:
    """What ``save_png`` wrote into the file: "job", and what else was to be remembered.

    Args:
        path: the file.
        content: its bytes, for one that lies elsewhere and has been fetched.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no PNG, or carries no parameters of ours.
    """
    text = _read_chunk(path, content=content)
    if text is None:
        raise ValueError(
            f"{os.fspath(path)} has no text chunk {KEYWORD!r}: it was not made by `mindone-diffusers generate`, or a "
            "program that saved it again dropped the parameters"
        )
    try:
        parameters = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the parameters in {os.fspath(path)} are not valid JSON: {error.msg}") from None
    if not isinstance(parameters, dict):
        raise ValueError(f"the parameters in {os.fspath(path)} are no JSON object")
    return parameters


def read_infotext(path: str | os.PathLike[str]) -> dict[str, object] | None:
    """What the well-known web user interface wrote into the file, under our names; None where it wrote nothing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no PNG.
    """
    text = _read_chunk(path, INFOTEXT)
    return None if text is None else parse_infotext(text)


def has_chunk(path: str | os.PathLike[str], keyword: str) -> bool:
    """Whether a PNG file has a text chunk of this keyword; raises as `read_infotext`."""
    return _read_chunk(path, keyword) is not None


def _chunks(image: Image.Image, job: Job, about: Mapping[str, object], as_infotext: bool = False) -> PngInfo:
    """The text chunks: the job and more as JSON, and "parameters"."""
    chunks = PngInfo()
    chunks.add_itxt(KEYWORD, json.dumps({"job": job.to_dict(), **about}, ensure_ascii=False))
    lines = [f"{name}: {value}" for name, value in {**job.to_dict(), **about}.items() if name != "prompt"]
    text = infotext(image, job, about) if as_infotext else "\n".join([job.prompt, *lines])
    chunks.add_itxt(INFOTEXT, text)
    return chunks


def infotext(image: Image.Image, job: Job, about: Mapping[str, object]) -> str:
    """The job in the words of the well-known web user interface, as ``as_infotext`` writes it.

    LoRAs are told in the prompt, and the size is the first pass's.
    """
    loras = [weighed(text) for text in job.lora]
    tags = [f"<lora:{PurePath(path).stem}:{weight:g}>" for path, weight in loras]
    said = {
        name: getattr(job, name)
        for name in ("negative_prompt", "steps", "scheduler", "guidance_scale", "clip_skip", "strength")
    }
    times = job.upscale or 1
    said |= {"width": round(image.width / times), "height": round(image.height / times)}
    said |= {"seed": about.get("image_seed", job.seed), "extra": _extra(job)}
    return format_infotext({"prompt": " ".join([job.prompt, *tags]), "model": PurePath(job.model).stem, **said})


def _extra(job: Job) -> dict[str, str]:
    """What that interface writes at the end: what was enlarged how, and what ControlNets followed."""
    extra = {} if job.upscale is None else {"Hires upscale": f"{job.upscale:g}", "Hires upscaler": "Latent"}
    scales = job.control_scale or (1.0,) * len(job.control)
    for i, (control, net, scale) in enumerate(zip(job.control, job.controlnet, scales)):
        module = control.partition("=")[0]
        named = {"Module": "none" if module == "image" else module, "Model": PurePath(net).stem, "Weight": f"{scale:g}"}
        extra[f"ControlNet {i}"] = ", ".join(f"{name}: {value}" for name, value in named.items())
    return extra


def _read_chunk(path: str | os.PathLike[str], keyword: str = KEYWORD, content: bytes | None = None) -> str | None:
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            if image.format != "PNG":
                raise ValueError(f"{os.fspath(path)} is a {image.format} file; only PNG files carry their parameters")
            image.load()  # text chunks may stand behind the pixels
            return getattr(image, "text", {}).get(keyword)
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {os.fspath(path)}") from None
    except UnidentifiedImageError:
        raise ValueError(f"{os.fspath(path)} is not an image") from None
    except SyntaxError as error:  # what Pillow raises for a broken PNG
        raise ValueError(f"{os.fspath(path)} is a damaged PNG: {error}") from None
