"""Packages from the project's extras, imported where needed."""

import importlib
from types import ModuleType


def needs(module: str, purpose: str, extra: str = "batch") -> ModuleType:
    """The module.

    Raises:
        ImportError: it is not installed; one line says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != package:
            raise
        raise ImportError(f"{purpose} need {package}: {how_to_install(extra)}") from None


def how_to_install(extra: str) -> str:
    """The command that installs an extra, until the package is on an index."""
    return f'pip install ".[{extra}]" in a checkout of mindone-diffusers'


def is_there(module: str) -> bool:
    """Whether the module imports; an installed but broken one counts as absent."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
