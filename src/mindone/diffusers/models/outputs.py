"""What networks return when they are called as the published API has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engines import Array, Engine
from ..utils.outputs import BaseOutput


@dataclass(eq=False)
class UNet2DConditionOutput(BaseOutput):
    """What a denoiser predicts."""

    sample: Array
    """(batch, out_channels, height, width)."""


@dataclass(eq=False)
class Transformer2DModelOutput(BaseOutput):
    """What a denoiser that is a transformer predicts."""

    sample: Array
    """(batch, out_channels, height, width)."""


@dataclass(eq=False)
class DecoderOutput(BaseOutput):
    """What an autoencoder decodes."""

    sample: Array
    """Images (batch, 3, height, width) in [-1, 1] or slightly beyond."""


@dataclass(eq=False)
class EncoderOutput(BaseOutput):
    """What an `AutoencoderDC` encodes."""

    latent: Array
    """(batch, latent_channels, height / scale, width / scale)."""


@dataclass(eq=False)
class AutoencoderKLOutput(BaseOutput):
    """What an `AutoencoderKL` encodes."""

    latent_dist: DiagonalGaussianDistribution


@dataclass(eq=False)
class AutoencoderTinyOutput(BaseOutput):
    """What an `AutoencoderTiny` encodes."""

    latents: Array
    """(batch, latent_channels, height / scale, width / scale)."""


@dataclass(eq=False)
class CLIPTextOutput(BaseOutput):
    """What a `CLIPTextModel` makes of tokens."""

    last_hidden_state: Array
    """(batch, tokens, hidden_size), normalised."""
    pooler_output: Array
    """The end-of-text token's vector (batch, hidden_size)."""
    hidden_states: tuple[Array, ...] | None = None
    """What enters the first layer and what leaves each, none of them normalised, when asked for."""


@dataclass(eq=False)
class CLIPTextProjectionOutput(BaseOutput):
    """What a `CLIPTextModelWithProjection` makes of tokens."""

    text_embeds: Array
    """The whole text's vector (batch, projection_dim)."""
    last_hidden_state: Array
    """(batch, tokens, hidden_size), normalised."""
    hidden_states: tuple[Array, ...] | None = None
    """What enters the first layer and what leaves each, none of them normalised, when asked for."""


@dataclass(eq=False)
class TextOutput(BaseOutput):
    """What a language model makes of tokens."""

    last_hidden_state: Array
    """(batch, tokens, hidden_size), normalised; zeros in place of padding."""


@dataclass(eq=False)
class CLIPVisionProjectionOutput(BaseOutput):
    """What a `CLIPVisionModelWithProjection` makes of pictures."""

    image_embeds: Array
    """The pictures' vectors (batch, projection_dim)."""
    last_hidden_state: Array
    """(batch, 1 + patches, hidden_size), not normalised."""
    hidden_states: tuple[Array, ...] | None = None
    """What enters the first layer and what leaves each, when asked for."""


class DiagonalGaussianDistribution:
    """The latents of an image: a normal distribution for each of their numbers (Kingma & Welling 2013, appendix B)."""

    def __init__(self, engine: Engine, parameters: Array):
        """``parameters``: means and logarithms of variances side by side, (batch, 2 · channels, height, width)."""
        self._engine = engine
        self.parameters = parameters
        mean, logvar = np.split(engine.numpy(parameters), 2, axis=1)
        self._mean, self._logvar = mean, np.clip(logvar, -30.0, 20.0)

    @property
    def mean(self) -> Array:
        """(batch, channels, height, width)."""
        return self._engine.asarray(self._mean)

    @property
    def logvar(self) -> Array:
        """The logarithm of the variance, kept in [-30, 20]."""
        return self._engine.asarray(self._logvar)

    @property
    def var(self) -> Array:
        """The variance."""
        return self._engine.asarray(np.exp(self._logvar))

    @property
    def std(self) -> Array:
        """The standard deviation."""
        return self._engine.asarray(np.exp(0.5 * self._logvar))

    def mode(self) -> Array:
        """The most likely latents: the mean."""
        return self.mean

    def sample(self, generator: np.random.Generator | Sequence[np.random.Generator] | None = None) -> Array:
        """Latents drawn from the distribution, with fresh randomness where no generator is given.

        Of a list of generators each draws a sample: one per image, or several of each image, taking turns.
        """
        mean, deviation = self._mean, np.exp(0.5 * self._logvar)
        if generator is None or isinstance(generator, np.random.Generator):
            noise = (generator or np.random.default_rng()).standard_normal(mean.shape)
        else:
            noise = np.stack([one.standard_normal(mean.shape[1:]) for one in generator])
            turns = (len(generator) // len(mean), 1, 1, 1)
            mean, deviation = np.tile(mean, turns), np.tile(deviation, turns)
        return self._engine.asarray(mean + deviation * noise.astype(np.float32))

    def kl(self, other: DiagonalGaussianDistribution | None = None) -> Array:
        """The Kullback-Leibler divergence of each image from another distribution, or from the standard normal."""
        mean, logvar = (other._mean, other._logvar) if other else (np.float32(0), np.float32(0))
        terms = ((self._mean - mean) ** 2 + np.exp(self._logvar)) / np.exp(logvar) - 1 - self._logvar + logvar
        return self._engine.asarray(0.5 * terms.sum(axis=(1, 2, 3)))

    def nll(self, sample: Array, dims: tuple[int, ...] = (1, 2, 3)) -> Array:
        """The negative logarithm of the density of ``sample``, summed over ``dims``."""
        difference = self._engine.numpy(sample) - self._mean
        terms = np.log(2 * np.pi) + self._logvar + difference**2 / np.exp(self._logvar)
        return self._engine.asarray((0.5 * terms).sum(axis=dims))
