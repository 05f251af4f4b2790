"""How often the picture that was asked for comes out: sampling in latent space and the rank of the right icon."""

import torch
from diffusers import PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from data import load_icons
from latents import Cache
from text import tokenize

SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
GUIDANCE_SCALE = 2.0  # nearest to the trained icons; from 5 on, PNDM with 25 steps overshoots


@torch.no_grad()
def generate(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    prompts: list[str],
    num_inference_steps: int = 25,
    guidance_scale: float = GUIDANCE_SCALE,
    seed: int = 0,
) -> torch.Tensor:
    """Scaled latents (prompts, 4, 16, 16) by PNDM with classifier-free guidance, 50 prompts at a time."""
    noise = torch.randn(len(prompts), 4, 16, 16, generator=torch.Generator().manual_seed(seed))
    uncond = text_encoder(tokenize(tokenizer, [""])).last_hidden_state
    done = []
    for start in range(0, len(prompts), 50):
        text = text_encoder(tokenize(tokenizer, prompts[start : start + 50])).last_hidden_state
        encoder_hidden_states = torch.cat([uncond.expand_as(text), text])
        scheduler = PNDMScheduler(**SCHEDULER)
        scheduler.set_timesteps(num_inference_steps)
        latents = noise[start : start + 50]
        for timestep in scheduler.timesteps:
            noise_uncond, noise_text = unet(torch.cat([latents] * 2), timestep, encoder_hidden_states).sample.chunk(2)
            guided = noise_uncond + guidance_scale * (noise_text - noise_uncond)
            latents = scheduler.step(guided, timestep, latents).prev_sample
        done.append(latents)
    return torch.cat(done)


def draw_labels(count: int = 200, seed: int = 0) -> torch.Tensor:
    """Indices of the labels that are asked for, drawn without replacement."""
    return torch.randperm(len(load_icons()), generator=torch.Generator().manual_seed(seed))[:count]


def ranks(latents: torch.Tensor, wanted: torch.Tensor, cache: Cache) -> torch.Tensor:
    """How many trained icons on white lie nearer to each latent than the wanted one; (count,), 0 is a hit."""
    distances = torch.cdist(latents.flatten(1), cache.white.latents.float().flatten(1))
    return (distances < distances.gather(1, wanted[:, None])).sum(1)
