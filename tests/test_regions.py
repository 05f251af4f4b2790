"""Parts of pictures: cut, fitted and pasted without a copy of the whole, and the same as with one."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mindone.diffusers.pipelines import regions
from mindone.diffusers.pipelines.image_processor import VaeImageProcessor
from mindone.diffusers.pipelines.regions import fill_whole, fit_inside, masked_region, paste_drawn, resized_part

LANCZOS = Image.Resampling.LANCZOS


def picture(mode: str, width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth random colours."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, channels), np.uint8)
    coarse = Image.fromarray(values[..., 0] if channels == 1 else values, mode)
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(params=["few", "many"])
def levels(request, monkeypatch) -> int:
    """How far apart pictures may be, which count as having few pixels or many: strips of these round otherwise."""
    if request.param == "few":
        return 0
    monkeypatch.setattr(regions, "_FEW_PIXELS", 0)
    monkeypatch.setattr(regions, "_STRIP_PIXELS", 500)
    return 2


def apart(a: Image.Image, b: Image.Image) -> int:
    """The largest difference of two pictures, in levels."""
    assert (a.size, a.mode) == (b.size, b.mode)
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


@pytest.mark.parametrize("size", [(1, 300), (1, 4096), (4096, 1), (1, 1)])
def test_a_narrow_picture_is_fitted_with_its_edges_drawn_out(size):
    fitted = fit_inside(Image.new("RGB", size, "red"), 24, 8)
    assert fitted.size == (24, 8) and fitted.getcolors() == [(24 * 8, (255, 0, 0))]


def test_a_narrow_picture_fills_a_size_only_within_bounds():
    assert fill_whole(Image.new("RGB", (1, 300)), 24, 8).size == (24, 8)
    for size in ((1, 4096), (4096, 1)):
        with pytest.raises(ValueError, match=rf"a picture of {size[0]}×{size[1]} is too narrow to fill 512×512"):
            fill_whole(Image.new("RGB", size), 512, 512)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_part_is_resized_as_if_it_had_been_cut_out(mode, levels):
    whole = picture(mode, 90, 70)
    for part in ((7, 3, 83, 61), (0, 0, 90, 70), (0, 10, 90, 20)):
        for size in ((31, 17), (200, 40), (part[2] - part[0], 9), (12, part[3] - part[1])):
            assert apart(resized_part(whole, size, part), whole.crop(part).resize(size, LANCZOS)) <= levels


@pytest.mark.parametrize("size", [(64, 48), (300, 40), (33, 140)])
def test_what_stands_over_is_left_out_and_the_rest_as_if_all_were_resized(size, levels):
    image = picture("RGB", 96, 80)
    times = max(size[0] / 96, size[1] / 80)
    whole = image.resize((int(96 * times + 1e-9), int(80 * times + 1e-9)), LANCZOS)
    left, top = whole.width // 2 - size[0] // 2, whole.height // 2 - size[1] // 2
    expected = whole.crop((left, top, left + size[0], top + size[1]))
    assert apart(fill_whole(image, *size), expected) <= levels


@pytest.mark.parametrize("radii", [(4, 4), (0, 3), (5, 0), (2, 40)])
def test_a_mask_blurred_by_strips_is_the_mask_blurred_at_once(radii, monkeypatch):
    monkeypatch.setattr(regions, "_FEW_PIXELS", 0)
    monkeypatch.setattr(regions, "_BLURRED_PIXELS", 500)
    mask = Image.new("L", (40, 500), 255)
    mask.paste(picture("L", 30, 70), (5, 300))
    assert regions.blurred(mask, radii).tobytes() == mask.filter(ImageFilter.GaussianBlur(radii)).tobytes()


def test_the_region_of_a_mask_encloses_all_that_is_not_black():
    mask = Image.new("L", (100, 80))
    mask.putpixel((30, 20), 1)
    mask.putpixel((49, 29), 255)
    assert masked_region(mask, 64, 32) == (30, 20, 50, 30)
    assert masked_region(mask, 64, 64, pad=2) == (28, 13, 52, 37)
    with pytest.raises(ValueError, match="mask_image is all black"):
        masked_region(Image.new("L", (8, 8)), 8, 8)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_what_is_pasted_by_strips_is_what_is_pasted_at_once(mode, monkeypatch):
    original, mask, drawn = picture(mode, 90, 70), picture("L", 90, 70, 1), picture("RGB", 32, 32, 2)

    def pasted() -> list[Image.Image]:
        regions_of_drawn = [(drawn, (11, 5, 75, 69)), (picture("RGB", 90, 70, 3), None)]
        return [paste_drawn(mask, original, each, region) for each, region in regions_of_drawn]

    at_once = pasted()
    monkeypatch.setattr(regions, "_STRIP_PIXELS", 300)
    assert [apart(a, b) for a, b in zip(pasted(), at_once)] == [0, 0]
    monkeypatch.setattr(regions, "_FEW_PIXELS", 0)
    assert [apart(a, b) <= 2 for a, b in zip(pasted(), at_once)] == [True, True]


def test_a_mask_blends_what_is_drawn_into_the_original():
    original, drawn = Image.new("RGB", (40, 30), (200, 100, 0)), Image.new("RGB", (8, 8), (0, 100, 200))
    mask = Image.new("L", (40, 30))
    mask.paste(255, (8, 8, 24, 24))
    mask.paste(128, (8, 8, 12, 24))
    pasted = paste_drawn(mask, original, drawn, (8, 8, 24, 24))
    assert pasted.getpixel((30, 10)) == (200, 100, 0) and pasted.getpixel((20, 10)) == (0, 100, 200)
    np.testing.assert_allclose(pasted.getpixel((9, 10)), (100, 100, 100), atol=2)


def test_a_picture_that_nobody_needs_any_more_is_pasted_into():
    mask, drawn = picture("L", 40, 30), picture("RGB", 40, 30, 1)
    kept, spent, grey = picture("RGB", 40, 30, 2), picture("RGB", 40, 30, 2), picture("L", 40, 30, 2)
    pasted = VaeImageProcessor().apply_overlay(mask, kept, drawn)
    assert apart(kept, spent) == 0 and pasted is not kept
    assert paste_drawn(mask, spent, drawn, in_place=True) is spent and apart(spent, pasted) == 0
    assert paste_drawn(mask, grey, drawn, in_place=True).mode == "RGB"
