"""What is published together, together, on both engines: live against diffusers, same tiny checkpoints, same noise."""

import numpy as np
import pytest

from adapter_cases import SUBFOLDER, WEIGHTS, ip_adapter_folder
from image_pipelines import controlnets, difference, draw, inpainting_checkpoint, load, mask, photo, reference
from test_lora_oracle import lora
from tiny_pipelines import checkpoint

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1]: a tenth of what is asked for."""
PICTURES = {
    "": {},
    "Img2Img": {"image": photo(), "strength": 0.7},
    "Inpaint": {"image": photo(), "mask_image": mask(), "strength": 0.7},
    "ControlNet": {"image": photo(seed=3)},
    "ControlNetImg2Img": {"image": photo(), "control_image": photo(seed=3), "strength": 0.7},
    "ControlNetInpaint": {
        "image": photo(),
        "mask_image": mask(),
        "control_image": photo(seed=3),
        "strength": 0.7,
    },
}


class Both:
    """The same calls for a pipeline of the reference and one of ours, for a task."""

    def __init__(self, family, task, folder=None):
        folder = folder or checkpoint(family)
        name = f"StableDiffusion{'XL' if family == 'sdxl' else ''}{task}Pipeline"
        more = [{"controlnet": controlnets(family, theirs=x)} if "Control" in task else {} for x in (True, False)]
        self.family, self.task = family, task
        self.pipes = reference(name, folder, **more[0]), load(name, folder, **more[1])

    def call(self, method, *arguments, **options):
        for pipe in self.pipes:
            getattr(pipe, method)(*arguments, **options)

    def load_lora(self, name, **options):
        import torch

        tensors = lora(self.family, **options)
        theirs = {n: torch.from_numpy(np.array(t)) for n, t in tensors.items()}
        for pipe, each in zip(self.pipes, (theirs, tensors)):
            pipe.load_lora_weights(each, adapter_name=name)

    def load_ip_adapter(self, kind, scale=0.7):
        folder = str(ip_adapter_folder(self.family, kind))
        self.call("load_ip_adapter", folder, subfolder=SUBFOLDER, weight_name=WEIGHTS)
        self.call("set_ip_adapter_scale", scale)

    def reference(self, **options):
        return draw(self.pipes[0], **{"num_inference_steps": 2, **PICTURES[self.task], **options})

    def assert_same(self, **options):
        options = {"num_inference_steps": 2, **PICTURES[self.task], **options}
        expected, ours = self.reference(**options), self.pipes[1]
        for ours.engine in ("openvino", "mindspore"):
            assert difference(expected, draw(ours, **options)) <= TOLERANCE
        return expected


def differ(a, b):
    return difference(a, b) > 10 * TOLERANCE


@pytest.mark.parametrize("task", ["ControlNetImg2Img", "ControlNetInpaint"])
def test_stable_diffusion_xl_follows_a_picture_from_a_picture(task):
    both = Both("sdxl", task)
    assert differ(both.assert_same(), both.reference(controlnet_conditioning_scale=0.0))


def test_controlnet_and_inpainting_xl():
    Both("sdxl", "ControlNetInpaint", folder=inpainting_checkpoint("sdxl")).assert_same(guess_mode=True)
    both = Both("sdxl", "ControlNetInpaint")
    both.assert_same(strength=1.0, control_guidance_end=0.5, target_size=(512, 256))
    both.assert_same(padding_mask_crop=4, output_type="pil")


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_lora_and_controlnet(family):
    both = Both(family, "ControlNet")
    plain = both.reference()
    both.load_lora("one")
    assert differ(plain, both.assert_same())


def test_two_loras_with_weights_xl():
    both = Both("sdxl", "")
    both.load_lora("one", seed=1)
    one = both.reference()
    both.load_lora("two", seed=2, text=False)
    both.call("set_adapters", ["one", "two"], [0.7, 0.4])
    assert differ(one, both.assert_same())


@pytest.mark.parametrize("family, kind", [("sd1", "plain"), ("sdxl", "plus")])
def test_ip_adapter_and_lora(family, kind):
    both = Both(family, "")
    both.load_ip_adapter(kind)
    seen = {"ip_adapter_image": photo(seed=5)}
    plain = both.reference(**seen)
    both.load_lora("one")
    assert differ(plain, both.assert_same(**seen))
    both.call("fuse_lora")
    both.assert_same(**seen)


@pytest.mark.parametrize(
    "task, family",
    [
        ("Img2Img", "sd1"),
        ("Inpaint", "sdxl"),
        ("ControlNet", "sd1"),
        ("ControlNetImg2Img", "sdxl"),
        ("ControlNetInpaint", "sdxl"),
    ],
)
def test_ip_adapter_on_every_kind_of_pipeline(task, family):
    both = Both(family, task)
    both.load_ip_adapter("plain")
    both.assert_same(ip_adapter_image=photo(seed=5))


def test_everything_at_once():
    both = Both("sd1", "ControlNetInpaint", folder=inpainting_checkpoint("sd1"))
    both.load_lora("one", seed=1)
    both.load_ip_adapter("plus", {"down": 0.4, "up": {"block_1": [0.0, 1.0, 0.5]}})
    both.load_lora("two", seed=2)
    both.call("set_adapters", ["one", "two"], [0.7, 0.4])
    both.assert_same(ip_adapter_image=photo(seed=5))
