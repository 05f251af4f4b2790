"""Make ``sd3.npz``: what diffusers draws from the tiny checkpoint of Stable Diffusion 3. Needs the test extra.

    python tests/golden/make_sd3.py

The images are kept at every second row and column, in 16 bits. Of inpainting they are the latents, in float32: the
reference forgets the autoencoder's shift when it decodes them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).with_suffix("").with_name("sd3.npz")
_random = np.random.default_rng(0)
PICTURE = Image.fromarray(_random.integers(0, 256, (50, 70, 3), np.uint8))
HOLE = Image.fromarray(np.pad(np.full((20, 30), 255, np.uint8), ((15, 15), (10, 30))))
SMALL = {"prompt": "a red cat sitting on a mat", "height": 64, "width": 96, "num_inference_steps": 4}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("StableDiffusion3Pipeline", {**SMALL, "negative_prompt": "on the moon"}),
    "unguided": ("StableDiffusion3Pipeline", {**SMALL, "guidance_scale": 1.0, "max_sequence_length": 12}),
    "three prompts": (
        "StableDiffusion3Pipeline",
        {**SMALL, "prompt_2": "red", "prompt_3": "a mat", "negative_prompt_3": "mars", "clip_skip": 1},
    ),
    "skipped layers": (
        "StableDiffusion3Pipeline",
        {**SMALL, "num_inference_steps": 6, "skip_guidance_layers": [1], "skip_layer_guidance_stop": 0.6},
    ),
    "without T5": ("StableDiffusion3Pipeline", SMALL),
    "picture": ("StableDiffusion3Img2ImgPipeline", {**SMALL, "image": PICTURE, "strength": 0.6}),
    "mask": (
        "StableDiffusion3InpaintPipeline",
        {**SMALL, "image": PICTURE, "mask_image": HOLE, "strength": 0.8, "output_type": "latent"},
    ),
}
"""A pipeline, and the arguments of the call."""
WITHOUT_T5 = {"text_encoder_3": None, "tokenizer_3": None}


def main() -> None:
    """Draw them all."""
    import diffusers
    from make_pipelines import draw, generators, reference, stored

    from tiny_sd3 import checkpoint

    found = {}
    for name, (kind, arguments) in CASES.items():
        components = {**reference(checkpoint()).components, **(WITHOUT_T5 if name == "without T5" else {})}
        pipe = getattr(diffusers, kind)(**components)
        pipe.set_progress_bar_config(disable=True)
        images = draw(pipe, generators(1), **arguments)
        found[name] = images if arguments.get("output_type") == "latent" else stored(images)
        print(f"{name}: {images.shape}, mean {images.mean():.3f}, standard deviation {images.std():.3f}")
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
