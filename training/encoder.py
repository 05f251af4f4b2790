"""Stage 2a: the narrow encoder, taught to give the latents of the wide one, on which the UNets were trained.

It starts from a cut through the shipped encoder (``slim.py``) or from ``training/runs/encoder.pt``. The teacher sees
the same pictures, so they can have any colour and be mirrored.
"""

import sys

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import autoencoder
import slim
from common import CHECKPOINTS, HALF_PRECISION, Ema
from data import load_icons
from optimizers import Optimizers
from stage import Stage, begin


def main() -> None:
    options = begin(__doc__, seed=9, hours=0.4, lr=1.5e-3, batch=4)
    icons = load_icons()
    teacher = AutoencoderKL.from_pretrained(CHECKPOINTS / "icons/vae").float().requires_grad_(False)
    vae = slim.narrowed(teacher, autoencoder.CONFIG)
    if vae is teacher:
        sys.exit("the shipped autoencoder is as narrow as this one: there is nothing to teach")
    trained = torch.nn.ModuleDict({"encoder": vae.encoder, "quant_conv": vae.quant_conv})
    ema, optimizers = Ema(trained, decay=0.995), Optimizers([trained], options.lr)
    stage = Stage("encoder", options, {"model": trained}, optimizers, ema, averaged=trained)
    scale = teacher.config.scaling_factor
    for _ in stage.steps():
        images = autoencoder.draw_batch(icons, stage.batch, whole=True)
        with torch.no_grad(), HALF_PRECISION:
            wanted = teacher.encode(images).latent_dist
        with HALF_PRECISION:
            given = vae.encode(images).latent_dist
        error = scale**2 * F.mse_loss(given.mean.float(), wanted.mean.float())  # of latents whose variance is 1
        loss = error + 0.01 * F.mse_loss(given.logvar.float(), wanted.logvar.float())
        loss.backward()
        stage.update(error=error)


if __name__ == "__main__":
    main()
