"""A row of this library."""

from typing import Any

import numpy as np

from .. import AutoencoderTiny, AutoPipelineForText2Image, schedulers
from ..loading.config import read_config
from ..loading.hub import MODEL_INDEX
from .clock import StageClock
from .plan import Setup, Table


class Runner:
    """A loaded pipeline that draws the table's images."""

    def __init__(self, setup: Setup, table: Table, clock: StageClock):
        components: dict[str, Any] = {}
        index = read_config(setup.model.folder, MODEL_INDEX)
        if index.get("safety_checker", [None, None]) != [None, None]:
            components["safety_checker"] = None
        if setup.tiny_vae:
            components["vae"] = AutoencoderTiny.from_pretrained(setup.tiny_vae.folder, mindspore_dtype=setup.dtype)
        pipe: Any = AutoPipelineForText2Image.from_pretrained(
            setup.model.folder, mindspore_dtype=setup.dtype, engine=setup.engine, **components
        )
        scheduler = getattr(schedulers, table.sampler.class_name)
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **table.sampler.settings)
        pipe.set_progress_bar_config(disable=True)
        stages = {id(pipe.unet): "denoising", id(pipe.vae): "decode"}
        self.engine = f"{pipe.engine.name}, {_computes_in(pipe.engine.name, setup.dtype)}"
        pipe.engine = StagedEngine(pipe.engine, stages, clock)
        self.pipe, self.table = pipe, table

    def draw(self) -> list[Any]:
        """The table's images, one a seed."""
        table = self.table
        return self.pipe(
            table.prompt,
            height=table.height,
            width=table.width,
            num_inference_steps=table.steps,
            num_images_per_prompt=table.num_images,
            **table.chosen_guidance,
            generator=[np.random.Generator(np.random.PCG64(seed)) for seed in table.seeds],
        ).images


class StagedEngine:
    """An engine that tells a clock which stage's network it is about to run; in all else the engine itself."""

    def __init__(self, engine: Any, stages: dict[int, str], clock: StageClock):
        self.engine, self.stages, self.clock = engine, stages, clock

    def run(self, model: Any, *inputs: Any, **options: Any) -> Any:
        """Run a network's method, see `engines`."""
        stage = self.stages.get(id(model), "text_encoder")
        if stage != self.clock.stage:
            # A device works ahead of the program: the stage before is over when what this one starts from has arrived.
            for value in (*inputs, *options.values()):
                if hasattr(value, "shape") and not isinstance(value, np.ndarray):
                    self.engine.numpy(value)
        self.clock.enter(stage)
        return self.engine.run(model, *inputs, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)


def _computes_in(engine: str, dtype: str) -> str:
    """The type that an engine computes in when a model is of ``dtype``, which on a CPU need not be the same."""
    if engine == "openvino":
        from ..engines.openvino import half_precision

        return "f32" if dtype == "float32" else half_precision()
    from ..engines.mindspore import device

    return dtype if device.on_ascend() else "float32"
