"""What the bundled model knows: its list, the command that prints it, and the hint for prompts with nothing of it."""

import pytest
from click.testing import CliRunner

from mindone.diffusers.cli import main
from mindone.diffusers.jobs import Job
from mindone.diffusers.jobs.checks import unknown_words
from mindone.diffusers.loading.hub import CHECKPOINTS
from mindone.diffusers.loading.words import known_words, names_any
from tiny_pipelines import checkpoint


def run(*words: str):
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("name", ["icons", "icons-distilled"])
def test_the_list_has_the_labels_that_the_model_was_trained_on(name):
    words = known_words(CHECKPOINTS / name)
    assert len(words) == 1376
    assert {"rocket", "cat face", "hot beverage", "person: beard"} <= words.keys()
    assert "kitten" in words["cat face"]


@pytest.mark.parametrize(
    "prompt", ["a rocket", "A Cat Face on a pink background", "a lemon and a rocket", "two pandas", "a coffee"]
)
def test_a_prompt_that_names_something_known_gets_no_hint(prompt):
    assert unknown_words(Job(prompt=prompt)) is None


@pytest.mark.parametrize(
    "prompt", ["a golden vase", "a watercolour of a harbour", "on a yellow background", "rocketry"]
)
def test_a_prompt_that_names_nothing_known_gets_one_line(prompt):
    hint = unknown_words(Job(prompt=prompt))
    assert hint is not None and "\n" not in hint and prompt in hint and "models icons --words" in hint


def test_other_models_list_no_words_and_get_no_hint():
    folder = checkpoint("sd1")
    assert known_words(folder) == {} and not names_any("a rocket", {})
    assert unknown_words(Job(prompt="anything", model=str(folder))) is None
    done = run("models", str(folder), "--words")
    assert done.exit_code == 1 and "has no list of words" in done.output


def test_the_command_prints_the_list_and_one_model():
    lines = run("models", "icons", "--words").output.splitlines()
    assert len(lines) == 1376 and "cat face (kitten, kitty)" in lines
    done = run("models", "icons")
    assert "icons " in done.output and "icons-distilled" not in done.output
    assert run("models", "iconz").exit_code == 1 and run("models", "--words").exit_code == 2
