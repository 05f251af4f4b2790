"""``python -m mindone.diffusers.cli`` does what ``mindone-diffusers`` does."""

from ..__main__ import run

run()
