"""What a scheduler's step returns."""

from dataclasses import dataclass

from ..utils.arrays import Array
from ..utils.outputs import BaseOutput


@dataclass(eq=False)
class SchedulerOutput(BaseOutput):
    """The sample after a step: ``output.prev_sample``, ``output["prev_sample"]`` or ``output[0]``."""

    prev_sample: Array
    """The sample at the next, less noisy timestep, in the given sample's shape and type."""
    pred_original_sample: Array | None = None
    """The clean sample x₀ as the model sees it now. ``step`` always sets it."""


Stepped = SchedulerOutput | tuple[Array, ...]
"""What ``step`` returns: an output, or with ``return_dict=False`` the tuple of its entries."""
