"""The cost per step of LoRAs, a ControlNet and a picture to start from; Stable Diffusion 1.5's shapes.

    python benchmarks/lora.py [--rounds 5] [--folder FOLDER] [--only "with a ControlNet" ...]

Random weights: only times. One guided step (batch 2), 512×512 pixels, half precision; LoRAs of rank 16 on the UNet's
attention and feed-forward layers. The candidates take turns round by round, every second round in the opposite order.
Runs of the pipelines end with latents: text-to-image and image-to-image decode alike. The weights (3 GB) are written to
a temporary folder, or kept in FOLDER for the next run.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from operator import truediv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mindone.diffusers import (
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    engines,
)
from mindone.diffusers.bench import shapes
from mindone.diffusers.engines.base import Adjustable
from mindone.diffusers.engines.binding import stored
from mindone.diffusers.families.stable_diffusion.taps import first_skips
from mindone.diffusers.loading.deferred import Deferred
from mindone.diffusers.models.random_weights import random_weights, write_random_network

RANK, STEPS, STRENGTH, CACHE_INTERVAL = 16, 5, 0.6, 3
ADAPTED = ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "ff.net.0.proj.weight", "ff.net.2.weight")

Call = Callable[[], object]
PLAIN, UNFUSED, FUSED = "guided step", "with a LoRA", "with a fused LoRA"
CONTROLLED = "with a ControlNet"
SHALLOW, CONTROLLED_SHALLOW = "DeepCache's shallow step, branch 0", "with a ControlNet, shallow"
DRAW, REDRAW, ENCODE = f"text-to-image, {STEPS} steps", f"image-to-image, strength {STRENGTH}", "encode"


def random_lora(unet: UNet2DConditionModel, name: str) -> Mapping[str, NDArray[np.float16]]:
    """A LoRA in diffusers' layout; ``name`` makes the numbers."""
    pairs = {}
    for parameter, values in unet.published_parameters().items():
        if parameter.endswith(ADAPTED):
            layer = f"unet.{parameter.removesuffix('.weight')}"
            pairs[f"{layer}.lora_A.weight"] = (RANK, values.shape[1])
            pairs[f"{layer}.lora_B.weight"] = (values.shape[0], RANK)
    drawn = Deferred(random_weights({f"{name}.{key}": shape for key, shape in pairs.items()}))
    return {key: drawn[f"{name}.{key}"] for key in pairs}


class Step:
    """One step's arrays, and networks called on them as pipelines do."""

    def __init__(self) -> None:
        rng = np.random.Generator(np.random.PCG64(0))
        self.sample = rng.standard_normal((1, 4, 64, 64)).astype(np.float32)
        self.text = rng.standard_normal((2, 77, 768)).astype(np.float32)
        self.timestep = np.full(1, 981, np.float32)
        self.engine = engines.get("openvino")

    def unet(self, unet: UNet2DConditionModel, **options: object) -> engines.Array:
        """A call of the UNet."""
        return self.engine.run(unet, self.sample, self.timestep, encoder_hidden_states=self.text, **options)

    def controlled(
        self, unet: UNet2DConditionModel, net: ControlNetModel, condition: engines.Array, **options: object
    ) -> engines.Array:
        """A call of the ControlNet and one of the UNet; of the skip connections that a shallow step has."""
        shallow = "values" in options
        added = self.engine.run(
            net,
            self.sample,
            self.timestep,
            method="residuals",
            encoder_hidden_states=self.text,
            condition=condition,
            conditioning_scale=np.ones((1, 1, 1, 1), np.float32),
            count=1 if shallow else net.skips,
            taps=first_skips(net, 1) if shallow else None,
        )
        if not shallow:
            *added, options["mid_block_additional_residual"] = added
        return self.unet(unet, down_block_additional_residuals=tuple(added), **options)


def pipeline(folder: Path) -> StableDiffusionPipeline:
    """The pipeline with networks of its own."""
    pipe = StableDiffusionPipeline.from_pretrained(
        folder, mindspore_dtype="float16", engine="openvino", safety_checker=None
    )
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def control_net(unet: UNet2DConditionModel, folder: Path) -> ControlNetModel:
    """A ControlNet for the UNet; written when it is not in the folder."""
    if not folder.exists():
        fields = ControlNetModel.Fields.__dataclass_fields__
        config = {name: value for name, value in unet.config.items() if name in fields}
        write_random_network(ControlNetModel, config, folder)
    return ControlNetModel.from_pretrained(folder, mindspore_dtype="float16")


