"""Jobs: the settings of an image as data. The same job gives the same image everywhere: Python, command line, batch,
request.

    job = Job(prompt="a rocket on a blue background", seed=0)
    images = draw(load(job), job)

``png`` writes a job into an image file and reads it back. No engine is imported before it is needed.
"""

from .fields import Fields, Option
from .job import Drawing, Job, PipelineKey
from .loaded import LoadedPipelines
from .run import draw, draw_together, load, settled, warnings_of

__all__ = [
    "Drawing",
    "Fields",
    "Job",
    "LoadedPipelines",
    "Option",
    "PipelineKey",
    "draw",
    "draw_together",
    "load",
    "settled",
    "warnings_of",
]
