"""The published import paths lead to the classes here, and nothing heavy is imported before it is used."""

import importlib
import subprocess
import sys

import pytest

import mindone.diffusers
import mindone.transformers
from mindone.diffusers import models, pipelines, schedulers
from mindone.diffusers.published_paths import PATHS
from published_api import OURS_ALONE


@pytest.mark.parametrize("path", PATHS)
def test_a_published_path_gives_the_class_of_the_package(path):
    module = importlib.import_module(f"mindone.diffusers.{path}")
    assert dir(module) == sorted(PATHS[path])
    for name in PATHS[path]:
        assert getattr(module, name) is getattr(importlib.import_module(f"mindone.diffusers.{path}"), name)
        if name in mindone.diffusers.__all__:
            assert getattr(module, name) is getattr(mindone.diffusers, name)


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
        "from mindone.transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer",
        "from mindone.diffusers.utils import BaseOutput, load_image, logging, make_image_grid",
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
