"""``python -m mindone.diffusers.cli`` does the same as ``mindone-diffusers``."""

from ..__main__ import run

run()
