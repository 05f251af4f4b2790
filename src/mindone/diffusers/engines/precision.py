"""What engines compute in, which need not be what a model is kept in."""


def computes_in(engine: str, dtype: str) -> str:
    """The type, in the engine's own words, that the engine of a name computes in when a model is of ``dtype``."""
    if engine == "openvino":
        from .openvino.compiling import precision_of

        return precision_of(dtype)
    from .mindspore import device

    return dtype if device.on_ascend() else "float32"
