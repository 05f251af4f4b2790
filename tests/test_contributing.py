"""The recipes of CONTRIBUTING.md, followed in a copy of the package: they name the right files, and all of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mindone.diffusers

pytestmark = pytest.mark.heavy

PACKAGE = Path(mindone.diffusers.__file__).parent


@pytest.fixture
def copy(tmp_path):
    """A copy of the package whose files can be changed; the bundled checkpoints are linked."""
    package = tmp_path / "src" / "mindone" / "diffusers"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("checkpoints", "__pycache__"))
    (package / "checkpoints").symlink_to(PACKAGE / "checkpoints")
    return package


def add_line(path: Path, after: str, line: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(after) == 1
    path.write_text(text.replace(after, f"{after}\n{line}"), encoding="utf-8")


def run(copy: Path, *words: str) -> str:
    # The library's path rules out the installed package, which may be one that is being edited.
    script = f"import sys; sys.path.insert(0, {str(copy.parent.parent)!r}); " + (
        "import mindone; mindone.__path__ = [sys.path[0] + '/mindone']; exec(sys.argv.pop(1))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        cwd=copy.parent.parent.parent,
        env={**os.environ, "MINDONE_ENGINE": "openvino"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


JUMP = '''
"""Predicts the clean sample, and jumps half of the way there."""

from .options import NOISE_SCHEDULE, SPACING, fields
from .output import SchedulerOutput
from .variance_preserving import VariancePreserving


class JumpScheduler(VariancePreserving):
    defaults = fields(NOISE_SCHEDULE, SPACING)

    def step(self, model_output, timestep, sample, generator=None, return_dict=True):
        x0 = self.predict_original(model_output, timestep, sample)
        return SchedulerOutput(0.5 * sample + 0.5 * x0, x0)
'''


def test_a_scheduler_is_one_file_and_one_line(copy):
    schedulers = copy / "schedulers"
    (schedulers / "jump.py").write_text(JUMP)
    line = '    "JumpScheduler": Entry("jump", short_names=(ShortName("jump"),)),'
    add_line(schedulers / "registry.py", "LIBRARY: Mapping[str, Entry] = {", line)
    words = ["a rocket", "--scheduler", "jump", "--steps", "2", "--seed", "0", "-o", "jump.png"]
    printed = run(
        copy, "from mindone.diffusers.cli import main; main(prog_name='mindone-diffusers')", "generate", *words
    )
    assert "jump.png" in printed


def test_an_operator_is_a_function_and_a_line_per_engine(copy):
    for path, text in {
        "functional.py": "\n\ndef square(x: Array) -> Array:\n    return operations.ops.square(x)\n",
        "engines/operators.py": "\n    def square(self, x: Array) -> Array: ...\n",
        "engines/mindspore/operators.py": "\n\ndef square(x: ms.Tensor) -> ms.Tensor:\n    return x * x\n",
        "engines/openvino/operators.py": "\n\nOperators.square = lambda self, x: ov_ops.multiply(x, x)\n",
    }.items():
        with open(copy / path, "a", encoding="utf-8") as file:
            file.write(text)
    script = """
import mindspore as ms, numpy as np
from mindone.diffusers import UNet2DConditionModel, engines, functional as F
unet = UNet2DConditionModel.from_pretrained("icons", subfolder="unet")
type(unet).squared = lambda self, x: F.square(x)
x = np.array([[1, -2, 3]], np.float32)
print(engines.get("openvino").run(unet, x, method="squared").tolist())
print(engines.get("mindspore").run(unet, x, method="squared").asnumpy().tolist())
"""
    assert run(copy, script).splitlines() == ["[[1.0, 4.0, 9.0]]"] * 2
