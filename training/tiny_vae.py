"""Stage 6: the decoder of the tiny autoencoder, for the full one's latents (compare TAESD).

It starts from the shipped one; as the latents are the same, that one's encoder stays.
"""

import argparse

import torch
from diffusers import AutoencoderTiny

import autoencoder
import decoder
from common import (
    CHECKPOINTS,
    HALF_PRECISION,
    MEMORY_FORMAT,
    RUNS,
    Clock,
    Ema,
    Every,
    cosine,
    load,
    prepare,
    psnr,
    rank,
    save,
    seed_worker,
    sheet,
    workers,
)
from data import load_icons
from latents import load_cache
from optimizers import Optimizers

CONFIG = {
    "encoder_block_out_channels": [32] * 4,
    "decoder_block_out_channels": [32] * 4,
    "num_encoder_blocks": [0, 1, 2, 2],
    "num_decoder_blocks": [3, 3, 2, 0],  # from coarse to fine: nothing but the last convolutions at full size
}
CRISPNESS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=0.25, help="training time in all, pauses left out")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    prepare(seed=5)
    icons, cache = load_icons(), load_cache()
    vae = autoencoder.load_trained()
    tiny = AutoencoderTiny.from_pretrained(CHECKPOINTS / "icons-tiny-vae").float().to(memory_format=MEMORY_FORMAT)
    ema, optimizers = Ema(tiny.decoder, decay=0.998), Optimizers([tiny.decoder], args.lr)
    step, clock = 0, Clock()
    if state := load("tiny_vae"):
        tiny.load_state_dict(state["tiny"])
        ema.load_state_dict(state["ema"])
        optimizers.load_state_dict(state["optimizers"])
        step, clock = state["step"], Clock(state["elapsed"])

    def keep() -> None:
        with ema:
            average = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
        state = {"tiny": tiny.state_dict(), "ema": ema.state_dict(), "optimizers": optimizers.state_dict()}
        save(state | {"average": average, "step": step, "elapsed": clock.elapsed}, "tiny_vae")

    @torch.no_grad()
    def show() -> str:
        latents, images = decoder.draw_kind(cache.white, icons, torch.linspace(0, len(icons) - 1, 16).long())
        with ema, HALF_PRECISION:
            full = psnr(vae.decode(latents / cache.scaling_factor).sample.float(), images).mean()
            decoded = tiny.decode(latents).sample.float()
        sheet(decoded, 8).save(RUNS / "tiny_vae.png")
        return f"psnr {psnr(decoded, images).mean():.2f} dB, the full one's {full:.2f} dB"

    print(f"{sum(p.numel() for p in tiny.parameters()) / 1e6:.3f} M parameters, from step {step}", flush=True)
    batch = args.batch // workers()
    seed_worker(step)
    report, checkpoint, running = Every(240), Every(180), 0.0
    while (progress := clock.tick() / (args.hours * 3600)) < 1:
        latents, images = decoder.draw_batch(cache, icons, batch, whole=True)
        latents = latents.contiguous(memory_format=MEMORY_FORMAT)
        with HALF_PRECISION:
            decoded = tiny.decode(latents).sample.float()
        loss = decoder.picture_loss(decoded, images, CRISPNESS)
        loss.backward()
        optimizers.step(cosine(progress))
        ema.update()
        step += 1
        running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
        if report() and rank() == 0:
            print(f"step {step} {clock.elapsed / 60:.1f} min loss {running:.4f} {show()}", flush=True)
        if checkpoint() and rank() == 0:
            keep()
    keep()
    print(show(), flush=True)


if __name__ == "__main__":
    main()
