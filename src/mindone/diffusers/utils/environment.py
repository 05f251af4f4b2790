"""The environment variables that change what this package does, each declared once."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """An environment variable."""

    name: str
    help: str

    @property
    def value(self) -> str | None:
        """Its value; None if it is unset or empty."""
        return os.environ.get(self.name) or None


ENGINE = Variable(
    "MINDONE_ENGINE", "The engine: `auto` (the default), `openvino` or `mindspore`. `engine=` and `--engine` win."
)
PROFILES = Variable(
    "MINDONE_PROFILES",
    "The folder of saved profiles; by default `mindone-diffusers/profiles` in `$XDG_DATA_HOME` or `~/.local/share`.",
)
DEBUG = Variable("MINDONE_DEBUG", "`1`: an error of the command line shows its traceback, as `--debug` does.")

VARIABLES = (ENGINE, PROFILES, DEBUG)
"""All variables, for the reference."""
