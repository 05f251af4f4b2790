"""Stage 4: the base UNet, trained jointly with the text encoder to predict noise.

``python training/base.py --hours 1.1`` starts from the warmed-up text encoder, or from ``training/runs/base.pt`` where
that exists. To go on another day give a larger ``--hours``; where ``training/runs`` is gone, ``--init-from-shipped``
starts from the published float16 weights (see ``deepen.py``).
"""

import argparse

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

import deepen
import text
from autoencoder import load_trained as load_vae
from common import (
    CHECKPOINTS,
    HALF_PRECISION,
    RUNS,
    Clock,
    Ema,
    Every,
    cosine,
    load,
    prepare,
    rank,
    save,
    seed_worker,
    sheet,
    workers,
)
from data import load_icons
from latents import load_cache
from optimizers import Optimizers
from recall import SCHEDULER, draw_labels, generate, ranks

CONFIG = {
    "sample_size": 32,
    "block_out_channels": [48, 48, 96, 192],
    "norm_num_groups": 16,
    "layers_per_block": 2,
    "cross_attention_dim": text.HIDDEN_SIZE,
    "attention_head_dim": [2, 2, 3, 6],  # the published field counts heads: 32 wide, where there is attention
    "use_linear_projection": True,
    "down_block_types": ["DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
}
MAX_WEIGHT = 30.0
HALF_EVERY = 7  # steps there is one at 16×16 latents, so that small pictures come out whole
TEXT_RATE = 0.15  # of the learning rate: the words already mean pictures, and a new UNet's gradients would undo that
SHOWN = [
    "rocket",
    "a rocket on a blue background",
    "cat face",
    "a cat and a rocket",
    "red apple on a green background",
    "pizza",
    "a house on a pink background",
    "grinning face",
]


def alphas_cumprod() -> torch.Tensor:
    return DDPMScheduler(
        beta_start=SCHEDULER["beta_start"], beta_end=SCHEDULER["beta_end"], beta_schedule=SCHEDULER["beta_schedule"]
    ).alphas_cumprod


def draw_timesteps(batch: int) -> torch.Tensor:
    """Stratified over the 1,000 steps, in random order: less noise in the gradient than independent draws."""
    return ((torch.randperm(batch) + torch.rand(batch)) / batch * 1000).long()


def add_noise(latents: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    alpha = alpha[:, None, None, None]
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise


def noise_weight(alpha: torch.Tensor) -> torch.Tensor:
    """The weight that turns a noise-prediction loss into the v-prediction one, (1 + SNR) / SNR, at most 30.

    Which icon it will be is decided at high noise, where the plain loss hardly looks (Salimans & Ho 2022, section 4).
    """
    return (1 / alpha).clamp(max=MAX_WEIGHT)


def load_trained(tokenizer: CLIPTokenizer) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """The averaged weights of ``training/runs/base.pt``, frozen."""
    unet, text_encoder = UNet2DConditionModel(**CONFIG), text.build(tokenizer)
    model = torch.nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})
    model.load_state_dict(load("base")["average"])
    model.requires_grad_(False)
    return unet, text_encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=1.2, help="training time in all, pauses left out")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--init-from-shipped", action="store_true", help="start from the published weights")
    args = parser.parse_args()
    prepare(seed=3)
    icons, cache = load_icons(), load_cache()
    tokenizer = text.load_tokenizer()
    vae = load_vae()
    if args.init_from_shipped:
        unet = deepen.from_shipped(CHECKPOINTS / "icons/unet", CONFIG)
        text_encoder = CLIPTextModel.from_pretrained(CHECKPOINTS / "icons/text_encoder").float()
    else:
        unet, text_encoder = UNet2DConditionModel(**CONFIG), text.build(tokenizer)
        text_encoder.load_state_dict(load("text")["text_encoder"])
    model = torch.nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})
    ema = Ema(model, decay=0.99)
    optimizers = [Optimizers([unet], args.lr), Optimizers([text_encoder], TEXT_RATE * args.lr)]
    step, clock = 0, Clock()
    if state := load("base"):
        model.load_state_dict(state["model"])
        ema.load_state_dict(state["ema"])
        for optimizer, stored in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(stored)
        step, clock = state["step"], Clock(state["elapsed"])

    def keep() -> None:
        with ema:
            average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        state = {"model": model.state_dict(), "ema": ema.state_dict(), "average": average}
        state["optimizers"] = [optimizer.state_dict() for optimizer in optimizers]
        save(state | {"step": step, "elapsed": clock.elapsed}, "base")

    @torch.no_grad()
    def show() -> str:
        """Write the sample sheet; how many of 24 labels come out right."""
        wanted = draw_labels(24, seed=1)
        with ema, HALF_PRECISION:
            asked = generate(unet, text_encoder, tokenizer, SHOWN + [icons.labels[i] for i in wanted.tolist()], 12)
        sheet(vae.decode(asked[:16].float() / cache.scaling_factor).sample, 8).save(RUNS / "base.png")
        places = ranks(asked[len(SHOWN) :].float(), wanted, cache)
        return f"top-1 {(places < 1).float().mean():.2f} top-5 {(places < 5).float().mean():.2f} of 24"

    alphas = alphas_cumprod()
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, from step {step}", flush=True)
    batch = args.batch // workers()
    seed_worker(step)
    report, look, checkpoint, running = Every(60), Every(480), Every(180), 0.0
    while (progress := clock.tick() / (args.hours * 3600)) < 1:
        mix = text.HALF_MIX if step % HALF_EVERY == 0 else text.MIX
        latents, captions = text.draw_batch(cache, icons, batch, mix, no_caption=0.1)
        noise, timesteps = torch.randn_like(latents), draw_timesteps(batch)
        alpha = alphas[timesteps]
        with HALF_PRECISION:
            hidden_states = text_encoder(text.tokenize(tokenizer, captions)).last_hidden_state
            predicted = unet(add_noise(latents, noise, alpha), timesteps, hidden_states).sample.float()
        loss = (noise_weight(alpha) * (predicted - noise).square().flatten(1).mean(1)).mean()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step(cosine(progress, warmup=0.03))
        ema.update()
        step += 1
        running = loss.item() if step == 1 else 0.95 * running + 0.05 * loss.item()
        if report() and rank() == 0:
            print(f"step {step} {clock.elapsed / 60:.1f} min loss {running:.4f}", flush=True)
        if look() and rank() == 0:
            print(show(), flush=True)
        if checkpoint() and rank() == 0:
            keep()
    keep()
    print(show(), flush=True)


if __name__ == "__main__":
    main()
