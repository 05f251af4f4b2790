"""What skips work of the network: features and steps that are used again, each against its own definition."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import image_pipelines
from image_pipelines import controlnet_folder, photo
from mindone.diffusers import (
    ControlNetModel,
    DeepCacheConfig,
    DPMSolverMultistepScheduler,
    EasyCacheConfig,
    GuidanceCacheConfig,
    HeunDiscreteScheduler,
    LCMScheduler,
    SpectrumConfig,
    TaylorSeerCacheConfig,
    engines,
)
from mindone.diffusers.acceleration.easycache import EasyCache
from mindone.diffusers.acceleration.forecast import Forecast
from mindone.diffusers.acceleration.stack import caches_in_words, parse_cache, parse_caches
from mindone.diffusers.acceleration.steps import Step
from mindone.diffusers.models.taps import Cut
from mindone.diffusers.pipelines.loop import Guidance
from tiny_pipelines import checkpoint, load, sharing

TAYLOR = TaylorSeerCacheConfig(cache_interval=2, disable_cache_before_step=2)
SPECTRUM = SpectrumConfig(warmup_steps=2)
EASY = EasyCacheConfig(threshold=10.0, start=0.0, stop=1.0)
STEP_CACHES = [TAYLOR, SPECTRUM, EASY]


def images(pipe, caches=(), steps=6, **options):
    pipe.caches = caches
    generator = np.random.Generator(np.random.PCG64(0))
    options = {"height": 16, "width": 16, "num_inference_steps": steps, "output_type": "np", **options}
    return pipe("a red cat", generator=generator, **{name: x for name, x in options.items() if x is not None}).images


def kind_of(options):
    """Of a call of the UNet: the whole, the whole with a feature read ("deep"), or above a feature ("shallow")."""
    taps = options.get("taps")
    return "whole" if taps is None else "shallow" if taps.left_out else "deep"


def recorded(pipe):
    """The kinds and batch sizes of the UNet's calls, as they are made."""
    calls, engine = [], pipe.engine

    class Recording:
        name = engine.name

        def __getattr__(self, name):
            return getattr(engine, name)

        def run(self, network, *inputs, **options):
            if network is pipe.unet:
                calls.append((kind_of(options), options["encoder_hidden_states"].shape[0]))
            return engine.run(network, *inputs, **options)

    pipe.engine = Recording()
    return calls


class Sequence:
    """A predictor whose noise is a polynomial of the timestep."""

    def __init__(self, *coefficients):
        self.coefficients, self.calls = coefficients, []

    def predict(self, latents, step):
        self.calls.append(step.index)
        return self.at(step.timestep)

    def at(self, timestep):
        return np.full((1, 1, 1, 1), np.polyval(self.coefficients, timestep / 1000))


class Unguided:
    def guides(self, step):
        return False


def uneven_steps(count=12):
    return [Step(i, count, 1000 - 3 * i**2 - 20 * i) for i in range(count)]


# ---- DeepCache ----


@pytest.mark.parametrize(
    ("family", "engine"),
    [("sd1", "openvino"), pytest.param("sdxl", "openvino", marks=pytest.mark.heavy), ("bk_sdm", "mindspore")],
)
def test_deep_cache_of_interval_1_equals_no_cache(family, engine):
    pipe = sharing(family, engine)
    assert np.array_equal(images(pipe, [DeepCacheConfig(1)], steps=2), images(pipe, steps=2))


