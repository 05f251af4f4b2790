"""Make ``sana.npz``: what diffusers draws from the tiny checkpoints of Sana and SANA-Sprint. Needs the test extra.

    python tests/golden/make_sana.py

The images are kept at every second row and column, in 16 bits.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).with_suffix("").with_name("sana.npz")
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8))
SMALL = {"prompt": "A red cat sitting on a mat", "height": 64, "width": 96, "use_resolution_binning": False}
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "sana": ("sana", "SanaPipeline", {**SMALL, "num_inference_steps": 3, "negative_prompt": "blue"}),
    "sizes": (
        "sana",
        "SanaPipeline",
        {**SMALL, "num_inference_steps": 1, "use_resolution_binning": True, "guidance_scale": 1.0},
    ),
    "sprint": ("sana-sprint", "SanaSprintPipeline", SMALL),
    "picture": ("sana-sprint", "SanaSprintImg2ImgPipeline", {**SMALL, "image": PICTURE, "strength": 0.5}),
}
"""A tiny checkpoint, a pipeline, and the arguments of the call."""


def main() -> None:
    """Draw them all."""
    import diffusers
    from make_pipelines import draw, generators, reference, stored

    from tiny_sana import checkpoint

    found = {}
    for name, (family, kind, arguments) in CASES.items():
        pipe = getattr(diffusers, kind)(**reference(checkpoint(family)).components)
        found[name] = stored(draw(pipe, generators(1), **arguments))
    np.savez_compressed(GOLDEN, **found)


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
