"""A process may load and release models as often as it likes: the memory maps that it needs do not grow in number."""

import gc
import sys
from pathlib import Path

import pytest

from mindone.diffusers.engines.openvino.memory_maps import neighbours
from tiny_pipelines import checkpoint, images_of, load

pytestmark = pytest.mark.heavy

MAPS = """\
1000-2000 rw-p 00000000 00:00 0                          [heap]
2000-3000 rw-p 00000000 00:00 0                          [heap]
3000-5000 rw-p 00000000 00:00 0                          [heap]
5000-6000 rwxp 00000000 00:00 0
6000-7000 rw-p 00000000 00:00 0
8000-9000 rw-p 00000000 00:00 0
9000-a000 rw-p 00000000 00:00 0
a000-b000 rw-p 00000000 08:01 17                         /usr/lib/libc.so.6
b000-c000 r--p 00000000 08:01 18                         /tmp/a name with spaces
"""


def test_maps_that_touch_are_found_where_they_are_of_no_file():
    assert list(neighbours(MAPS.splitlines())) == [(0x1000, 0x5000), (0x8000, 0xA000)]
    assert list(neighbours([])) == []


@pytest.mark.compiles
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts maps")
def test_models_that_are_loaded_and_released_leave_no_maps_behind():
    def after_a_model() -> int:
        pipe = load(checkpoint("sd1"))
        images_of(pipe)
        pipe.release()
        del pipe
        gc.collect()
        return len(Path("/proc/self/maps").read_text().splitlines())

    after_a_model()
    first, *_, last = [after_a_model() for _ in range(4)]
    assert last - first < 60  # over 300 without `merge_maps`; the heap may grow by a few pieces


def test_networks_that_openvino_runs_take_no_memory_for_mindspores_weights():
    """MindSpore would fill parameters with zeros, which take memory where that of a network before is used again."""
    pipe = load(checkpoint("sd1"))
    images_of(pipe)
    networks = [each for each in pipe.components.values() if hasattr(each, "parameters_and_names")]
    parameters = [parameter for each in networks for _, parameter in each.parameters_and_names()]
    assert len(networks) == 3 and all(parameter.has_init for parameter in parameters)
