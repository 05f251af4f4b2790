"""Packages whose names are imported at first use."""

import importlib
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

KINDS = ("Pipeline", "Scheduler", "Model", "Processor", "Callback", "Mixin")
"""The endings of published class names."""

SCOPE = "this library supports Stable Diffusion 1, 2, XL and 3, FLUX.1, PixArt and Sana"
_ABSENT = dict.fromkeys(("T2IAdapter", "MultiAdapter"), "T2I-Adapters are not here; ControlNetModel is")
"""Published names without such an ending, and what is here instead."""


def look_up(package: str, homes: Mapping[str, str], name: str) -> Any:
    """The value of a package's ``__getattr__`` for a name.

    Args:
        package: the package's full name.
        homes: for each name of the package, the full name of the module that defines it; ``module:Name`` if it has
            another name there.
        name: the requested name.

    Raises:
        AttributeError: it is neither one of the names nor a module of the package. Within a ``from … import …`` the
            error is an ImportError.
    """
    if name in homes:
        module, _, defined = homes[name].partition(":")
        return getattr(importlib.import_module(module), defined or name)
    submodule = sys.modules.get(f"{package}.{name}")
    if submodule is not None:
        return submodule
    instead = _instead(package, homes, name)
    if instead and _is_imported(sys._getframe(2)):  # because that replaces the message of every AttributeError
        raise ImportError(f"cannot import name {name!r} from {package!r}{instead}", name=package)
    raise AttributeError(f"module {package!r} has no attribute {name!r}{instead}")


def load(path: str) -> Any:
    """The object that ``module:name`` stands for; a leading dot means this package.

    For values that name something without importing it, and for published methods that forward to a higher package.
    """
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module, __package__), name)


def _instead(package: str, homes: Mapping[str, str], name: str) -> str:
    """For a published class that is not here: the classes of its kind that are."""
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
