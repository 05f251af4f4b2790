"""The images of a grid search side by side in one picture, with their values at its edges."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from ..jobs import Job
from ..utils.images import decode_picture
from ..utils.printable import printable
from .combinations import file_name
from .outputs import Output

_CELL = 256
"""Pixels of an image's longer side, if all images fit."""
_MOST_SIDE = 2**14
"""The longest side of a sheet in pixels."""
_LEAST_CELL = 32
MOST_VALUES = _MOST_SIDE // 2 // _LEAST_CELL
"""The most values of one axis."""
MOST_SHEETS = 1000
_MARGIN, _FONT_SIZE, _LABEL_WIDTH = 8, 15, 200
_INK, _PAPER, _MISSING = "black", "white", "lightgray"

Cells = dict[tuple[object, object], Job]


def sheets_of(jobs: Sequence[Job], axes: Sequence[str]) -> list[tuple[str, str | None, str, Cells]]:
    """Assign images to sheets.

    Args:
        jobs: a batch's jobs, one image each.
        axes: the fields that take several values for all of them. The first runs from left to right; the second, or the
            prompt if there is none, from top to bottom; jobs that differ in anything else get sheets of their own. If
            jobs differ only in a seed that no axis sets, the first is used.

    Returns:
        For each sheet its axes, its title, and the job of each pair of values.

    Raises:
        ValueError: there is no axis, or there are too many values or sheets.
    """
    if not axes:
        raise ValueError("a sheet needs several values to lay out: give --grid-search or --seeds")
    across, down = axes[0], axes[1] if len(axes) > 1 else _second(jobs)
    shared = {across, down} | (set() if "seed" in axes else {"seed"})
    found: dict[str, Cells] = {}
    for job in jobs:
        rest = {name: value for name, value in job.to_dict().items() if name not in shared}
        title = ", ".join(_said(name, rest[name]) for name in ("prompt", *axes[2:]) if name in rest)
        cells = found.setdefault(f"{title}\n{sorted(rest.items())}", {})
        cells.setdefault((_value(job, across), _value(job, down)), job)
    for cells in found.values():
        if max(len({pair[i] for pair in cells}) for i in (0, 1)) > MOST_VALUES:
            raise ValueError(
                f"a sheet has room for {MOST_VALUES} values of a field; leave some out, or leave out --sheet"
            )
    if len(found) > MOST_SHEETS:
        raise ValueError(
            f"this would make {len(found):,} sheets, one for each prompt or value beyond two fields; leave out --sheet"
        )
    return [(across, down, title.partition("\n")[0], cells) for title, cells in found.items()]


def write_sheets(jobs: Sequence[Job], axes: Sequence[str], folder: Output) -> list[str]:
    """Write the sheets of the existing images, see `sheets_of`. Returns their names in the folder."""
    found, there, names = sheets_of(jobs, axes), folder.names(), []
    for i, (across, down, title, cells) in enumerate(found):
        images = {pair: _read(folder, file_name(job), there) for pair, job in cells.items()}
        file = io.BytesIO()
        drawn(images, across, down, title).save(file, format="PNG")
        names.append("sheet.png" if len(found) == 1 else f"sheet-{i}.png")
        folder.write(names[-1], file.getvalue())
    return names


def drawn(
    images: Mapping[tuple[object, object], Image.Image | None], across: str, down: str | None, title: str
) -> Image.Image:
    """A sheet.

    Args:
        images: by their values on both axes; None for a missing one.
        across, down: the fields' names; None if there is one row.
        title: the values that all images share.
    """
    columns = list(dict.fromkeys(pair[0] for pair in images))
    rows = list(dict.fromkeys(pair[1] for pair in images))
    font = ImageFont.load_default(_FONT_SIZE)
    line = _FONT_SIZE + 4
    cell = max(min(_CELL, (_MOST_SIDE - _LABEL_WIDTH) // max(len(columns), len(rows)) - _MARGIN), _LEAST_CELL)
    fitted = {pair: None if image is None else _fitted(image, cell) for pair, image in images.items()}
    width, height = (max((each.size[i] for each in fitted.values() if each), default=cell) for i in (0, 1))
    heads = [_wrapped(_said(across, value), max(width, 60), font) for value in columns]
    left = _LABEL_WIDTH if down is not None else 0
    lines = _wrapped(title, left + len(columns) * (width + _MARGIN), font) if title else []
    top = _MARGIN + line * (len(lines) + max(map(len, heads)))
    sheet = Image.new(
        "RGB", (left + len(columns) * (width + _MARGIN) + _MARGIN, top + len(rows) * (height + _MARGIN)), _PAPER
    )
    draw = ImageDraw.Draw(sheet)
    draw.multiline_text((_MARGIN, 4), "\n".join(lines), _INK, font)
    for x, (value, head) in enumerate(zip(columns, heads)):
        at = left + _MARGIN + x * (width + _MARGIN)
        draw.multiline_text((at, 4 + line * len(lines)), "\n".join(head), _INK, font)
        for y, other in enumerate(rows):
            place = (at, top + y * (height + _MARGIN))
            if (image := fitted.get((value, other))) is not None:
                sheet.paste(image, place)
            else:
                draw.rectangle((*place, place[0] + width - 1, place[1] + height - 1), _MISSING)
    if down is not None:
        for y, other in enumerate(rows):
            label = _wrapped(_said(down, other), _LABEL_WIDTH - 2 * _MARGIN, font)[: max(height // line, 1)]
            draw.multiline_text((_MARGIN, top + y * (height + _MARGIN)), "\n".join(label), _INK, font)
    return sheet


def _second(jobs: Sequence[Job]) -> str | None:
    return "prompt" if len({job.prompt for job in jobs}) > 1 else None


def _value(job: Job, name: str | None) -> object:
    return None if name is None else getattr(job, name)


def _said(name: str, value: object) -> str:
    """A value with its field's name; a prompt goes without one."""
    shown = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    return printable(shown) if name == "prompt" else f"{name.replace('_', ' ')} {printable(shown)}"


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    letters = max(int(width / max(font.getlength("n"), 1)), 4)
    return textwrap.wrap(text, letters) or [""]


def _fitted(image: Image.Image, cell: int) -> Image.Image:
    image = image.convert("RGB")
    image.thumbnail((cell, cell), Image.Resampling.LANCZOS)
    return image


def _read(folder: Output, name: str, there: set[str]) -> Image.Image | None:
    return decode_picture(folder.read(name), name, _MOST_SIDE * 2) if name in there else None
