"""The library's families, one line each. A program registers its own with `register`.

A family is imported at first use, so listing names costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..lazy import load as load
from .family import Family

if TYPE_CHECKING:
    from ..loading.original.layout import OriginalLayout

LIBRARY: Mapping[str, str] = {
    "stable-diffusion": ".families.stable_diffusion.family:STABLE_DIFFUSION",
    "latent-consistency": ".families.stable_diffusion.family:LATENT_CONSISTENCY",
    "stable-diffusion-xl": ".families.stable_diffusion_xl.family:STABLE_DIFFUSION_XL",
    "stable-diffusion-3": ".families.stable_diffusion_3.family:STABLE_DIFFUSION_3",
    "flux": ".families.flux.family:FLUX",
    "pixart-alpha": ".families.pixart.family:PIXART_ALPHA",
    "pixart-sigma": ".families.pixart.family:PIXART_SIGMA",
    "sana": ".families.sana.family:SANA",
    "sana-sprint": ".families.sana.family:SANA_SPRINT",
}
"""Where each family of the library is declared."""

_OWN: dict[str, Family] = {}


def register(family: Family) -> Family:
    """Register a program's own family, so that its checkpoints load and its shapes can be measured. Returns it.

    Raises:
        ValueError: the library already has a family of that name.
    """
    if family.name in LIBRARY:
        raise ValueError(f"the library has a family {family.name!r}; give yours another name")
    _OWN[family.name] = family
    return family


def forget(name: str) -> None:
    """Remove a registered family."""
    _OWN.pop(name, None)


def families() -> Iterator[Family]:
    """All families: the library's, then registered ones."""
    yield from (load(path) for path in LIBRARY.values())
    yield from _OWN.values()


def family(name: str) -> Family:
    """The family of that name.

    Raises:
        ValueError: there is none.
    """
    if name in LIBRARY:
        found: Family = load(LIBRARY[name])
        return found
    if name not in _OWN:
        raise ValueError(f"no family is called {name!r}; choose from {', '.join([*LIBRARY, *_OWN])}")
    return _OWN[name]


def family_of(pipeline: str) -> Family | None:
    """The family of a pipeline's class, by its name in ``model_index.json``; None if there is none.

    An unknown class belongs to the family whose pipelines' names share the longest beginning with its name.
    """
    known = list(families())
    for each in known:
        if pipeline in map(class_name, each.tasks.values()):
            return each
    alike = [each for each in known if pipeline.startswith(each.pipelines)]
    return max(alike, key=lambda each: len(each.pipelines), default=None)


def layouts() -> list[OriginalLayout]:
    """The original single-file layouts of all families that have one."""
    return [load(path) for path in dict.fromkeys(each.original for each in families()) if path is not None]


def class_name(path: str) -> str:
    """``Class`` of ``module:Class``."""
    return path.partition(":")[2]
