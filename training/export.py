"""Stage 8: the trained weights as float16 safetensors in the published folder layout, with licences next to them.

``icons`` is a complete checkpoint that ``diffusers`` loads as well; ``icons-distilled`` holds its own UNet and names in
``shared.json`` the sibling that has the rest; ``icons-tiny-vae`` is only an autoencoder, ``icons-lcm-lora`` holds
adapters. ``python export.py --checkpoints FOLDER`` writes elsewhere, so that you can measure the result
(``evaluate.py`` with the same option) and look at it before it replaces anything shipped; copies of the parts that were
not retrained must be there.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel

import autoencoder
import base
import distill
import text
import tiny_vae
from common import CHECKPOINTS, DATA, RUNS
from latents import load_cache
from recall import GUIDANCE_SCALE, NUM_INFERENCE_STEPS, SCHEDULER
from stage import load

NOTICE = """\
The weights in this folder were trained by the code in training/ on the following works, and can reproduce pictures that
look like the first of them.

Fluent Emoji (the 3D pictures, by way of the npm package @lobehub/fluent-emoji-3d)
  Copyright (c) Microsoft Corporation. MIT License.
  npm package: author LobeHub. MIT License.

emojibase-data (the English labels)
  {emojibase}. MIT License.

The weights themselves, the vocabulary and the configuration files are under the licence of this project.

The MIT License, under which the works above were given:

{terms}
"""


def build_vae() -> AutoencoderKL:
    vae = autoencoder.load_trained().to(memory_format=torch.contiguous_format)
    vae.register_to_config(scaling_factor=load_cache().scaling_factor)
    return vae


def write_icons(checkpoints: Path) -> None:
    tokenizer = text.load_tokenizer()
    unet, text_encoder = base.load_trained(tokenizer)
    scheduler = PNDMScheduler(**SCHEDULER)
    scheduler.register_to_config(clip_sample=False)  # for schedulers made from its config: latents are not pixels
    StableDiffusionPipeline(
        vae=build_vae(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(torch.float16).save_pretrained(checkpoints / "icons", safe_serialization=True)
    write_generation_config(checkpoints / "icons")


def write_autoencoder(checkpoints: Path) -> None:
    if not load("base"):  # with the base the whole of ``icons`` was written
        build_vae().half().save_pretrained(checkpoints / "icons/vae")


def write_distilled(checkpoints: Path) -> None:
    folder = checkpoints / "icons-distilled"
    unet = UNet2DConditionModel(**distill.CONFIG)
    unet.load_state_dict(load("distilled")["average"])
    unet.half().save_pretrained(folder / "unet", safe_serialization=True)
    shutil.copy(checkpoints / "icons/model_index.json", folder)
    write_generation_config(folder)
    shared = {name: "icons" for name in ("scheduler", "text_encoder", "tokenizer", "vae")}
    (folder / "shared.json").write_text(json.dumps(shared, indent=2) + "\n")


def write_generation_config(folder: Path) -> None:
    """What suits the checkpoint, which pipelines take for their defaults."""
    suggestions = {"guidance_scale": GUIDANCE_SCALE, "num_inference_steps": NUM_INFERENCE_STEPS}
    (folder / "generation_config.json").write_text(json.dumps(suggestions, indent=2) + "\n")


def write_tiny_vae(checkpoints: Path) -> None:
    tiny = AutoencoderTiny(**tiny_vae.CONFIG)
    tiny.load_state_dict(load("tiny_vae")["average"])
    tiny.half().save_pretrained(checkpoints / "icons-tiny-vae", safe_serialization=True)


def write_lcm(checkpoints: Path) -> None:
    shutil.copytree(RUNS / "icons-lcm-lora", checkpoints / "icons-lcm-lora", dirs_exist_ok=True)


def write_notice(checkpoints: Path) -> None:
    licence = (DATA / "emojibase-data/package/LICENSE").read_text().strip()
    holder = next(line for line in licence.splitlines() if line.startswith("Copyright"))
    terms = licence[licence.index("Permission is hereby granted") :]
    (checkpoints / "NOTICE").write_text(NOTICE.format(emojibase=holder, terms=terms))


WRITERS = {
    "base": write_icons,
    "autoencoder": write_autoencoder,
    "distilled": write_distilled,
    "tiny_vae": write_tiny_vae,
    "lcm": write_lcm,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="the folder with icons and its variants")
    checkpoints = parser.parse_args().checkpoints
    checkpoints.mkdir(parents=True, exist_ok=True)
    write_notice(checkpoints)
    for stage, write in WRITERS.items():
        if load(stage):
            write(checkpoints)
        else:
            print(f"there is no training/runs/{stage}.pt: what is in {checkpoints} stays")
    files = [path for path in checkpoints.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB -> {checkpoints}")


if __name__ == "__main__":
    main()
