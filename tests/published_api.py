"""What of the published API is not here, and why. ``python tests/published_api.py`` writes docs/api-differences.md.

Every public attribute of the reference's classes (tests/golden/published_api.json) is either here under its own name,
or stands in tests/api_differences.json: with a feature that is not here at all, or on its own.
"""

import importlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindone.diffusers.pipelines.absent import LOADING, METHODS

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "api-differences.md"
REFERENCE: dict[str, dict[str, Any]] = json.loads((HERE / "golden" / "published_api.json").read_text())

OUTPUTS = {
    "AutoencoderKLOutput": "mindone.diffusers.models.outputs",
    "DecoderOutput": "mindone.diffusers.models.outputs",
    "SchedulerOutput": "mindone.diffusers.schedulers",
    "StableDiffusionPipelineOutput": "mindone.diffusers.pipelines.output",
    "StableDiffusionXLPipelineOutput": "mindone.diffusers.pipelines.output",
    "UNet2DConditionOutput": "mindone.diffusers.models.outputs",
}

OURS_ALONE = ("CalibratedMultistepScheduler",)
"""Schedulers that the reference does not have."""

_DIFFERENCES = json.loads((HERE / "api_differences.json").read_text(encoding="utf-8"))

ABSENT_FEATURES: dict[str, tuple[str, set[str]]] = {
    entry["feature"]: (entry["reason"], set(entry["attributes"].split())) for entry in _DIFFERENCES["features"]
}
"""A feature that is not here, the reason, and the attributes that belong to it."""

_LEFT_OUT: dict[str, dict[str, str]] = {
    cls: {name: entry["reason"] for entry in entries for name in entry["attributes"].split()}
    for cls, entries in _DIFFERENCES["left_out"].items()
}
EVERY_PIPELINE = "every pipeline"


def left_out_of(cls: str) -> dict[str, str]:
    """The attributes of a class that are left out one by one, and why."""
    shared = _LEFT_OUT[EVERY_PIPELINE] if "Pipeline" in cls else {}
    mine = {name: reason for name, reason in shared.items() if name in REFERENCE[cls]["attributes"]}
    return {**mine, **_LEFT_OUT.get(cls, {})}


LEFT_OUT = {cls: left_out for cls in REFERENCE if (left_out := left_out_of(cls))}

# Attributes of the same name that do something else, or exist, in classes to which the feature does not apply.
KEPT = (
    {(cls, "push_to_hub") for cls in ("CLIPTextModel", "CLIPTextModelWithProjection", "Gemma2Model", "T5EncoderModel")}
    | {(cls, "padding_side") for cls in ("GemmaTokenizerFast", "T5TokenizerFast")}
    | {
        (cls, name)
        for cls in REFERENCE
        if cls.endswith("Pipeline")
        for name in ABSENT_FEATURES["LoRAs of an autoencoder"][1]
    }
)
KEPT |= {
    (cls, name)
    for cls in ("FluxTransformer2DModel", "SD3Transformer2DModel", "UNet2DConditionModel")
    for name in (
        *ABSENT_FEATURES["LoRAs of an autoencoder"][1],
        *("active_adapters", "disable_adapters", "enable_adapters", "load_lora_adapter", "set_adapter", "unload_lora"),
    )
}

