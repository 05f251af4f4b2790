"""The scheduler runs that the golden file and the live comparison share. Needs NumPy only.

A case names a scheduler class and its options; `trajectory` runs it, ours or the reference's, with a pseudo-model.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

SHAPE = (1, 2, 4, 4)
SEED, NOISE_SEED = 7, 8
STEPS = (10, 25, 50)
LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
V = {"prediction_type": "v_prediction"}
X0 = {"prediction_type": "sample"}
TRAILING_ZERO_SNR = {**V, "timestep_spacing": "trailing", "rescale_betas_zero_snr": True}
ALIGNED_TIMESTEPS = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]
ALIGNED_SIGMAS = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.0]
TRAINED = np.linspace(0.0002, 0.018, 1000).tolist()


class Case(NamedTuple):
    name: str
    cls: str
    config: dict[str, Any]
    step: dict[str, Any]
    set: dict[str, Any]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The arguments of set_timesteps, one run each."""
        return [self.set] if self.set else [{"num_inference_steps": steps} for steps in STEPS]


CASES: list[Case] = []


def _add(cls: str, name: str, /, *groups: dict[str, Any], step: Any = None, set: Any = None, **options: Any) -> None:
    config: dict[str, Any] = dict(LATENT)
    for group in (*groups, options):
        config.update(group)
    CASES.append(Case(f"{cls.removesuffix('Scheduler')}-{name}", cls, config, step or {}, set or {}))


DDIM, DDPM, PNDM = "DDIMScheduler", "DDPMScheduler", "PNDMScheduler"
EULER, ANCESTRAL = "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"
HEUN, LMS = "HeunDiscreteScheduler", "LMSDiscreteScheduler"
DPM, UNIPC = "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"
LCM, TCD = "LCMScheduler", "TCDScheduler"
DEIS, SINGLE = "DEISMultistepScheduler", "DPMSolverSinglestepScheduler"
DPM2, DPM2_ANCESTRAL = "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"
EDM = "EDMEulerScheduler"
FLOW, FLOW_HEUN, SCM = "FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "SCMScheduler"


def _add_edm(name: str, /, *groups: dict[str, Any], step: Any = None, **options: Any) -> None:
    """A case of the scheduler that has no β."""
    _add(EDM, name, *groups, step=step, **options)
    for field in LATENT:
        del CASES[-1].config[field]


def _add_flow(
    name: str, /, *groups: dict[str, Any], cls: str = FLOW, step: Any = None, set: Any = None, **options: Any
) -> None:
    """A case of the schedulers of flow matching or TrigFlow alone, which have no β either."""
    _add(cls, name, *groups, step=step, set=set, **options)
    for field in LATENT:
        del CASES[-1].config[field]


def _spacings(cls: str, *groups: dict[str, Any]) -> None:
    for spacing in ("leading", "linspace", "trailing"):
        _add(cls, spacing, *groups, timestep_spacing=spacing)
    _add(cls, "leading-offset", *groups, timestep_spacing="leading", steps_offset=1)


def _betas(cls: str, *groups: dict[str, Any]) -> None:
    _add(cls, "linear", *groups, beta_schedule="linear", beta_start=0.0001, beta_end=0.02)
    _add(cls, "cosine", *groups, beta_schedule="squaredcos_cap_v2")
    _add(cls, "trained", *groups, trained_betas=TRAINED)


FLOW_PREDICTION = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}

free = {"clip_sample": False}
for cls in (DDIM, DDPM):
    _spacings(cls, free)
    _betas(cls, free)
    _add(cls, "v", free, V)
    _add(cls, "x0", free, X0)
    _add(cls, "zero-snr", free, TRAILING_ZERO_SNR)
    _add(cls, "clip", clip_sample=True)
    _add(cls, "clip-range", clip_sample=True, clip_sample_range=0.5)
    _add(cls, "threshold", free, thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5)
_add(DDIM, "not-one", free, set_alpha_to_one=False, steps_offset=1)
_add(DDIM, "eta", free, step={"eta": 0.6})
_add(DDIM, "eta-v", free, V, step={"eta": 1.0})
_add(DDIM, "reclipped", clip_sample=True, step={"use_clipped_model_output": True})
_add(DDPM, "large", free, variance_type="fixed_large")
_add(DDPM, "small-log", free, variance_type="fixed_small_log")
_add(DDPM, "custom", free, set={"timesteps": ALIGNED_TIMESTEPS})
_add(DDPM, "sigmoid", free, beta_schedule="sigmoid", beta_start=0.0001, beta_end=0.02)

plms = {"skip_prk_steps": True}
_spacings(PNDM, plms)
_betas(PNDM, plms)
_add(PNDM, "v", plms, V, steps_offset=1)
_add(PNDM, "one", plms, set_alpha_to_one=True)
_add(PNDM, "prk")
_add(PNDM, "prk-v", V, steps_offset=1)

