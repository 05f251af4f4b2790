"""A broken checkpoint draws all the same, or says in one line what is wrong; benchmarks/ has this by the thousand."""

import pytest

from mutations import attempt
from tiny_pipelines import checkpoint


@pytest.mark.parametrize("first", range(0, 24, 6))
def test_a_broken_checkpoint_draws_or_is_explained_in_one_line(first, tmp_path):
    for seed in range(first, first + 6):
        family = ("sd1", "sdxl")[seed % 2]
        outcome, told = attempt(checkpoint(family, safety_checker=family == "sd1"), tmp_path / str(seed), seed)
        assert outcome in ("drew", "explained"), told
