"""Measures of pictures (batch, 3, 256, 256) in [-1, 1]: the nearest icon, sharpness, clipping."""

import torch
import torch.nn.functional as F

from data import BACKGROUNDS, IMAGE_SIZE, Icons, composite, palette

COARSE = 64  # pixels at which pictures are compared with all icons


def on_colour(icons: Icons, index: torch.Tensor, colour: str) -> torch.Tensor:
    """The chosen icons as drawn over a named colour."""
    background = palette()[list(BACKGROUNDS).index(colour)].expand(len(index), 3)
    return composite(icons.rgba[index] / 255, background)


def all_coarse(icons: Icons, colour: str, size: int = COARSE) -> torch.Tensor:
    """Every icon over a colour, shrunk to ``size`` pixels: (icons, 3 * size * size)."""
    parts = torch.arange(len(icons)).split(64)
    return torch.cat([coarse(on_colour(icons, part, colour), size) for part in parts])


def coarse(images: torch.Tensor, size: int = COARSE) -> torch.Tensor:
    return F.adaptive_avg_pool2d(images.clamp(-1, 1), size).flatten(1)


def places_among(images: torch.Tensor, wanted: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """How many of the candidates are nearer to each image than the wanted one is; (batch,), 0 is a hit."""
    distances = torch.cdist(images, candidates)
    return (distances < distances.gather(1, wanted[:, None])).sum(1)


def halves(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The two squares in which the icons of a pair belong, shrunk: (batch, 3 * 32 * 32) each."""
    middle, quarter = IMAGE_SIZE // 2, IMAGE_SIZE // 4
    rows = images[:, :, quarter : quarter + middle]
    return coarse(rows[..., :middle], COARSE // 2), coarse(rows[..., middle:], COARSE // 2)


def rmse(images: torch.Tensor, real: torch.Tensor) -> float:
    """Root mean square error of each picture in steps of 0 to 255, mean over the pictures."""
    return (127.5 * (images.clamp(-1, 1) - real).square().flatten(1).mean(1).sqrt()).mean().item()


def gradient_energy(images: torch.Tensor) -> torch.Tensor:
    """Mean square of the differences of neighbouring pixels of each image; (batch,)."""
    across, down = images.diff(dim=-1), images.diff(dim=-2)
    return across.square().flatten(1).mean(1) + down.square().flatten(1).mean(1)


def sharpness(images: torch.Tensor, real: torch.Tensor) -> float:
    """Gradient energy of all ``images`` over that of the ``real`` ones."""
    return (gradient_energy(images.clamp(-1, 1)).mean() / gradient_energy(real).mean()).item()


def clipped(images: torch.Tensor) -> float:
    """Share of values that are 0 or 255 as pixels."""
    return (images.abs() > 1 - 0.5 / 127.5).float().mean().item()
