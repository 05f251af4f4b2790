"""What the tests' own sharing of compiled graphs must keep: see `compiled_once`."""

import gc

import numpy as np
import pytest

from compiled_once import compile_once
from tiny_pipelines import checkpoint, images_of, load

pytestmark = pytest.mark.heavy


def test_a_shared_graph_outlives_the_pipeline_that_compiled_it():
    first, second = load(checkpoint("sd1")), load(checkpoint("sd1"))
    expected = images_of(first)
    np.testing.assert_array_equal(images_of(second), expected)
    del first
    compile_once().kept.clear()
    gc.collect()
    _overwritten = [np.full(1 << 18, 7.0, np.float32) for _ in range(100)]
    np.testing.assert_array_equal(images_of(second), expected)
