"""Stage 4: the base UNet, trained jointly with the text encoder to predict noise.

``python training/base.py --hours 1.1`` starts from the warmed-up text encoder, or from ``training/runs/base.pt`` if
that exists. To continue another day, give a larger ``--hours``; if ``training/runs`` is gone, ``--init-from-shipped``
starts from the published float16 weights (see ``deepen.py``).
"""

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

import deepen
import text
from autoencoder import load_trained as load_vae
from common import CHECKPOINTS, HALF_PRECISION, Ema
from data import load_icons
from latents import load_cache
from optimizers import Optimizers, Together
from recall import SCHEDULER, draw_samples
from stage import Stage, begin, load

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
    shipped = "start from the published weights"
    options = begin(__doc__, seed=3, hours=1.2, lr=3e-3, batch=64, init_from_shipped=shipped)
    icons, cache = load_icons(), load_cache()
    tokenizer = text.load_tokenizer()
    vae = load_vae()
    if options.init_from_shipped:
        unet = deepen.from_shipped(CHECKPOINTS / "icons/unet", CONFIG)
        text_encoder = CLIPTextModel.from_pretrained(CHECKPOINTS / "icons/text_encoder").float()
    else:
        unet, text_encoder = UNet2DConditionModel(**CONFIG), text.build(tokenizer)
        text_encoder.load_state_dict(load("text")["text_encoder"])
    model = torch.nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})
    ema = Ema(model, decay=0.99)
    optimizers = Together([Optimizers([unet], options.lr), Optimizers([text_encoder], TEXT_RATE * options.lr)])
    stage = Stage("base", options, {"model": model}, optimizers, ema, averaged=model, warmup=0.03)

    def show() -> str:
        return draw_samples("base", unet, text_encoder, tokenizer, vae, cache)

    alphas = alphas_cumprod()
    for _ in stage.steps(show, show_every=480):
        mix = text.HALF_MIX if stage.step % HALF_EVERY == 0 else text.MIX
        latents, captions = text.draw_batch(cache, icons, stage.batch, mix, no_caption=0.1)
        noise, timesteps = torch.randn_like(latents), draw_timesteps(stage.batch)
        alpha = alphas[timesteps]
        with HALF_PRECISION:
            hidden_states = text_encoder(text.tokenize(tokenizer, captions)).last_hidden_state
            predicted = unet(add_noise(latents, noise, alpha), timesteps, hidden_states).sample.float()
        loss = (noise_weight(alpha) * (predicted - noise).square().flatten(1).mean(1)).mean()
        loss.backward()
        stage.update(loss=loss)


if __name__ == "__main__":
    main()
