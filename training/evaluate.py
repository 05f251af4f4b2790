"""Stage 9: every figure of quality, measured on the shipped float16 weights, and the contact sheets in ``docs/``.

``python evaluate.py --checkpoints FOLDER`` measures others, such as an earlier release's; pictures smaller than the
icons' 256×256 are enlarged by bicubic interpolation and then measured the same way.
"""

import argparse
import json
import statistics
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny, LCMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

import lora
import measures
from common import CHECKPOINTS, HALF_PRECISION, HERE, prepare, psnr, sheet
from data import BACKGROUNDS, IMAGE_SIZE, load_icons, on_background, pair_caption, palette, with_article
from recall import draw_labels, generate

DOCS = HERE.parent / "docs"
ROW = [
    "a rocket",
    "a cat face on a pink background",
    "a red apple",
    "a rocket on a blue background",
    "an octopus on a teal background",
    "a hamburger",
    "a cactus on a yellow background",
    "a lemon and a rocket",
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
def step_times(unets: list[UNet2DConditionModel], repeats: int = 40) -> list[float]:
    """Median seconds of a guided step (batch 2), the UNets taking turns."""
    size = unets[0].config.sample_size
    sample, times = torch.randn(2, 4, size, size), [[] for _ in unets]
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


COUNT = 200  # labels asked for
PAIR_COUNT = 60


class Shipped:
    """Bundled checkpoints in float32, the data they were trained on, and pictures made with them.

    Products are computed in bfloat16 while sampling, as in training.
    """

    def __init__(self, folder: Path):
        self.icons = load_icons()
        self.folder = folder
        self.vae = AutoencoderKL.from_pretrained(folder / "icons/vae").float()
        self.tiny = AutoencoderTiny.from_pretrained(folder / "icons-tiny-vae").float()
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "icons/tokenizer")
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "icons/text_encoder").float()
        self.base = UNet2DConditionModel.from_pretrained(folder / "icons/unet").float()
        self.distilled = UNet2DConditionModel.from_pretrained(folder / "icons-distilled/unet").float()
        self.scheduler = json.loads((folder / "icons/scheduler/scheduler_config.json").read_text())

    @torch.no_grad()
    def pictures(self, prompts: list[str], unet: UNet2DConditionModel | None = None, **options) -> torch.Tensor:
        """(prompts, 3, 256, 256) by ``unet``, the base where none is given; ``options`` are those of ``generate``."""
        unet = unet or self.base
        with HALF_PRECISION:
            latents = generate(
                unet,
                self.text_encoder,
                self.tokenizer,
                prompts,
                scheduler_config=self.scheduler,
                size=unet.config.sample_size,
                **options,
            )
            latents = latents / self.vae.config.scaling_factor
            return torch.cat([enlarged(self.vae.decode(part).sample.float()) for part in latents.split(16)])


def enlarged(images: torch.Tensor) -> torch.Tensor:
    if images.shape[-1] == IMAGE_SIZE:
        return images
    return F.interpolate(images, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=False)


@torch.no_grad()
def report_autoencoders(shipped: Shipped, every: int = 16) -> None:
    """Mean dB and sharpness at 256×256 of the full decoder and of the tiny one on the same latents."""
    index = torch.arange(0, len(shipped.icons), every)
    coloured = palette()[1 + torch.arange(len(index)) % 11]
    for title, backgrounds in (("white", torch.ones(len(index), 3)), ("colours", coloured)):
        images = measures.composite(shipped.icons.rgba[index] / 255, backgrounds)
        latents = torch.cat([shipped.vae.encode(part).latent_dist.mode() for part in images.split(16)])
        full = torch.cat([shipped.vae.decode(part).sample for part in latents.split(16)])
        scaled = latents * shipped.vae.config.scaling_factor
        small = torch.cat([shipped.tiny.decode(part).sample for part in scaled.split(16)])
        for name, decoded in (("autoencoder", full), ("tiny autoencoder", small)):
            level, sharp = psnr(decoded, images).mean(), measures.sharpness(decoded, images)
            print(f"{name} on {title}: {level:.2f} dB, sharpness {sharp:.3f}, {len(index)} icons", flush=True)


def report_recall(shipped: Shipped, name: str = "base", **options) -> None:
    """The right icon among all, its distance, and sharpness, of icons on white."""
    wanted = draw_labels(COUNT)
    unet = options.pop("unet", None) or getattr(shipped, name)
    images = shipped.pictures([shipped.icons.labels[i] for i in wanted.tolist()], unet, **options)
    real = measures.on_colour(shipped.icons, wanted, "white")
    places = measures.places_among(measures.coarse(images), wanted, measures.all_coarse(shipped.icons, "white"))
    print(f"{name}: {shares(places)}; RMSE {measures.rmse(images, real):.2f}, ", end="")
    print(f"sharpness {measures.sharpness(images, real):.3f}", flush=True)


