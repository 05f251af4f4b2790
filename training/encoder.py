"""Stage 2a: the narrow encoder, taught to give the latents of the wide one, which the UNets have learned with.

Starts from a cut through the shipped encoder (``slim.py``) or from ``training/runs/encoder.pt``. The teacher sees the
same pictures, so that they can be of any colour and mirrored.
"""

import argparse

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import autoencoder
import slim
from common import (
    CHECKPOINTS,
    HALF_PRECISION,
    Clock,
    Ema,
    Every,
    cosine,
    load,
    prepare,
    rank,
    save,
    seed_worker,
    workers,
)
from data import load_icons
from optimizers import Optimizers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=0.4, help="training time in all, pauses left out")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=4)
    args = parser.parse_args()
    prepare(seed=9)
    icons = load_icons()
    teacher = AutoencoderKL.from_pretrained(CHECKPOINTS / "icons/vae").float().requires_grad_(False)
    vae = slim.narrowed(teacher, autoencoder.CONFIG)
    if vae is teacher:
        parser.error("the shipped autoencoder is as narrow as this one: there is nothing to teach")
    trained = torch.nn.ModuleDict({"encoder": vae.encoder, "quant_conv": vae.quant_conv})
    ema, optimizers = Ema(trained, decay=0.995), Optimizers([trained], args.lr)
    step, clock = 0, Clock()
    if state := load("encoder"):
        trained.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        optimizers.load_state_dict(state["optimizers"])
        step, clock = state["step"], Clock(state["elapsed"])

    def keep() -> None:
        with ema:
            average = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
        state = {"model": trained.state_dict(), "ema": ema.state_dict(), "optimizers": optimizers.state_dict()}
        save(state | {"average": average, "step": step, "elapsed": clock.elapsed}, "encoder")

    batch, scale = args.batch // workers(), teacher.config.scaling_factor
    seed_worker(step)
    report, checkpoint, running = Every(60), Every(180), 0.0
    while (progress := clock.tick() / (args.hours * 3600)) < 1:
        images = autoencoder.draw_batch(icons, batch, whole=True)
        with torch.no_grad(), HALF_PRECISION:
            wanted = teacher.encode(images).latent_dist
        with HALF_PRECISION:
            given = vae.encode(images).latent_dist
        error = scale**2 * F.mse_loss(given.mean.float(), wanted.mean.float())
        loss = error + 0.01 * F.mse_loss(given.logvar.float(), wanted.logvar.float())
        loss.backward()
        optimizers.step(cosine(progress))
        ema.update()
        step += 1
        running = error.item() if step == 1 else 0.97 * running + 0.03 * error.item()
        if report() and rank() == 0:
            print(f"step {step} {clock.elapsed / 60:.1f} min error {running:.5f} of variance 1", flush=True)
        if checkpoint() and rank() == 0:
            keep()
    keep()


if __name__ == "__main__":
    main()