OTHERWISE = """\
- Arrays are NumPy's (`scheduler.timesteps`, `.sigmas`, `.alphas_cumprod`, …) or native to the engine, and single
  numbers (`init_noise_sigma`, `final_alpha_cumprod`) are Python's.
- `dtype` is a string, "float32", "float16" or "bfloat16", and `device` is "cpu" or "npu". `to` takes types, and a
  device only if it is the one that the process runs on.
- A word of textual inversion is found in upper and lower case, with all of its vectors; the reference finds it only as
  it was written.
- Noise comes from `np.random.Generator` objects, one or a list with one per image.
- Outputs are dictionaries that can be indexed: iterating gives names, as in the reference. Where the reference's output
  has one entry, ours may have one more after it (`pred_original_sample` of the multistep solvers); TCD's has it before
  `pred_noised_sample`.
- Constructors take options by keyword. `from_config` refuses an override that the class does not know, unless
  `return_unused_kwargs=True` asks for it back.
- Config values that cannot work are refused when the object is made: β outside (0, 1), `trained_betas` of another
  length than `num_train_timesteps`, learned variances. So is a number of steps that would visit a timestep twice.
- `rescale_betas_zero_snr` in a config is honoured by every scheduler with β, and `sigma_min` and `sigma_max` by every
  one that spaces σ; the reference's PNDM, LMS, Heun, DPM2, DEIS and singlestep DPM-Solver silently ignore
  the former. Classes refuse the configs of networks trained on noise levels that they do not sample (EDM, flow
  matching).
- In flow matching `use_flow_sigmas` and `prediction_type="flow_prediction"` go together, without a further spacing of
  σ; `from_config` turns `shift` into the solvers' `flow_shift` and back. DPM-Solver's runs that end at `sigma_min` end
  at their last σ, as UniPC's do; the reference ends them at one of the β schedule's. Stochastic steps of
  `FlowMatchEulerDiscreteScheduler` draw from `generator`, which the reference ignores; it takes no
  `per_token_timesteps`.
- `EDMEulerScheduler.set_timesteps` takes no `sigmas`: in the reference they are places on its ramp, not noise
  levels.
- `LMSDiscreteScheduler` uses as many slopes as it has where a run begins in the middle; the reference then gives
  its one slope the weight of the first of four.
- `Gemma2Model` takes padding only on the right and gives zeros in its place. It returns only `last_hidden_state`. It
  does not cap attention's scores, as in transformers 4 by default; `enable_attention_softcapping()` does, as
  transformers 5. `GemmaTokenizerFast` pads on the right, and reads `tokenizer.json`, not `tokenizer.model`.
- `T5EncoderModel` gives zeros in place of padding that a mask hides, and returns only `last_hidden_state`. In float16,
  whose range it exceeds, it computes in bfloat16, as do `Gemma2Model` and `AutoencoderDC`; transformers
  keeps a third of it in float32. `T5Tokenizer` is `T5TokenizerFast`, which pads on the right, and reads `spiece.model`
  where there is no `tokenizer.json`; where the two differ in transformers (several marks on one letter, half-width
  katakana with voicing marks, an end token in a text), its ids are the fast one's.
- `unet(…)` and CLIP's text encoders take `ms.Tensor` (MindSpore's kernels) or NumPy arrays (this machine's engine), and
  no `attention_mask`, `class_labels` or `cross_attention_kwargs`. Calling an autoencoder decodes; its `encode` and
  `decode` are as published. Calling a safety checker gives embeddings; `pipe.run_safety_checker` gives the verdict.
- Step callbacks get NumPy arrays that have `chunk`, `clone`, `cpu`, `to` and `unsqueeze` (tensors on an Ascend device),
  and return a dict of names from `pipe.callback_tensors`; other names are refused, such as ControlNets' pictures.
- An unknown argument of a call is a TypeError that names the nearest one. The reference's classes for families other
  than Stable Diffusion 1, 2, XL and 3, FLUX.1, PixArt and Sana cannot be imported; the error lists what is here.
- With several images of several prompts Stable Diffusion 3 pairs each image with the pooled text of its own prompt; the
  reference mixes them up. Its inpainting adds the autoencoder's `shift_factor` before decoding, which the reference
  forgets, and takes `masked_image_latents` as they are, which the reference shifts and scales once more.
- Stable Diffusion 3 refuses what the reference ignores in silence: `prompt_3` and `negative_prompt_3` without T5, `mu`
  for a scheduler of a fixed shift, `skip_guidance_layers` without guidance or where they apply to no step. It takes no
  IP-Adapters, and image-to-image goes on from latents at their own size where none is named.
- With several images of several prompts Sana's pipelines give each image the mask of its own prompt; the reference
  repeats masks in another order than embeddings, and mixes them up.
- Sana's pipelines generate the size that the checkpoint was trained on where none is named (the reference 1024×1024),
  and `clean_caption=True` without beautifulsoup4 and ftfy is refused (the reference warns, and does not clean).
  SANA-Sprint spaces another number of steps than two evenly without `intermediate_timesteps=None`, takes `timesteps`
  and latents as an `image`, which fail in the reference, and bins the sizes of every checkpoint.
- PixArt's pipelines pair each image with the mask of its own prompt too, give zeros in place of padding from
  `encode_prompt`, take `clean_caption=None` for the published default (captions are cleaned where beautifulsoup4 and
  ftfy are installed), and bin sizes alike for both. `Transformer2DModel` is PixArt's transformer and no other.
- A function can replace the safety checker: it is called as `checker(images=…, clip_input=…)` with NumPy arrays. A
  component is checked when it is set, and refused if it is of the wrong kind.
- `enable_attention_slicing` and the like are accepted and change nothing: attention never holds all its weights at
  once. `enable_xformers_memory_efficient_attention` switches an Ascend device's memory-efficient kernel."""


