"""Stage 2b: only the decoder, made crisp at 256×256; the encoder and all cached latents stay the same.

Squared error alone leaves edges soft where latents cannot say on which pixel an edge lies. The loss here is L1, L1 of
the gradients, the local gradient energy, and the features of a small critic that learns to tell decoded patches from
real ones (feature matching, Salimans et al. 2016, section 3.1; a hinge loss over patches as in Esser et al. 2021,
"Taming transformers"). It starts from ``training/runs/autoencoder.pt`` or the shipped weights, narrowed if they are
wider, resumes from ``training/runs/decoder.pt``, and ends as ``training/runs/autoencoder.pt``, with the encoder from
``encoder.py``.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import autoencoder
import slim
from common import HALF_PRECISION, MEMORY_FORMAT, RUNS, Ema, average_over_workers, psnr, rank, sheet
from data import Icons, composite, load_icons, palette
from latents import Cache, Latents, load_cache
from measures import sharpness
from optimizers import Optimizers
from stage import Stage, begin, load, save

CROP = 16  # latents; whole pictures count for four
WHOLE_FROM = 0.6  # of the run: group norms must see the statistics of whole pictures before the end
NOISE = 0.03  # on the scaled latents: those that a UNet draws are not quite where the encoder would put them
CRITIC_FROM = 0.15  # of the run: the critic learns first what it is looking at
ADVERSARIAL, FEATURES = 0.04, 0.15  # weights next to an L1 of weight 1


class Critic(nn.Module):
    """Scores of overlapping 22-pixel patches, and the features on the way to them."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96)):
        super().__init__()
        channels = [3, *widths]
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, after, 4, stride=2, padding=1))
            for before, after in itertools.pairwise(channels)
        )
        self.score = spectral_norm(nn.Conv2d(channels[-1], 1, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x).float(), features


def draw_batch(cache: Cache, icons: Icons, batch: int, whole: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and the pictures that they came from, whole or the same crop of both; a third of them on white."""
    whites = (batch + torch.randint(3, ()).item()) // 3
    kinds = ((cache.white, whites), (cache.coloured, batch - whites))
    chosen = [draw_kind(kind, icons, torch.randint(len(kind), (count,))) for kind, count in kinds]
    latents, images = (torch.cat(parts) for parts in zip(*chosen, strict=True))
    if not whole:
        corners = torch.randint(latents.shape[-1] - CROP + 1, (batch, 2)).tolist()
        latents = torch.stack([z[:, y : y + CROP, x : x + CROP] for z, (y, x) in zip(latents, corners, strict=True)])
        pixels = 8 * CROP
        images = torch.stack(
            [p[:, 8 * y : 8 * y + pixels, 8 * x : 8 * x + pixels] for p, (y, x) in zip(images, corners, strict=True)]
        )
    return latents, images


def draw_kind(kind: Latents, icons: Icons, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures ``index`` of a kind that shows icons as drawn."""
    rgba = icons.rgba[kind.icons[index, 0]] / 255
    return kind.latents[index].float(), composite(rgba, palette()[kind.colours[index]])


def local_energy(images: torch.Tensor) -> torch.Tensor:
    """Root mean square of the gradient in windows of 8×8 pixels."""
    across, down = images.diff(dim=-1)[..., 1:, :], images.diff(dim=-2)[..., 1:]
    return (F.avg_pool2d(across.square() + down.square(), 8) + 1e-4).sqrt()


def picture_loss(decoded: torch.Tensor, images: torch.Tensor, crispness: float = 3.0) -> torch.Tensor:
    error = decoded - images
    gradients = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    energy = (local_energy(decoded) - local_energy(images)).abs().mean()
    return error.abs().mean() + 3 * error.square().mean() + gradients + crispness * energy


def feature_loss(decoded: list[torch.Tensor], real: list[torch.Tensor]) -> torch.Tensor:
    """L1 of each layer's features over the mean size of the real ones, averaged over the layers."""
    pairs = zip(decoded, real, strict=True)
    return torch.stack([(d - r).abs().mean() / (r.abs().mean() + 1e-3) for d, r in pairs]).mean()


def main() -> None:
    options = begin(__doc__, seed=7, hours=0.4, lr=7e-4, batch=16)
    icons, cache = load_icons(), load_cache()
    vae = slim.narrowed(autoencoder.load_trained(), autoencoder.CONFIG).to(memory_format=MEMORY_FORMAT)
    trained, critic = torch.nn.ModuleList([vae.post_quant_conv, vae.decoder]), Critic()
    ema, optimizers = Ema(trained, decay=0.99), Optimizers([trained], options.lr)
    critic_optimizer = torch.optim.AdamW(critic.parameters(), 1e-3, betas=(0.5, 0.9))
    parts = {"vae": vae, "critic": critic, "critic_optimizer": critic_optimizer}
    stage = Stage("decoder", options, parts, optimizers, ema, averaged=vae, warmup=0.05)

    def show() -> str:
        index = torch.linspace(0, len(cache.coloured) - 1, 16).long()
        latents, images = draw_kind(cache.coloured, icons, index)
        with HALF_PRECISION:
            decoded = vae.decode(latents / cache.scaling_factor).sample.float()
        sheet(torch.cat([images[:8], decoded[:8]]), 8).save(RUNS / "decoder.png")
        return f"psnr {psnr(decoded, images).mean():.2f} dB, sharpness {sharpness(decoded, images):.3f}"

    for progress in stage.steps(show):
        whole = progress > WHOLE_FROM
        latents, images = draw_batch(cache, icons, max(stage.batch // 4, 2) if whole else stage.batch, whole)
        latents = (latents + NOISE * torch.randn_like(latents)) / cache.scaling_factor
        with HALF_PRECISION:
            decoded = vae.decode(latents.contiguous(memory_format=MEMORY_FORMAT)).sample.float()
            scores, features = critic(decoded)
            with torch.no_grad():
                _, real_features = critic(images)
        closeness = picture_loss(decoded, images)
        weight = min(max(progress - CRITIC_FROM, 0) / 0.1, 1)
        loss = closeness + weight * (FEATURES * feature_loss(features, real_features) - ADVERSARIAL * scores.mean())
        gradients = torch.autograd.grad(loss, list(trained.parameters()), retain_graph=False)
        for parameter, gradient in zip(trained.parameters(), gradients, strict=True):
            parameter.grad = gradient
        with HALF_PRECISION:
            scores, _ = critic(decoded.detach())
            real_scores, _ = critic(images)
        critic_loss = F.relu(1 - real_scores).mean() + F.relu(1 + scores).mean()
        critic_loss.backward()
        average_over_workers([parameter.grad for parameter in critic.parameters()])
        critic_optimizer.step()
        critic_optimizer.zero_grad()
        stage.update(loss=closeness, critic=critic_loss)
    if rank() == 0:
        average = load("decoder")["average"]
        if taught := load("encoder"):
            average |= taught["average"]
        save({"average": average, "scaling_factor": cache.scaling_factor}, "autoencoder")


if __name__ == "__main__":
    main()
