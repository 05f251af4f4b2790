"""The checkpoint that comes with the package draws the same pictures everywhere.

The golden images are ours, drawn on the OpenVINO engine in float32: ``python tests/test_icons.py`` writes them anew, to
be done and looked at whenever the weights change.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from mindone.diffusers import AutoencoderTiny, DiffusionPipeline, DPMSolverMultistepScheduler, LCMScheduler
from mindone.diffusers.schedulers import by_name
from mindone.diffusers.utils import make_image_grid

GOLDEN = Path(__file__).parent / "golden"
PROMPTS = ["a rocket on a blue background", "a red apple"]
OPTIONS = {"num_inference_steps": 10, "guidance_scale": 2.0}
FEW = {"num_inference_steps": 4, "guidance_scale": 1.0}


def draw(
    model: str, engine: str, dtype: str, tiny: bool = False, lcm: bool = False, count: int = len(PROMPTS)
) -> Image.Image:
    """One image for each of the first ``count`` prompts, side by side."""
    pipe = DiffusionPipeline.from_pretrained(model, mindspore_dtype=dtype, engine=engine)
    pipe.scheduler = (LCMScheduler if lcm else DPMSolverMultistepScheduler).from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    if tiny:
        pipe.vae = AutoencoderTiny.from_pretrained("icons-tiny-vae", mindspore_dtype=dtype)
    if lcm:
        pipe.load_lora_weights("icons-lcm-lora")
    generator = [np.random.Generator(np.random.PCG64(i)) for i in range(count)]
    images = pipe(PROMPTS[:count], generator=generator, **(FEW if lcm else OPTIONS)).images
    return make_image_grid(images, rows=1, cols=count)


def psnr(image: Image.Image, name: str) -> float:
    golden = Image.open(GOLDEN / f"{name}.png").crop((0, 0, *image.size))
    return peak_signal_noise_ratio(np.asarray(golden), np.asarray(image))


@pytest.mark.heavy
@pytest.mark.parametrize("engine, count", [("openvino", 2), ("mindspore", 1)])
def test_base_draws_the_golden_images(engine, count):
    assert psnr(draw("icons", engine, "float32", count=count), "icons") >= 30


@pytest.mark.heavy
@pytest.mark.parametrize("scheduler", [None, "deis", "dpm2"])
def test_half_of_the_way_the_estimate_of_the_clean_latents_is_near_the_picture_and_the_latents_are_not(scheduler):
    pipe = DiffusionPipeline.from_pretrained("icons", engine="openvino")  # its own scheduler is PNDM
    pipe.set_progress_bar_config(disable=True)
    if scheduler is not None:
        pipe.scheduler = by_name(scheduler, pipe.scheduler.config)
    seen = []

    def callback(pipe, step, timestep, tensors):
        if pipe.steps_done == 4:
            seen.append([np.array(pipe.pred_original_sample), np.array(tensors["latents"])])
        return {}

    options = {"num_inference_steps": 8, "output_type": "latent", "callback_on_step_end": callback}
    last = np.array(pipe(PROMPTS[0], generator=np.random.default_rng(0), **options).images)
    estimate, latents = (peak_signal_noise_ratio(last, each, data_range=np.ptp(last)) for each in seen[0])
    assert estimate >= 25 and latents <= 22  # dB; 26 to 35, and 13.8 to 21.6


@pytest.mark.heavy
def test_base_in_half_precision_stays_near_the_golden_images():
    assert psnr(draw("icons", "openvino", "float16"), "icons") >= 24


def test_distilled_and_tiny_draw_the_golden_images():
    assert psnr(draw("icons-distilled", "openvino", "float32", tiny=True), "icons-distilled-tiny") >= 30


@pytest.mark.heavy
def test_distilled_and_tiny_in_half_precision_stay_near_the_golden_images():
    assert psnr(draw("icons-distilled", "openvino", "float16", tiny=True), "icons-distilled-tiny") >= 24


@pytest.mark.heavy
def test_four_lcm_steps_draw_the_golden_images():
    assert psnr(draw("icons", "openvino", "float32", lcm=True), "icons-lcm") >= 30


if __name__ == "__main__":
    draw("icons", "openvino", "float32").save(GOLDEN / "icons.png")
    draw("icons-distilled", "openvino", "float32", tiny=True).save(GOLDEN / "icons-distilled-tiny.png")
    draw("icons", "openvino", "float32", lcm=True).save(GOLDEN / "icons-lcm.png")
