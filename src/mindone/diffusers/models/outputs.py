"""The outputs of networks in the published API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..engines import Array, Engine
from ..utils.outputs import BaseOutput


@dataclass(eq=False)
class UNet2DConditionOutput(BaseOutput):
    """A denoiser's prediction."""

    sample: Array
    """(batch, out_channels, height, width)."""


@dataclass(eq=False)
class Transformer2DModelOutput(BaseOutput):
    """A transformer denoiser's prediction."""

    sample: Array
    """(batch, out_channels, height, width)."""


@dataclass(eq=False)
class DecoderOutput(BaseOutput):
    """An autoencoder's decoded images."""

    sample: Array
    """Images (batch, 3, height, width) in [-1, 1] or slightly beyond."""


@dataclass(eq=False)
class EncoderOutput(BaseOutput):
    """The encoded latents of an `AutoencoderDC`."""

    latent: Array
    """(batch, latent_channels, height / scale, width / scale)."""


@dataclass(eq=False)
class AutoencoderKLOutput(BaseOutput):
    """The encoded latents of an `AutoencoderKL`."""

    latent_dist: DiagonalGaussianDistribution


@dataclass(eq=False)
class AutoencoderTinyOutput(BaseOutput):
    """The encoded latents of an `AutoencoderTiny`."""

    latents: Array
    """(batch, latent_channels, height / scale, width / scale)."""


@dataclass(eq=False)
class CLIPTextOutput(BaseOutput):
    """The output of a `CLIPTextModel`."""

    last_hidden_state: Array
    """(batch, tokens, hidden_size), normalised."""
    pooler_output: Array
    """The end-of-text token's vector (batch, hidden_size)."""
    hidden_states: tuple[Array, ...] | None = None
    """What enters the first layer and what leaves each, none of them normalised, when asked for."""


@dataclass(eq=False)
class CLIPTextProjectionOutput(BaseOutput):
    """The output of a `CLIPTextModelWithProjection`."""

    text_embeds: Array
    """The whole text's vector (batch, projection_dim)."""
    last_hidden_state: Array
    """(batch, tokens, hidden_size), normalised."""
    hidden_states: tuple[Array, ...] | None = None
    """What enters the first layer and what leaves each, none of them normalised, when asked for."""


@dataclass(eq=False)
class TextOutput(BaseOutput):
    """The output of a language model."""

    last_hidden_state: Array
    """(batch, tokens, hidden_size), normalised; zeros in place of padding."""


@dataclass(eq=False)
class CLIPVisionProjectionOutput(BaseOutput):
    """The output of a `CLIPVisionModelWithProjection`."""

    image_embeds: Array
    """The pictures' vectors (batch, projection_dim)."""
    last_hidden_state: Array
    """(batch, 1 + patches, hidden_size), not normalised."""
    hidden_states: tuple[Array, ...] | None = None
    """The input of the first layer and the output of each, if requested."""


class DiagonalGaussianDistribution:
    """The latents of an image: a normal distribution for each number (Kingma & Welling 2013, appendix B)."""

    def __init__(self, engine: Engine, parameters: Array):
        """``parameters``: means and log variances, concatenated, (batch, 2 · channels, height, width)."""
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
        """Latents drawn from the distribution, with fresh randomness if there is no generator.

        Each of a list of generators draws a sample: one per image, or several per image, taking turns.
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
