"""What the documentation shows is run: every Python snippet as it stands, and every command as far as its options.

Its links lead somewhere, its tables can be made, and it keeps to the words that people search for.

The snippets of a page run in order, in one namespace and an empty folder, on the bundled checkpoints; hub ids lead to
tiny checkpoints in a hub cache. The files of `examples/` run the same way in `test_examples`.
"""

import ast
import errno
import importlib.util
import os
import re
import shlex
import unicodedata
from pathlib import Path

import click
import pytest

from documented import ROOT, documented_hub, tiny_bundled
from mindone.diffusers.cli import main
from mindone.diffusers.loading import hub as bundled
from mindone.diffusers.loading.hub import CHECKPOINTS
from mindone.diffusers.loading.words import known_words, names_any
from mindone.diffusers.utils.environment import VARIABLES
from test_pipelines_snippet import SNIPPET

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(mindone-diffusers [a-z][^`]*|python [\w/]+\.py[^`]*)`")


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    return [code for language, code in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands(page: Path) -> list[str]:
    """The commands that a page shows, in blocks and in its text."""
    text = page.read_text(encoding="utf-8")
    shown = [" ".join(code.split()) for code in INLINE.findall(FENCE.sub("", text))]
    for block in blocks(page, "sh"):
        lines = block.replace("\\\n", " ").splitlines()
        shown += [part.strip() for line in lines for part in re.split(r"&&| \| ", line)]
    return [command for command in shown if command.startswith(("mindone-diffusers ", "python "))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


NEED_A_SERVER = [ROOT / "docs" / "serve.md"]
"""Their snippets are run by `test_server_clients`."""
ABOUT_CALLS = [
    "auto-pipeline",
    "batch",
    "controlnet",
    "engines",
    "from-diffusers",
    "how-it-works",
    "image-to-image",
    "inpainting",
    "ip-adapter",
    "jobs",
    "lora",
    "memory",
    "prompt-weights",
    "schedulers",
    "single-files",
    "speed",
    "steering",
    "textual-inversion",
    "training-files",
    "tune",
]
"""Pages that show calls and no numbers of the bundled checkpoints: there these are tiny ones, as hub ids are."""
WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page not in NEED_A_SERVER]
WITH_COMMANDS = [page for page in PAGES if commands(page)]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The hub ids of the pages lead to tiny checkpoints."""
    with documented_hub(tmp_path_factory.mktemp("hub")):
        yield


@pytest.fixture(scope="module")
def tiny_icons(tmp_path_factory):
    return tiny_bundled(tmp_path_factory.mktemp("bundled"))


@pytest.mark.heavy
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_snippets_run_as_they_are_shown(page, tmp_path, monkeypatch, hub, tiny_icons):
    monkeypatch.chdir(tmp_path)
    if page.stem in ABOUT_CALLS:
        monkeypatch.setattr(bundled, "CHECKPOINTS", tiny_icons)
    namespace = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        exec(compile(block, name(page), "exec"), namespace)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_commands_have_the_options_that_are_shown(page):
    for command in commands(page):
        program, *words = shlex.split(command, comments=True)
        if program == "python":
            assert (ROOT / words[0]).is_file(), command
            continue
        known = main.get_command(click.Context(main), words[0])
        assert known is not None, command
        if words[1:] != ["--help"]:
            known.make_context(words[0], words[1:])  # raises for an option or a choice that does not exist


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "index.md"], ids=name)
def test_the_guides_snippet_is_shown_word_for_word(page):
    assert SNIPPET.strip() in page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The addresses of a page's headings, as the site makes them."""
    found = set()
    for title in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        letters = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
        found.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", letters).strip().lower()))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings_of_the_project(page):
    for target, _, heading in re.findall(
        r"\]\((?!https?:)([^)#]*)(#([^)]+))?\)", FENCE.sub("", page.read_text(encoding="utf-8"))
    ):
        file = page.parent / target if target else page
        assert file.exists(), target
        if heading and not heading.startswith("mindone."):
            assert heading in anchors(file), f"{target}#{heading}"


def test_the_api_reference_names_modules_that_exist():
    texts = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")]
    named = [module for text in texts for module in re.findall(r"^::: (\S+)$", text, re.MULTILINE)]
    assert len(named) > 100
    assert [module for module in named if importlib.util.find_spec(module) is None] == []


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_that_the_code_knows_have_rows(tables):
    marks = [mark for page in PAGES for mark in tables.MARK.findall(page.read_text(encoding="utf-8"))]
    assert {mark for mark, _ in marks} == set(tables.TABLES)
    for mark, arguments in marks:
        lines = tables.table(mark, *arguments.split()).splitlines()
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(lines) > 2 and len(columns) == 1, (mark, arguments)


def test_tables_of_fields_and_options_describe_each_and_give_its_default(tables):
    rows = tables.table("fields", "generation").splitlines()[2:]
    assert [row for row in rows if re.match(r"\| `\w+` \|  \|", row)] == []
    seed = next(row for row in tables.table("fields", "job").splitlines() if row.startswith("| `seed`"))
    model = next(row for row in tables.table("options", "serve").splitlines() if row.startswith("| `--model "))
    assert seed.endswith("| random |") and model.endswith("| icons |")


def test_the_site_shows_the_file_for_contributors_with_links_that_fit(tables):
    shown = tables.on_page_markdown((ROOT / "docs" / "contributing.md").read_text(encoding="utf-8"))
    assert shown.startswith("# Contributing") and "](architecture.md)" in shown and "](docs/" not in shown


def messages() -> str:
    """Every text of the package's code, one per line, with … for what is put into it."""
    found = [os.strerror(errno.EADDRINUSE)]
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_troubleshooting_quotes_what_the_code_says():
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)
    quoted = [text for cell in cells for pair in re.findall(r'"([^"]+)"|`([^`]+)`', cell) for text in pair if text]
    parts = [part.strip(" :;,") for text in quoted for part in re.split(r"…|\d[\d.]*×?", text)]
    sentences = [part for part in parts if " " in part]
    assert len(sentences) > 20
    said = messages()
    assert [part for part in sentences if part not in said] == ["uvicorn is missing"]  # any module may be missing


def test_the_packages_environment_variables_are_declared():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert set(re.findall(r"\"(MINDONE_\w+)\"", source)) == {variable.name for variable in VARIABLES}


AVOIDED = re.compile(
    r"\b(foretells?|foretold|worn|heeds?|told|spared|so many|of which|what is said|well-known web)\b", re.IGNORECASE
)
"""Words that nobody searches for, or that one stumbles over when reading aloud."""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_use_words_that_people_search_for(page):
    assert AVOIDED.findall(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name)
def test_prompts_for_the_bundled_model_name_what_it_knows(page):
    words = known_words(CHECKPOINTS / "icons")
    for command in commands(page):
        program, *given = shlex.split(command, comments=True)
        if program == "mindone-diffusers" and given[0] == "generate" and not {"--model", "--help"} & {*given}:
            assert names_any(given[1], words), command


def test_the_integration_runs_the_commands_of_the_readme():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    draw, test = blocks(ROOT / "README.md", "sh")[:2]
    for command in (*draw.split("&&")[1:], *test.split("&&")[1:]):
        assert command.strip() in run


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
