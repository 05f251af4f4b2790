"""Write networks.npz, the reference's outputs for `network_cases`: python tests/golden/make_networks.py"""

import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import reference_networks  # noqa: E402
from checkpoints import write_model  # noqa: E402
from network_cases import CASES  # noqa: E402

if __name__ == "__main__":
    golden = {}
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            network = reference_networks.load(case, write_model(case.cls, case.config, Path(folder)))
            for i, output in enumerate(reference_networks.run(case, network)):
                golden[f"{name}.{i}"] = output
    np.savez_compressed(HERE / "networks.npz", **golden)
