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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="labels of the recall figures")
    parser.add_argument("--sheets-only", action="store_true", help="draw the contact sheets, measure nothing")
    args = parser.parse_args()
    prepare(seed=6)
    icons, cache = load_icons(), load_cache()
    vae = AutoencoderKL.from_pretrained(CHECKPOINTS / "icons/vae").float()
    tiny = AutoencoderTiny.from_pretrained(CHECKPOINTS / "icons-tiny-vae").float()
    tokenizer = CLIPTokenizer.from_pretrained(CHECKPOINTS / "icons/tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(CHECKPOINTS / "icons/text_encoder").float()
    base = UNet2DConditionModel.from_pretrained(CHECKPOINTS / "icons/unet").float()
    distilled = UNet2DConditionModel.from_pretrained(CHECKPOINTS / "icons-distilled/unet").float()

    @torch.no_grad()
    def pictures(prompts: list[str]) -> torch.Tensor:
        latents = generate(base, text_encoder, tokenizer, prompts)
        return torch.cat([vae.decode(part / vae.config.scaling_factor).sample for part in latents.split(16)])

    DOCS.mkdir(exist_ok=True)
    sheet(pictures(contact_prompts()), 8).save(DOCS / "contact-sheet.png", optimize=True)
    sheet(pictures(ROW), 8).save(DOCS / "icons.png", optimize=True)
    if args.sheets_only:
        return
    full, small = autoencoder_psnr(vae, tiny, icons)
    print(f"autoencoder {full:.2f} dB; tiny autoencoder {small:.2f} dB, {full - small:.2f} below", flush=True)
    wanted = draw_labels(args.count)
    prompts = [icons.labels[i] for i in wanted.tolist()]
    top1 = []
    for name, unet in (("base", base), ("distilled", distilled)):
        places = ranks(generate(unet, text_encoder, tokenizer, prompts), wanted, cache)
        top1.append((places < 1).float().mean().item())
        print(f"{name}: top-1 {top1[-1]:.1%}, top-5 {(places < 5).float().mean():.1%} of {args.count}", flush=True)
    print(f"distilled over base, top-1: {top1[1] / max(top1[0], 1e-9):.3f}", flush=True)
    print(f"background colour right: {background_accuracy(pictures, icons.labels):.1%} of 120", flush=True)
    counts = [sum(p.numel() for p in unet.parameters()) for unet in (base, distilled)]
    times = step_times([base, distilled])
    print(f"parameters {counts[0] / 1e6:.2f} M and {counts[1] / 1e6:.2f} M: ratio {counts[1] / counts[0]:.3f}")
    print(f"step {times[0] * 1e3:.1f} ms and {times[1] * 1e3:.1f} ms: ratio {times[1] / times[0]:.3f}", flush=True)


if __name__ == "__main__":
    main()
