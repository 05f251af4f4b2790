"""Packages whose names are imported when first used."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any


def look_up(package: str, homes: Mapping[str, str], name: str) -> Any:
    """What a package's ``__getattr__`` returns for a name.

    Args:
        package: the package that was asked, by its full name.
        homes: for each name of the package the full name of the module that defines it; ``module:Name`` where it is
            defined under another name.
        name: what was asked for.

    Raises:
        AttributeError: neither is it one of the names, nor is there a module of that name in the package.
    """
    if name in homes:
        module, _, defined = homes[name].partition(":")
        return getattr(importlib.import_module(module), defined or name)
    submodule = sys.modules.get(f"{package}.{name}")
    if submodule is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return submodule