for cls in (EULER, ANCESTRAL, HEUN, LMS):
    _spacings(cls)
    _betas(cls)
    _add(cls, "v", V)
    if cls != ANCESTRAL:
        _add(cls, "x0", X0)
        for kind in ("karras", "exponential", "beta"):
            _add(cls, kind, **{f"use_{kind}_sigmas": True})
        _add(cls, "karras-leading", use_karras_sigmas=True, timestep_spacing="leading", steps_offset=1)
_add(EULER, "zero-snr", TRAILING_ZERO_SNR)
_add(ANCESTRAL, "zero-snr", TRAILING_ZERO_SNR)
_add(EULER, "log-linear", interpolation_type="log_linear")
_add(EULER, "sigma-min", final_sigmas_type="sigma_min")
_add(EULER, "continuous", V, timestep_type="continuous", use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0)
_add(EULER, "churn", step={"s_churn": 5.0, "s_tmin": 0.1, "s_noise": 1.01})
_add(EULER, "custom", set={"timesteps": ALIGNED_TIMESTEPS})
_add(EULER, "custom-sigmas", set={"sigmas": ALIGNED_SIGMAS})
_add(HEUN, "custom", set={"timesteps": ALIGNED_TIMESTEPS})
_add(HEUN, "clip", clip_sample=True)
_add(HEUN, "exp-betas", beta_schedule="exp")
_add(LMS, "order-2", step={"order": 2})

for algorithm in ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver"):
    ends = {} if algorithm.endswith("++") else {"final_sigmas_type": "sigma_min"}
    for order in (1, 2, 3):
        if (algorithm, order) != ("sde-dpmsolver", 3):
            _add(DPM, f"{algorithm}-{order}", ends, algorithm_type=algorithm, solver_order=order)
    _add(DPM, f"{algorithm}-heun", ends, algorithm_type=algorithm, solver_type="heun")
    _add(DPM, f"{algorithm}-karras", ends, algorithm_type=algorithm, use_karras_sigmas=True)
    _add(DPM, f"{algorithm}-v", ends, V, algorithm_type=algorithm)
    _add(DPM, f"{algorithm}-x0", ends, X0, algorithm_type=algorithm)
_add(DPM, "threshold-eps", algorithm_type="dpmsolver", final_sigmas_type="sigma_min", thresholding=True)
_add(DPM, "lambda-clipped", beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1)
_add(
    DPM,
    "lambda-clipped-trailing",
    beta_schedule="squaredcos_cap_v2",
    lambda_min_clipped=-5.1,
    timestep_spacing="trailing",
)
_add(DPM, "euler-at-final", euler_at_final=True, final_sigmas_type="sigma_min")
_add(DPM, "higher-final", lower_order_final=False, final_sigmas_type="sigma_min")
_add(DPM, "lu", use_lu_lambdas=True)
_add(DPM, "karras-cosine", use_karras_sigmas=True, beta_schedule="squaredcos_cap_v2")
_add(DPM, "custom", set={"timesteps": ALIGNED_TIMESTEPS})
_add(DPM, "deis", algorithm_type="deis", solver_type="logrho", final_sigmas_type="sigma_min")
for order in (1, 2, 3, 4):
    for kind in ("bh1", "bh2"):
        _add(UNIPC, f"{kind}-{order}", solver_order=order, solver_type=kind, final_sigmas_type="sigma_min")
_add(UNIPC, "order-3", solver_order=3)
_add(UNIPC, "v", V)
_add(UNIPC, "x0", X0)
_add(UNIPC, "epsilon", predict_x0=False, final_sigmas_type="sigma_min")
_add(UNIPC, "epsilon-v", V, predict_x0=False, final_sigmas_type="sigma_min")
_add(UNIPC, "epsilon-x0", X0, predict_x0=False, final_sigmas_type="sigma_min")
_add(UNIPC, "uncorrected", disable_corrector=[0, 1, 2])
_add(UNIPC, "higher-final", lower_order_final=False, final_sigmas_type="sigma_min")
_add(UNIPC, "midpoint", solver_type="midpoint")
_add(UNIPC, "karras", use_karras_sigmas=True)
for cls in (DPM, UNIPC):
    _spacings(cls)
    _betas(cls)
    _add(cls, "zero-snr", TRAILING_ZERO_SNR)
    _add(cls, "threshold", thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5)
    _add(cls, "exponential", use_exponential_sigmas=True)
    _add(cls, "beta", use_beta_sigmas=True)
    _add(cls, "karras-sigma-min", use_karras_sigmas=True, final_sigmas_type="sigma_min")

