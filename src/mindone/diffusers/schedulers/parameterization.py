"""The translation between a network and a scheduler that counts latents and time differently."""

from __future__ import annotations

from collections.abc import Mapping

from .base import Array, Scheduler


class Parameterization:
    """Translates between a scheduler and a network; a family names a subclass, and each run makes its own.

    This one changes nothing: the network reads the scheduler's latents and predicts what it asks for.
    """

    def __init__(self, scheduler: Scheduler, config: Mapping[str, object]):
        self.scheduler = scheduler

    def enter(self, latents: Array, timestep: float) -> tuple[Array, float]:
        """Latents (images, channels, height, width) and the timestep of the scheduler as the network reads them."""
        return self.scheduler.scale_model_input(latents, timestep), timestep

    def leave(self, prediction: Array, sample: Array, timestep: float) -> Array:
        """The network's prediction as the scheduler reads it; ``sample`` is what `enter` gave the network.

        Under guidance the prediction has several rows for each image, the sample one.
        """
        return prediction

    def clean(self, estimate: Array) -> Array:
        """The scheduler's estimate of the clean latents, as an autoencoder reads them divided by its scale."""
        return estimate

    def finished(self, latents: Array, estimate: Array | None) -> Array:
        """The latents that a run ends with, chosen from those after its last step and that step's estimate."""
        return latents


class WithoutVariance(Parameterization):
    """Drops the second half of the output, a variance, of a network with twice as many channels as the latents."""

    def leave(self, prediction: Array, sample: Array, timestep: float) -> Array:
        """See `Parameterization`."""
        channels = sample.shape[1]
        return prediction[:, :channels] if prediction.shape[1] == 2 * channels else prediction
