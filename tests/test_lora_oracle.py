"""LoRAs on pipelines live against diffusers with peft, on the same tiny checkpoints and the same noise."""

import numpy as np
import pytest

from golden.make_pipelines import draw, generators, reference
from lora_cases import kohya, layers, pair
from mindone.diffusers import LCMScheduler
from tiny_pipelines import PROMPT, checkpoint, load

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-3
"""Of the mean difference of pixels in [0, 1]."""
UNET = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
TEXT = ("q_proj", "v_proj", "out_proj")


def lora(family, marks=UNET, seed=0, text=True, alpha=2.0):
    """kohya's layout, which both libraries read."""
    modules = {"unet": layers(family, "unet", marks)}
    if text:
        modules["text_encoder"] = layers(family, "text_encoder", TEXT)
        if family == "sdxl":
            modules["text_encoder_2"] = layers(family, "text_encoder_2", TEXT)
    tensors = kohya(family, modules, numbering="original" if family == "sdxl" else "ours", alpha=alpha)
    random = np.random.default_rng(seed)
    return {
        name: (tensor * random.choice([-1.0, 1.0], tensor.shape)).astype(np.float32) if tensor.shape else tensor
        for name, tensor in tensors.items()
    }


BOTH_ENGINES = ("openvino", "mindspore")


class Both:
    """The same calls for a pipeline of the reference and one of ours, which runs on these engines in turn."""

    def __init__(self, family, engines=("openvino",)):
        self.theirs, self.ours, self.engines = reference(checkpoint(family)), load(checkpoint(family)), engines

    def load(self, tensors, name):
        import torch

        self.theirs.load_lora_weights({n: torch.from_numpy(np.array(t)) for n, t in tensors.items()}, adapter_name=name)
        self.ours.load_lora_weights(tensors, adapter_name=name)

    def call(self, method, *arguments, **options):
        for pipe in (self.theirs, self.ours):
            getattr(pipe, method)(*arguments, **options)

    def reference(self, **options):
        return draw(self.theirs, generators(1), **{"prompt": PROMPT, "num_inference_steps": 3, **options})

    def assert_same(self, **options):
        arguments = {"prompt": PROMPT, "num_inference_steps": 3, **options}
        expected, ours = self.reference(**arguments), self.ours
        for ours.engine in self.engines:
            images = ours(**arguments, output_type="np", generator=generators(1)).images
            assert float(np.abs(expected - images).mean()) <= TOLERANCE, ours.engine
        return images


def differ(a, b):
    return float(np.abs(a - b).mean()) > 3 * TOLERANCE


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_one_lora_with_text_encoders(family):
    both = Both(family, BOTH_ENGINES)
    plain = both.reference()
    both.load(lora(family), "one")
    full = both.assert_same()
    half = both.assert_same(cross_attention_kwargs={"scale": 0.5})
    assert differ(plain, full) and differ(full, half)


def test_two_loras_with_weights_and_blocks():
    both = Both("sd1")
    both.load(lora("sd1", seed=1), "one")
    both.load(lora("sd1", seed=2, text=False), "two")
    last_only = both.assert_same()
    both.call("set_adapters", ["one", "two"], [0.7, 0.4])
    together = both.assert_same()
    both.call("set_adapters", "one", {"unet": {"down": 0.2, "mid": 0.5, "up": {"block_1": [0.1, 0.9, 0.4]}}})
    by_block = both.assert_same()
    both.call("fuse_lora", lora_scale=0.6)
    fused = both.assert_same()
    both.call("unfuse_lora")
    both.call("disable_lora")
    off = both.assert_same()
    images = [last_only, together, by_block, fused, off]
    assert all(differ(a, b) for i, a in enumerate(images) for b in images[:i])


def test_convolutions():
    both = Both("sd1")
    plain = both.reference()
    both.load(lora("sd1", marks=("conv1", "conv2", "proj_in", "upsamplers", "downsamplers"), text=False), "locon")
    assert differ(both.assert_same(), plain)


def test_an_lcm_lora_with_its_scheduler():
    import diffusers

    both = Both("sd1")
    both.load(lora("sd1", text=False), "lcm")
    both.theirs.scheduler = diffusers.LCMScheduler.from_config(both.theirs.scheduler.config)
    both.ours.scheduler = LCMScheduler.from_config(both.ours.scheduler.config)
    both.assert_same(num_inference_steps=4, guidance_scale=1.0)


def test_a_dora_of_pefts_beside_a_lora():
    """Every layer's magnitude is that of its own weight, a little changed; the strength acts under the norm."""
    both = Both("sd1", BOTH_ENGINES)
    plain = both.reference()
    tensors, random = {}, np.random.default_rng(3)
    for module in layers("sd1", "unet", ("attn1.to_q", "attn2.to_v", "conv1")):
        weight = both.ours.unet.array(f"{module}.weight")
        down, up = pair(weight.shape, module)
        norms = np.sqrt((weight.reshape(len(weight), -1) ** 2).sum(1)) * random.uniform(0.7, 1.4, len(weight))
        shape = (len(weight),) if weight.ndim == 2 else (1, len(weight), 1, 1)
        parts = {"lora_A.weight": down, "lora_B.weight": up, "lora_magnitude_vector": norms.reshape(shape)}
        tensors |= {f"unet.{module}.{name}": x.astype(np.float32) for name, x in parts.items()}
    both.load(tensors, "dora")
    full = both.assert_same()
    both.load(lora("sd1", seed=2, text=False), "plain")
    both.call("set_adapters", ["dora", "plain"], [0.6, 0.5])
    together = both.assert_same()
    both.call("set_adapters", "dora", 0.3)
    weak = both.assert_same()
    images = [plain, full, together, weak]
    assert all(differ(a, b) for i, a in enumerate(images) for b in images[:i])
