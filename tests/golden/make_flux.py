"""Make ``flux.npz``: what diffusers draws from the tiny checkpoints of FLUX.1. Needs the test extra.

    python tests/golden/make_flux.py

The images are kept at every second row and column, in 16 bits; latents in float32.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).with_suffix("").with_name("flux.npz")
_random = np.random.default_rng(0)
PICTURE = Image.fromarray(_random.integers(0, 256, (50, 70, 3), np.uint8))
HOLE = Image.fromarray(np.pad(np.full((20, 30), 255, np.uint8), ((15, 15), (10, 30))))
SMALL = {
    "prompt": "a red cat sitting on a mat",
    "height": 64,
    "width": 96,
    "num_inference_steps": 4,
    "max_sequence_length": 20,
}
GUIDED = {"negative_prompt": "on the moon", "true_cfg_scale": 3.0}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "schnell": ("schnell", "FluxPipeline", SMALL),
    "dev": ("dev", "FluxPipeline", {**SMALL, "prompt_2": "a mat", "guidance_scale": 2.0}),
    "guided": ("dev", "FluxPipeline", {**SMALL, **GUIDED, "negative_prompt_2": "mars"}),
    "latents": ("schnell", "FluxPipeline", {**SMALL, "output_type": "latent"}),
    "picture": ("dev", "FluxImg2ImgPipeline", {**SMALL, "image": PICTURE, "strength": 0.6}),
    "mask": ("schnell", "FluxInpaintPipeline", {**SMALL, "image": PICTURE, "mask_image": HOLE, "strength": 0.8}),
}
"""A checkpoint, a pipeline, and the arguments of the call."""


def main() -> None:
    """Draw them all."""
    import diffusers
    from make_pipelines import draw, generators, reference, stored

    from tiny_flux import checkpoint, dev_checkpoint

    found = {}
    for name, (kind, pipeline, arguments) in CASES.items():
        folder = dev_checkpoint() if kind == "dev" else checkpoint()
        pipe = getattr(diffusers, pipeline)(**reference(folder).components)
        pipe.set_progress_bar_config(disable=True)
        images = draw(pipe, generators(1), **arguments)
        found[name] = images if arguments.get("output_type") == "latent" else stored(images)
        print(f"{name}: {images.shape}, mean {images.mean():.3f}, standard deviation {images.std():.3f}")
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
