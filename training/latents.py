"""Stage 2: every picture of the UNets' training, encoded once: float16 latents and the caption's parts on disk.

The kinds are single icons on white and on a named colour (full size), small ones in one of three places, and pairs side
by side; the last two are on white half of the time. The first two are also encoded at half size, so that ``height=128``
generates whole pictures too. Nothing is mirrored: some captions say "facing right".
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from autoencoder import load_trained
from common import DATA, HALF_PRECISION, MEMORY_FORMAT, prepare, rank, sum_over_workers, workers
from data import (
    BACKGROUNDS,
    IMAGE_SIZE,
    Icons,
    composite,
    load_icons,
    on_background,
    pair,
    pair_caption,
    palette,
    place,
    with_article,
)

COLOURS_AN_ICON = 3
SMALL = 700
PAIRS = 2400
COLOUR_NAMES = list(BACKGROUNDS)
WHITE = COLOUR_NAMES.index("white")
# Where a picture's icon is: as drawn, or small and there; what its caption says of that, and the centre across.
PLACES = (("", 0.5), ("", 0.5), (" on the left", 0.25), (" on the right", 0.75))
AS_DRAWN = 0


@dataclass(frozen=True)
class Latents:
    """Scaled latents of one kind of picture, float16 (count, 4, height, width).

    ``icons`` is (count, 1) or (count, 2) indices of icons, ``colours`` (count,) indices into the named colours and
    ``places`` (count,) indices into ``PLACES``.
    """

    latents: torch.Tensor
    icons: torch.Tensor
    colours: torch.Tensor
    places: torch.Tensor

    def __len__(self) -> int:
        return len(self.latents)

    def caption(self, i: int, icons: Icons) -> str:
        """One of the ways to say what picture ``i`` shows: a synonym may name an icon, white may go unsaid."""
        names = [name(icons, k) for k in self.icons[i].tolist()]
        place = self.places[i].item()
        if len(names) == 2:
            caption = pair_caption(*names)
        elif place != AS_DRAWN:
            caption = with_article(f"small {names[0]}") + PLACES[place][0]
        else:
            caption = names[0] if torch.rand(()) < 0.5 else with_article(names[0])
        colour = self.colours[i].item()
        if colour == WHITE and torch.rand(()) < 0.8:
            return caption
        return on_background(caption, COLOUR_NAMES[colour])


@dataclass(frozen=True)
class Cache:
    scaling_factor: float
    white: Latents
    coloured: Latents
    small: Latents
    pairs: Latents
    half_white: Latents
    half_coloured: Latents


def name(icons: Icons, i: int, synonym: float = 0.15) -> str:
    """The label of icon ``i``, or with probability ``synonym`` another word for it."""
    others = icons.synonyms[i]
    if others and torch.rand(()) < synonym:
        return others[torch.randint(len(others), ()).item()]
    return icons.labels[i]


def load_cache() -> Cache:
    path = DATA / "latents.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; run `python training/latents.py` first")
    stored = torch.load(path, weights_only=True)
    scaling_factor = stored.pop("scaling_factor")
    return Cache(scaling_factor, **{kind: Latents(**fields) for kind, fields in stored.items()})


def shrunk(icon: torch.Tensor, centre: float) -> torch.Tensor:
    """A float icon (4, 256, 256) at 40 to 55 % of its size, about ``centre`` (a share of the width) across."""
    size = torch.randint(int(0.4 * IMAGE_SIZE), int(0.55 * IMAGE_SIZE), ()).item()
    left = min(max(round(centre * IMAGE_SIZE - size / 2), 0), IMAGE_SIZE - size)
    return place(icon, size, left, (IMAGE_SIZE - size) // 2)


def picture(icons: Icons, index: torch.Tensor, where: int) -> torch.Tensor:
    chosen = icons.rgba[index] / 255
    if len(index) == 2:
        return pair(*chosen)
    return chosen[0] if where == AS_DRAWN else shrunk(chosen[0], PLACES[where][1])


@torch.no_grad()
def encode(vae, icons: Icons, index: torch.Tensor, colours: torch.Tensor, places: torch.Tensor, shrink: int) -> dict:
    """Draw the pictures of ``index`` (count, 1 or 2), shrink them, and encode them; fields of ``Latents``."""
    side = IMAGE_SIZE // shrink // 8
    latents = torch.zeros(len(index), 4, side, side)
    for part in torch.arange(len(index)).split(16)[rank() :: workers()]:
        rgba = torch.stack([picture(icons, index[i], places[i].item()) for i in part])
        images = F.avg_pool2d(composite(rgba, palette()[colours[part]]), shrink)
        with HALF_PRECISION:
            posterior = vae.encode(images.contiguous(memory_format=MEMORY_FORMAT)).latent_dist
        latents[part] = posterior.mode().float() * vae.config.scaling_factor
    sum_over_workers([latents])
    if rank() == 0:
        print(f"{len(index)} pictures encoded", flush=True)
    return {"latents": latents.half(), "icons": index, "colours": colours, "places": places}


def main() -> None:
    prepare(seed=1)
    icons = load_icons()
    vae = load_trained()
    every = torch.arange(len(icons))[:, None]
    others = torch.rand(len(icons), len(COLOUR_NAMES) - 1).argsort(1)[:, :COLOURS_AN_ICON] + 1
    on_white = torch.full((len(icons),), WHITE)

    def any_colour(count: int) -> torch.Tensor:
        return torch.where(torch.rand(count) < 0.5, WHITE, torch.randint(1, len(COLOUR_NAMES), (count,)))

    def as_drawn(count: int) -> torch.Tensor:
        return torch.full((count,), AS_DRAWN)

    one_each = (every, on_white, as_drawn(len(icons)))
    coloured = (every.repeat_interleave(COLOURS_AN_ICON, 0), others.flatten(), as_drawn(others.numel()))
    drawn = {
        "white": (*one_each, 1),
        "coloured": (*coloured, 1),
        "small": (
            torch.randint(len(icons), (SMALL, 1)),
            any_colour(SMALL),
            torch.randint(1, len(PLACES), (SMALL,)),
            1,
        ),
        "pairs": (torch.randint(len(icons), (PAIRS, 2)), any_colour(PAIRS), as_drawn(PAIRS), 1),
        "half_white": (*one_each, 2),
        "half_coloured": (*coloured, 2),
    }
    kinds = {kind: encode(vae, icons, *fields) for kind, fields in drawn.items()}
    if rank() == 0:
        torch.save({"scaling_factor": vae.config.scaling_factor} | kinds, DATA / "latents.pt")


if __name__ == "__main__":
    main()
