"""The compute dtypes of engines, which may differ from a model's storage dtype."""


def computes_in(engine: str, dtype: str) -> str:
    """The compute dtype of the named engine, in its own terms, for a model in ``dtype``."""
    if engine == "openvino":
        from .openvino.compiling import precision_of

        return precision_of(dtype)
    from .mindspore import device

    return dtype if device.on_ascend() else "float32"


def float_bytes(engine: str, dtype: str) -> int:
    """Bytes of a weight as the named engine packs it: it widens 16 bits if it computes in float32."""
    return 2 if computes_in(engine, dtype).endswith("16") else 4
