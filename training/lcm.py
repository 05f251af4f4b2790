"""Stage 7: ``icons-lcm-lora``, adapters with which the base generates in 4 steps without guidance.

Latent consistency distillation (Luo et al. 2023a, "Latent consistency models", sections 4.1 to 4.3; 2023b, "LCM-LoRA"):
the student's guess at the clean latent, from a noisy one, has to agree with its own guess from further down the
trajectory, after one DDIM step of the guided base. The guidance scale is the checkpoint's own and fixed.
"""

import torch
from diffusers import LCMScheduler, UNet2DConditionModel

import base
import lora
import text
from autoencoder import load_trained as load_vae
from common import HALF_PRECISION, RUNS, Ema
from data import load_icons
from latents import load_cache
from optimizers import Optimizers
from recall import GUIDANCE_SCALE, draw_samples
from stage import Stage, begin

RANK = 32
STRIDE = 20  # the schedule's 50 timesteps, from which ``LCMScheduler`` picks a few
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
    options = begin(__doc__, seed=8, hours=0.3, lr=1e-3, batch=48)
    icons, cache, tokenizer = load_icons(), load_cache(), text.load_tokenizer()
    vae = load_vae()
    teacher, text_encoder = base.load_trained(tokenizer)
    student, _ = base.load_trained(tokenizer)
    adapters = lora.add_adapters(student, RANK)
    learned = torch.nn.ModuleList([part for a in adapters.values() for part in (a.lora_A, a.lora_B)])
    ema, optimizers = Ema(learned, decay=0.98), Optimizers([learned], options.lr)
    stage = Stage("lcm", options, {"learned": learned}, optimizers, ema, warmup=0.05)

    def show() -> str:
        lora.save_adapters(adapters, RUNS / "icons-lcm-lora")
        sampling = {"num_inference_steps": 4, "guidance_scale": 1.0, "scheduler_class": LCMScheduler}
        return draw_samples("lcm", student, text_encoder, tokenizer, vae, cache, **sampling)

    alphas = base.alphas_cumprod()
    uncond = text_encoder(text.tokenize(tokenizer, [""])).last_hidden_state
    for _ in stage.steps(show):
        latents, captions = text.draw_batch(cache, icons, stage.batch, text.MIX, no_caption=0.0)
        timesteps = STRIDE * torch.randint(1, 1000 // STRIDE + 1, (stage.batch,)) - 1
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
        stage.update(loss=loss)


if __name__ == "__main__":
    main()
