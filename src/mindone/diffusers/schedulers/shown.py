"""Values in error messages. Nothing heavy is imported here: the command line's help reads jobs, which read this."""

_LONGEST_SHOWN = 60


def shown(value: object) -> str:
    """A value of a config in an error message: its first characters."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print integers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
