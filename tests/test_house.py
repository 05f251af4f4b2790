"""The layout of the code: imports run one way."""

import ast
from pathlib import Path

import pytest

import mindone.diffusers

PACKAGE = Path(mindone.diffusers.__file__).parent
LAYERS = {
    "cli": {"bench", "jobs", "utils"},
    "bench": {"jobs", "pipelines", "models", "schedulers", "loading", "engines", "utils"},
    "jobs": {"pipelines", "models", "schedulers", "utils"},
    "pipelines": {"acceleration", "adapters", "models", "schedulers", "loading", "engines", "utils"},
    "acceleration": {"models", "functional", "engines", "utils"},
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


@pytest.mark.parametrize("part", LAYERS)
def test_imports_run_one_way(part):
    files = [PACKAGE / f"{part}.py"] if (PACKAGE / f"{part}.py").exists() else (PACKAGE / part).rglob("*.py")
    for path in files:
        assert imported(path) <= LAYERS[part] | {part}, path
