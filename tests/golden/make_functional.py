"""Write functional.npz, the reference's outputs for `functional_cases`: python tests/golden/make_functional.py"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import reference_functional  # noqa: E402
from functional_cases import CASES  # noqa: E402

if __name__ == "__main__":
    np.savez_compressed(HERE / "functional.npz", **{name: reference_functional.run(CASES[name]) for name in CASES})
