"""A family that one file declares works everywhere: no other file knows it. CONTRIBUTING's recipe, followed."""

import base64
import functools
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mindone.diffusers import (
    AutoModel,
    AutoPipelineForImage2Image,
    AutoPipelineForText2Image,
    DDIMScheduler,
    DeepCacheConfig,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    Int8Config,
    TaylorSeerCacheConfig,
    bench,
    cli,
    functional as F,
    jobs,
)
from mindone.diffusers.bench.shapes import SHAPES
from mindone.diffusers.families import registry
from mindone.diffusers.families.adapters import LoraNames
from mindone.diffusers.families.family import IMAGE, TEXT, Defaults, Family, Int8Plan, Latents
from mindone.diffusers.loading.safetensors import save_file
from mindone.diffusers.models.autoencoder import Autoencoder
from mindone.diffusers.models.base import Model
from mindone.diffusers.models.fields import Channels, Count, TableSize
from mindone.diffusers.models.layers import Conv2d, Embedding, LayerNorm, Linear
from mindone.diffusers.models.random_weights import write_random_network
from mindone.diffusers.pipelines.calls import TextCall
from mindone.diffusers.pipelines.image_starts import FromImage
from mindone.diffusers.pipelines.output import ImagePipelineOutput
from mindone.diffusers.pipelines.picture_calls import ImageCall, PictureArguments
from mindone.diffusers.pipelines.pipeline import constructor
from mindone.diffusers.pipelines.published import PublishedPipeline
from mindone.diffusers.pipelines.stages import published
from mindone.diffusers.pipelines.starts import FromNoise
from mindone.diffusers.schedulers.levels import FLOW
from tiny_pipelines import images_of, load as load_tiny

# ---- the networks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToyFields:
    in_channels: Channels = 3
    out_channels: Channels = 3
    sample_size: Count = 8
    width: Channels = 16
    text_width: Channels = 8


class ToyTransformer(Model):
    """One layer of attention from pixels to pixels and words; predicts the slope of a straight path."""

    Fields = ToyFields

    def __init__(self, **config):
        super().__init__(config)
        c: ToyFields = self.fields
        self.width = c.width
        self.proj_in = Linear(c.in_channels, c.width)
        self.time = Linear(c.width, c.width)
        self.text = Linear(c.text_width, c.width)
        self.norm = LayerNorm(c.width)
        self.to_q, self.to_k, self.to_v = (Linear(c.width, c.width) for _ in range(3))
        self.proj_out = Linear(c.width, c.out_channels)

    def construct(self, sample, timestep, encoder_hidden_states):
        batch, channels, height, width = sample.shape
        pixels = F.transpose(F.reshape(sample, (batch, channels, height * width)), (0, 2, 1))
        x = self.proj_in(pixels)
        time = self.time(F.timestep_embedding(timestep, self.width, True, 0.0))
        x = F.add(x, F.reshape(time, (-1, 1, self.width)))
        y = self.norm(x)
        seen = F.concat((y, self.text(encoder_hidden_states)), 1)
        x = F.add(x, F.attention(self.to_q(y), self.to_k(seen), self.to_v(seen), 2))
        return F.reshape(F.transpose(self.proj_out(x), (0, 2, 1)), (-1, channels, height, width))


@dataclass(frozen=True)
class ToyTextFields:
    vocab_size: TableSize = 4
    hidden_size: Channels = 8


class ToyTextEncoder(Model):
    """A vector for each word."""

    Fields = ToyTextFields
    weights_name = "model"

    def __init__(self, **config):
        super().__init__(config)
        self.words = Embedding(self.fields.vocab_size, self.fields.hidden_size)

    def construct(self, input_ids):
        return self.words(input_ids)


@dataclass(frozen=True)
class ToyPixelFields:
    latent_channels: Channels = 3
    scaling_factor: float = 1.0


class ToyPixels(Autoencoder):
    """A latent is the mean of four pixels."""

    Fields = ToyPixelFields
    scale, tile_overlap, encodes_at_random = 2, 0.25, False

    def __init__(self, **config):
        super().__init__(config)
        self.down, self.colours = Conv2d(3, 3, 2, stride=2), Conv2d(3, 3, 1)

    def encode_latents(self, image):
        return self.down(image)

    def decode_latents(self, latents):
        return F.interpolate_nearest(self.colours(latents), (2 * latents.shape[2], 2 * latents.shape[3]))

    def encode_with(self, engine, image, generator=None):
        return self._encode(engine, image, "encode_latents")


