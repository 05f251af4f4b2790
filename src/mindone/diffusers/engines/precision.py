"""The compute dtypes of engines, which may differ from a model's storage dtype."""


def computes_in(engine: str, dtype: str) -> str:
    """The compute dtype of the named engine, in its own terms, for a model in ``dtype``."""
    if engine == "openvino":
        from .openvino.compiling import precision_of

        return precision_of(dtype)
    from .mindspore import device

    return dtype if device.on_ascend() else "float32"
