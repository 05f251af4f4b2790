"""How the 32×32 UNet starts from the 16×16 one: a new outer level around the old network.

The shipped three-level UNet generated 16×16 latents. On 32×32 ones it would cost four times as much and see half as
far; with a level of two layers around it, it keeps its field of view and nearly its cost. At the start the new level is
little more than an average over 2×2 latents on the way in and a copy to 2×2 on the way out, and the old part keeps its
weights: it already knows words and icons, and has to learn only the fine half of the picture.
"""

import re

import torch
from diffusers import UNet2DConditionModel

# A mean over 2×2 leaves signal its size and halves white noise; the old network knew neither half nor twice of both.
GAIN = 1.4


def moved_inwards(name: str) -> str | None:
    """The name in the shallow UNet of a deep one's parameter, ``None`` for what is new."""
    down = re.match(r"down_blocks\.(\d)\.(.*)", name)
    if down:
        return f"down_blocks.{int(down[1]) - 1}.{down[2]}" if down[1] != "0" else None
    return name


def deepened(shallow: UNet2DConditionModel, config: dict) -> UNet2DConditionModel:
    """A UNet of ``config``, one level deeper than ``shallow``, that starts with its weights."""
    deep = UNet2DConditionModel(**config)
    old, weights = shallow.state_dict(), deep.state_dict()
    for name in weights:
        source = moved_inwards(name)
        if source in old and old[source].shape == weights[name].shape:
            weights[name] = old[source]
    deep.load_state_dict(weights)
    start_as_identity(deep)
    return deep


@torch.no_grad()
def start_as_identity(deep: UNet2DConditionModel) -> None:
    """Let the outer level pass on what comes in, averaged downwards and copied upwards."""
    down, up = deep.down_blocks[0], deep.up_blocks[-1]
    for resnet in [*down.resnets, *up.resnets]:
        torch.nn.init.zeros_(resnet.conv2.weight)
        torch.nn.init.zeros_(resnet.conv2.bias)
    width = len(down.downsamplers[0].conv.weight)
    identity = torch.eye(width)
    torch.nn.init.zeros_(down.downsamplers[0].conv.bias)
    down.downsamplers[0].conv.weight.zero_()
    down.downsamplers[0].conv.weight[:, :, 1:, 1:] = identity[:, :, None, None] * GAIN / 4
    upsampler = deep.up_blocks[-2].upsamplers[0].conv
    torch.nn.init.zeros_(upsampler.bias)
    upsampler.weight.zero_()
    upsampler.weight[:, :, 1, 1] = identity
    for resnet in up.resnets:  # reads (what comes from below, the skip): pass on the former, and a little of the latter
        torch.nn.init.zeros_(resnet.conv_shortcut.bias)
        resnet.conv_shortcut.weight[:, :, 0, 0] = torch.cat([identity, 0.1 * identity], 1)


def from_shipped(folder, config: dict) -> UNet2DConditionModel:
    """The UNet in ``folder`` in float32, deepened where it has a level less than ``config``."""
    unet = UNet2DConditionModel.from_pretrained(folder).float()
    return unet if len(unet.down_blocks) == len(config["down_block_types"]) else deepened(unet, config)
