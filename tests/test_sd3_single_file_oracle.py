"""Single files of Stable Diffusion 3 against the reference's conversion rules: the same names, the same numbers."""

import json

import numpy as np
import pytest

from mindone.diffusers.loading.safetensors import StoredTensor
from original_files import opened
from test_sd3_single_file import file, folder

pytestmark = pytest.mark.oracle

torch = pytest.importorskip("torch")
single_file_utils = pytest.importorskip("diffusers.loaders.single_file_utils")
load_file = pytest.importorskip("safetensors.torch").load_file


def same(ours: dict[str, StoredTensor], theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert np.array_equal(tensor.numpy(), theirs[name].numpy()), name


def test_every_network_is_read_as_the_reference_reads_it():
    single, stored = opened(file()), load_file(file())
    same(
        single.components["text_encoder_3"].weights,
        single_file_utils.convert_sd3_t5_checkpoint_to_diffusers(dict(stored)),
    )
    for name, prefix in (("text_encoder", "clip_l"), ("text_encoder_2", "clip_g")):
        theirs = single_file_utils.convert_ldm_clip_checkpoint(dict(stored), f"text_encoders.{prefix}.transformer.")
        if name == "text_encoder":
            theirs["text_projection.weight"] = torch.eye(theirs["text_model.final_layer_norm.weight"].shape[0])
        same(single.components[name].weights, theirs)
    config = json.loads((folder() / "vae" / "config.json").read_text())
    same(single.components["vae"].weights, single_file_utils.convert_ldm_vae_checkpoint(dict(stored), config))
    same(
        single.components["transformer"].weights,
        single_file_utils.convert_sd3_transformer_checkpoint_to_diffusers(dict(stored)),
    )


def test_the_reference_takes_the_files_that_we_write():
    import diffusers

    cls = diffusers.StableDiffusion3Pipeline
    pipe = cls.from_single_file(file(), config=str(folder()), local_files_only=True)
    expected = cls.from_pretrained(folder())
    for name in ("transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3"):
        theirs, ours = (getattr(p, name).state_dict() for p in (expected, pipe))
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[key], ours[key]) for key in theirs), name
