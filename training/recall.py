"""How often the requested picture comes out: sampling in latent space and the rank of the right icon."""

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, PNDMScheduler, SchedulerMixin, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from common import HALF_PRECISION, RUNS, sheet
from data import load_icons
from latents import Cache
from text import tokenize

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.016,  # not 0.012: a mean over 2×2 latents halves the noise, so four times the latents want more of it
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
GUIDANCE_SCALE = 2.0  # nearest to the trained icons; from 5 on, PNDM with 25 steps overshoots

NUM_INFERENCE_STEPS = 25  # 50 look the same, in twice the time
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


@torch.no_grad()
def generate(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    prompts: list[str],
    num_inference_steps: int = NUM_INFERENCE_STEPS,
    guidance_scale: float = GUIDANCE_SCALE,
    seed: int = 0,
    size: int = 32,
    scheduler_config: dict = SCHEDULER,
    scheduler_class: type[SchedulerMixin] = DPMSolverMultistepScheduler,
) -> torch.Tensor:
    """Scaled latents (prompts, 4, size, size) with classifier-free guidance, 50 prompts at a time.

    A guidance scale of 1 runs the UNet without the unconditional half. ``scheduler_config`` is a PNDM scheduler's, made
    into a ``scheduler_class`` as users do it.
    """
    noise = torch.randn(len(prompts), 4, size, size, generator=torch.Generator().manual_seed(seed))
    step_noise = torch.Generator().manual_seed(seed + 1)
    uncond = text_encoder(tokenize(tokenizer, [""])).last_hidden_state
    done = []
    for start in range(0, len(prompts), 50):
        text = text_encoder(tokenize(tokenizer, prompts[start : start + 50])).last_hidden_state
        encoder_hidden_states = torch.cat([uncond.expand_as(text), text])
        scheduler = scheduler_class.from_config(PNDMScheduler.from_config(scheduler_config).config)
        scheduler.set_timesteps(num_inference_steps)
        latents = noise[start : start + 50]
        for timestep in scheduler.timesteps:
            if guidance_scale == 1:
                predicted = unet(latents, timestep, text).sample
            else:
                both = unet(torch.cat([latents] * 2), timestep, encoder_hidden_states).sample
                noise_uncond, noise_text = both.chunk(2)
                predicted = noise_uncond + guidance_scale * (noise_text - noise_uncond)
            latents = scheduler.step(predicted.float(), timestep, latents, generator=step_noise).prev_sample
        done.append(latents)
    return torch.cat(done)


def draw_labels(count: int = 200, seed: int = 0) -> torch.Tensor:
    """Indices of the requested labels, drawn without replacement."""
    return torch.randperm(len(load_icons()), generator=torch.Generator().manual_seed(seed))[:count]


def ranks(latents: torch.Tensor, wanted: torch.Tensor, cache: Cache) -> torch.Tensor:
    """How many trained icons on white lie nearer to each latent than the wanted one; (count,), 0 is a hit."""
    distances = torch.cdist(latents.flatten(1), cache.white.latents.float().flatten(1))
    return (distances < distances.gather(1, wanted[:, None])).sum(1)


def draw_samples(
    stage: str,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
    cache: Cache,
    num_inference_steps: int = 12,
    **options,
) -> str:
    """Write the sample sheet of a stage that trains a UNet; how many of 24 labels come out right."""
    wanted, labels = draw_labels(24, seed=1), load_icons().labels
    prompts = SHOWN + [labels[i] for i in wanted.tolist()]
    with HALF_PRECISION:
        asked = generate(unet, text_encoder, tokenizer, prompts, num_inference_steps, **options).float()
    sheet(vae.decode(asked[:16] / cache.scaling_factor).sample, 8).save(RUNS / f"{stage}.png")
    places = ranks(asked[len(SHOWN) :], wanted, cache)
    return f"top-1 {(places < 1).float().mean():.2f} top-5 {(places < 5).float().mean():.2f} of 24"
