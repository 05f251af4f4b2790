"""What a file of weights is: a pipeline, a network or an adapter, by its tensors' names and the config beside it."""

from ..adapters.lora_files import is_lora, looks_like
from ..adapters.textual_inversion_files import is_textual_inversion
from ..families.files import known_layouts, open_single_file
from ..loading.contents import network_in
from ..loading.gguf import GGUFFile
from ..loading.original.layout import other_in
from ..loading.safetensors import SafetensorsFile


def kind_of(file: SafetensorsFile | GGUFFile) -> dict[str, object]:
    """The kind of a file and what it holds, in words; this reads only headers and configs.

    Raises:
        ValueError: its names are those of a family, but tensors or a config are broken.
    """
    if isinstance(file, SafetensorsFile) and (adapter := _adapter(file)) is not None:
        return adapter
    if (found := other_in(file.keys())) is not None:
        _, other = found
        return {"kind": other.what, "taken by": other.taken_by or "nothing here"}
    if any(layout.claims(file.keys()) for layout in known_layouts()):
        single = open_single_file(file.path)
        classes = [f"{name}: {part.class_name}" for name, part in single.components.items()]
        whole = {} if single.pipeline is None else {"pipeline": single.pipeline}
        # Families share autoencoders and text encoders.
        family = {"family": single.release.title} if single.has_denoiser else {}
        return {**whole, **family, "networks": classes}
    network = network_in(file.path.parent)
    return {"kind": "not known here"} if network is None else {"network": network}


def _adapter(file: SafetensorsFile) -> dict[str, object] | None:
    if is_lora(file.keys()):
        base = looks_like(file)
        return {"kind": "a LoRA", **({"for": base} if base else {}), "taken by": "load_lora_weights (--lora)"}
    if is_textual_inversion(file):
        widths = " and ".join(f"{tensor.shape[-1]}" for tensor in file.values())
        return {"kind": "a textual inversion", "width": widths, "taken by": "load_textual_inversion"}
    return None
