"""A program: ``python genai_export.py CHECKPOINT FOLDER`` converts a checkpoint for OpenVINO GenAI, in 16 bits.

Like ``optimum-cli export openvino --task text-to-image --weight-format fp16``, but it also accepts a checkpoint whose
index omits a text encoder, which that command refuses.
"""

import json
import sys
from pathlib import Path


def export(checkpoint: Path, folder: Path) -> None:
    """Load it with diffusers, trace its networks, and write them and its tokenizers."""
    import torch
    from optimum.exporters.openvino.__main__ import maybe_convert_tokenizers
    from optimum.exporters.openvino.convert import export_from_model
    from optimum.intel import OVConfig

    import diffusers

    index = json.loads((checkpoint / "model_index.json").read_text(encoding="utf-8"))
    without = {name: None for name, value in index.items() if value == [None, None]}
    pipe = diffusers.DiffusionPipeline.from_pretrained(checkpoint, torch_dtype=torch.float16, **without)
    config = OVConfig(dtype="fp16")
    export_from_model(pipe, folder, task="text-to-image", ov_config=config, patch_16bit_model=True)
    maybe_convert_tokenizers("diffusers", folder, pipe)


if __name__ == "__main__":
    export(*map(Path, sys.argv[1:]))
