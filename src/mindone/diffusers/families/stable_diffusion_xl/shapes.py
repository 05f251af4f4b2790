"""A checkpoint with random weights in the shapes of Stable Diffusion XL."""

from pathlib import Path

from ...utils.files import read_json
from ..stable_diffusion.shapes import StableDiffusionShape

SDXL = StableDiffusionShape(**read_json(Path(__file__).with_name("shapes.json")))