class ToyTokenizer:
    """Three words, and one for all others."""

    words = ("red", "green", "blue")
    model_max_length = 4

    def __call__(self, text: str) -> list[int]:
        ids = [self.words.index(word) + 1 if word in self.words else 0 for word in text.split()]
        return (ids + [0] * self.model_max_length)[: self.model_max_length]

    @classmethod
    def from_pretrained(cls, folder):
        json.loads((Path(folder) / "words.json").read_text())
        return cls()

    def save_pretrained(self, folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "words.json").write_text(json.dumps(self.words))


# ---- the family ------------------------------------------------------------------------------------------------------


class ToyShape:
    description, nbytes = "the toy", 1_000_000

    def held_bytes(self) -> int:
        return 1000

    def write(self, name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
        return {"model": (f"random weights: {name}", write_toy(folder / name))}


def write_toy(root: Path) -> Path:
    parts = {"transformer": ToyTransformer, "text_encoder": ToyTextEncoder, "vae": ToyPixels}
    for name, cls in parts.items():
        write_random_network(cls, {}, root / name)
    ToyTokenizer().save_pretrained(root / "tokenizer")
    FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(root / "scheduler")
    classes = {**{name: cls.__name__ for name, cls in parts.items()}, "tokenizer": "ToyTokenizer"}
    entries = {name: [__name__, cls] for name, cls in classes.items()}
    index = {"_class_name": "ToyPipeline", **entries, "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}
    (root / "model_index.json").write_text(json.dumps(index))
    return root


SHAPE = ToyShape()
LORA = LoraNames("transformer", prefixes={}, classes={}, bases={})

TOY = Family(
    name="toy",
    title="Toy",
    denoiser="transformer",
    required=("vae", "text_encoder", "tokenizer", "transformer", "scheduler"),
    optional=(),
    text_encoders=("text_encoder",),
    inputs={"prompt_embeds": "encoder_hidden_states"},
    tasks={TEXT: f"{__name__}:ToyPipeline", IMAGE: f"{__name__}:ToyImg2ImgPipeline"},
    pipelines="Toy",
    int8=Int8Plan(products={"transformer": "construct"}, weights_only=("text_encoder",), kept=("proj_in.",)),
    classes={cls.__name__: (__name__, __name__) for cls in (ToyTransformer, ToyTextEncoder, ToyPixels, ToyTokenizer)},
    latents=Latents(channels=3, pixels=2, side=16),
    noise_levels=(FLOW,),
    defaults=Defaults(steps=4, guidance_scale=3.0),
    fingerprint=("proj_in.weight",),
    lora=f"{__name__}:LORA",
    shapes={"toy": f"{__name__}:SHAPE"},
)


class Toy(PublishedPipeline):
    family = TOY
    required_components = TOY.required
    optional_components = TOY.optional
    arguments = PictureArguments
    callback_tensors = ("latents", "prompt_embeds", "negative_prompt_embeds")

    __init__ = constructor(TOY.required, TOY.optional, {})

    def condition(self, run, call, height, width):
        prompts = call.prompt if isinstance(call.prompt, list) else [call.prompt]
        negative = call.negative_prompt if isinstance(call.negative_prompt, list) else [call.negative_prompt or ""]

        def read(texts):
            rows = [self.tokenizer(text) for text in texts for _ in range(call.num_images_per_prompt)]
            return self.engine.run(self.text_encoder, np.array(rows, np.int64))

        text, without = read(prompts), read((negative * len(prompts))[: len(prompts)])
        run.tensors["prompt_embeds"] = run.rows_of(text, without)
        run.tensors["negative_prompt_embeds"] = without


class ToyPipeline(Toy):
    __call__ = published(TextCall, FromNoise, ImagePipelineOutput)


class ToyImg2ImgPipeline(Toy):
    __call__ = published(ImageCall, FromImage, ImagePipelineOutput)


# ---- what works with it ----------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def toy() -> Iterator[Family]:
    yield registry.register(TOY)
    registry.forget(TOY.name)


_folder = tempfile.TemporaryDirectory(prefix="toy-family-")


@functools.cache
def checkpoint() -> str:
    return str(write_toy(Path(_folder.name) / "toy"))


def load(**options):
    return load_tiny(checkpoint(), **options)


def draw(pipe, **options) -> np.ndarray:
    return images_of(pipe, **{"prompt": "red blue", "num_inference_steps": 4, **options})


def job(**fields) -> jobs.Job:
    return jobs.Job(**{"prompt": "red", "model": checkpoint(), "steps": 2, "engine": "openvino", **fields})


def test_it_loads_and_draws_and_its_prompt_matters():
    pipe = load()
    assert pipe.family is TOY and pipe.denoiser is pipe.transformer and type(pipe) is ToyPipeline
    red, green = draw(pipe), draw(pipe, prompt="green")
    assert red.shape == (1, 16, 16, 3) and np.abs(red - green).max() > 1e-3
    np.testing.assert_array_equal(red, draw(pipe))


def test_its_defaults_are_those_of_calls_and_jobs_that_name_none():
    pipe = load()
    assert pipe.default_guidance_scale == 3.0
    pipe("red", output_type="np")
    assert pipe.num_timesteps == 4 and pipe.guidance_scale == 3.0
    asked = jobs.settled(pipe, job(steps=None))
    assert (asked.steps, asked.guidance_scale) == (4, 3.0)


def test_schedulers_of_other_noise_levels_are_refused():
    pipe = load()
    with pytest.raises(ValueError, match=r"DDIM.* cannot sample Toy networks, trained on flow matching .*; use .*Flow"):
        pipe.scheduler = DDIMScheduler()
    with pytest.raises(ValueError, match=r"DDIM.* cannot sample this checkpoint, .*trained on flow matching"):
        DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)


def test_it_takes_no_controlnets():
    asked = job(controlnet=(checkpoint(),), control=("canny=edges.png",))
    with pytest.raises(ValueError, match=r"takes no ControlNets \(--controlnet\): Toy.* has none here"):
        jobs.load(asked)


def test_it_is_saved_and_loaded(tmp_path):
    pipe = load()
    pipe.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["transformer"] == [__name__, "ToyTransformer"]
    np.testing.assert_array_equal(draw(load_tiny(tmp_path)), draw(pipe))
    assert type(AutoModel.from_pretrained(tmp_path, subfolder="transformer")) is ToyTransformer


def test_both_engines_agree():
    np.testing.assert_allclose(draw(load(engine="mindspore")), draw(load()), atol=1e-4)


def test_auto_pipeline_picks_it_and_goes_on_from_a_picture():
    pipe = AutoPipelineForText2Image.from_pretrained(checkpoint(), engine="openvino")
    redraw = AutoPipelineForImage2Image.from_pipe(pipe)
    assert (type(pipe), type(redraw)) == (ToyPipeline, ToyImg2ImgPipeline)
    picture = Image.new("RGB", (16, 16), "white")
    near, far = (draw(redraw, image=picture, strength=strength) for strength in (0.25, 1.0))
    plain = draw(redraw, image=picture, strength=0.25, num_inference_steps=100)
    assert near.shape == (1, 16, 16, 3)
    assert np.abs(near - plain).mean() < np.abs(far - plain).mean()


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((image - reference) ** 2)))


