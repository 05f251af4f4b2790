"""``python -m mindone.diffusers`` and ``mindone-diffusers``: the command line, which a signal ends in one line."""

import atexit
import gc

from .interrupts import leave_on_signals


def run() -> None:
    """Run the command that was typed; signals are taken care of before anything is imported for it."""
    leave_on_signals()
    atexit.register(gc.freeze)  # or Python looks through all objects for garbage several times before it ends
    from .cli import main

    main(prog_name="mindone-diffusers")


if __name__ == "__main__":
    run()
