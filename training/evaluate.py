"""Stage 8: every figure of quality, measured on the shipped float16 weights, and the contact sheets in ``docs/``."""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from common import CHECKPOINTS, HERE, prepare, psnr, sheet
from data import BACKGROUNDS, Icons, load_icons, on_background, on_white, palette, with_article
from latents import load_cache
from recall import draw_labels, generate, ranks

DOCS = HERE.parent / "docs"
ROW = [
    "a rocket",
    "a cat face on a pink background",
    "a red apple",
    "a rocket on a blue background",
    "an octopus on a teal background",
    "a hamburger",
    "a cactus on a yellow background",
    "a cat and a rocket",
]
SUBJECTS = [
    "rocket",
    "cat face",
    "dog face",
    "red apple",
    "pizza",
    "hamburger",
    "octopus",
    "cactus",
    "sunflower",
    "snowman",
    "guitar",
    "bicycle",
    "teddy bear",
    "crown",
    "gem stone",
    "ghost",
    "alien",
    "robot",
    "panda",
    "frog",
    "penguin",
    "butterfly",
    "tropical fish",
    "mushroom",
    "strawberry",
    "banana",
    "watermelon",
    "birthday cake",
    "doughnut",
    "hot beverage",
    "wine glass",
    "house",
]
PAIRS = [
    "a cat and a rocket",
    "a dog face and a bone",
    "a pizza and a red apple",
    "a robot and an alien",
    "a crown and a gem stone",
    "a sunflower and a butterfly",
    "a ghost and a jack-o-lantern on a purple background",
    "a penguin and a snowman on a teal background",
]


@torch.no_grad()
def autoencoder_psnr(vae: AutoencoderKL, tiny: AutoencoderTiny, icons: Icons) -> tuple[float, float]:
    """Mean dB over all icons on white, of the full decoder and of the tiny one on the same latents."""
    full_scores, tiny_scores = [], []
    for index in torch.arange(len(icons)).split(32):
        images = on_white(icons, index)
        latents = vae.encode(images).latent_dist.mode()
        full_scores.append(psnr(vae.decode(latents).sample, images))
        tiny_scores.append(psnr(tiny.decode(latents * vae.config.scaling_factor).sample, images))
    return torch.cat(full_scores).mean().item(), torch.cat(tiny_scores).mean().item()


@torch.no_grad()
def background_accuracy(pictures: Callable[[list[str]], torch.Tensor], labels: list[str], each: int = 10) -> float:
    """How often the mean colour of the outer 4 pixels is nearest to the asked one of the twelve."""
    names = [labels[i] for i in draw_labels(each, seed=2).tolist()]
    right = []
    for i, colour in enumerate(BACKGROUNDS):
        images = pictures([on_background(with_article(name), colour) for name in names])
        border = torch.ones(images.shape[-2:], dtype=torch.bool)
        border[4:-4, 4:-4] = False
        nearest = torch.cdist(images[:, :, border].mean(2), palette()).argmin(1)
        right.append(nearest == i)
    return torch.cat(right).float().mean().item()


@torch.no_grad()
def step_times(unets: list[UNet2DConditionModel], repeats: int = 40) -> list[float]:
    """Median seconds of a guided step (batch 2), the UNets taking turns."""
    sample, times = torch.randn(2, 4, 16, 16), [[] for _ in unets]
    text = torch.randn(2, 24, unets[0].config.cross_attention_dim)
    for _ in range(repeats):
        for unet, measured in zip(unets, times, strict=True):
            start = time.perf_counter()
            unet(sample, 500, text)
            measured.append(time.perf_counter() - start)
    return [statistics.median(measured) for measured in times]


def contact_prompts() -> list[str]:
    """64 prompts: 32 subjects on white, 24 of them on a colour, 8 pairs."""
    colours = [colour for colour in BACKGROUNDS if colour != "white"]
    coloured = [on_background(with_article(s), colours[i % len(colours)]) for i, s in enumerate(SUBJECTS[:24])]
    return [with_article(s) for s in SUBJECTS] + coloured + PAIRS


class Shipped:
    """The bundled checkpoints in float32, the data they were trained on, and pictures made with them."""

    def __init__(self):
        self.icons, self.cache = load_icons(), load_cache()
        self.vae = AutoencoderKL.from_pretrained(CHECKPOINTS / "icons/vae").float()
        self.tiny = AutoencoderTiny.from_pretrained(CHECKPOINTS / "icons-tiny-vae").float()
        self.tokenizer = CLIPTokenizer.from_pretrained(CHECKPOINTS / "icons/tokenizer")
        self.text_encoder = CLIPTextModel.from_pretrained(CHECKPOINTS / "icons/text_encoder").float()
        self.base = UNet2DConditionModel.from_pretrained(CHECKPOINTS / "icons/unet").float()
        self.distilled = UNet2DConditionModel.from_pretrained(CHECKPOINTS / "icons-distilled/unet").float()

    @torch.no_grad()
    def pictures(self, prompts: list[str]) -> torch.Tensor:
        """(prompts, 3, 128, 128) in [-1, 1], by the base."""
        latents = generate(self.base, self.text_encoder, self.tokenizer, prompts)
        scaling_factor = self.vae.config.scaling_factor
        return torch.cat([self.vae.decode(part / scaling_factor).sample for part in latents.split(16)])


def report_autoencoders(shipped: Shipped) -> None:
    full, small = autoencoder_psnr(shipped.vae, shipped.tiny, shipped.icons)
    print(f"autoencoder {full:.2f} dB; tiny autoencoder {small:.2f} dB, {full - small:.2f} below", flush=True)


def report_recall(shipped: Shipped, name: str, count: int = 200) -> None:
    wanted = draw_labels(count)
    prompts = [shipped.icons.labels[i] for i in wanted.tolist()]
    latents = generate(getattr(shipped, name), shipped.text_encoder, shipped.tokenizer, prompts)
    places = ranks(latents, wanted, shipped.cache)
    top1, top5 = (places < 1).float().mean(), (places < 5).float().mean()
    print(f"{name}: top-1 {top1:.1%}, top-5 {top5:.1%} of {count} labels", flush=True)


def report_backgrounds(shipped: Shipped) -> None:
    print(f"background colour right: {background_accuracy(shipped.pictures, shipped.icons.labels):.1%}", flush=True)


def report_costs(shipped: Shipped) -> None:
    unets = [shipped.base, shipped.distilled]
    counts, times = [sum(p.numel() for p in unet.parameters()) for unet in unets], step_times(unets)
    print(f"parameters {counts[0] / 1e6:.2f} M and {counts[1] / 1e6:.2f} M: ratio {counts[1] / counts[0]:.3f}")
    print(f"step {times[0] * 1e3:.1f} ms and {times[1] * 1e3:.1f} ms: ratio {times[1] / times[0]:.3f}", flush=True)


def write_sheets(shipped: Shipped) -> None:
    DOCS.mkdir(exist_ok=True)
    sheet(shipped.pictures(contact_prompts()), 8).save(DOCS / "contact-sheet.png", optimize=True)
    sheet(shipped.pictures(ROW), 8).save(DOCS / "icons.png", optimize=True)


PARTS = {
    "autoencoders": report_autoencoders,
    "base": lambda shipped: report_recall(shipped, "base"),
    "distilled": lambda shipped: report_recall(shipped, "distilled"),
    "backgrounds": report_backgrounds,
    "costs": report_costs,
    "sheets": write_sheets,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all of them where none is named")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    prepare(seed=6)
    shipped = Shipped()
    for part in args.parts or PARTS:
        PARTS[part](shipped)


if __name__ == "__main__":
    main()
