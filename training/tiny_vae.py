"""Stage 6: the decoder of the tiny autoencoder, for the full one's latents (compare TAESD).

It starts from the shipped one and keeps that one's encoder, because the latents are the same.
"""

import torch
from diffusers import AutoencoderTiny

import autoencoder
import decoder
from common import CHECKPOINTS, HALF_PRECISION, MEMORY_FORMAT, RUNS, Ema, psnr, sheet
from data import load_icons
from latents import load_cache
from optimizers import Optimizers
from stage import Stage, begin

CONFIG = {
    "encoder_block_out_channels": [32] * 4,
    "decoder_block_out_channels": [32] * 4,
    "num_encoder_blocks": [0, 1, 2, 2],
    "num_decoder_blocks": [3, 3, 2, 0],  # from coarse to fine: nothing but the last convolutions at full size
}
CRISPNESS = 0.5


def main() -> None:
    options = begin(__doc__, seed=5, hours=0.25, lr=3e-3, batch=8)
    icons, cache = load_icons(), load_cache()
    vae = autoencoder.load_trained()
    tiny = AutoencoderTiny.from_pretrained(CHECKPOINTS / "icons-tiny-vae").float().to(memory_format=MEMORY_FORMAT)
    ema, optimizers = Ema(tiny.decoder, decay=0.998), Optimizers([tiny.decoder], options.lr)
    stage = Stage("tiny_vae", options, {"tiny": tiny}, optimizers, ema, averaged=tiny)

    def show() -> str:
        latents, images = decoder.draw_kind(cache.white, icons, torch.linspace(0, len(icons) - 1, 16).long())
        with HALF_PRECISION:
            full = psnr(vae.decode(latents / cache.scaling_factor).sample.float(), images).mean()
            decoded = tiny.decode(latents).sample.float()
        sheet(decoded, 8).save(RUNS / "tiny_vae.png")
        return f"psnr {psnr(decoded, images).mean():.2f} dB, the full one's {full:.2f} dB"

    for _ in stage.steps(show):
        latents, images = decoder.draw_batch(cache, icons, stage.batch, whole=True)
        latents = latents.contiguous(memory_format=MEMORY_FORMAT)
        with HALF_PRECISION:
            decoded = tiny.decode(latents).sample.float()
        loss = decoder.picture_loss(decoded, images, CRISPNESS)
        loss.backward()
        stage.update(loss=loss)


if __name__ == "__main__":
    main()