def shares(places: torch.Tensor) -> str:
    top1, top5 = (places < 1).float().mean(), (places < 5).float().mean()
    return f"top-1 {top1:.1%}, top-5 {top5:.1%} of {len(places)}"


def report_colours(shipped: Shipped) -> None:
    """The same labels on the twelve colours in turn, and whether the outer 4 pixels are of the asked colour."""
    wanted, names = draw_labels(COUNT), list(BACKGROUNDS)
    colours = torch.arange(COUNT) % len(names)
    prompts = [
        on_background(with_article(shipped.icons.labels[i]), names[c])
        for i, c in zip(wanted.tolist(), colours.tolist(), strict=True)
    ]
    images = shipped.pictures(prompts)
    places = torch.zeros(COUNT, dtype=torch.long)
    for c, colour in enumerate(names):
        asked = colours == c
        candidates = measures.all_coarse(shipped.icons, colour)
        places[asked] = measures.places_among(measures.coarse(images[asked]), wanted[asked], candidates)
    border = torch.ones(images.shape[-2:], dtype=torch.bool)
    border[4:-4, 4:-4] = False
    right = torch.cdist(images[:, :, border].mean(2), palette()).argmin(1) == colours
    print(f"on the 12 colours: {shares(places)}; background right {right.float().mean():.1%}", flush=True)


def report_pairs(shipped: Shipped) -> None:
    """How often both icons are among the 5 nearest of their half."""
    wanted = draw_labels(2 * PAIR_COUNT, seed=3).view(PAIR_COUNT, 2)
    labels = shipped.icons.labels
    images = shipped.pictures([pair_caption(labels[i], labels[k]) for i, k in wanted.tolist()])
    candidates = measures.all_coarse(shipped.icons, "white", measures.COARSE // 2)
    left, right = (
        measures.places_among(half, wanted[:, side], candidates) < 5
        for side, half in enumerate(measures.halves(images))
    )
    print(f"two objects: both right {(left & right).float().mean():.1%} of {PAIR_COUNT}, ", end="")
    print(f"either {torch.cat([left, right]).float().mean():.1%}", flush=True)


def report_clipping(shipped: Shipped, count: int = 24) -> None:
    """Share of clipped values on gray, where real icons have few, over the real ones', at guidance 1 to 5."""
    wanted = draw_labels(count, seed=4)
    prompts = [on_background(with_article(shipped.icons.labels[i]), "gray") for i in wanted.tolist()]
    real = measures.clipped(measures.on_colour(shipped.icons, wanted, "gray"))
    ratios = [measures.clipped(shipped.pictures(prompts, guidance_scale=float(g))) / real for g in range(1, 6)]
    print("clipped values over the real ones', guidance 1 to 5:", *(f"{ratio:.2f}" for ratio in ratios), flush=True)


def report_lcm(shipped: Shipped) -> None:
    """4 steps of LCM without guidance, with the LoRA fused in."""
    unet = UNet2DConditionModel.from_pretrained(shipped.folder / "icons/unet").float()
    lora.fuse(unet, shipped.folder / "icons-lcm-lora")
    options = {"scheduler_class": LCMScheduler, "num_inference_steps": 4, "guidance_scale": 1.0}
    report_recall(shipped, "lcm, 4 steps", unet=unet, **options)


def report_costs(shipped: Shipped) -> None:
    unets = [shipped.base, shipped.distilled]
    counts, times = [sum(p.numel() for p in unet.parameters()) for unet in unets], step_times(unets)
    print(f"parameters {counts[0] / 1e6:.2f} M and {counts[1] / 1e6:.2f} M: ratio {counts[1] / counts[0]:.3f}")
    print(f"step {times[0] * 1e3:.1f} ms and {times[1] * 1e3:.1f} ms: ratio {times[1] / times[0]:.3f}", flush=True)


def write_sheets(shipped: Shipped) -> None:
    DOCS.mkdir(exist_ok=True)
    pictures = shipped.pictures(contact_prompts())
    sheet(F.avg_pool2d(pictures.clamp(-1, 1), 2), 8).save(DOCS / "contact-sheet.png", optimize=True)
    sheet(shipped.pictures(ROW), 4).save(DOCS / "icons.png", optimize=True)


PARTS = {
    "autoencoders": report_autoencoders,
    "base": report_recall,
    "colours": report_colours,
    "pairs": report_pairs,
    "clipping": report_clipping,
    "distilled": partial(report_recall, name="distilled"),
    "lcm": report_lcm,
    "costs": report_costs,
    "sheets": write_sheets,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all of them by default")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="the folder with icons and its variants")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    prepare(seed=6)
    shipped = Shipped(args.checkpoints)
    for part in args.parts or PARTS:
        PARTS[part](shipped)


if __name__ == "__main__":
    main()
