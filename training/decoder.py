"""Stage 2b: the decoder alone, by squared error on whole icons; the encoder and all cached latents stay as they are."""

import argparse

import torch

import autoencoder
from common import Clock, Ema, Every, cosine, load, prepare, rank, save, seed_worker, workers
from data import load_icons
from optimizers import Optimizers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=0.12, help="time of this run, pauses left out")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    prepare(seed=7)
    icons = load_icons()
    state = load("autoencoder")
    vae = autoencoder.build()
    vae.load_state_dict(state["average"])
    trained = torch.nn.ModuleList([vae.post_quant_conv, vae.decoder])
    ema, optimizers, clock, step = Ema(trained, decay=0.98), Optimizers([trained], args.lr), Clock(), 0
    seed_worker(step)
    report, running = Every(60), 0.0
    while (progress := clock.tick() / (args.hours * 3600)) < 1:
        images = autoencoder.draw_batch(icons, args.batch // workers(), whole=True)
        with torch.no_grad():
            latents = vae.encode(images).latent_dist.sample()
        loss = (vae.decode(latents).sample - images).square().mean()
        loss.backward()
        optimizers.step(cosine(progress, warmup=0.05))
        ema.update()
        step += 1
        running = loss.item() if step == 1 else 0.97 * running + 0.03 * loss.item()
        if report() and rank() == 0:
            print(f"step {step} {clock.elapsed / 60:.1f} min squared error {running:.5f}", flush=True)
    ema.swap()
    save(state | {"average": vae.state_dict()}, "autoencoder")
    if rank() == 0:
        print(f"psnr {autoencoder.measure(vae, icons, 160)[0]:.2f} dB on 160 icons", flush=True)


if __name__ == "__main__":
    main()
