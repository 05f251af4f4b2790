"""Single files against the reference's conversion rules: the same names, the same numbers."""

import json

import numpy as np
import pytest

import original_files
from checkpoints import UNETS, random_weights
from mindone.diffusers.families import convert
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file
from original_files import opened
from tiny_pipelines import checkpoint

pytestmark = pytest.mark.oracle

torch = pytest.importorskip("torch")
single_file_utils = pytest.importorskip("diffusers.loaders.single_file_utils")
load_file = pytest.importorskip("safetensors.torch").load_file


def same(ours: dict[str, StoredTensor], theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert np.array_equal(tensor.numpy(), theirs[name].numpy()), name


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    for family in ("sd1", "sd2", "sdxl", "bk_sdm"):
        convert.folder_to_file(checkpoint(family), folder / f"{family}.safetensors")
    return folder


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "bk_sdm"])
def test_unets_and_autoencoders_are_read_as_the_reference_reads_them(files, family):
    path = files / f"{family}.safetensors"
    single, stored = opened(path), load_file(path)
    config = json.loads((checkpoint(family) / "unet" / "config.json").read_text())
    same(single.components["unet"].weights, single_file_utils.convert_ldm_unet_checkpoint(stored, config))
    config = json.loads((checkpoint(family) / "vae" / "config.json").read_text())
    same(single.components["vae"].weights, single_file_utils.convert_ldm_vae_checkpoint(stored, config))


@pytest.mark.parametrize(
    "family, component, prefix",
    [
        ("sd1", "text_encoder", None),
        ("sd2", "text_encoder", "cond_stage_model.model."),
        ("sdxl", "text_encoder", None),
        ("sdxl", "text_encoder_2", "conditioner.embedders.1.model."),
    ],
)
def test_text_encoders_are_read_as_the_reference_reads_them(files, family, component, prefix):
    from transformers import CLIPTextModelWithProjection

    path = files / f"{family}.safetensors"
    single, stored = opened(path), load_file(path)
    if prefix is None:
        theirs = single_file_utils.convert_ldm_clip_checkpoint(stored)
    else:
        network = CLIPTextModelWithProjection.from_pretrained(checkpoint("sdxl") / "text_encoder_2")
        theirs = single_file_utils.convert_open_clip_checkpoint(network, stored, prefix=prefix)
    same(single.components[component].weights, theirs)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_the_reference_takes_the_files_that_we_write(files, family):
    import diffusers

    index = json.loads((checkpoint(family) / "model_index.json").read_text())
    cls = getattr(diffusers, index["_class_name"])
    folder = checkpoint(family)
    pipe = cls.from_single_file(files / f"{family}.safetensors", config=str(folder), local_files_only=True)
    expected = cls.from_pretrained(folder)
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        theirs, ours = (getattr(p, name, None) for p in (expected, pipe))
        if theirs is not None:
            state = ours.state_dict()
            unread = {key for key, value in state.items() if value.is_meta}  # what the reference found no tensor for
            read = {key: value for key, value in theirs.state_dict().items() if key not in unread}
            differing = unread | {key for key, value in read.items() if not torch.equal(value, state[key])}
            # The reference tells XL's text encoders by their widths, which are one here: it reads the first one twice.
            assert differing <= ({"text_projection.weight"} if name == "text_encoder_2" else set()), name


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_controlnets_are_read_and_written_as_the_reference_has_them(tmp_path, family):
    from diffusers import ControlNetModel

    fields = ("block_out_channels", "layers_per_block", "down_block_types", "attention_head_dim", "cross_attention_dim")
    config = {key: UNETS[family][key] for key in (*fields, "norm_num_groups")}
    config["use_linear_projection"] = family == "sd2"
    network = ControlNetModel(**config, conditioning_embedding_out_channels=(4, 8))
    state = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    (tmp_path / "folder").mkdir()
    save_file(random_weights(state), tmp_path / "folder" / "diffusion_pytorch_model.safetensors")
    (tmp_path / "folder" / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel", **config}))
    path = tmp_path / "control.safetensors"
    convert.folder_to_file(tmp_path / "folder", path)

    bare = tmp_path / "bare.safetensors"  # as others write it: without the config
    save_file(dict(SafetensorsFile(path)), bare)
    component = opened(bare).components["controlnet"]
    renamed = {name: name for name in load_file(path)}
    assert all(name.startswith("control_model.") for name in renamed)
    theirs = single_file_utils.convert_controlnet_checkpoint(_published_hint(load_file(path)), config)
    same(component.weights, {name: value for name, value in theirs.items() if value is not None})
    assert component.weights.keys() == state.keys()
    assert component.config["conditioning_embedding_out_channels"] == [4, 8]
    assert component.config["down_block_types"] == config["down_block_types"]


def _published_hint(stored: dict) -> dict:
    """The reference takes number 14 for the last of the control image's convolutions, however many there are."""
    last = "control_model.input_hint_block.6."
    return {name.replace(last, "control_model.input_hint_block.14."): value for name, value in stored.items()}


@pytest.mark.parametrize("name", original_files.PUBLISHED)
def test_published_networks_are_told_apart_as_the_reference_tells_them(name, tmp_path):
    if name.startswith(("bk-sdm", "ssd", "vega")):
        pytest.skip("the reference has no name for them")
    expected = {"sd1": "v1", "sd1-inpainting": "inpainting", "sd2": "v2", "xl": "xl_base", "xl-refiner": "xl_refiner"}
    from mindone.diffusers.families.stable_diffusion.original_unet import Stages, unet_key_map

    shapes = original_files.shapes_only(name)
    keys = unet_key_map(Stages.of_ours(shapes))
    names = {f"model.diffusion_model.{keys.original(key)}": tensor for key, tensor in shapes.items()}
    embedder = {"xl": "1", "xl-refiner": "0"}.get(name)
    if embedder is not None:
        names[f"conditioner.embedders.{embedder}.model.transformer.resblocks.9.mlp.c_proj.bias"] = None
    assert single_file_utils.infer_diffusers_model_type(names) == expected[name]