def test_deep_cache_runs_the_whole_network_every_third_step():
    pipe = sharing("sd2")
    calls = recorded(pipe)
    images(pipe, [DeepCacheConfig(3)], steps=7)
    assert [kind for kind, _ in calls] == ["deep", "shallow", "shallow"] * 2 + ["deep"]


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
@pytest.mark.parametrize("branch", [0, 2, 3, 5])  # the ends of both stages
def test_above_the_feature_of_the_same_step_is_the_whole_network(branch, engine):
    pipe = sharing("sd1", engine)
    inputs = [np.random.default_rng(0).normal(size=(1, 4, 8, 8)), np.full(1, 500.0)]
    text = np.random.default_rng(1).normal(size=(2, 7, 16))
    cut, engine = pipe.unet.cuts[branch], pipe.engine
    whole = engine.run(pipe.unet, *inputs, text)
    noise, feature = engine.run(pipe.unet, *inputs, text, taps=cut.reading)
    shallow = engine.run(pipe.unet, *inputs, text, taps=cut.replacing, values=(feature,))
    whole, noise, shallow = map(engine.numpy, (whole, noise, shallow))
    assert np.abs(noise - whole).max() < 1e-6 and np.abs(shallow - whole).max() < 1e-5


def test_a_step_that_lacks_half_of_the_feature_is_whole():
    pipe = sharing("sd2")
    calls = recorded(pipe)
    images(pipe, [DeepCacheConfig(4)], steps=8, guidance_interval=(0.25, 0.75))
    assert calls == [
        *[("deep", 1), ("shallow", 1), ("deep", 2), ("shallow", 2)],
        *[("deep", 2), ("shallow", 2), ("shallow", 1), ("shallow", 1)],
    ]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_deep_cache_forecasts_features_that_are_polynomials_of_its_order(order):
    coefficients, calls = range(1, order + 2), []

    def network(step, sample, timestep, taps, encoder_hidden_states, values=()):
        calls.append(kind_of({"taps": taps}))
        right = np.full((1, 1), np.polyval(coefficients, step.timestep / 1000))
        if taps.read:
            return sample, right
        assert calls.count("deep") <= order or values[0] == pytest.approx(right)
        return sample

    run = SimpleNamespace(denoiser=SimpleNamespace(cuts=[Cut("up", ("down",))]))
    cached = DeepCacheConfig(3, max_order=order).forward(network, run)
    for step in uneven_steps():
        cached(step, np.zeros((1, 1)), np.zeros(1), encoder_hidden_states=np.zeros((1, 1)))
    assert calls == ["deep", "shallow", "shallow"] * 4


def test_a_whole_step_that_was_forecast_is_made_up_for():
    pipe = sharing("sd2")
    calls = recorded(pipe)
    images(pipe, [DeepCacheConfig(3), TaylorSeerCacheConfig(2, 2)], steps=10)  # computes 0, 1, 3, 5, 7, 9
    assert [kind for kind, _ in calls] == ["deep", "shallow", "deep", "shallow", "deep", "deep"]


def test_the_quadratic_schedule_is_densest_at_its_center():
    # The paper's script: 50 steps, interval 5, power 1.4, center 15.
    steps = DeepCacheConfig(5, skip_mode="quadratic", pow=1.4, center=15).whole_steps(50)
    gaps = np.diff([*steps, 50])
    assert len(steps) == 10 and steps[0] == 0
    nearest = int(np.argmin(np.abs(np.array(steps) - 15)))
    assert gaps[nearest] == gaps.min() and gaps[-1] == gaps.max()


@pytest.mark.parametrize("family", ["lcm", "bk_sdm", "sdxl"])  # PNDM, LCM and Euler among them
def test_deep_cache_goes_with_every_network(family):
    assert np.isfinite(images(sharing(family), [DeepCacheConfig(2)], steps=4)).all()


@pytest.mark.heavy
def test_a_shallow_step_asks_a_controlnet_for_the_skip_connections_that_it_has(monkeypatch):
    net = ControlNetModel.from_pretrained(controlnet_folder("sd1"))
    pipe = image_pipelines.load("StableDiffusionControlNetPipeline", checkpoint("sd1"), controlnet=net)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    before, asked, run = images(pipe, image=photo(16, 16)), [], pipe.engine.run
    assert np.array_equal(images(pipe, [DeepCacheConfig(1)], image=photo(16, 16)), before)

    def spy(network, *inputs, **options):
        if network is net and options["method"] == "residuals":
            asked.append(options["count"])
        return run(network, *inputs, **options)

    monkeypatch.setattr(pipe.engine, "run", spy)
    assert np.isfinite(images(pipe, [DeepCacheConfig(3, cache_branch_id=1)], image=photo(16, 16))).all()
    assert asked == [net.skips, 2, 2, net.skips, 2, 2]


