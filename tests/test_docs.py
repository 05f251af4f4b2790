"""What the documentation shows is run: every Python snippet as it stands, and every command as far as its options.

The snippets of a page run in order, in one namespace and an empty folder, on the bundled checkpoints; hub ids lead to
tiny checkpoints in a hub cache. The files of `examples/` run the same way in `test_examples`.
"""

import re
import shlex
from pathlib import Path

import click
import pytest

from documented import ROOT, documented_hub
from mindone.diffusers.cli import main
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
        shown += [part.strip() for line in lines for part in line.split("&&")]
    return [command for command in shown if command.startswith(("mindone-diffusers ", "python "))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


NEED_A_SERVER = [ROOT / "docs" / "serve.md"]
"""Their snippets are run by `test_server_clients`."""
WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page not in NEED_A_SERVER]
WITH_COMMANDS = [page for page in PAGES if commands(page)]


@pytest.fixture(scope="module", autouse=True)
def hub(tmp_path_factory):
    """The hub ids of the pages lead to tiny checkpoints."""
    with documented_hub(tmp_path_factory.mktemp("hub")):
        yield


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_snippets_run_as_they_are_shown(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_to_files_of_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        assert (page.parent / target).exists(), target
