"""The few things schedulers do to arrays beyond arithmetic, for NumPy and MindSpore alike."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..utils.arrays import Array
from ..utils.combination import combination as combination

Numbers: TypeAlias = NDArray[Any]
"""A NumPy array of timesteps or noise levels, float32, float64 or int64."""
Generators = np.random.Generator | Sequence[np.random.Generator] | None


def as_numbers(given: Any) -> Numbers | None:
    """A list or any kind of array as float64; None unless it is flat and all its numbers are finite."""
    try:
        if np.asarray(given).dtype.kind in "USb":  # texts and truth values, which NumPy would convert
            return None
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return values if values.ndim == 1 and np.isfinite(values).all() else None


def draw_noise(sample: Array, generator: Generators = None) -> Array:
    """Standard normal noise of the sample's shape and type, drawn in float64.

    Args:
        sample: an array of the wanted shape and type; its first axis is the batch.
        generator: one generator for the whole batch, a list with one per image, or None for fresh randomness.

    Raises:
        ValueError: the list and the batch differ in length.
    """
    shape = tuple(sample.shape)
    if generator is None:
        generator = np.random.default_rng()
    if isinstance(generator, np.random.Generator):
        return as_array_like(generator.standard_normal(shape), sample)
    if len(generator) != shape[0]:
        raise ValueError(f"a list of generators needs one per image: got {len(generator)} for a batch of {shape[0]}")
    return as_array_like(np.stack([one.standard_normal(shape[1:]) for one in generator]), sample)


def given_or_drawn(variance_noise: Array | None, sample: Array, generator: Generators) -> Array:
    """The noise that the caller gave, or fresh noise from the generator.

    Raises:
        ValueError: both were given, or the noise is not the sample's kind of array.
    """
    if variance_noise is None:
        return draw_noise(sample, generator)
    if generator is not None:
        raise ValueError("give generator or variance_noise, not both")
    check_alike(sample=sample, variance_noise=variance_noise)
    return variance_noise


def check_alike(**arrays: Array) -> None:
    """Check arrays, given by argument name: all NumPy or all tensors, since arithmetic does not mix them.

    Raises:
        ValueError: one is neither, or two are different kinds.
    """
    kinds = {}
    for name, array in arrays.items():
        if not (hasattr(array, "shape") and hasattr(array, "dtype")):
            raise ValueError(f"{name} must be a NumPy array or an ms.Tensor, got {type(array).__name__}")
        kinds[name] = "NumPy array" if isinstance(array, (np.ndarray, np.generic)) else "tensor"
    if len(set(kinds.values())) > 1:
        found = ", ".join(f"a {kind} as {name}" for name, kind in kinds.items())
        raise ValueError(f"arrays must be of one kind, got {found}; ms.Tensor(array) and tensor.asnumpy() convert them")


def dynamic_threshold(sample: Array, ratio: float, max_value: float) -> Array:
    """Clip each image to its own ``ratio`` quantile s of absolute values, s in [1, max_value], and divide it by s.

    Section 2.3 of Imagen (Saharia et al. 2022, arXiv 2205.11487). Meant for pixels, not latents.
    """
    values = to_numpy(sample)
    flat = values.reshape(len(values), -1)
    s = np.quantile(np.abs(flat), ratio, axis=1, keepdims=True).clip(1, max_value).astype(flat.dtype)
    return as_array_like((flat.clip(-s, s) / s).reshape(values.shape), sample)


def as_array_like(values: Numbers, like: Array) -> Array:
    """``values`` as the same kind of array as ``like``, in its dtype."""
    if isinstance(like, np.ndarray):
        return values.astype(like.dtype, copy=False)
    import mindspore

    tensor: Array = mindspore.Tensor(values, like.dtype)
    return tensor


def to_numpy(array: Array) -> Numbers:
    """The array in host memory."""
    if isinstance(array, np.ndarray):
        return array
    tensor: Any = array  # MindSpore's
    values: Numbers = tensor.asnumpy()
    return values


def coefficients(pairs: Sequence[tuple[float, float]], like: Array) -> tuple[Array | float, Array | float]:
    """The first and the second numbers of pairs (one per image, or one for all), each as `per_image` returns it."""
    first, second = zip(*pairs)
    return per_image(first, like), per_image(second, like)


def per_image(values: Sequence[float], like: Array) -> Array | float:
    """One coefficient per image, ready to multiply a batch: a float where all agree, else ``(batch, 1, 1, 1)``."""
    if len(set(values)) == 1:
        return values[0]
    if len(values) != like.shape[0]:
        raise ValueError(f"give one timestep, or one per image: got {len(values)} for a batch of {like.shape[0]}")
    return as_array_like(np.reshape(values, (-1,) + (1,) * (len(like.shape) - 1)), like)