# ---- forecasts ----


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_taylorseer_reproduces_polynomials_of_its_order_at_uneven_timesteps(order):
    inner = Sequence(*range(1, order + 2))
    rule = TaylorSeerCacheConfig(cache_interval=3, disable_cache_before_step=4, max_order=order)
    forecast = Forecast(rule, inner, Unguided())
    for step in uneven_steps():
        assert forecast.predict(np.zeros((1, 1, 1, 1)), step) == pytest.approx(inner.at(step.timestep), rel=1e-9)
    assert inner.calls == [0, 1, 2, 3, 5, 8, 11]


def test_spectrum_without_ridge_reproduces_polynomials_of_its_degree():
    rule = SpectrumConfig(degree=2, ridge=0, blend=1.0, history=6)
    steps = [Step(i, 20, 0.0) for i in range(20)]
    values = [0.3 * i**2 - 2 * i + 1 for i in range(20)]
    weights = rule.weights(steps[4:10], steps[11])
    assert np.dot(weights, values[4:10]) == pytest.approx(values[11])


def test_spectrum_spaces_computed_steps_further_and_further():
    assert sorted(SpectrumConfig(window_growth=0.75).computed_steps(20)) == [0, 1, 2, 3, 4, 6, 8, 11, 15, 20][:-1]


def test_easycache_with_threshold_0_skips_nothing_and_with_a_great_one_all_it_may():
    pipe = sharing("sd2")
    without = images(pipe)
    calls = recorded(pipe)
    assert np.array_equal(images(pipe, [EasyCacheConfig(threshold=0.0)]), without)
    assert len(calls) == 6
    images(pipe, [EasyCacheConfig(threshold=1e9, start=0.0, stop=0.8)])
    assert len(calls) == 6 + 3  # two to learn the rate, and the last


def test_easycache_uses_again_what_the_network_has_added_to_the_latents():
    calls = []

    class Adding:
        def predict(self, latents, step):
            calls.append(step.index)
            return latents + 3.0

    run = SimpleNamespace(engine=engines.get("openvino"), scheduler=SimpleNamespace(), guides=lambda step: False)
    run.scheduler.scale_model_input = lambda sample, timestep: sample
    cached = EasyCache(EasyCacheConfig(threshold=1e9, start=0.0, stop=1.0), Adding(), run)
    for step in uneven_steps(6):
        latents = np.full((1, 1, 1, 1), float(step.index))
        assert cached.predict(latents, step) == latents + 3.0
    assert calls == [0, 1]  # two to learn the rate


@pytest.mark.parametrize("cache", STEP_CACHES, ids=lambda cache: type(cache).__name__)
def test_forecasts_follow_a_guidance_interval(cache):
    pipe = sharing("sd2")
    calls = recorded(pipe)
    assert np.isfinite(images(pipe, [cache], steps=8, guidance_interval=(0.25, 0.6))).all()
    assert 2 < len(calls) < 8


def test_forecasts_survive_timesteps_that_come_twice():
    pipe = sharing("sd1")
    for scheduler in (pipe.scheduler, HeunDiscreteScheduler.from_config(pipe.scheduler.config)):
        pipe.scheduler = scheduler
        assert np.isfinite(images(pipe, [TAYLOR])).all() and np.isfinite(images(pipe, [SPECTRUM])).all()


# ---- guidance ----