for cls in (LCM, TCD):
    _betas(cls)
    _add(cls, "scaled")
    _add(cls, "four", set={"num_inference_steps": 4})
    _add(cls, "v", V)
    _add(cls, "x0", X0)
    _add(cls, "zero-snr", V, rescale_betas_zero_snr=True)
    _add(cls, "original", original_inference_steps=100)
    _add(cls, "custom", set={"timesteps": [999, 759, 499, 259]})
    _add(cls, "asked", set={"num_inference_steps": 7, "original_inference_steps": 40})
    _add(cls, "strength", set={"num_inference_steps": 7, "strength": 0.6})
_add(LCM, "clip", clip_sample=True)
_add(LCM, "scaling", timestep_scaling=1.0)
for eta in (0.0, 0.5, 1.0):
    _add(TCD, f"eta-{eta}", step={"eta": eta})

# Cases are numbered, and a case's number says which of its runs the golden file has: new ones come last.
for cls in (DEIS, DPM2, DPM2_ANCESTRAL):
    _spacings(cls)
for cls in (DEIS, SINGLE, DPM2, DPM2_ANCESTRAL):
    if (
        cls != DPM2_ANCESTRAL
    ):  # where the cosine schedule's steps are wide, the reference takes roots of negative numbers
        _betas(cls)
    _add(cls, "v", V)
    for kind in ("karras", "exponential", "beta"):
        _add(cls, kind, **{f"use_{kind}_sigmas": True})
for cls in (DPM2, DPM2_ANCESTRAL):
    _add(cls, "karras-leading", use_karras_sigmas=True, timestep_spacing="leading", steps_offset=1)
_add(DEIS, "x0", X0)
_add(DEIS, "threshold", thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5)
_add(DEIS, "higher-final", lower_order_final=False)
_add(DEIS, "midpoint", algorithm_type="dpmsolver++", solver_type="midpoint")
for order in (1, 3):
    _add(DEIS, f"order-{order}", solver_order=order)
for algorithm in ("dpmsolver++", "dpmsolver", "sde-dpmsolver++"):
    ends = {} if algorithm.endswith("++") else {"final_sigmas_type": "sigma_min"}
    for order in (1, 2, 3):
        for kind in ("midpoint", "heun"):
            # The published sign of the stochastic third order magnifies rounding, the more the longer the run.
            few = {"num_inference_steps": 6} if (algorithm, order, kind) == ("sde-dpmsolver++", 3, "heun") else None
            options = {"algorithm_type": algorithm, "solver_order": order, "solver_type": kind}
            _add(SINGLE, f"{algorithm}-{order}-{kind}", ends, options, set=few)
    _add(SINGLE, f"{algorithm}-v", ends, V, algorithm_type=algorithm)
    _add(SINGLE, f"{algorithm}-x0", ends, X0, algorithm_type=algorithm)
_add(SINGLE, "threshold", thresholding=True, dynamic_thresholding_ratio=0.8, sample_max_value=1.5)
_add(SINGLE, "lower-final", lower_order_final=True, final_sigmas_type="sigma_min")
_add(SINGLE, "lower-final-3", lower_order_final=True, final_sigmas_type="sigma_min", solver_order=3)
_add(SINGLE, "higher-final", final_sigmas_type="sigma_min")
_add(SINGLE, "lambda-clipped", beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1)
_add(SINGLE, "custom", set={"timesteps": ALIGNED_TIMESTEPS})
_add(SINGLE, "deis", algorithm_type="deis", solver_type="logrho", final_sigmas_type="sigma_min")
for schedule in ("karras", "exponential"):
    _add_edm(f"{schedule}", sigma_schedule=schedule)
    _add_edm(f"{schedule}-v", V, sigma_schedule=schedule, sigma_data=1.0, sigma_max=120.0)
_add_edm("sigma-min", final_sigmas_type="sigma_min", rho=5.0)
_add_edm("churn", step={"s_churn": 5.0, "s_tmin": 0.1, "s_noise": 1.01})


for cls in (DPM, SINGLE, UNIPC, DEIS):
    for shift in (1.0, 3.0):
        # The reference's DEIS divides by α, 1/1000 at first, in float32: the fewer steps, the more of that is left.
        many = {"num_inference_steps": 50} if cls == DEIS else None
        _add(cls, f"flow-{shift:g}", FLOW_PREDICTION, flow_shift=shift, set=many)
for options in ({"solver_order": 3}, {"algorithm_type": "sde-dpmsolver++"}, {"solver_type": "heun"}):
    _add(DPM, f"flow-{'-'.join(map(str, *options.items()))}", FLOW_PREDICTION, options, flow_shift=3.0)
