"""A broken checkpoint draws all the same, or says in one line what is wrong; benchmarks/ has this by the thousand."""

import pytest

from mindone.diffusers.families.convert import folder_to_file
from mutations import attempt, attempt_file, attempt_gguf
from tiny_gguf import transformer_file
from tiny_pipelines import checkpoint

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("first", range(0, 24, 6))
def test_a_broken_checkpoint_draws_or_is_explained_in_one_line(first, tmp_path):
    for seed in range(first, first + 6):
        family = ("sd1", "sdxl")[seed % 2]
        outcome, told = attempt(checkpoint(family, safety_checker=family == "sd1"), tmp_path / str(seed), seed)
        assert outcome in ("drew", "explained"), told


@pytest.mark.parametrize("first", range(0, 24, 12))
def test_a_broken_single_file_draws_or_is_explained_in_one_line(first, tmp_path):
    for family in ("sd1", "sdxl"):
        folder_to_file(checkpoint(family), tmp_path / f"{family}.safetensors")
    for seed in range(first, first + 12):
        file = tmp_path / f"{('sd1', 'sdxl')[seed % 2]}.safetensors"
        outcome, told = attempt_file(file, tmp_path / str(seed), seed)
        assert outcome in ("drew", "explained"), told


def test_a_broken_gguf_file_draws_or_is_explained_in_one_line(tmp_path):
    for seed in range(12):
        outcome, told = attempt_gguf(transformer_file(), tmp_path / str(seed), seed)
        assert outcome in ("drew", "explained"), told