def guidance_at(steps, predictions, config, scale=3.0):
    """What a run with the cache makes of ``predictions``, pairs without and with the prompt, one a step."""
    run = SimpleNamespace(caches=[config], is_guided=lambda step: True)
    run.guides = lambda step: config.computes_guidance(step.index)
    run.settings = SimpleNamespace(guidance_scale=scale, guidance_rescale=0.0)
    inner = SimpleNamespace()
    inner.predict = lambda latents, step: predictions[step.index][0 if run.guides(step) else 1 :]
    guided = Guidance(run, inner)
    return np.array([guided.predict(np.zeros((1, 1)), step) for step in steps])


@pytest.mark.parametrize("order", [0, 1, 2])
def test_guidance_is_forecast_where_it_is_a_polynomial_of_the_order(order):
    steps = uneven_steps()
    text = np.random.default_rng(0).normal(size=len(steps))
    difference = [np.polyval(range(1, order + 2), step.timestep / 1000) for step in steps]
    config = GuidanceCacheConfig(3, max_order=order, disable_cache_before_step=order + 1)
    found = guidance_at(steps, np.stack([text - difference, text], 1)[..., None], config)
    assert found.ravel() == pytest.approx(text + 2 * np.array(difference), rel=1e-9)


def test_steps_whose_guidance_is_forecast_run_one_row():
    pipe = sharing("sd2")
    calls = recorded(pipe)
    images(pipe, [GuidanceCacheConfig(3)], steps=8, guidance_interval=(0.125, 0.99))
    assert [rows for _, rows in calls] == [1, 2, 2, 1, 1, 2, 1, 1]


@pytest.mark.parametrize("scheduler", [DPMSolverMultistepScheduler, HeunDiscreteScheduler])
@pytest.mark.parametrize("rescale", [0.0, 0.7])
def test_a_guidance_cache_of_interval_1_changes_nothing(rescale, scheduler):
    pipe = load(checkpoint("sd2"))
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    plain = images(pipe, guidance_rescale=rescale)
    assert np.array_equal(images(pipe, [GuidanceCacheConfig(1)], guidance_rescale=rescale), plain)
    assert not np.array_equal(images(pipe, [GuidanceCacheConfig(2)], guidance_rescale=rescale), plain)


def test_a_guidance_cache_without_guidance_is_refused():
    with pytest.raises(ValueError, match="skips guidance, and this run has none; give a guidance_scale above 1"):
        images(sharing("sd2"), [GuidanceCacheConfig()], guidance_scale=1.0)


# ---- switching on and off ----


def test_caches_are_enabled_on_the_unet_one_of_each_kind():
    pipe = load(checkpoint("sd2"))
    plain = images(pipe, None)
    pipe.unet.enable_cache(DeepCacheConfig())
    pipe.unet.enable_cache(TAYLOR)
    assert pipe.unet.is_cache_enabled and pipe.unet.caches == (DeepCacheConfig(), TAYLOR)
    with pytest.raises(ValueError, match="TaylorSeerCacheConfig is enabled and caches steps too"):
        pipe.unet.enable_cache(SpectrumConfig())
    with pytest.raises(ValueError, match="such as DeepCacheConfig"):
        pipe.unet.enable_cache("deepcache")
    assert not np.array_equal(images(pipe, None), plain)
    pipe.unet.disable_cache()
    assert not pipe.unet.is_cache_enabled and np.array_equal(images(pipe, None), plain)


@pytest.mark.parametrize(
    ("cache", "steps", "message"),
    [
        (DeepCacheConfig(3), 2, "cache_interval 3 needs a run of more than 3 steps, got 2"),
        (DeepCacheConfig(2, 6), 5, "cache_branch_id 6 is too large: the denoiser's lowest branch is 5"),
        (DeepCacheConfig(2, skip_mode="quadratic", center=3), 6, "no quadratic schedule of 3 of 6 steps"),
        (TaylorSeerCacheConfig(), 3, "forecast none of the run's 3 steps"),
        (SpectrumConfig(), 5, "forecast none of the run's 5 steps"),
        (EasyCacheConfig(), 2, "skip none of the run's 2 steps"),
        (GuidanceCacheConfig(), 2, "compute the guidance of all of the run's 2 steps"),
    ],
)
def test_a_cache_that_contradicts_the_run_is_refused_before_any_network_runs(cache, steps, message):
    pipe = load(checkpoint("sd2"))
    calls = recorded(pipe)
    with pytest.raises(ValueError, match=message):
        images(pipe, [cache], steps=steps)
    assert not calls and not len(pipe.text_encoder.graphs)


