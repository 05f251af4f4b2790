"""Packages that come with an extra of the project, asked for where they are needed."""

import importlib
from types import ModuleType


def needs(module: str, purpose: str, extra: str = "batch") -> ModuleType:
    """The module.

    Raises:
        ImportError: it is not there; one line says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != package:
            raise
        raise ImportError(f'{purpose} need {package}: pip install "mindone-diffusers[{extra}]"') from None


def is_there(module: str) -> bool:
    """Whether the module can be imported; one that is installed but broken counts as absent."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
