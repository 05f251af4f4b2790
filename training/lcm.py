"""Stage 7: ``icons-lcm-lora``, adapters with which the base draws in 4 steps without guidance.

Latent consistency distillation (Luo et al. 2023a, "Latent consistency models", sections 4.1 to 4.3; 2023b, "LCM-LoRA"):
from a noisy latent the student's guess at the clean one has to agree with its own guess from a point further down the
trajectory, where one DDIM step of the guided base leads. The guidance scale is the checkpoint's own and fixed.
"""

import argparse

import torch
from diffusers import LCMScheduler, UNet2DConditionModel

import base
import lora
import text
from autoencoder import load_trained as load_vae
from common import (
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
from recall import GUIDANCE_SCALE, draw_labels, generate, ranks

RANK = 32
STRIDE = 20  # the schedule's 50 timesteps, of which ``LCMScheduler`` picks its few
SKIP = 4  # strides that the base goes down: longer ones carry what is known at low noise up in fewer updates
HUBER = 0.03


def clean(noise: torch.Tensor, noisy: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """The clean latent that a predicted noise implies (no boundary condition: it is 1 from timestep 1 on, nearly)."""
    alpha = alpha[:, None, None, None]
    return (noisy - (1 - alpha).sqrt() * noise) / alpha.sqrt()


def further_down(
    unet: UNet2DConditionModel,
    noisy: torch.Tensor,
    timesteps: torch.Tensor,
    text_states: torch.Tensor,
    alphas: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One guided DDIM step of the base: the new latents and timesteps, and the base's guess at the clean latents."""
    both = unet(torch.cat([noisy] * 2), timesteps.repeat(2), text_states).sample.float()
    noise_uncond, noise_text = both.chunk(2)
    noise = noise_uncond + GUIDANCE_SCALE * (noise_text - noise_uncond)
    guess = clean(noise, noisy, alphas[timesteps])
    lower = (timesteps - SKIP * STRIDE).clamp(min=0)
    return base.add_noise(guess, noise, alphas[lower]), lower, guess


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=0.3, help="training time in all, pauses left out")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=48)
    args = parser.parse_args()
    prepare(seed=8)
    icons, cache, tokenizer = load_icons(), load_cache(), text.load_tokenizer()
    vae = load_vae()
    teacher, text_encoder = base.load_trained(tokenizer)
    student, _ = base.load_trained(tokenizer)
    adapters = lora.add_adapters(student, RANK)
    learned = torch.nn.ModuleList([part for a in adapters.values() for part in (a.lora_A, a.lora_B)])
    ema, optimizers = Ema(learned, decay=0.98), Optimizers([learned], args.lr)
    step, clock = 0, Clock()
    if state := load("lcm"):
        learned.load_state_dict(state["learned"])
        ema.load_state_dict(state["ema"])
        optimizers.load_state_dict(state["optimizers"])
        step, clock = state["step"], Clock(state["elapsed"])

    def keep() -> None:
        if rank() > 0:
            return
        with ema:
            lora.save_adapters(adapters, RUNS / "icons-lcm-lora")
        state = {"learned": learned.state_dict(), "ema": ema.state_dict(), "optimizers": optimizers.state_dict()}
        save(state | {"step": step, "elapsed": clock.elapsed}, "lcm")

    @torch.no_grad()
    def show() -> str:
        wanted = draw_labels(24, seed=1)
        prompts = base.SHOWN + [icons.labels[i] for i in wanted.tolist()]
        with ema, HALF_PRECISION:
            asked = generate(student, text_encoder, tokenizer, prompts, 4, 1.0, scheduler_class=LCMScheduler)
        sheet(vae.decode(asked[:16].float() / cache.scaling_factor).sample, 8).save(RUNS / "lcm.png")
        places = ranks(asked[len(base.SHOWN) :].float(), wanted, cache)
        return f"top-1 {(places < 1).float().mean():.2f} top-5 {(places < 5).float().mean():.2f} of 24"

    alphas = base.alphas_cumprod()
    uncond = text_encoder(text.tokenize(tokenizer, [""])).last_hidden_state
    print(f"{sum(p.numel() for p in learned.parameters()) / 1e6:.2f} M parameters, from step {step}", flush=True)
    batch = args.batch // workers()
    seed_worker(step)
    report, look, checkpoint, running = Every(60), Every(240), Every(180), 0.0
    while (progress := clock.tick() / (args.hours * 3600)) < 1:
        latents, captions = text.draw_batch(cache, icons, batch, text.MIX, no_caption=0.0)
        timesteps = STRIDE * torch.randint(1, 1000 // STRIDE + 1, (batch,)) - 1
        noisy = base.add_noise(latents, torch.randn_like(latents), alphas[timesteps])
        with torch.no_grad(), HALF_PRECISION:
            states = text_encoder(text.tokenize(tokenizer, captions)).last_hidden_state
            both = torch.cat([uncond.expand_as(states), states])
            lower_noisy, lower, guess = further_down(teacher, noisy, timesteps, both, alphas)
            target = clean(student(lower_noisy, lower, states).sample.float(), lower_noisy, alphas[lower])
            target = torch.where((lower == 0)[:, None, None, None], guess, target)
        with HALF_PRECISION:
            predicted = student(noisy, timesteps, states).sample.float()
        error = clean(predicted, noisy, alphas[timesteps]) - target
        loss = ((error.square() + HUBER**2).sqrt() - HUBER).mean()
        loss.backward()
        optimizers.step(cosine(progress, warmup=0.05))
        ema.update()
        step += 1
        running = loss.item() if step == 1 else 0.95 * running + 0.05 * loss.item()
        if report() and rank() == 0:
            print(f"step {step} {clock.elapsed / 60:.1f} min loss {running:.4f}", flush=True)
        if look() and rank() == 0:
            print(show(), flush=True)
        if checkpoint():
            keep()
    keep()
    if rank() == 0:
        print(show(), flush=True)


if __name__ == "__main__":
    main()