_add(DPM, "flow-dynamic", FLOW_PREDICTION, use_dynamic_shifting=True, set={"num_inference_steps": 12, "mu": 0.8})
for name, options in {
    "plain": {},
    "sd3": {"shift": 3.0},
    "terminal": {"shift": 3.0, "shift_terminal": 0.1},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True, "shift": 3.0},
    "beta": {"use_beta_sigmas": True},
    "stochastic": {"stochastic_sampling": True, "shift": 3.0},
    "inverted": {"invert_sigmas": True},
}.items():
    _add_flow(name, **options)
for kind in ("exponential", "linear"):
    for terminal in (None, 0.02):
        options = {"use_dynamic_shifting": True, "time_shift_type": kind, "shift_terminal": terminal}
        _add_flow(f"dynamic-{kind}-{terminal}", options, set={"num_inference_steps": 20, "mu": 0.9})
_add_flow("dynamic-sigmas", use_dynamic_shifting=True, set={"sigmas": np.linspace(1, 1 / 8, 8).tolist(), "mu": 1.15})
_add_flow("sigmas", shift=3.0, set={"sigmas": [1.0, 0.9, 0.6, 0.2], "num_inference_steps": 4})
_add_flow("timesteps", shift=3.0, set={"timesteps": [1000.0, 750.0, 300.0]})
for shift in (1.0, 3.0):
    _add_flow(f"{shift:g}", cls=FLOW_HEUN, shift=shift)
_add_flow("churn", cls=FLOW_HEUN, shift=3.0, step={"s_churn": 5.0, "s_tmin": 0.999, "s_noise": 1.01})
_add_flow("two", cls=SCM, set={"num_inference_steps": 2})
_add_flow("two-given", cls=SCM, set={"num_inference_steps": 2, "max_timesteps": 1.5, "intermediate_timesteps": 1.1})
for steps in (1, 2, 4):
    evenly = {"num_inference_steps": steps, "intermediate_timesteps": None}
    _add_flow(f"{steps}-evenly", cls=SCM, sigma_data=0.8, set=evenly)
custom = {"timesteps": [1.57, 1.2, 0.6, 0.0], "max_timesteps": None, "intermediate_timesteps": None}
_add_flow("custom", cls=SCM, set={"num_inference_steps": 3, **custom})


def pseudo_model(sample: np.ndarray, timestep: float, prediction_type: str) -> np.ndarray:
    """A smooth, nonlinear stand-in for a UNet: bounded slopes, of the size of what it predicts, dependent on time."""
    wave = np.sin(1.3 * sample + timestep / 300)
    return 0.9 * sample + 0.2 * wave if prediction_type == "epsilon" else 0.4 * wave + 0.1 * sample


class Trajectory(NamedTuple):
    timesteps: np.ndarray
    samples: list[np.ndarray]  # after each step
    init_noise_sigma: float


def trajectory(
    scheduler: Any,
    run: dict[str, Any],
    native: Callable[[np.ndarray], Any] = np.asarray,
    dtype: type = np.float32,
    begin: int = 0,
    **step: Any,
) -> Trajectory:
    """Run a scheduler, ours or the reference's, from fixed noise and with the pseudo-model.

    `native` makes the scheduler's kind of array; the noise of its steps is whatever it draws. With `begin` the run
    starts there, from a picture with that much noise.
    """
    scheduler.set_timesteps(**run)
    noise = np.random.default_rng(SEED).standard_normal(SHAPE).astype(np.float32).astype(dtype)
    sigma = float(getattr(scheduler, "init_noise_sigma", 1.0))  # the reference's flow scheduler has none
    sample, samples, timesteps = native(noise) * sigma, [], scheduler.timesteps[begin:]
    if type(scheduler).__name__ == SCM:  # which also has where the last step ends
        timesteps = timesteps[:-1]
    if begin:
        if hasattr(scheduler, "set_begin_index"):  # the reference's DDIM has none
            scheduler.set_begin_index(begin)
        picture = np.random.default_rng(NOISE_SEED).standard_normal(SHAPE).astype(np.float32)
        if hasattr(scheduler, "add_noise"):
            sample = scheduler.add_noise(native(picture), native(noise), timesteps[:1])
        else:  # the reference's flow scheduler
            sample = scheduler.scale_noise(native(picture), timesteps[:1], native(noise))
    for timestep in timesteps:
        scale = getattr(scheduler, "scale_model_input", lambda sample, timestep: sample)
        scaled = np.asarray(scale(sample, timestep))
        output = pseudo_model(scaled, float(timestep), scheduler.config.get("prediction_type", "flow_prediction"))
        sample = scheduler.step(native(output), timestep, sample, **step)[0]
        samples.append(np.asarray(sample))
    return Trajectory(np.asarray(scheduler.timesteps), samples, sigma)


def picked(samples: list[np.ndarray]) -> np.ndarray:
    """Five of the samples, spread over the run, the last included."""
    return np.stack([samples[i] for i in np.linspace(0, len(samples) - 1, 5).astype(int)])
