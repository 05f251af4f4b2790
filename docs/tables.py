"""Tables of the site that the code knows. A page says ``<!-- table: schedulers -->``; ``mkdocs build`` fills it in.

mkdocs runs this file as a hook (``hooks:`` in ``mkdocs.yml``). ``python docs/tables.py schedulers`` prints one table.
"""

import html
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

MARK = re.compile(r"<!-- table: ([\w-]+)((?: [\w-]+)*) -->")
FILE = re.compile(r"<!-- file: (\S+) -->")
ROOT = Path(__file__).parent.parent
_CELL, _IN_CODE = re.compile(r"<td.*?</td>", re.DOTALL), re.compile(r"<code>[^<]*</code>")
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
_DEFAULT = re.compile(r"\s*\[default: (.*)\]$", re.DOTALL)
_CODE = re.compile(r"(``?)(.+?)\1")


def on_page_markdown(markdown: str, **_: object) -> str:
    """What mkdocs calls for every page: its text, with the tables and the files of the project that it names."""
    markdown = FILE.sub(lambda mark: (ROOT / mark[1]).read_text(encoding="utf-8").replace("](docs/", "]("), markdown)
    return MARK.sub(lambda mark: table(mark[1], *mark[2].split()), markdown)


def on_page_content(content: str, **_: object) -> str:
    """What mkdocs calls for every page's HTML: options in cells of tables keep their hyphens together."""
    return _CELL.sub(lambda cell: _IN_CODE.sub(_whole_options, cell[0]), content)


def _whole_options(code: re.Match[str]) -> str:
    return _OPTION.sub(r'<span class="option">\g<0></span>', code[0])


def table(name: str, *arguments: str) -> str:
    """A table as Markdown.

    Raises:
        KeyError: there is no table of that name.
    """
    return TABLES[name](*arguments)


