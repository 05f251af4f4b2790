"""The floating-point types that models load in, under one spelling: "float32", "float16" or "bfloat16"."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import mindspore

DType = Literal["float32", "float16", "bfloat16"]

_SPELLINGS: dict[str, DType] = {
    "float32": "float32",
    "fp32": "float32",
    "f32": "float32",
    "float16": "float16",
    "fp16": "float16",
    "f16": "float16",
    "half": "float16",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
}


def _name(dtype: object) -> str:
    if isinstance(dtype, str):
        return dtype.removeprefix("mindspore.").removeprefix("ms.")
    if isinstance(dtype, type):  # numpy.float16
        return dtype.__name__
    return getattr(dtype, "name", None) or str(dtype)  # numpy.dtype("float16"); MindSpore prints Float16


def parse_dtype(dtype: object = None) -> DType:
    """The canonical name of a MindSpore type, a NumPy type or a string; None means float32.

    Raises:
        ValueError: networks do not run in this type.
    """
    if dtype is None:
        return "float32"
    canonical = _SPELLINGS.get(_name(dtype).lower())
    if canonical is None:
        raise ValueError(
            f"mindspore_dtype must be float32, float16 or bfloat16 (a MindSpore type such as ms.float16, or its name "
            f"as a string), got {dtype!r}"
        )
    return canonical


def to_mindspore(dtype: object) -> "mindspore.Type":
    """The MindSpore type of anything that `parse_dtype` reads."""
    import mindspore

    return getattr(mindspore, parse_dtype(dtype))
