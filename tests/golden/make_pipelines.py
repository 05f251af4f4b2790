"""Make ``pipelines.npz``: what diffusers draws from the tiny checkpoints. Needs the test extra.

    python tests/golden/make_pipelines.py

The images are kept at every second row and column, in 16 bits.
"""

import contextlib
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

GOLDEN = Path(__file__).with_suffix("").with_name("pipelines.npz")
SEED = 7

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sd1": ("sd1", {"num_inference_steps": 10, "negative_prompt": "on the moon"}),
    "sd2": ("sd2", {"num_inference_steps": 10, "guidance_rescale": 0.7, "eta": 0.5}),
    "sdxl": (
        "sdxl",
        {
            "num_inference_steps": 10,
            "prompt_2": "resting",
            "original_size": (1024, 900),
            "crops_coords_top_left": (10, 20),
            "target_size": (512, 256),
        },
    ),
    "bk_sdm": ("bk_sdm", {"num_inference_steps": 10, "num_images_per_prompt": 2}),
    "bk_sdm_short": ("bk_sdm", {"num_inference_steps": 2}),
    "lcm": ("lcm", {"num_inference_steps": 4, "guidance_scale": 3.0}),
    "tiny_autoencoder": ("sd1", {"num_inference_steps": 5, "clip_skip": 1}),
}
"""A family of tiny checkpoints, and the arguments of the call. ``tiny_autoencoder`` has its autoencoder replaced."""


@contextlib.contextmanager
def numpy_noise(generators: Any):
    """Let diffusers' pipelines and schedulers draw their noise from NumPy generators, as ours do."""
    import torch
    from diffusers.utils import torch_utils

    def randn_tensor(shape, dtype=torch.float32, **_):
        if isinstance(generators, list):
            values = np.stack([one.standard_normal(shape[1:]) for one in generators])
        else:
            values = generators.standard_normal(shape)
        return torch.from_numpy(values).to(dtype)

    holders = [m for n, m in list(sys.modules.items()) if n.startswith("diffusers.") and "randn_tensor" in vars(m)]
    with contextlib.ExitStack() as stack:
        for holder in [torch_utils, *holders]:
            stack.enter_context(mock.patch.object(holder, "randn_tensor", randn_tensor))
        yield


def reference(folder: Path, **components: Any) -> Any:
    """The checkpoint's pipeline in diffusers."""
    import diffusers

    logger = diffusers.utils.logging
    logger.set_verbosity_error()
    logger.disable_progress_bar()
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, **components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, generators: Any, **arguments: Any) -> np.ndarray:
    """Images (or latents) of a diffusers pipeline, with noise from NumPy generators."""
    import torch

    tensors = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    with numpy_noise(generators):
        return np.asarray(pipe(**{"output_type": "np", **tensors}).images)


def generators(count: int) -> list[np.random.Generator]:
    """One generator an image, as the guide makes them."""
    return [np.random.Generator(np.random.PCG64(SEED + i)) for i in range(count)]


def stored(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] as the golden file keeps them."""
    return (images[:, ::2, ::2] * 65535).round().astype(np.uint16)


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import diffusers

    from tiny_pipelines import PROMPT, checkpoint, tiny_autoencoder_folder

    results = {}
    for name, (family, arguments) in CASES.items():
        components = {}
        if name == "tiny_autoencoder":
            components["vae"] = diffusers.AutoencoderTiny.from_pretrained(tiny_autoencoder_folder())
        noise = generators(arguments.get("num_images_per_prompt", 1))
        images = draw(reference(checkpoint(family), **components), noise, prompt=PROMPT, **arguments)
        results[name] = stored(images)
        print(f"{name}: {images.shape}, mean {images.mean():.3f}, standard deviation {images.std():.3f}")
    np.savez_compressed(GOLDEN, **results)
    print(f"wrote {GOLDEN} ({GOLDEN.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
