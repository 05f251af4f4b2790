"""Stage 2: every picture the UNets learn from, encoded once: float16 latents and the caption's parts on disk.

The three kinds are single icons on white (as they are), single icons on a named colour (at 80 to 100 % of their size,
shifted at random) and pairs side by side on any of the colours. Nothing is mirrored: some captions say "facing right".
"""

from dataclasses import dataclass

import torch

from autoencoder import load_trained, measure_scaling
from common import DATA, prepare, rank, sum_over_workers, workers
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
PAIRS = 1600
COLOUR_NAMES = list(BACKGROUNDS)
WHITE = COLOUR_NAMES.index("white")


@dataclass(frozen=True)
class Latents:
    """Scaled latents of one kind of picture, float16 (count, 4, 16, 16).

    ``icons`` is (count, 1) or (count, 2) indices of icons, ``colours`` (count,) indices into the named colours.
    """

    latents: torch.Tensor
    icons: torch.Tensor
    colours: torch.Tensor

    def __len__(self) -> int:
        return len(self.latents)

    def caption(self, i: int, labels: list[str]) -> str:
        """One of the ways to say what picture ``i`` shows; white may go unsaid."""
        names = [labels[k] for k in self.icons[i].tolist()]
        if len(names) == 2:
            caption = pair_caption(*names)
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
    pairs: Latents

    def kinds(self) -> tuple[Latents, Latents, Latents]:
        return self.white, self.coloured, self.pairs


def load_cache() -> Cache:
    path = DATA / "latents.pt"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; run `python training/latents.py` first")
    stored = torch.load(path, weights_only=True)
    kinds = {name: Latents(**stored[name]) for name in ("white", "coloured", "pairs")}
    return Cache(stored["scaling_factor"], **kinds)


def moved(icon: torch.Tensor) -> torch.Tensor:
    """A float icon (4, 128, 128) at 80 to 100 % of its size, anywhere on the canvas."""
    size = torch.randint(int(0.8 * IMAGE_SIZE), IMAGE_SIZE + 1, ()).item()
    left, top = torch.randint(0, IMAGE_SIZE - size + 1, (2,)).tolist()
    return place(icon, size, left, top)


def picture(icons: Icons, index: torch.Tensor, colour: int) -> torch.Tensor:
    chosen = icons.rgba[index] / 255
    if len(index) == 2:
        return pair(*chosen)
    return chosen[0] if colour == WHITE else moved(chosen[0])


@torch.no_grad()
def encode(vae, icons: Icons, index: torch.Tensor, colours: torch.Tensor, scaling_factor: float) -> dict:
    """Draw and encode the pictures of ``index`` (count, 1 or 2) over ``colours`` (count,); fields of ``Latents``."""
    latents = torch.zeros(len(index), 4, IMAGE_SIZE // 8, IMAGE_SIZE // 8)
    for part in torch.arange(len(index)).split(16)[rank() :: workers()]:
        rgba = torch.stack([picture(icons, index[i], colours[i].item()) for i in part])
        images = composite(rgba, palette()[colours[part]]).contiguous(memory_format=torch.channels_last)
        latents[part] = vae.encode(images).latent_dist.mode() * scaling_factor
    sum_over_workers([latents])
    if rank() == 0:
        print(f"{len(index)} pictures encoded", flush=True)
    return {"latents": latents.half(), "icons": index, "colours": colours}


def main() -> None:
    prepare(seed=1)
    icons = load_icons()
    vae = load_trained()
    scaling_factor = measure_scaling(vae, icons)
    print(f"scaling factor {scaling_factor:.4f}", flush=True)
    every = torch.arange(len(icons))[:, None]
    others = torch.rand(len(icons), len(COLOUR_NAMES) - 1).argsort(1)[:, :COLOURS_AN_ICON] + 1
    couples = torch.randint(len(icons), (PAIRS, 2))
    on_any = torch.where(torch.rand(PAIRS) < 0.5, WHITE, torch.randint(1, len(COLOUR_NAMES), (PAIRS,)))
    pictures = {
        "white": (every, torch.full((len(icons),), WHITE)),
        "coloured": (every.repeat_interleave(COLOURS_AN_ICON, 0), others.flatten()),
        "pairs": (couples, on_any),
    }
    kinds = {name: encode(vae, icons, *drawn, scaling_factor) for name, drawn in pictures.items()}
    if rank() == 0:
        torch.save({"scaling_factor": scaling_factor} | kinds, DATA / "latents.pt")


if __name__ == "__main__":
    main()
