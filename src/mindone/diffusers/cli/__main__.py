"""``python -m mindone.diffusers.cli`` does what ``mindone-diffusers`` does."""

from . import main

main(prog_name="mindone-diffusers")
