"""Make ``editing.npz``: what diffusers draws with `editing_cases`. Needs the test extra.

    python tests/golden/make_editing.py

The images are kept as in `make_pipelines`.
"""

import sys
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).with_suffix("").with_name("editing.npz")


def main() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from editing_cases import CASES, FOLDERS, WITHOUT
    from golden.make_pipelines import stored
    from image_pipelines import draw, reference

    pipes = {name: reference(name, folder(), **WITHOUT.get(name, {})) for name, folder in FOLDERS.items()}
    results = {name: stored(draw(pipes[pipeline], **options)) for name, (pipeline, options) in CASES.items()}
    np.savez_compressed(GOLDEN, **results)
    print(f"wrote {GOLDEN} ({GOLDEN.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
