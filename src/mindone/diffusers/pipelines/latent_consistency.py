"""Latent Consistency Models (Luo et al. 2023): networks distilled to draw in 1 to 8 steps, guidance built in."""

from typing import Any

from .stable_diffusion import StableDiffusionPipeline


class LatentConsistencyModelPipeline(StableDiffusionPipeline):
    """`StableDiffusionPipeline` with the defaults that latent consistency models are published with."""

    default_guidance_scale = 8.5
    takes_negative_prompts = False

    def __call__(  # type: ignore[override]
        self,
        prompt: str | list[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 4,
        guidance_scale: float | None = None,
        **options: Any,
    ) -> Any:
        """Draw images; see `StableDiffusionPipeline.__call__` for the other arguments.

        Negative prompts have no effect: the network was distilled with guidance against the empty text.
        """
        if options.get("negative_prompt") is not None or options.get("negative_prompt_embeds") is not None:
            raise ValueError("negative_prompt means nothing to a latent consistency model; leave it out")
        return super().__call__(prompt, height, width, num_inference_steps, guidance_scale=guidance_scale, **options)
