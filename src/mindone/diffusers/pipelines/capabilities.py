"""What each component of a pipeline must be able to do, whatever its class; checked when it is set."""

from collections.abc import Mapping, Sequence

from ..families.capability import NETWORK, Capability
from ..families.family import Family
from ..families.registry import load
from ..models.base import Model
from ..schedulers.configured import check_levels
from .checks import is_network
from .published_denoiser import publish

CAPABILITIES: Mapping[str, Capability] = {
    "vae": Capability(
        "an autoencoder, such as AutoencoderKL", ("decode_with", "scale"), ("latent_channels", "scaling_factor")
    ),
    "scheduler": Capability(
        "a scheduler, such as DDIMScheduler",
        ("set_timesteps", "step", "scale_model_input", "config", "order", "init_noise_sigma"),
    ),
    "safety_checker": Capability(
        "a StableDiffusionSafetyChecker, or a function to call as checker(images=…, clip_input=…)",
        is_called=True,
        keywords=("images", "clip_input"),
    ),
    "feature_extractor": Capability(
        "an image processor, such as mindone.transformers.CLIPImageProcessor", is_called=True
    ),
    "image_encoder": Capability(
        "an image encoder, such as CLIPVisionModelWithProjection",
        NETWORK,
        ("image_size", "hidden_size", "projection_dim"),
    ),
    "controlnet": Capability("a ControlNetModel, or a list of them", ("embed_condition", "residuals", "skip_channels")),
    "depth_estimator": Capability("a depth estimator: a function of pixel values", is_called=True),
}
"""By component name, for components that families share. Components listed neither here nor there may be anything."""


_OF_IMAGE_PROMPTS = ("image_encoder", "feature_extractor")
"""The components that IP-Adapters need."""


def accepted(pipeline: str, family: Family, name: str, component: object) -> object:
    """A component as a pipeline keeps it: a list of ControlNets becomes one that runs them all, a denoiser gets its
    published methods; see `check_component`.

    Raises:
        ValueError: it is of the wrong kind.
    """
    if name == "controlnet":
        if family.controlnets is None:
            raise ValueError(f"{pipeline} takes no ControlNets: {family.title} has none here")
        if component is None:
            raise ValueError(f"{pipeline} needs a controlnet: a ControlNetModel, or a list of them")
        if isinstance(component, (list, tuple)):
            component = load(family.controlnets)(component)
    if name in _OF_IMAGE_PROMPTS and component is not None:
        check_image_prompts(pipeline, family, [name])
    check_component(pipeline, family, name, component)
    if name == "scheduler" and component is not None:
        config = getattr(component, "config", {})  # checked above to be there
        check_levels(type(component).__name__, config, f"{family.title} networks", family.noise_levels)
    if name == family.denoiser and isinstance(component, Model):
        publish(type(component), family)
    return component


def check_image_prompts(pipeline: str, family: Family, given: Sequence[str]) -> None:
    """Refuse what is for IP-Adapters, by its names, if the family has none.

    Raises:
        ValueError: something was given.
    """
    if given and family.image_prompts is None:
        raise ValueError(
            f"{pipeline} takes no IP-Adapters: {family.title} has none here; leave out {' and '.join(given)}"
        )


def check_component(pipeline: str, family: Family, name: str, component: object) -> None:
    """Check that a component can play its part in the pipeline; None stands for an absent one.

    Args:
        pipeline: the pipeline's name, for the message.
        family: the pipeline's family.
        name: the component's name: ``vae``, ``scheduler`` and so on.
        component: the value to set.

    Raises:
        ValueError: it lacks methods, attributes or entries of its config; the message lists them.
    """
    capability = family.capabilities.get(name) or CAPABILITIES.get(name)
    if component is None or capability is None:
        return
    if name == "controlnet" and hasattr(component, "nets"):
        for net in component.nets:
            check_component(pipeline, family, name, net)
        return
    if name == "safety_checker" and is_network(component):
        capability = Capability(capability.kind, ("array", "concept_embeds", "special_care_embeds"))
    if isinstance(component, type):
        raise ValueError(f"{pipeline}.{name} must be {capability.kind}; got the class {component.__name__} itself")
    if lacks := capability.missing(component):
        of_torch = any(base.__module__.partition(".")[0] == "torch" for base in type(component).__mro__)
        given = f"{'a PyTorch ' * of_torch}{type(component).__name__}"
        raise ValueError(f"{pipeline}.{name} must be {capability.kind}; got {given}, which lacks {', '.join(lacks)}")
