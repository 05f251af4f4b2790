"""``report.html``: one file that opens from disk, with its style, its charts and its images inside."""

import base64
import importlib.resources
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from . import wording

Images = Mapping[str, np.ndarray | None]
"""uint8 (images, height, width, 3) by set-up."""

_CHART_WIDTH, _LABEL_WIDTH, _VALUE_WIDTH, _BAR, _PITCH = 860, 250, 70, 20, 34


def render(data: dict[str, Any], images: Sequence[Images]) -> str:
    """The page.

    Args:
        data: the content of ``report.json``.
        images: for each table, those of its rows.
    """
    style = importlib.resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    tables = "\n".join(_section(table, pictures) for table, pictures in zip(data["tables"], images))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>mindone-diffusers bench</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>How fast is text to image here?</h1>
<p class="machine">{escape(wording.machine(data))}</p>
{_remarks(data)}
</header>
<main>
{tables}
</main>
<footer>
{_method(data)}
</footer>
</body>
</html>
"""


def _remarks(data: dict[str, Any]) -> str:
    remarks = [] if data["complete"] else ["Interrupted: this report is partial."]
    remarks += [*data["notes"], wording.busy(data) or ""]
    return "\n".join(f'<p class="remark">{escape(text)}</p>' for text in remarks if text)


def _section(table: dict[str, Any], pictures: Images) -> str:
    return f"""<section>
<h2>{escape(table["title"])}</h2>
<p class="protocol">“{escape(table["prompt"])}” · {escape(wording.protocol(table))}</p>
{_figures(table)}
{_chart(table)}
{_gallery(table, pictures)}
</section>"""


def _figures(table: dict[str, Any]) -> str:
    stages = "".join(f'<th class="number">{name}</th>' for name in wording.STAGE_NAMES.values())
    rows = "\n".join(_figures_row(row, is_baseline=i == 0) for i, row in enumerate(table["rows"]))
    return f"""<div class="scroll"><table>
<thead>
<tr><th rowspan="2">set-up</th>
<th rowspan="2" class="number">latency, s</th><th rowspan="2" class="number">speed-up</th>
<th colspan="3" class="group"><span>of which, s</span></th><th rowspan="2" class="number">peak memory</th>
<th colspan="2" class="group"><span>images beside the baseline’s</span></th></tr>
<tr>{stages}<th class="number">PSNR</th><th class="number">SSIM</th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table></div>"""


def _figures_row(row: dict[str, Any], is_baseline: bool) -> str:
    stages = row["stages"] or {}
    latency = row["latency"]
    spread = f"{latency['min']:.3f} to {latency['max']:.3f} s" if latency else ""
    cells = [
        f'<td class="number" title="{spread}"><b>{wording.seconds(latency and latency["median"])}</b></td>',
        f'<td class="number">{wording.speedup(row["speedup"])}</td>',
        *(f'<td class="number">{wording.seconds(stages.get(stage))}</td>' for stage in wording.STAGE_NAMES),
        f'<td class="number">{wording.memory(row["peak_memory"])}</td>',
        f'<td class="number">{wording.psnr(row, is_baseline)}</td>',
        f'<td class="number">{wording.ssim(row)}</td>',
    ]
    return f"<tr><th>{escape(row['name'])}{_details(row)}</th>{''.join(cells)}</tr>"


def _details(row: dict[str, Any]) -> str:
    weights = row["model"].rsplit("/", 1)[-1] + (f" + {row['tiny_vae'].rsplit('/', 1)[-1]}" if row["tiny_vae"] else "")
    lines = [f"<small>{escape(weights)}{escape(' · ' + row['engine'] if row['engine'] else '')}</small>"]
    problem = wording.failure(row)
    lines += [f'<small class="problem">{escape(text)}</small>' for text in [problem, *row["notes"]] if text]
    return "".join(lines)


def _chart(table: dict[str, Any]) -> str:
    """Where the time goes: a bar a row, a colour a stage."""
    rows = [row for row in table["rows"] if row["stages"]]
    if not rows:
        return ""
    longest = max(sum(row["stages"].values()) for row in rows)
    scale = (_CHART_WIDTH - _LABEL_WIDTH - _VALUE_WIDTH) / longest
    bars = "\n".join(_bar(row, i * _PITCH, scale) for i, row in enumerate(rows))
    legend = "".join(f'<li class="{stage}">{name}</li>' for stage, name in wording.STAGE_NAMES.items())
    return f"""<figure class="chart">
<figcaption>Where the time goes <ul class="legend">{legend}</ul></figcaption>
<div class="scroll"><svg viewBox="0 0 {_CHART_WIDTH} {len(rows) * _PITCH}" role="img" \
aria-label="Seconds of each stage by set-up">
{bars}
</svg></div>
</figure>"""


def _bar(row: dict[str, Any], top: int, scale: float) -> str:
    middle = top + _PITCH / 2
    parts = [f'<text class="label" x="{_LABEL_WIDTH - 12}" y="{middle}">{escape(row["name"])}</text>']
    x = float(_LABEL_WIDTH)
    for stage, name in wording.STAGE_NAMES.items():
        value = row["stages"][stage]
        width = value * scale
        title = f"<title>{escape(row['name'])}: {name} {wording.seconds(value)} s</title>"
        box = f'x="{x:.1f}" y="{middle - _BAR / 2}" width="{width:.1f}" height="{_BAR}"'
        parts.append(f'<rect class="{stage}" {box}>{title}</rect>')
        x += width
    total = wording.seconds(sum(row["stages"].values()))
    parts.append(f'<text class="value" x="{x + 8:.1f}" y="{middle}">{total} s</text>')
    return f"<g>{''.join(parts)}</g>"


def _gallery(table: dict[str, Any], pictures: Images) -> str:
    """The images: a row a set-up, and the same seeds down each column."""
    rows = [(row, images) for row in table["rows"] if (images := pictures.get(row["name"])) is not None]
    if not rows:
        return ""
    head = "".join(f"<th>seed {seed}</th>" for seed in table["seeds"])
    body = "\n".join(
        f"<tr><th>{escape(row['name'])}<small>{_speed(row)}</small></th>"
        f"{''.join(_picture(row['name'], *pair) for pair in zip(table['seeds'], images))}</tr>"
        for row, images in rows
    )
    return f"""<figure>
<figcaption>The images: the same noise down each column</figcaption>
<div class="scroll"><table class="gallery">
<thead><tr><td></td>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>
</figure>"""


def _speed(row: dict[str, Any]) -> str:
    if not row["latency"]:
        return ""
    seconds = f"{wording.seconds(row['latency']['median'])} s"
    return f"{seconds} · {wording.speedup(row['speedup'])}" if row["speedup"] else seconds


def _picture(name: str, seed: int, image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    height, width = image.shape[:2]
    alt = escape(f"{name}, seed {seed}")
    return f'<td><img src="data:image/png;base64,{data}" alt="{alt}" width="{width}" height="{height}"></td>'


def _method(data: dict[str, Any]) -> str:
    terms = {"speedup": "speed-up", "peak_memory": "peak memory"}
    method = "".join(
        f"<dt>{escape(terms.get(name, name))}</dt><dd>{escape(text)}</dd>" for name, text in data["method"].items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    minutes, rest = divmod(round(data["seconds"]), 60)
    return f"""<h2>How it was measured</h2>
<pre>{escape(data["command"])}</pre>
<dl>{method}</dl>
<p>{escape(data["started"].replace("T", " "))}, {minutes} min {rest} s in all. {escape(versions)}. Every run is in
report.json, in this folder.</p>"""
