"""Stage 5: the distilled UNet, with one layer per down block, two per up block and no middle block, taught by the base.

The recipe is BK-SDM's (Kim et al. 2023, "BK-SDM: a lightweight, fast, and cheap version of Stable Diffusion",
section 3): it removes blocks, starts the rest from the base's weights, and trains the student to match the base's
output and the features at the end of each stage. It omits the paper's third loss, against the true noise: the base's
output is the same target with less noise.
"""

import re

import torch
from diffusers import UNet2DConditionModel

import base
import text
from autoencoder import load_trained as load_vae
from common import HALF_PRECISION, Ema
from data import load_icons
from latents import load_cache
from optimizers import Optimizers
from recall import draw_samples
from stage import Stage, begin

CONFIG = base.CONFIG | {"layers_per_block": 1, "mid_block_type": None}
FEATURE_WEIGHT = 0.5


def counterpart(name: str) -> str:
    """The base's name of a student's parameter: of an up block's three layers the first and the last stay."""
    return re.sub(r"(up_blocks\.\d\.(?:resnets|attentions))\.1\.", r"\1.2.", name)


def shed_blocks(teacher: UNet2DConditionModel) -> UNet2DConditionModel:
    """The student with the teacher's weights in all that it keeps."""
    student = UNet2DConditionModel(**CONFIG)
    weights = teacher.state_dict()
    student.load_state_dict({name: weights[counterpart(name)] for name in student.state_dict()})
    return student


class Features:
    """The hidden states at the end of each down and up block of a UNet's latest call."""

    def __init__(self, unet: UNet2DConditionModel):
        self.kept: list[torch.Tensor] = []
        for block in [*unet.down_blocks, *unet.up_blocks]:
            block.register_forward_hook(self.keep)

    def keep(self, _block, _inputs, output) -> None:
        self.kept.append(output[0] if isinstance(output, tuple) else output)

    def take(self) -> list[torch.Tensor]:
        kept, self.kept = self.kept, []
        return kept


def feature_loss(student: list[torch.Tensor], teacher: list[torch.Tensor]) -> torch.Tensor:
    """Mean squared error of each stage over that stage's mean square, averaged over the stages."""
    losses = [
        (s - t).float().square().mean() / t.float().square().mean() for s, t in zip(student, teacher, strict=True)
    ]
    return torch.stack(losses).mean()


def main() -> None:
    options = begin(__doc__, seed=4, hours=0.25, lr=1e-3, batch=64)
    icons, cache, tokenizer = load_icons(), load_cache(), text.load_tokenizer()
    vae = load_vae()
    unet, text_encoder = base.load_trained(tokenizer)
    student = shed_blocks(unet)
    ema, optimizers = Ema(student, decay=0.99), Optimizers([student], options.lr)
    stage = Stage("distilled", options, {"unet": student}, optimizers, ema, averaged=student)
    teacher_features, student_features = Features(unet), Features(student)

    def show() -> str:
        shown = draw_samples("distilled", student, text_encoder, tokenizer, vae, cache)
        student_features.take()
        return shown

    alphas = base.alphas_cumprod()
    for _ in stage.steps(show):
        mix = text.HALF_MIX if stage.step % base.HALF_EVERY == 0 else text.MIX
        latents, captions = text.draw_batch(cache, icons, stage.batch, mix, no_caption=0.1)
        timesteps = base.draw_timesteps(stage.batch)
        alpha = alphas[timesteps]
        noisy = base.add_noise(latents, torch.randn_like(latents), alpha)
        with torch.no_grad(), HALF_PRECISION:
            hidden_states = text_encoder(text.tokenize(tokenizer, captions)).last_hidden_state
            target = unet(noisy, timesteps, hidden_states).sample.float()
        with HALF_PRECISION:
            predicted = student(noisy, timesteps, hidden_states).sample.float()
        output_loss = (base.noise_weight(alpha) * (predicted - target).square().flatten(1).mean(1)).mean()
        loss = output_loss + FEATURE_WEIGHT * feature_loss(student_features.take(), teacher_features.take())
        loss.backward()
        stage.update(output_loss=output_loss)


if __name__ == "__main__":
    main()
