"""The networks of a pipeline to quantise: the names in a config, and a family's own names."""

from ..families.family import Family
from ..families.registry import families

DENOISER = "denoiser"
"""Stands for the denoising network, whatever its family calls it."""
TEXT_ENCODERS = "text_encoders"
"""Stands for all networks that read prompts."""


def check_components(named: object) -> None:
    """Raise ``ValueError`` unless ``components_to_quantize`` is a tuple of components that some family quantises."""
    own = (name for family in families() for name in (*family.int8.products, *family.int8.weights_only))
    known = dict.fromkeys((DENOISER, TEXT_ENCODERS, *own))
    if not isinstance(named, tuple) or not named or not known.keys() >= set(named):
        raise ValueError(f"components_to_quantize must be a tuple of some of {', '.join(known)}, got {named!r}")


def components_of(family: Family, named: tuple[str, ...]) -> tuple[str, ...]:
    """The family's own names of the components that a config names.

    Raises:
        ValueError: it names one that the family does not quantise.
    """
    texts = [name for name in family.text_encoders if name in family.int8.weights_only]
    meant = {DENOISER: [family.denoiser], TEXT_ENCODERS: texts}
    found = dict.fromkeys(own for name in named for own in meant.get(name, [name]))
    known = dict.fromkeys((*family.int8.products, *family.int8.weights_only))
    if strange := found.keys() - known.keys():
        raise ValueError(f"a {family.title} pipeline quantises no {', '.join(sorted(strange))}, but {', '.join(known)}")
    return tuple(found)
