"""How to write figures, in the page and in the terminal alike."""

from typing import Any

JsonObject = dict[str, Any]
"""``report.json``, or a table or row of it, as in ``schema.json``."""

STAGE_NAMES = {"text_encoder": "text encoder", "denoising": "denoising", "decode": "decode"}
CALL_NAMES = {"full": "full", "shallow": "shallow", "single": "unguided"}
NOTHING = "–"


def seconds(value: float | None) -> str:
    """Seconds, with about three significant digits."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.1f}"


def latency(row: JsonObject) -> str:
    """The median of a row's runs, in seconds."""
    return seconds(row["latency"] and row["latency"]["median"])


def speedup(value: float | None) -> str:
    """A factor."""
    return NOTHING if value is None else f"{value:.2f}×"


def calls(row: JsonObject) -> list[str]:
    """Calls of the denoising network: whole ones, those above a feature cache's branch, and those without guidance."""
    return [NOTHING] * 3 if row["calls"] is None else [str(row["calls"][kind]) for kind in CALL_NAMES]


def shows_calls(table: JsonObject) -> bool:
    """Whether rows' calls differ by more than their number of steps."""
    return (
        any(row["calls"] and row["calls"]["shallow"] for row in table["rows"])
        or len({row["calls"]["single"] > 0 for row in table["rows"] if row["calls"]}) > 1
    )


def shows_reference(table: JsonObject) -> bool:
    """Whether the table has a row of the reference library."""
    return any(row["speedup_over_reference"] for row in table["rows"])


def memory(value: float | None) -> str:
    """Gigabytes (10⁹)."""
    return NOTHING if value is None else f"{value / 1e9:.2f} GB"


def psnr(row: JsonObject, is_baseline: bool) -> str:
    """Decibels."""
    quality = row["quality"]
    if quality is None:
        return "reference" if is_baseline else NOTHING
    return "identical" if quality["psnr"] is None else f"{quality['psnr']:.1f} dB"


def ssim(row: JsonObject) -> str:
    """Three digits, rounded down so that only identical images have 1."""
    quality = row["quality"]
    return NOTHING if quality is None else f"{int(quality['ssim'] * 1000) / 1000:.3f}"


def protocol(table: JsonObject) -> str:
    """How a table was measured, in one line."""
    images = "1 image" if table["num_images"] == 1 else f"{table['num_images']} images"
    repeats = "one timed run" if table["repeats"] == 1 else f"median of {table['repeats']} runs taken in turn"
    steps = f"{table['scheduler']['name'].upper()} {'step' if table['steps'] == 1 else 'steps'}"
    weights = "; random weights" if table["weights"] == "random" else ""
    guidance = "" if table["guidance_scale"] is None else f", guidance scale {table['guidance_scale']:g}"
    size = f"{table['width']}×{table['height']} pixels"
    return f"{table['steps']} {steps}{guidance}, {images} of {size}, {repeats}{weights}"


def machine(data: JsonObject) -> str:
    """Where it was measured, in one line."""
    where = data["machine"]
    cores = "1 core" if where["cores"] == 1 else f"{where['cores']} cores"
    ram = f", {where['memory'] / 2**30:.0f} GiB" if where["memory"] else ""
    return f"{where['cpu']}, {cores}{ram}, {where['system']}"


def failure(row: JsonObject) -> str | None:
    """Why a row has no figures, or not all."""
    runs = len(row["runs"])
    reasons = {
        "failed": f"failed: {row['error']}",
        "not run": "interrupted before its first timed run",
        "partial": f"interrupted after {runs} timed run{'s' if runs > 1 else ''}",
    }
    return reasons.get(row["status"])


def loses(row: JsonObject, table: JsonObject) -> str | None:
    """Whether a row's images are further from the baseline's than its rival's, in the same time."""
    rival = next((other for other in table["rows"] if other.get("rival_of") == row["name"]), None)
    if rival is None or not row["quality"] or not rival["quality"]:
        return None
    ours, theirs = row["quality"]["psnr"], rival["quality"]["psnr"]
    if ours is None or (theirs is not None and ours >= theirs):
        return None
    closer = "identical images" if theirs is None else f"{theirs:.1f} dB"
    return f"loses to its rival: {rival['steps']} steps take as long and give {closer}, this gives {ours:.1f} dB"


def busy(data: JsonObject) -> str | None:
    """A warning if the machine had other work, which makes every time longer."""
    load = data["machine"]["load_average"]
    if not load or load[0] < 0.5:
        return None
    return (
        f"Other programs kept the machine busy at the start (load average {load[0]:.1f} on {data['machine']['cores']} "
        "cores): the times are longer than necessary."
    )
