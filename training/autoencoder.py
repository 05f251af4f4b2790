"""Stage 1: the autoencoder, trained first on 128-pixel crops and at the end on whole 256-pixel icons."""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from common import CHECKPOINTS, MEMORY_FORMAT, RUNS, Ema, psnr, rank, sheet
from data import IMAGE_SIZE, Icons, composite, load_icons, on_white, palette
from optimizers import Optimizers
from stage import Stage, begin, load, save

CONFIG = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [16, 32, 64, 128],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": 256,
    "mid_block_add_attention": False,
}
CROP = 128
WHOLE_ICONS_FROM = 0.7  # of the run: group norms must see the statistics of whole pictures before the end
KL_WEIGHT = 1e-4


def build() -> AutoencoderKL:
    vae = AutoencoderKL(**CONFIG)
    # A small posterior variance to start with: sampling at unit variance drowns the first gradients.
    torch.nn.init.constant_(vae.quant_conv.bias[4:].data, -8.0)
    return vae.to(memory_format=MEMORY_FORMAT)


def load_trained() -> AutoencoderKL:
    """The averaged weights of ``training/runs/autoencoder.pt``, or the shipped ones if that is gone.

    The scaling factor is the one of the UNets' training.
    """
    if state := load("autoencoder"):
        vae = build()
        vae.load_state_dict(state["average"])
        vae.register_to_config(scaling_factor=state["scaling_factor"])
    else:
        vae = AutoencoderKL.from_pretrained(CHECKPOINTS / "icons/vae", sample_size=IMAGE_SIZE).float()
    return vae.to(memory_format=MEMORY_FORMAT).eval()


def draw_backgrounds(batch: int) -> torch.Tensor:
    """White half of the time, a named colour or any colour otherwise; (batch, 3) in [-1, 1]."""
    colours = palette()[torch.randint(12, (batch,))]
    kind = torch.rand(batch, 1)
    colours = torch.where(kind < 0.25, torch.rand(batch, 3) * 2 - 1, colours)
    return torch.where(kind > 0.5, torch.ones(batch, 3), colours)


def draw_batch(icons: Icons, batch: int, whole: bool) -> torch.Tensor:
    """Flipped icons over backgrounds: whole ones, or crops; a quarter of the crops are whole icons at half size."""
    rgba = icons.rgba[torch.randint(len(icons), (batch,))] / 255
    flip = torch.rand(batch, 1, 1, 1) < 0.5
    rgba = torch.where(flip, rgba.flip(-1), rgba)
    if not whole:
        halves = batch // 4
        top, left = torch.randint(0, IMAGE_SIZE - CROP + 1, (2, batch - halves)).tolist()
        crops = [icon[:, y : y + CROP, x : x + CROP] for icon, y, x in zip(rgba[halves:], top, left, strict=True)]
        rgba = torch.cat([F.avg_pool2d(rgba[:halves], 2), torch.stack(crops)])
    return composite(rgba, draw_backgrounds(batch)).contiguous(memory_format=MEMORY_FORMAT)


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 and squared error, L1 of the spatial gradients, and L1 of the 4-times pooled pictures."""
    error = output - target
    gradients = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 5 * error.square().mean() + 0.5 * gradients + F.avg_pool2d(error, 4).abs().mean()


def measure(vae: AutoencoderKL, icons: Icons, count: int | None = None) -> tuple[float, torch.Tensor]:
    """Mean PSNR in dB on white-background icons, and the last batch of reconstructions."""
    index = torch.arange(len(icons)) if count is None else torch.linspace(0, len(icons) - 1, count).long()
    scores = []
    with torch.no_grad():
        for part in index.split(32):
            images = on_white(icons, part)
            decoded = vae.decode(vae.encode(images).latent_dist.mode()).sample
            scores.append(psnr(decoded, images))
    return torch.cat(scores).mean().item(), decoded


@torch.no_grad()
def measure_scaling(vae: AutoencoderKL, icons: Icons, count: int = 256) -> float:
    """One over the standard deviation of the latents, on all kinds of backgrounds."""
    latents = [vae.encode(draw_batch(icons, 32, whole=True)).latent_dist.mode() for _ in range(count // 32)]
    return 1 / torch.cat(latents).std().item()


def main() -> None:
    options = begin(__doc__, seed=0, hours=0.55, lr=1.5e-3, batch=8)
    icons = load_icons()
    vae = build()
    ema, optimizers = Ema(vae), Optimizers([vae], options.lr)
    stage = Stage("autoencoder", options, {"vae": vae}, optimizers, ema, averaged=vae)

    def show() -> str:
        score, decoded = measure(vae, icons, 32)
        sheet(decoded, 8).save(RUNS / "autoencoder.png")
        return f"psnr {score:.2f} dB"

    for progress in stage.steps(show, show_every=60):
        whole = progress > WHOLE_ICONS_FROM
        images = draw_batch(icons, stage.batch // 4 if whole else stage.batch, whole)
        posterior = vae.encode(images).latent_dist
        output = vae.decode(posterior.sample()).sample
        loss = reconstruction_loss(output, images) + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        loss.backward()
        stage.update(loss=loss)
    if rank() == 0:
        ema.swap()
        save(load("autoencoder") | {"scaling_factor": measure_scaling(vae, icons)}, "autoencoder")
        print(f"psnr on all icons {measure(vae, icons)[0]:.2f} dB", flush=True)


if __name__ == "__main__":
    main()
