"""The layout of the code: imports run one way, and never in a circle."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import mindone.diffusers

NAME = "mindone.diffusers"
PACKAGE = Path(mindone.diffusers.__file__).parent
LAYERS = {
    "cli": {"batch", "bench", "tune", "jobs", "families", "loading", "server", "utils"},
    "tune": {
        "bench",
        "jobs",
        "pipelines",
        "acceleration",
        "families",
        "models",
        "schedulers",
        "loading",
        "engines",
        "utils",
    },
    "server": {"jobs", "pipelines", "schedulers", "engines", "utils"},
    "batch": {"jobs", "pipelines", "utils"},
    "bench": {"jobs", "pipelines", "acceleration", "families", "models", "schedulers", "loading", "engines", "utils"},
    "jobs": {
        "prompts",
        "pipelines",
        "acceleration",
        "adapters",
        "families",
        "models",
        "schedulers",
        "loading",
        "utils",
    },
    "prompts": {"pipelines", "families", "engines"},
    "pipelines": {"acceleration", "adapters", "families", "models", "schedulers", "loading", "engines", "utils"},
    "acceleration": {"families", "models", "schedulers", "functional", "loading", "engines", "utils"},
    "adapters": {"families", "models", "schedulers", "functional", "loading", "engines", "utils"},
    "families": {"models", "schedulers", "functional", "loading", "engines", "utils"},
    "models": {"functional", "engines", "loading", "utils"},
    "functional": {"engines"},
    "engines": {"utils"},
    "schedulers": {"loading", "utils"},
    "loading": {"utils"},
    "utils": set(),
}
"""What each part may import; the package's own lazy names count as nothing."""

UPWARDS: set[tuple[str, str]] = set()
"""Modules that import a part above their own all the same, by an absolute name. This list may only shrink."""

CIRCLES: list[set[str]] = []
"""Modules that still import one another, in however many steps. This list may only shrink."""

BY_NAME = {
    "lazy",
    "published_paths",
    "cli.group",
    "schedulers.registry",
    "utils.extras",
}
"""Modules that import others by strings, which no reader of imports sees. This list may only shrink."""


SAY_UNET = {
    "__init__",
    "adapters.lora_configs",
    "adapters.lora_names",
    "adapters.loras",
    "jobs.infotext",
    "models",
    "pipelines.stable_diffusion",
    "pipelines.stable_diffusion_xl",
}
"""Modules outside their families that say ``unet``: published names and files' formats. It may only shrink."""


# ---- reading imports -------------------------------------------------------------------------------------------------


def modules_of(package: Path, name: str) -> dict[str, Path]:
    """Every module of a package by its full name."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = [name, *path.relative_to(package).with_suffix("").parts]
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports_of(module: str, modules: Mapping[str, Path]) -> set[str]:
    """The modules that one imports: by relative and absolute names, inside functions, and for type checkers.

    What a package imports for type checkers alone are its lazy public names, and not counted.
    """
    path = modules[module]
    is_package = path.name == "__init__.py"
    found = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8")), skips_typing=is_package):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            named = {f"{source}.{alias.name}" for alias in node.names}
            found |= named if named <= modules.keys() else (named & modules.keys()) | {source}
    return (found & modules.keys()) - {module}


def _nodes(tree: ast.AST, skips_typing: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        is_typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (skips_typing and is_typing):
            yield node
            yield from _nodes(node, skips_typing)


def circles_of(imports: Mapping[str, set[str]]) -> list[set[str]]:
    """The largest sets of modules each of which leads to every other one."""
    reached = {module: _reachable(module, imports) for module in imports}
    circles = []
    for module, others in reached.items():
        circle = {other for other in others if module in reached[other]}
        if circle and circle not in circles:
            circles.append(circle)
    return circles


def _reachable(module: str, imports: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        new = imports[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


# ---- the rules -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    modules = modules_of(PACKAGE, NAME)
    return {
        module.removeprefix(f"{NAME}."): {each.removeprefix(f"{NAME}.") for each in imports_of(module, modules)}
        for module in modules
    }


@pytest.mark.parametrize("part", LAYERS)
def test_imports_run_one_way(part, imports):
    for module, others in imports.items():
        if module.split(".")[0] == part:
            parts = {other.split(".")[0] for other in others} & LAYERS.keys()
            allowed = LAYERS[part] | {part} | {above for each, above in UPWARDS if each == module}
            assert parts <= allowed, module


def test_no_name_stands_for_any_value():
    """A name for `Any` hides from mypy what a value is; ``mypy --strict`` sees the rest."""
    found = set()
    for module, path in modules_of(PACKAGE, NAME).items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value and ast.unparse(node.value) == "Any":
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                found.add(f"{module.removeprefix(NAME + '.')}.{ast.unparse(target)}")
    assert not found


def test_no_modules_import_one_another(imports):
    assert sorted(circles_of(imports), key=sorted) == sorted(CIRCLES, key=sorted)


def test_modules_are_imported_by_name_in_few_places():
    found = set()
    for module, path in modules_of(PACKAGE, NAME).items():
        text = path.read_text(encoding="utf-8")
        if "import_module(" in text or ("look_up(" in text and "def __getattr__(" not in text):
            found.add(module.removeprefix(f"{NAME}."))
    assert found <= BY_NAME


def test_only_its_families_know_the_unet_by_name():
    modules = modules_of(PACKAGE, NAME)
    say = {name.removeprefix(f"{NAME}.") for name, path in modules.items() if _says(path, "unet")}
    assert {module.removeprefix(NAME) or "__init__" for module in say if not module.startswith("families.stable")} <= (
        SAY_UNET
    )


def _says(path: Path, word: str) -> bool:
    return re.search(rf"\b{word}\b", path.read_text(encoding="utf-8"), re.IGNORECASE) is not None


@pytest.mark.parametrize(
    "there, back",
    [
        ("from .second import x", "from . import first"),
        ("import house.second", "from house.first import x"),
        ("def f():\n    from .part.third import x", "from .first import x"),
        ("from .second import x", "if TYPE_CHECKING:\n    from .first import x"),
    ],
)
def test_circles_of_every_kind_are_seen(tmp_path, there, back):
    (tmp_path / "part").mkdir()
    sources = {"__init__": "", "part/__init__": "", "part/third": "from .. import second", "first": there}
    for name, source in {**sources, "second": back}.items():
        (tmp_path / f"{name}.py").write_text(source)
    modules = modules_of(tmp_path, "house")
    (circle,) = circles_of({module: imports_of(module, modules) for module in modules})
    assert {"house.first", "house.second"} <= circle


def test_samplers_own_no_noise_schedule(imports):
    """β and ᾱ are the schedules' business; a sampler reads ``self.schedule``."""
    users = {module for module, others in imports.items() if "schedulers.betas" in others}
    assert users == {"schedulers.schedules"}


def test_single_files_are_opened_where_the_families_are_known(imports):
    """Elsewhere a program that has imported no pipeline yet would know no layout."""
    users = {module for module, others in imports.items() if "loading.single_file" in others}
    assert users == {"families.files", "models.base"}


def test_arguments_of_a_call_are_written_once():
    for path in (PACKAGE / "pipelines").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert node.name != "__init_subclass__", f"{path}: nothing rewrites a class from behind"
                if node.name == "__call__":
                    assert len(node.args.args) <= 10, f"{path}: declare them in calls.py"
