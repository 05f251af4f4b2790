"""A batch: every prompt with every seed, each image once; run it again and nothing is left to do."""

from pathlib import Path

from PIL import Image

from mindone.diffusers.batch import Row, make_jobs, run
from mindone.diffusers.utils import make_image_grid

rows = [Row({"prompt": f"{subject} on a blue background"}, subject) for subject in ("a rocket", "a panda")]
jobs = make_jobs(rows, axes={"seed": [0, 1]}, defaults={"steps": 5})
summary = run(jobs, "batch")
print(f"generated {summary.drawn}, {summary.kept} existed, {len(summary.failed)} failed")

images = [Image.open(path) for path in sorted(Path("batch").glob("*.png"))]
make_image_grid(images, rows=2, cols=2).save("batch.png")
