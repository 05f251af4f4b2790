"""How figures are written, in the page and in the terminal alike."""

from typing import Any

STAGE_NAMES = {"text_encoder": "text encoder", "denoising": "denoising", "decode": "decode"}
NOTHING = "–"


def seconds(value: float | None) -> str:
    """Three significant digits or so, in seconds."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.1f}"


def speedup(value: float | None) -> str:
    """A factor."""
    return NOTHING if value is None else f"{value:.2f}×"


def memory(value: float | None) -> str:
    """Gigabytes (10⁹)."""
    return NOTHING if value is None else f"{value / 1e9:.2f} GB"


def psnr(row: dict[str, Any], is_baseline: bool) -> str:
    """Decibels."""
    quality = row["quality"]
    if quality is None:
        return "reference" if is_baseline else NOTHING
    return "identical" if quality["psnr"] is None else f"{quality['psnr']:.1f} dB"


def ssim(row: dict[str, Any]) -> str:
    """Three digits, rounded down so that only identical images have 1."""
    quality = row["quality"]
    return NOTHING if quality is None else f"{int(quality['ssim'] * 1000) / 1000:.3f}"


def protocol(table: dict[str, Any]) -> str:
    """How a table was measured, in one line."""
    images = "1 image" if table["num_images"] == 1 else f"{table['num_images']} images"
    repeats = "one timed run" if table["repeats"] == 1 else f"median of {table['repeats']} runs taken in turn"
    steps = f"{table['scheduler']['name'].upper()} {'step' if table['steps'] == 1 else 'steps'}"
    weights = "; random weights" if table["weights"] == "random" else ""
    guidance = "" if table["guidance_scale"] is None else f", guidance scale {table['guidance_scale']:g}"
    size = f"{table['width']}×{table['height']} pixels"
    return f"{table['steps']} {steps}{guidance}, {images} of {size}, {repeats}{weights}"


def machine(data: dict[str, Any]) -> str:
    """Where it was measured, in one line."""
    where = data["machine"]
    cores = "1 core" if where["cores"] == 1 else f"{where['cores']} cores"
    ram = f", {where['memory'] / 2**30:.0f} GiB" if where["memory"] else ""
    return f"{where['cpu']}, {cores}{ram}, {where['system']}"


def failure(row: dict[str, Any]) -> str | None:
    """Why a row has no figures, or not all."""
    if row["status"] == "failed":
        return f"failed: {row['error']}"
    if row["status"] == "not run":
        return "interrupted before its first timed run"
    if row["status"] == "partial":
        runs = len(row["runs"])
        return f"interrupted after {runs} timed run{'s' if runs > 1 else ''}"
    return None


def busy(data: dict[str, Any]) -> str | None:
    """A warning when the machine had other work, which makes every time longer."""
    load = data["machine"]["load_average"]
    if not load or load[0] < 0.5:
        return None
    return (
        f"Other programs kept the machine busy at the start (load average {load[0]:.1f} on {data['machine']['cores']} "
        "cores): the times are longer than they need be."
    )
