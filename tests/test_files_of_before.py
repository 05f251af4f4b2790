"""Files that commit 691b65b wrote, before families were declared, load as they did and mean the same.

Files of tensors are kept as their headers, which hold all names, shapes and metadata; the numbers do not matter here.
"""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lora_cases import open_lora, pair
from mindone.diffusers import DiffusionPipeline, UNet2DConditionModel
from mindone.diffusers.batch.combinations import file_name, identity
from mindone.diffusers.batch.manifest import Manifest
from mindone.diffusers.batch.outputs import open_output
from mindone.diffusers.engines.binding import stored
from mindone.diffusers.jobs import Job
from mindone.diffusers.jobs.applied import fingerprint
from mindone.diffusers.jobs.infotext import parse_infotext
from mindone.diffusers.jobs.png import read_job, read_parameters
from mindone.diffusers.jobs.profile import load_profile
from mindone.diffusers.loading.int8 import Int8Tensor
from mindone.diffusers.loading.safetensors import SafetensorsFile
from tiny_pipelines import checkpoint, load

BEFORE = Path(__file__).parent / "fixtures_before"
JOB = json.loads((BEFORE / "job.json").read_text(encoding="utf-8"))


def rebuilt(header: Path, path: Path) -> Path:
    """A safetensors file with this header: every number in it is 1, or -1 where it is the lower end of a range."""
    text = gzip.decompress(header.read_bytes())
    entries = json.loads(text)
    entries.pop("__metadata__", None)
    content = len(text).to_bytes(8, "little") + text
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        dtype = {"F32": np.float32, "I8": np.int8}[entry["dtype"]]
        content += np.full(entry["shape"], -1 if name.endswith("_low") else 1, dtype).tobytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_profile_has_its_settings_and_still_fits_its_checkpoint(family, tmp_path):
    path = BEFORE / f"profile_{family}.json"
    profile, written = load_profile(path), json.loads(path.read_text(encoding="utf-8"))
    profile.save(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text(encoding="utf-8")) == written
    assert profile.settings.words == (
        "12 dpm++ steps, the last at 40, deepcache:3:0:2, spectrum:2:0.5, guidance:2, guided 0.1–0.8, tokens /2, int8, "
        "bfloat16, tiny autoencoder, decoded in int8, distilled"
    )
    assert profile.fingerprint == fingerprint(load(checkpoint(family)))
    assert (profile.evidence.measured_seconds, profile.evidence.psnr, profile.height) == (1.25, 31.5, 512)


def test_an_image_remembers_its_job():
    job = read_job(BEFORE / "drawn.png")
    assert job == Job.of(JOB)
    assert job.to_dict() == JOB
    assert read_parameters(BEFORE / "drawn.png")["image_seed"] == 43


def test_an_infotext_says_what_it_said():
    said = parse_infotext((BEFORE / "infotext.txt").read_text(encoding="utf-8"))
    assert said == {
        "prompt": "a red cat, sitting <lora:style:0.5:0.8>",
        "negative_prompt": "blurry",
        "steps": 12,
        "scheduler": "dpm++",
        "guidance_scale": 6.5,
        "seed": 43,
        "width": 768,
        "height": 512,
        "model": "model",
        "strength": 0.6,
        "clip_skip": 1,
        "extra": {
            "Masked content": "latent noise",
            "Inpaint area": "Only masked",
            "Masked area padding": "32",
            "ControlNet 0": "Module: canny, Model: canny, Weight: 0.75",
        },
    }


def test_a_batch_knows_its_jobs_again(tmp_path):
    shutil.copy(BEFORE / "batch" / "manifest.jsonl", tmp_path)
    manifest = Manifest(open_output(tmp_path))
    done, failed = manifest.records.values()
    manifest.close()
    drawn, refused = Job.of(done.job), Job.of(failed.job)
    assert drawn == Job(prompt="a red cat", seed=7, steps=4, cache=("deepcache:2",), lora=("style:0.5",))
    assert refused == Job(prompt="a blue dog", seed=8, scheduler="euler", guidance_interval=(0.0, 0.5))
    assert (done.id, done.file, done.seconds, done.error) == (identity(drawn), file_name(drawn), 1.2346, None)
    assert (failed.id, failed.file, failed.tries, failed.error) == (identity(refused), None, 3, "no memory")


def test_a_lora_folder_changes_the_same_layers_as_strongly():
    pipe = load(checkpoint("sd1"))
    networks = {"unet": pipe.unet.published_shapes(), "text_encoder": pipe.text_encoder.published_shapes()}
    changes = open_lora(BEFORE / "lora" / "pytorch_lora_weights.safetensors", networks)
    attention = "down_blocks.0.attentions.{}.transformer_blocks.0.attn1.to_q.weight"
    assert {component: list(layers) for component, layers in changes.items()} == {
        "unet": [attention.format(0), attention.format(1)],
        "text_encoder": ["text_model.encoder.layers.0.mlp.fc1.weight"],
    }
    assert {(layer.rank, layer.scale) for layer in changes["unet"].values()} == {(1, 4.0)}
    assert [layer.scale for layer in changes["text_encoder"].values()] == [2.0]
    down, _ = pair(networks["unet"][attention.format(0)], attention.format(0).removesuffix(".weight"), 1)
    np.testing.assert_array_equal(changes["unet"][attention.format(0)].down.numpy(), down)
    pipe.load_lora_weights(BEFORE / "lora")
    assert pipe.get_list_adapters() == {"unet": ["default_0"], "text_encoder": ["default_0"]}


def test_an_int8_checkpoint_keeps_its_layers_and_their_scales(tmp_path):
    rebuilt(
        BEFORE / "int8" / "diffusion_pytorch_model.safetensors.header.gz",
        tmp_path / "diffusion_pytorch_model.safetensors",
    )
    shutil.copy(BEFORE / "int8" / "config.json", tmp_path)
    unet = UNet2DConditionModel.from_pretrained(tmp_path)
    written = json.loads((BEFORE / "int8" / "config.json").read_text(encoding="utf-8"))
    assert dict(unet.config)["quantization_config"] == written["quantization_config"]
    held = {
        name for name, parameter in unet.published_parameters().items() if isinstance(stored(parameter), Int8Tensor)
    }
    names = SafetensorsFile(tmp_path / "diffusion_pytorch_model.safetensors")
    assert held == {name for name, tensor in names.items() if tensor.dtype == "I8"} != set()
    assert "conv_in.weight" not in held


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_converted_file_carries_its_configs(family, tmp_path):
    path = rebuilt(BEFORE / f"{family}.safetensors.header.gz", tmp_path / "pipeline.safetensors")
    pipe, folder = DiffusionPipeline.from_single_file(path), load(checkpoint(family))
    assert type(pipe) is type(folder)
    assert pipe.scheduler.config == folder.scheduler.config
    assert pipe.tokenizer("a red cat").tolist() == folder.tokenizer("a red cat").tolist()
    for name, component in folder.components.items():
        assert type(getattr(pipe, name)) is type(component)
        if hasattr(component, "published_shapes"):
            mine = getattr(pipe, name)
            assert (mine.config, mine.published_shapes()) == (component.config, component.published_shapes())
