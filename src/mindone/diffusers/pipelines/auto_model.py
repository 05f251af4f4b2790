"""A network of the class that its config names."""

import os
from typing import Any

from ..models.base import Model
from .components import component_class, is_known_network, known_networks
from .published_denoiser import UNet2DConditionModel as UNet2DConditionModel  # with its published methods


class AutoModel:
    """``AutoModel.from_pretrained(…, subfolder="vae")`` loads the class that ``config.json`` names."""

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | os.PathLike[str],
        *,
        subfolder: str | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **options: Any,
    ) -> Model:
        """Load a network; the arguments are those of `Model.from_pretrained`.

        Raises:
            ValueError: the config names no class, or one that is no network in this library.
            FileNotFoundError: no such model.
        """
        where: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "token": token}
        where["local_files_only"] = local_files_only
        config = Model.load_config(path_or_id, subfolder=subfolder, **where)
        name = config.get("_class_name") or (config.get("architectures") or [None])[0]
        if not is_known_network(str(name)):
            known = ", ".join(known_networks())
            raise ValueError(f"{path_or_id}: config.json names {name!r}, which is no network here; supported: {known}")
        network: Model = component_class(name).from_pretrained(path_or_id, subfolder=subfolder, **where, **options)
        return network
