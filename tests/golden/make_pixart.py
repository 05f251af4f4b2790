"""Make ``pixart.npz``: what diffusers draws from the tiny checkpoints of PixArt-α and PixArt-Σ. Needs the test extra.

    python tests/golden/make_pixart.py

The images are kept at every second row and column, in 16 bits.
"""

from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).with_suffix("").with_name("pixart.npz")
SMALL = {
    "prompt": "A photo of an Astronaut on mars",
    "height": 64,
    "width": 96,
    "use_resolution_binning": False,
    "clean_caption": False,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "alpha": ("pixart-alpha", {**SMALL, "num_inference_steps": 3, "negative_prompt": "horse"}),
    "sigma": ("pixart-sigma", {**SMALL, "num_inference_steps": 3, "negative_prompt": "horse"}),
    "sizes": (
        "pixart-sigma",
        {**SMALL, "num_inference_steps": 1, "use_resolution_binning": True, "guidance_scale": 1.0},
    ),
}
"""A tiny checkpoint, and the arguments of the call."""


def main() -> None:
    """Draw them all."""
    from make_pipelines import draw, generators, reference, stored

    from tiny_pixart import checkpoint

    found = {}
    for name, (family, arguments) in CASES.items():
        images = draw(reference(checkpoint(family)), generators(1), **arguments)
        print(f"{name}: {images.shape}, mean {images.mean():.3f}, standard deviation {images.std():.3f}")
        found[name] = stored(images)
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