GUIDES = {
    '`output_type="pt"`': 'a call gives "pil", "np" or "latent"; `image_processor.postprocess` knows "pt"',
    "`pipe.unet = torch.compile(pipe.unet)`, `unet.to(memory_format=…)`": "the engines compile networks by themselves",
    '`cross_attention_kwargs={"ip_adapter_masks": …}`, `IPAdapterMaskProcessor`': "IP-Adapters see whole pictures",
    "`StableDiffusionUpscalePipeline`, `StableDiffusionLatentUpscalePipeline`": "a job has `upscale`",
    "`StableDiffusionXLAdapterPipeline`, `T2IAdapter`": "T2I-Adapters are not here; ControlNets are",
    "`StableDiffusionSAGPipeline`, `AnimateDiffPipeline`, `DDIMPipeline`, `UNet2DModel`": "other families",
    "`ip_adapter_image` of InstructPix2Pix": "its three predictions per step do not combine with an IP-Adapter's two",
    "`StableDiffusionDepth2ImgPipeline` without `depth_map`": "no depth estimator is here; set `pipe.depth_estimator`",
    "`export_to_gif`, `export_to_video`": "nothing here makes videos",
}
"""Calls of the reference's guides that are not here, and why or what serves instead."""


def our_class(name: str) -> Any:
    home = "mindone.transformers" if name.startswith(("Gemma", "T5")) else "mindone.diffusers"
    return getattr(importlib.import_module(OUTPUTS.get(name, home)), name)


def our_object(name: str) -> Any:
    """A scheduler, as their public attributes are partly its objects' own; else the class."""
    return our_class(name)() if name.endswith("Scheduler") else our_class(name)


def feature_of(cls: str, name: str) -> str | None:
    """The feature that is not here and that an attribute belongs to."""
    if (cls, name) in KEPT:
        return None
    for feature, (_, names) in ABSENT_FEATURES.items():
        about_tokenizers = "tokenizers" in feature
        if name in names and about_tokenizers == ("Tokenizer" in cls):
            return feature
    return None


def has(owner: Any, name: str) -> bool:
    """Whether a class or object has an attribute, one that only its objects have included."""
    if hasattr(owner, name):
        return True
    classes = owner.__mro__ if isinstance(owner, type) else ()
    return any(name in inspect.get_annotations(cls) for cls in classes)


def counted(cls: str) -> Mapping[str, str]:
    """The attributes of a class that belong to what exists here, and their kinds."""
    attributes = REFERENCE[cls]["attributes"]
    return {name: kind for name, kind in attributes.items() if feature_of(cls, name) is None}


def page() -> str:
    """docs/api-differences.md."""
    total = sum(len(REFERENCE[cls]["attributes"]) for cls in REFERENCE)
    here = {cls: counted(cls) for cls in REFERENCE}
    out = {cls: LEFT_OUT.get(cls, {}) for cls in REFERENCE}
    number, missing = sum(map(len, here.values())), sum(map(len, out.values()))
    lines = [
        "# Differences from diffusers",
        "",
        "<!-- Written by `python tests/published_api.py`; a test compares. -->",
        "",
        f"The {len(REFERENCE)} classes that exist here have {total:,} public attributes in diffusers 0.35.2 and",
        f"transformers 4.57.1 (without those of PyTorch's Module). {total - number:,} of them belong to features that",
        f"are not here. Of the other {number:,}, {number - missing:,} are here under their own names",
        f"({100 * (number - missing) / number:.1f} %); the rest is listed below.",
        "",
        "## Same name, different behaviour",
        "",
        OTHERWISE,
        "",
        "## Left out",
        "",
        "| class | attribute | reason |",
        "|---|---|---|",
    ]
    for cls, names in sorted(_LEFT_OUT.items()):
        title = cls if cls == EVERY_PIPELINE else f"`{cls}`"
        for reason in dict.fromkeys(names.values()):
            listed = ", ".join(f"`{name}`" for name, why in names.items() if why == reason)
            lines.append(f"| {title} | {listed} | {reason} |")
    lines += ["", "## Features that are not here", "", "| feature | reason | attributes |", "|---|---|---|"]
    for feature, (reason, names) in ABSENT_FEATURES.items():
        lines.append(f"| {feature} | {reason} | {', '.join(f'`{name}`' for name in sorted(names))} |")
    lines += ["", "## Calls of the guides that are refused", "", "| call | reason |", "|---|---|"]
    refused = {f"`from_pretrained({name}=…)`": reason for name, reason in LOADING.items()}
    refused |= {f"`pipe.{name}`": reason for name, reason in METHODS.items()}
    lines += [f"| {call} | {reason} |" for call, reason in sorted({**GUIDES, **refused}.items())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