def candidates(root: Path, adapted: StableDiffusionPipeline) -> dict[str, Call]:
    """What is timed, the plain step first. ``adapted`` has LoRAs loaded."""
    step, pipe = Step(), pipeline(root / "sd15")
    baked = pipeline(root / "sd15")
    baked.load_lora_weights(random_lora(baked.unet, "one"), adapter_name="one")
    baked.fuse_lora()
    net = control_net(pipe.unet, root / "sd15-controlnet")
    picture = np.random.Generator(np.random.PCG64(0)).random((1, 3, 512, 512)).astype(np.float32)
    condition = step.engine.run(net, picture, method="embed_condition")
    cut = pipe.unet.cuts[0]
    feature = np.asarray(step.unet(pipe.unet, taps=cut.reading)[1])
    pipe.unet.graphs.clear()
    cached = {"taps": cut.replacing, "values": (feature,)}
    redraw = StableDiffusionImg2ImgPipeline.from_pipe(pipe)
    photo = Image.fromarray((picture[0].transpose(1, 2, 0) * 255).astype(np.uint8))
    run = {"num_inference_steps": STEPS, "output_type": "latent"}
    return {
        PLAIN: lambda: step.unet(pipe.unet),
        UNFUSED: lambda: step.unet(adapted.unet),
        FUSED: lambda: step.unet(baked.unet),
        CONTROLLED: lambda: step.controlled(pipe.unet, net, condition),
        SHALLOW: lambda: step.unet(pipe.unet, **cached),
        CONTROLLED_SHALLOW: lambda: step.controlled(pipe.unet, net, condition, **cached),
        DRAW: lambda: pipe("a cat", **run),
        REDRAW: lambda: redraw("a cat", image=photo, strength=STRENGTH, **run),
        ENCODE: lambda: pipe.engine.run(pipe.vae, 2 * picture - 1, method="encode_moments"),
    }


def switch(pipe: StableDiffusionPipeline, name: str) -> float:
    """Seconds from one adapter to another: naming it, and making the matrices that the next step is given."""
    start = time.perf_counter()
    pipe.set_adapters(name)
    for _, parameter in pipe.unet.parameters_and_names():
        if isinstance(values := stored(parameter), Adjustable):
            values.numpy(np.float32)
    return time.perf_counter() - start


def chosen(steps: Mapping[str, Call], only: Sequence[str]) -> dict[str, Call]:
    """The plain step and those that are asked for; all, where none is."""
    if unknown := set(only) - set(steps):
        raise SystemExit(f"no candidate {min(unknown)!r}; there are {', '.join(steps)}")
    return {name: steps[name] for name in steps if not only or name in (PLAIN, *only)}


def measure(steps: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of each candidate by round; a first round compiles and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(-1, rounds):
        for name in reversed(steps) if number % 2 else steps:
            start = time.perf_counter()
            steps[name]()
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(seconds: Mapping[str, list[float]], switching: list[float]) -> None:
    """Medians of what rounds give, and ratios within rounds, each beside its bar."""
    for name, values in seconds.items():
        print(f"{name:36} {statistics.median(values):7.3f} s")

    def report(name: str, ratio: Callable[..., float], *of: str, bar: str) -> None:
        if all(each in seconds for each in of):
            ratios = map(ratio, *(seconds[each] for each in of))
            print(f"{name:36} {statistics.median(ratios):7.3f}   (bar {bar})")

    def cached(whole: float, shallow: float, plain: float, plain_shallow: float) -> float:
        more = CACHE_INTERVAL - 1
        return (whole + more * shallow) / (plain + more * plain_shallow)

    print(f"\n{'switching between two LoRAs, s':36} {statistics.median(switching):7.3f}   (bar ≤ 0.3)")
    report("a LoRA / plain", truediv, UNFUSED, PLAIN, bar="≤ 1.06")
    report("a fused LoRA / plain", truediv, FUSED, PLAIN, bar="1.00 ± 0.01")
    report("ControlNet / plain", truediv, CONTROLLED, PLAIN, bar="≤ 1.40")
    networks = (CONTROLLED, CONTROLLED_SHALLOW, PLAIN, SHALLOW)
    report(f"the same, DeepCache every {CACHE_INTERVAL} steps", cached, *networks, bar="≤ 1.40")
    report(
        *("image-to-image / (0.6 text + encode)", lambda a, b, c: a / (STRENGTH * b + c), REDRAW, DRAW, ENCODE),
        bar="≤ 1",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[], help="these candidates beside the plain step")
    parser.add_argument("--folder", type=Path, help="where to keep the weights for the next run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.folder or Path(temporary)
        if not (root / "sd15" / "unet").exists():
            shapes.write("sd15", root)
        adapted = pipeline(root / "sd15")
        for name in ("one", "two"):
            adapted.load_lora_weights(random_lora(adapted.unet, name), adapter_name=name)
        seconds = measure(chosen(candidates(root, adapted), arguments.only), arguments.rounds)
        Step().unet(adapted.unet)
        graphs = list(adapted.unet.graphs)
        switching = [switch(adapted, name) for name in ("one", "two") * arguments.rounds]
        kept = list(adapted.unet.graphs)
        Step().unet(adapted.unet)
        if not graphs == kept == list(adapted.unet.graphs):
            raise SystemExit("switching LoRAs dropped what was compiled, or added to it")
    report(seconds, switching)


if __name__ == "__main__":
    main()
