"""The layout of the code: imports run one way."""

import ast
import re
from pathlib import Path

import pytest

import mindone.diffusers

PACKAGE = Path(mindone.diffusers.__file__).parent
LAYERS = {
    "cli": {"batch", "bench", "tune", "jobs", "loading", "server", "utils"},
    "tune": {"bench", "jobs", "pipelines", "acceleration", "models", "schedulers", "loading", "engines", "utils"},
    "server": {"jobs", "pipelines", "schedulers", "engines", "utils"},
    "batch": {"jobs", "pipelines", "utils"},
    "bench": {"jobs", "pipelines", "acceleration", "models", "schedulers", "loading", "engines", "utils"},
    "jobs": {"prompts", "pipelines", "acceleration", "models", "schedulers", "loading", "utils"},
    "prompts": {"pipelines", "engines"},
    "pipelines": {"acceleration", "adapters", "models", "schedulers", "loading", "engines", "utils"},
    "acceleration": {"models", "schedulers", "functional", "loading", "engines", "utils"},
    "adapters": {"models", "schedulers", "functional", "loading", "engines", "utils"},
    "models": {"functional", "engines", "loading", "utils"},
    "functional": {"engines"},
    "engines": {"utils"},
    "schedulers": {"loading", "utils"},
    "loading": {"utils"},
    "utils": set(),
}
"""What each part may import; the package's own lazy names count as nothing."""


def imported(path: Path) -> set[str]:
    """The parts of the package that a file imports, anywhere in it."""
    depth = len(path.relative_to(PACKAGE).parts)
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            parts |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    return parts & LAYERS.keys()


FILES = sorted(PACKAGE.rglob("*.py"))


def test_types_are_real():
    words = sum(len(re.findall(r"\bAny\b", path.read_text(encoding="utf-8"))) for path in FILES)
    assert words < 150


@pytest.mark.parametrize("part", LAYERS)
def test_imports_run_one_way(part):
    files = [PACKAGE / f"{part}.py"] if (PACKAGE / f"{part}.py").exists() else (PACKAGE / part).rglob("*.py")
    for path in files:
        assert imported(path) <= LAYERS[part] | {part}, path
