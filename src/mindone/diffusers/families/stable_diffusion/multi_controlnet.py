"""Several ControlNets on one UNet: their residuals are summed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from ...utils.files import folder_to_write
from .controlnet import ControlNetModel


class MultiControlNetModel:
    """ControlNets in the order of their pictures in a pipeline's call.

    On disk they are sibling folders: ``controlnet``, ``controlnet_1``, ``controlnet_2`` …
    """

    network: ClassVar = ControlNetModel
    """The class of a single one."""

    def __init__(self, controlnets: Sequence[ControlNetModel]):
        if not controlnets or not all(isinstance(net, ControlNetModel) for net in controlnets):
            kinds = ", ".join(type(net).__name__ for net in controlnets) or "none"
            raise ValueError(f"MultiControlNetModel takes a list of at least one ControlNetModel, got {kinds}")
        self.nets = tuple(controlnets)

    @classmethod
    def from_folder(cls, folder: Path, dtype: str = "float32", variant: str | None = None) -> "MultiControlNetModel":
        """Load the ControlNets from ``folder`` and its siblings, numbered from 1."""
        folders = [folder]
        while (following := folder.with_name(f"{folder.name}_{len(folders)}")).is_dir():
            folders.append(following)
        return cls([ControlNetModel.from_folder(each, dtype, variant) for each in folders])

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
    ) -> None:
        """Write each ControlNet into a folder: the given one, and siblings numbered from 1.

        Args:
            save_directory: the first one's folder.
            safe_serialization, variant, max_shard_size: as in `ControlNetModel.save_pretrained`.
        """
        first = folder_to_write(save_directory).resolve()
        for i, net in enumerate(self.nets):
            net.save_pretrained(
                first.with_name(f"{first.name}_{i}") if i else first,
                safe_serialization=safe_serialization,
                variant=variant,
                max_shard_size=max_shard_size,
            )
