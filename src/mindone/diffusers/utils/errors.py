"""Errors in one line, for people."""


def in_one_line(error: BaseException) -> str:
    """What an error says. What a user can cause is a ValueError or an OSError; others get the name of their kind."""
    message = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"out of memory{': ' if message else ''}{message}"
    if isinstance(error, (ValueError, OSError)) and message:
        return message
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= 400 else text[:400] + "…"
