"""The script that the guide shows, word for word, on a machine whose hub cache holds what it names."""

import subprocess
import sys

import pytest

from tiny_pipelines import hub_cache

pytestmark = pytest.mark.heavy

SNIPPET = """
import mindspore as ms, numpy as np
from mindone.diffusers import AutoencoderTiny, DiffusionPipeline, StableDiffusionPipeline
from mindone.diffusers.utils import make_image_grid

pipe = DiffusionPipeline.from_pretrained(
    "stable-diffusion-v1-5/stable-diffusion-v1-5", mindspore_dtype=ms.float16, use_safetensors=True)
image = pipe("a photo of an astronaut riding a horse on mars")[0][0]

distilled = StableDiffusionPipeline.from_pretrained(
    "nota-ai/bk-sdm-small", mindspore_dtype=ms.float16, use_safetensors=True)
distilled.vae = AutoencoderTiny.from_pretrained(
    "madebyollin/taesd", mindspore_dtype=ms.float16, use_safetensors=True)
generator = [np.random.Generator(np.random.PCG64(i)) for i in range(4)]
images = distilled("a golden vase with different flowers", num_inference_steps=25,
                   generator=generator, num_images_per_prompt=4)[0]
make_image_grid(images, rows=2, cols=2)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A machine whose cache has tiny checkpoints under the published names."""
    return {**hub_cache(tmp_path_factory.mktemp("hub")), "MINDONE_ENGINE": "openvino"}


def run(script, environment):
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)


def test_the_guide_runs_word_for_word(environment):
    shown = "\nprint(image.size, len(images), make_image_grid(images, rows=2, cols=2).size)"
    done = run(SNIPPET + shown, environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(64, 64) 4 (128, 128)"


def test_a_model_that_the_cache_lacks_is_named(environment):
    script = "from mindone.diffusers import DiffusionPipeline; DiffusionPipeline.from_pretrained('someone/elses-model')"
    done = run(script, environment)
    assert done.returncode != 0
    assert "someone/elses-model" in done.stderr.splitlines()[-1]
