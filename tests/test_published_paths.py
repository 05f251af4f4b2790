"""The published import paths lead to the classes here, and nothing heavy is imported before it is used."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mindone.diffusers
import mindone.transformers
from mindone.diffusers import models, pipelines, schedulers
from mindone.diffusers.published_paths import _FILES, PATHS
from published_api import OURS_ALONE

GOLDEN = json.loads((Path(__file__).parent / "golden" / "published_paths.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", GOLDEN["diffusers"])
def test_a_name_can_be_imported_from_everywhere_where_the_reference_has_it(name):
    found = [getattr(importlib.import_module(f"mindone.diffusers.{path}"), name) for path in GOLDEN["diffusers"][name]]
    assert all(each is found[0] for each in found)
    if name in mindone.diffusers.__all__:
        assert found[0] is getattr(mindone.diffusers, name)
    for path in GOLDEN["diffusers"][name]:
        exec(f"from mindone.diffusers.{path} import {name}", {})


@pytest.mark.parametrize("name", GOLDEN["transformers"])
def test_names_of_transformers_have_their_paths_too(name):
    for path in GOLDEN["transformers"][name]:
        module = importlib.import_module(f"mindone.transformers.{path}")
        assert getattr(module, name) is getattr(mindone.transformers, name)


def test_every_class_of_the_package_has_a_published_path_or_is_ours_alone():
    ours_alone = {name for name in mindone.diffusers.__all__ if name.startswith("_") or "Config" in name}
    clip = set(GOLDEN["transformers"])
    listed = set(GOLDEN["diffusers"]) | clip | ours_alone | set(OURS_ALONE)
    assert set(mindone.diffusers.__all__) <= listed


@pytest.mark.parametrize("package", [mindone.diffusers, mindone.transformers])
def test_type_checkers_know_every_public_name(package):
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    typing = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in typing for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {alias.asname for node in imports for alias in node.names} == {*package.__all__} - {"__version__"}


@pytest.mark.parametrize("path", [path for path in PATHS if path not in _FILES])
def test_a_path_without_a_file_lists_what_it_exports(path):
    module = importlib.import_module(f"mindone.diffusers.{path}")
    assert dir(module) == sorted(PATHS[path])
    for name in dir(module):
        assert getattr(module, name) is not None


@pytest.mark.oracle
def test_the_paths_are_the_references():
    from golden.make_published_paths import collect

    assert collect() == GOLDEN


def test_every_scheduler_file_of_the_reference_that_exists_here_has_its_path():
    published = {name for path, names in PATHS.items() if path.startswith("schedulers.") for name in names}
    assert set(schedulers.SCHEDULERS) - set(OURS_ALONE) <= published


@pytest.mark.parametrize(
    "statement",
    [
        "from mindone.diffusers.models import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel",
        "from mindone.diffusers.models.unets.unet_2d_condition import UNet2DConditionModel",
        "import mindone.diffusers.schedulers.scheduling_ddim as ddim; ddim.DDIMScheduler",
        "import mindone.diffusers; mindone.diffusers.schedulers.scheduling_ddim.DDIMScheduler",
        "from mindone.diffusers.pipelines.stable_diffusion import StableDiffusionPipeline",
        "from mindone.diffusers.pipelines.stable_diffusion.pipeline_output import StableDiffusionPipelineOutput",
        "from mindone.transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, Gemma2Model",
        "from mindone.transformers.models.gemma2.modeling_gemma2 import Gemma2Model",
        "from mindone.transformers.models.gemma import GemmaTokenizer, GemmaTokenizerFast",
        "from mindone.transformers import T5EncoderModel, T5Tokenizer, T5TokenizerFast",
        "from mindone.transformers.models.t5 import T5EncoderModel, T5Tokenizer, T5TokenizerFast",
        "from mindone.diffusers.utils import BaseOutput, load_image, logging, make_image_grid",
        "from mindone.diffusers.utils.mindspore_utils import randn_tensor; randn_tensor((1, 4, 8, 8))",
        "from mindone.diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker",
        "import mindone.diffusers as m; m.pipelines.controlnet.pipeline_controlnet.StableDiffusionControlNetPipeline",
    ],
)
def test_statements_of_published_scripts_run(statement):
    exec(statement, {})


@pytest.mark.parametrize("package", [mindone.diffusers, models, pipelines, schedulers, mindone.transformers])
def test_every_name_of_a_package_can_be_imported(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_a_path_that_nobody_published_is_no_module():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("mindone.diffusers.schedulers.scheduling_karras_ve")
    with pytest.raises(ImportError, match="cannot import name 'DDPMScheduler'"):
        exec("from mindone.diffusers.schedulers.scheduling_ddim import DDPMScheduler", {})


@pytest.mark.parametrize(
    "name", ["FluxFillPipeline", "StableDiffusion3ControlNetPipeline", "KolorsPipeline", "ChromaTransformer2DModel"]
)
def test_a_family_that_is_not_here_is_named_with_what_is(name):
    scope = "this library supports Stable Diffusion 1, 2, XL and 3, FLUX.1, PixArt and Sana"
    expected = rf"{scope}; it has .*(StableDiffusionXLPipeline|UNet2DCondition)"
    for package in (
        "mindone.diffusers",
        "mindone.diffusers.pipelines" if "Pipe" in name else "mindone.diffusers.models",
    ):
        with pytest.raises(ImportError, match=f"cannot import name '{name}' from '{package}': {expected}"):
            exec(f"from {package} import {name}", {})
        with pytest.raises(AttributeError, match=f"module '{package}' has no attribute '{name}': {expected}"):
            getattr(importlib.import_module(package), name)
        assert not hasattr(importlib.import_module(package), name)


@pytest.mark.parametrize(
    "statement",
    [
        "import mindone.diffusers",
        "import mindone.diffusers.schedulers.scheduling_ddim",
        "from mindone.diffusers.schedulers import by_name; by_name('dpm++', {})",
        "import mindone.diffusers.models, mindone.diffusers.pipelines, mindone.transformers",
        "import mindone.diffusers.models.unets.unet_2d_condition",
    ],
)
def test_importing_starts_neither_engine(statement):
    program = f"import sys\n{statement}\nprint(sorted({{'mindspore', 'openvino'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("from mindone.diffusers.pipelines.kolors import KolorsPipeline", r"Sana; it has .*StableDiffusionXLPipeline"),
        (
            "from mindone.diffusers.pipelines.kolors.pipeline_kolors import KolorsPipeline",
            r"^No module named 'mindone\.diffusers\.pipelines\.kolors': this library supports Stable",
        ),
        ("import mindone.diffusers.models.transformers.transformer_chroma", r"Sana; it has .*UNet2DConditionModel"),
        ("import mindone.diffusers.models.attention_processor", "attention processors are PyTorch's"),
        ("from mindone.diffusers import T2IAdapter", "T2I-Adapters are not here; ControlNetModel is$"),
        ("from mindone.diffusers.models.adapter import MultiAdapter", "T2I-Adapters are not here; ControlNetModel is$"),
    ],
)
def test_a_path_of_a_family_that_is_not_here_says_what_is(statement, message):
    with pytest.raises(ImportError, match=message):
        exec(statement, {})


def test_the_output_of_an_autoencoder_lies_beside_it_too():
    from mindone.diffusers.models.autoencoders.autoencoder_kl import AutoencoderKLOutput

    from mindone.diffusers.models import outputs

    assert AutoencoderKLOutput is outputs.AutoencoderKLOutput
