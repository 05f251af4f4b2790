"""Packages whose names are imported when first used."""

import importlib
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

KINDS = ("Pipeline", "Scheduler", "Model", "Processor", "Callback", "Mixin")
"""What the names of published classes end in."""

SCOPE = "this library draws with Stable Diffusion 1, 2, XL and 3, FLUX.1, PixArt and Sana"
_ABSENT = dict.fromkeys(("T2IAdapter", "MultiAdapter"), "T2I-Adapters are not here; ControlNetModel is")
"""Names of the published API that end in no kind, and what is here instead."""


def look_up(package: str, homes: Mapping[str, str], name: str) -> Any:
    """What a package's ``__getattr__`` returns for a name.

    Args:
        package: the package that was asked, by its full name.
        homes: for each name of the package the full name of the module that defines it; ``module:Name`` where it is
            defined under another name.
        name: what was asked for.

    Raises:
        AttributeError: neither is it one of the names, nor is there a module of that name in the package. In the middle
            of a ``from … import …`` it is an ImportError.
    """
    if name in homes:
        module, _, defined = homes[name].partition(":")
        return getattr(importlib.import_module(module), defined or name)
    submodule = sys.modules.get(f"{package}.{name}")
    if submodule is not None:
        return submodule
    instead = _instead(package, homes, name)
    if instead and _is_imported(sys._getframe(2)):  # which replaces the message of every AttributeError
        raise ImportError(f"cannot import name {name!r} from {package!r}{instead}", name=package)
    raise AttributeError(f"module {package!r} has no attribute {name!r}{instead}")


def load(path: str) -> Any:
    """What ``module:name`` stands for; a module that begins with a dot is one of this package.

    For what a value names without importing it, and for published methods that forward to a package above their own.
    """
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module, __package__), name)


def _instead(package: str, homes: Mapping[str, str], name: str) -> str:
    """For a class of the published API that is not here: what is here of its kind."""
    if name in _ABSENT:
        return f": {_ABSENT[name]}"
    kind = next((kind for kind in KINDS if name.endswith(kind)), None)
    if kind is None or not name[0].isupper() or package.count(".") > 2:
        return ""
    here = ", ".join(sorted(each for each in homes if each.endswith(kind)))
    return f": {SCOPE}" + f"; it has {here}" * bool(here)


def _is_imported(frame: FrameType) -> bool:
    """Whether the frame is in the middle of a ``from … import …``."""
    from opcode import opmap

    return frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]
