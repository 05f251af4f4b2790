"""Pictures fitted into a size, however narrow they are."""

import pytest
from PIL import Image

from mindone.diffusers.pipelines.regions import fill_whole, fit_inside


@pytest.mark.parametrize("size", [(1, 300), (1, 4096), (4096, 1), (1, 1)])
def test_a_narrow_picture_is_fitted_with_its_edges_drawn_out(size):
    fitted = fit_inside(Image.new("RGB", size, "red"), 24, 8)
    assert fitted.size == (24, 8) and fitted.getcolors() == [(24 * 8, (255, 0, 0))]


def test_a_narrow_picture_fills_a_size_only_within_bounds():
    assert fill_whole(Image.new("RGB", (1, 300)), 24, 8).size == (24, 8)
    for size in ((1, 4096), (4096, 1)):
        with pytest.raises(ValueError, match=rf"a picture of {size[0]}×{size[1]} is too narrow to fill 512×512"):
            fill_whole(Image.new("RGB", size), 512, 512)