def test_a_forecast_of_steps_stays_closer_than_half_of_them():
    pipe = load()
    plain, half = (draw(pipe, num_inference_steps=steps, guidance_scale=1.0) for steps in (25, 12))
    pipe.transformer.enable_cache(TaylorSeerCacheConfig(2))
    forecast = draw(pipe, num_inference_steps=25, guidance_scale=1.0)
    assert psnr(forecast, plain) > 25 > 20 > psnr(half, plain)


def test_a_cache_of_features_is_refused_as_it_has_no_skip_connections():
    pipe = load()
    pipe.caches = (DeepCacheConfig(),)
    with pytest.raises(ValueError, match="skip connections, and this one has none"):
        draw(pipe)


def test_its_denoiser_has_the_published_methods_of_every_denoiser():
    denoiser = load().transformer
    denoiser.enable_cache(TaylorSeerCacheConfig(2))
    assert denoiser.is_cache_enabled and not load().transformer.is_cache_enabled
    denoiser.disable_cache()
    assert denoiser.caches == () and denoiser.active_adapters() == []
    with pytest.raises(ValueError, match="ToyTransformer has no self-attention over pixels"):
        denoiser.enable_token_downsampling(2)
    assert not hasattr(denoiser, "enable_freeu")


def test_int8_stays_close_and_is_saved(tmp_path):
    plain = draw(load())
    pipe = load(quantization_config=Int8Config(("red blue",), 2))
    in_int8 = draw(pipe)
    assert np.inf > psnr(in_int8, plain) > 30
    pipe.save_pretrained(tmp_path)
    np.testing.assert_array_equal(draw(load_tiny(tmp_path)), in_int8)