def _rows(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(text: object) -> str:
    return f"`{text}`"


def _prose(text: str) -> str:
    """Plain text as Markdown: what stands between backticks is code, everything else is as it is."""
    parts: list[str] = []
    end = 0
    for found in _CODE.finditer(text):
        parts += [html.escape(text[end : found.start()], quote=False), _code(found[2])]
        end = found.end()
    parts.append(html.escape(text[end:], quote=False))
    return " ".join("".join(parts).split())


# ---- the command line ------------------------------------------------------------------------------------------------


def commands() -> str:
    """The commands, each with its own section further down."""
    from mindone.diffusers.cli import COMMANDS

    return _rows(["command", ""], ([f"[`{name}`](#{name})", _prose(does)] for name, does in sorted(COMMANDS.items())))


def options(command: str) -> str:
    """The options of a command, from the same declarations as its ``--help``."""
    from mindone.diffusers.cli import main

    found = main.get_command(click.Context(main), command)
    assert found is not None, command
    return _rows(
        ["option", "", "default"], map(_option, (each for each in found.params if isinstance(each, click.Option)))
    )


def _option(parameter: click.Option) -> Sequence[str]:
    about = parameter.help or ""
    said = _DEFAULT.search(about)
    default = said[1] if said else ""
    if getattr(parameter, "show_default", False) and not callable(parameter.default):
        default = _code(parameter.default)
    names = ", ".join(_code(f"{name} {_value(parameter)}".strip()) for name in parameter.opts)
    return [names, _prose(_DEFAULT.sub("", about)), default if default.startswith("`") else _prose(default)]


def _value(option: click.Parameter) -> str:
    """What stands for an option's value."""
    if getattr(option, "is_flag", False):
        return ""
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(option.type.choices) if len(option.type.choices) < 6 else "NAME"
    names = {click.types.IntRange: "N", click.types.IntParamType: "N", click.types.FloatRange: "X"}
    return next(
        (name for kind, name in names.items() if isinstance(option.type, kind)),
        "X" if (isinstance(option.type, click.types.FloatParamType)) else "TEXT",
    )


# ---- calls -----------------------------------------------------------------------------------------------------------

_GROUPS = (
    ("text-to-image", "StableDiffusionPipeline"),
    ("image-to-image", "StableDiffusionImg2ImgPipeline"),
    ("inpainting", "StableDiffusionInpaintPipeline"),
    ("ControlNet", "StableDiffusionControlNetPipeline"),
    ("InstructPix2Pix", "StableDiffusionInstructPix2PixPipeline"),
    ("Depth2Img", "StableDiffusionDepth2ImgPipeline"),
    ("latent consistency", "LatentConsistencyModelPipeline"),
    ("XL", "StableDiffusionXLPipeline"),
    ("XL image-to-image", "StableDiffusionXLImg2ImgPipeline"),
    ("Stable Diffusion 3", "StableDiffusion3Pipeline"),
    ("FLUX.1", "FluxPipeline"),
    ("PixArt", "PixArtAlphaPipeline"),
    ("Sana", "SanaPipeline"),
    ("SANA-Sprint", "SanaSprintPipeline"),
)


def arguments() -> str:
    """The arguments of a pipeline's call, each under the first pipeline that has it."""
    import mindone.diffusers

    seen: set[str] = set()
    rows = []
    for title, name in _GROUPS:
        call = getattr(mindone.diffusers, name).__call__
        descriptions = _descriptions(inspect.getdoc(call) or "")
        for parameter in inspect.signature(call).parameters.values():
            if parameter.name in descriptions and parameter.name not in seen:
                seen.add(parameter.name)
                default = textwrap.shorten(str(parameter.default), 24, placeholder="…")
                rows.append([_code(parameter.name), _prose(descriptions[parameter.name]), _code(default), title])
    return _rows(["argument", "", "default", "first in"], rows)


def _descriptions(doc: str) -> dict[str, str]:
    """What a docstring says of arguments."""
    found = re.findall(r"^    (\w+): (.+(?:\n {6,}.+)*)", doc, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


# ---- schedulers, families, speed-ups ---------------------------------------------------------------------------------


def schedulers() -> str:
    """The classes, their short names, and what AUTOMATIC1111 calls them."""
    from mindone.diffusers.schedulers.base import scheduler_class
    from mindone.diffusers.schedulers.levels import DISCRETE, EDM, FLOW, TRIGFLOW
    from mindone.diffusers.schedulers.registry import LIBRARY

    rows = []
    for name, entry in LIBRARY.items():
        kind = scheduler_class(name)
        names = [short.name + ("" if short.automatic is None else " ✦") for short in entry.short_names]
        samplers = ", ".join(short.sampler for short in entry.short_names if short.sampler)
        about = (inspect.getdoc(sys.modules[kind.__module__]) or "").splitlines()[0]
        config = {"_class_name": name, "timestep_type": "continuous", "prediction_type": "v_prediction"}
        sampled = [levels for levels in (DISCRETE, EDM, FLOW, TRIGFLOW) if kind.samples(levels, config)]
        shown = ", ".join(f"`{each}`".replace(" ✦`", "` ✦") for each in names)
        source = re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", _prose(about))
        called = f"{_code(name)}<br>{samplers}" if samplers else _code(name)
        rows.append([shown, called, ", ".join(sampled), source])
    return _rows(["short name", "class, and name in AUTOMATIC1111", "samples", "method and source"], rows)


def families() -> str:
    """What each family can do, and its defaults."""
    from mindone.diffusers.families.family import CONTROLLED, DEPTH, EDIT, IMAGE, MASK, TEXT
    from mindone.diffusers.families.registry import families as known, load

    def yes(is_there: object) -> str:
        return "yes" if is_there else "–"

    rows = []
    for family in known():
        tasks = [_TASKS.get(task, task) for task in (TEXT, IMAGE, MASK, EDIT, DEPTH) if task in family.tasks]
        usual = inspect.signature(load(family.tasks[TEXT]).__call__).parameters["num_inference_steps"].default
        steps, guidance = family.defaults.steps or usual, family.defaults.guidance_scale
        rows.append(
            [
                family.title,
                ", ".join(tasks),
                f"{steps}, {guidance:g}, {family.latents.side}²",
                yes(CONTROLLED[TEXT] in family.tasks),
                yes(family.lora),
                yes(family.image_prompts),
                yes(family.original),
            ]
        )
    titles = ["family", "tasks", "steps, guidance, size", "ControlNet", "LoRA", "IP-Adapter", "single file"]
    return _rows(titles, rows)


_TASKS = {"edit": "edit by instruction", "depth": "keep the depths"}
"""Tasks whose names say too little."""


def pipelines() -> str:
    """The published class of each task."""
    from mindone.diffusers.families.registry import class_name, families as known

    found = [(family.title, family.tasks) for family in known()]
    return _rows(
        ["family", "task", "class"],
        (
            [title, _TASKS.get(task, task.replace("controlled", "ControlNet,")), _code(class_name(path))]
            for title, tasks in found
            for task, path in tasks.items()
        ),
    )


def shapes() -> str:
    """The published sizes that ``bench --shape`` and ``tune --shape`` measure."""
    from mindone.diffusers.families.registry import families as known, load

    every = chain.from_iterable(family.shapes.items() for family in known())
    found = ((name, load(path)) for name, path in every)
    return _rows(
        ["`--shape`", "published as", "on disk"],
        ([_code(name), _prose(shape.description), f"{shape.nbytes / 1e9:.1f} GB"] for name, shape in found),
    )


def caches() -> str:
    """The caches: what ``--cache`` takes, with defaults and ranges."""
    import mindone.diffusers.acceleration.stack  # noqa: F401  # it declares them
    from mindone.diffusers.acceleration.speedup import CACHES, Cache

    def numbers(cache: type[Cache]) -> str:
        declared = {each.name: each for each in fields(cache)}
        said = []
        for name in cache.form:
            known = declared[name].metadata["number"]
            most = "" if known.most == float("inf") else f" to {known.most:g}"
            said.append(f"{known.word} {known.least:g}{most or ' or more'}, {declared[name].default} by default")
        return "; ".join(said)

    used = [cache for cache in CACHES.values() if cache.usual is not None]
    return _rows(
        ["`--cache`", "class", "skips", "numbers"],
        ([_code(cache.words()), _code(cache.__name__), cache.kind, numbers(cache)] for cache in used),
    )


# ---- settings and the server -----------------------------------------------------------------------------------------


def environment() -> str:
    """The environment variables of the package."""
    from mindone.diffusers.utils.environment import VARIABLES

    return _rows(["variable", ""], ([_code(each.name), _prose(each.help)] for each in VARIABLES))


def fields_of(model: str) -> str:
    """The fields of a request, or of a job."""
    from mindone.diffusers.jobs import Job
    from mindone.diffusers.jobs.fields import plain_type
    from mindone.diffusers.server import openai_fields, webui_fields

    kinds = {
        "generation": openai_fields.GenerationFields,
        "edit": openai_fields.EditFields,
        "txt2img": webui_fields.Txt2Img,
        "img2img": webui_fields.Img2Img,
        "override-settings": webui_fields.Overrides,
        "job": Job,
    }
    rows = []
    for name, field in kinds[model].model_fields.items():
        default = "required" if field.is_required() else _stated(field)
        kind = plain_type(field)
        choices = ", ".join(map(_code, get_args(kind))) if get_origin(kind) is Literal else ""
        rows.append([_code(name), _prose(field.description or "") or choices, default])
    return _rows(["field", "", "default"], rows)


def _stated(field: FieldInfo) -> str:
    """A field's default; empty where it has none of its own."""
    if field.default_factory is not None:
        return "random"
    return "" if field.default in (None, (), "") else _code(field.default)


TABLES: dict[str, Callable[..., str]] = {
    "arguments": arguments,
    "caches": caches,
    "commands": commands,
    "environment": environment,
    "families": families,
    "fields": fields_of,
    "options": options,
    "pipelines": pipelines,
    "schedulers": schedulers,
    "shapes": shapes,
}
"""What a page may name, and what writes it."""

if __name__ == "__main__":
    print(table(*sys.argv[1:]))
