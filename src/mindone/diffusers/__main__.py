"""``python -m mindone.diffusers`` and ``mindone-diffusers``: the command line. A signal ends it with one line."""

import atexit
import gc

from .interrupts import leave_on_signals


def run() -> None:
    """Run the command line; signal handlers are set before anything else is imported."""
    leave_on_signals()
    atexit.register(gc.freeze)  # otherwise Python searches all objects for garbage several times before it ends
    from .cli import main

    main(prog_name="mindone-diffusers")


if __name__ == "__main__":
    run()