def lora(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    down, up = (generator.standard_normal(shape).astype(np.float32) for shape in ((2, 16), (16, 2)))
    save_file({"transformer.to_v.lora_A.weight": down, "transformer.to_v.lora_B.weight": up}, folder / "a.safetensors")
    return folder / "a.safetensors"


def test_a_lora_changes_it_and_is_taken_off(tmp_path):
    pipe = load()
    plain = draw(pipe)
    pipe.load_lora_weights(str(lora(tmp_path)), adapter_name="a")
    assert np.abs(draw(pipe) - plain).max() > 1e-3
    pipe.set_adapters("a", {"transformer": 0.0})
    np.testing.assert_allclose(draw(pipe), plain, atol=1e-6)
    pipe.unload_lora_weights()
    np.testing.assert_array_equal(draw(pipe), plain)


def test_a_job_draws_with_it_and_weighs_its_lora(tmp_path):
    plain = job()
    (picture,) = jobs.draw(jobs.load(plain), plain)
    assert picture.size == (16, 16)
    weighed = job(lora=(f"{lora(tmp_path)}:0.5:0.8",))
    (other,) = jobs.draw(jobs.load(weighed), weighed)
    assert np.abs(np.asarray(other, int) - np.asarray(picture, int)).max() > 0


def test_the_command_line_draws_with_it_and_help_lists_its_shape(tmp_path):
    words = ["red", "--model", checkpoint(), "--steps", "2", "--engine", "openvino", "-o", str(tmp_path / "a.png")]
    done = CliRunner().invoke(cli.main, ["generate", *words])
    assert done.exit_code == 0, done.output
    assert f"--model {checkpoint()}" in CliRunner().invoke(cli.main, ["info", str(tmp_path / "a.png")]).output
    shapes = "".join(CliRunner().invoke(cli.main, ["bench", "--help"]).output.split())
    assert "sd15|sdxl|" in shapes and "|toy]" in shapes


def test_a_bench_of_its_shape_reads_its_checkpoint(tmp_path):
    from mindone.diffusers.bench.tables import make_plan

    assert SHAPES["toy"] is SHAPE
    options = bench.Options(shape="toy", engine="openvino", table="1")
    model = make_plan(options, tmp_path).tables[0].setups[0].model
    assert (model.channels, model.vae_scale_factor, model.image_size()) == (3, 2, (16, 16))


@pytest.mark.heavy
def test_tune_finds_a_front():
    front = load().tune(["red"], budget_seconds=20, progress=False)
    assert front.rows[0].predicted_seconds > 0


def test_the_server_draws_with_it():
    pytest.importorskip("fastapi", reason="the [serve] extra is not installed")
    from fastapi.testclient import TestClient

    from mindone.diffusers.server import Settings
    from mindone.diffusers.server.app import create_app

    app = create_app(Settings(model=(f"toy={checkpoint()}",)))
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.post("/v1/images/generations", json={"prompt": "red", "steps": 2, "size": "16x16"}).json()
    image = Image.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"])))
    assert image.size == (16, 16) and json.loads(image.text["mindone-diffusers"])["job"]["model"] == "toy"


def test_a_batch_draws_rows_with_it(tmp_path):
    (tmp_path / "jobs.csv").write_text("prompt\nred\ngreen\n")
    words = ["batch", str(tmp_path / "jobs.csv"), "--model", checkpoint(), "--steps", "2", "--engine", "openvino"]
    done = CliRunner().invoke(cli.main, [*words, "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert len([*(tmp_path / "out").rglob("*.png")]) == 2


assert __name__ in sys.modules  # the family's paths lead here