def test_forecasts_are_refused_where_each_step_starts_from_new_noise():
    pipe = sharing("sd2")
    pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(ValueError, match="cannot forecast the steps of LCMScheduler"):
        images(pipe, [TAYLOR])
    with pytest.raises(ValueError, match="cannot forecast the steps of LCMScheduler"):
        images(pipe, [GuidanceCacheConfig()])


@pytest.mark.parametrize(
    ("config", "values", "message"),
    [
        (DeepCacheConfig, {"cache_interval": 0}, "cache_interval must be a whole number of at least 1, got 0"),
        (DeepCacheConfig, {"cache_interval": 2.5}, "whole number of at least 1, got 2.5"),
        (DeepCacheConfig, {"skip_mode": "random"}, 'must be "uniform" or "quadratic"'),
        (TaylorSeerCacheConfig, {"max_order": 9}, "at most 3, got 9"),
        (SpectrumConfig, {"blend": 2}, "blend must be at least 0 and at most 1, got 2"),
        (EasyCacheConfig, {"start": 0.9, "stop": 0.5}, "start must be below stop"),
    ],
)
def test_configs_are_valid_from_the_start(config, values, message):
    with pytest.raises(ValueError, match=message):
        config(**values)


def test_caches_have_short_names():
    assert parse_cache("deepcache:5:1") == DeepCacheConfig(5, 1)
    assert parse_cache("taylorseer:2:2") == TaylorSeerCacheConfig(2, max_order=2)
    assert parse_caches(["spectrum", "deepcache"]) == (SpectrumConfig(), DeepCacheConfig())
    assert parse_cache("easycache:0.1") == EasyCacheConfig(0.1)
    assert parse_cache("guidance:3:2:4") == GuidanceCacheConfig(3, 2, 4)
    with pytest.raises(ValueError, match="unknown cache 'teacache'; choose from deepcache:"):
        parse_cache("teacache")
    with pytest.raises(ValueError, match="cache 'deepcache:x': 'x' is not a number"):
        parse_cache("deepcache:x")
    with pytest.raises(ValueError, match=r"is not a number") as refusal:
        parse_cache("deepcache:" + "[" * 3000)
    assert len(str(refusal.value)) < 250
    with pytest.raises(ValueError, match="'spectrum' and 'taylorseer' both cache steps"):
        parse_caches(["taylorseer", "spectrum"])


def test_a_cache_says_its_text_or_why_it_has_none():
    texts = ["deepcache:3", "deepcache:3:0:1", "taylorseer:2:2:4", "spectrum:2:0.75", "easycache:0.1", "guidance:5:0:3"]
    assert [parse_cache(text).text for text in texts] == texts
    assert (SpectrumConfig().text, DeepCacheConfig().text) == ("spectrum:2", "deepcache:3")
    with pytest.raises(ValueError, match="with skip_mode has no text form; it is deepcache:INTERVAL:BRANCH:ORDER"):
        _ = DeepCacheConfig(2, skip_mode="quadratic").text


def test_help_and_docs_name_the_caches_that_win():
    docs = (Path(__file__).parent.parent / "docs" / "speed.md").read_text(encoding="utf-8")
    for cache in (DeepCacheConfig, TaylorSeerCacheConfig, SpectrumConfig, GuidanceCacheConfig):
        assert cache.words() in caches_in_words() and f"--cache {cache.name}" in docs
    assert "easycache" not in caches_in_words()
