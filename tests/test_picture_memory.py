"""What pictures take to decode: known from their headers, and on the server bounded for a request as a whole."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageFile

from mindone.diffusers.server.refusals import Refusal
from mindone.diffusers.server.uploads import Opening
from mindone.diffusers.utils import load_image
from mindone.diffusers.utils.images import PictureTooLarge, decode_picture, upright_size
from mindone.diffusers.utils.jpeg_scans import coefficient_bytes
from mindone.diffusers.utils.picture_memory import decoding_bytes

SIDE = 1536
TURNED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


def picture(format="PNG", mode="RGB", side=SIDE, **options):
    """A picture of one colour in a small file."""
    colour = 255 if mode in ("1", "L", "P", "I;16") else "orange" if mode == "RGB" else "white"
    file = io.BytesIO()
    if format == "WEBP":
        options["lossless"] = True
    Image.new(mode, (side, side), colour).save(file, format, **options)
    return file.getvalue()


def known(content, into="RGB"):
    return decoding_bytes(Image.open(io.BytesIO(content)), content, into)


CASES = [
    # file, into, bytes per pixel: of a canvas of RGB or RGBA 4, of a grey one 1
    (("PNG", "RGB"), "RGB", 4),
    (("PNG", "L"), "RGB", 1),
    (("PNG", "L"), "L", 1),
    (("PNG", "1"), "RGB", 1 + 1),
    (("PNG", "P"), "RGB", 1 + 4),
    (("PNG", "I;16"), "RGB", 2 + 1),
    (("PNG", "LA"), "RGB", 4 + 4),
    (("PNG", "RGBA"), "RGB", 4 + 4),
    (("PNG", "RGBA"), "L", 4 + 1),
    (("JPEG", "RGB"), "RGB", 4),
    (("JPEG", "L"), "RGB", 1),
    (("JPEG", "CMYK"), "RGB", 4 + 4),
    (("JPEG", "RGB", {"exif": TURNED}), "RGB", 4 + 4),
    (("JPEG", "RGB", {"progressive": True, "subsampling": 0}), "RGB", 4 + 6),
    (("JPEG", "RGB", {"progressive": True, "subsampling": 2}), "RGB", 4 + 3),
    (("WEBP", "RGB"), "RGB", 4 * 4),
    (("WEBP", "RGBA"), "RGB", 4 * 4),
]


def named(case):
    format, mode, *options = case[0]
    chosen = [f"{key} {value}" for each in options for key, value in each.items() if key != "exif"]
    return "-".join([format, mode, *chosen, *(["turned"] if options and not chosen else []), case[1]])


def file_of(case):
    format, mode, *options = case[0]
    return picture(format, mode, **(options[0] if options else {}))


MEASURED = """
import json, sys
from mindone.diffusers.server.uploads import Opening, marked

def memory(of):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(of))

def peak(path, into, side):
    content = open(path, "rb").read()
    before = memory("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak is counted from here on
    opening = Opening(20 * side)
    kept = opening.picture(content, "x") if into == "RGB" else marked(opening.mask(content, "x"))
    return (memory("VmHWM") - before) / side**2

peaks = []
for path, into, side in json.loads(sys.argv[1]):
    small = path + ".small"
    peak(small, into, 16)  # what the format's code takes itself
    peaks.append(peak(path, into, side))
print(json.dumps(peaks))
"""


INPAINTED = """
import base64, io, json, sys
from types import SimpleNamespace
from PIL import Image

from mindone.diffusers.pipelines.inpainting import Inpainting
from mindone.diffusers.pipelines.picture_calls import PictureArguments
from mindone.diffusers.server.webui_api import _uploads
from mindone.diffusers.server.webui_fields import Img2Img

side, small = int(sys.argv[1]), 64
config = {"in_channels": 4, "latent_channels": 4, "scaling_factor": 1.0}
network = SimpleNamespace(config=config)
latents = SimpleNamespace(trained=lambda config: (8, 8), places=None, channels_read=lambda config: 4)
family = SimpleNamespace(latents=latents)
pipe = SimpleNamespace(vae=network, denoiser=network, family=family, vae_scale_factor=8, pixels_per_token=8)
pipe.spends_pictures = True

def memory(of):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(of))

def sent(picture):
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()

def inpainted(side, mode, mask_mode, full):
    image = Image.new(mode, (side, side), "orange" if mode == "RGB" else 200)
    mask = Image.new("L", (side + 64, side + 64))
    mask.paste(255, (0, 0, side + 32, side + 32))
    if mask_mode == "RGBA":
        mask = Image.merge("RGBA", [mask] * 4)
    fields = Img2Img(init_images=[sent(image)], mask=sent(mask), inpaint_full_res=full, width=small, height=small)
    del image, mask
    before = memory("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # the peak is counted from here on
    pictures = _uploads(fields, 20 * side).pictures
    given = pictures.arguments(small, small, full)
    if full:
        call = PictureArguments(**given, padding_mask_crop=0, mask_fill="blur")
        start = Inpainting(call)
        start.check(pipe, 1)
        [image] = start.put_back([Image.new("RGB", (small, small))])
        assert image.size == (side, side)
    return (memory("VmHWM") - before) / side**2

peaks = []
for case in json.loads(sys.argv[2]):
    inpainted(96, *case)
    peaks.append(inpainted(side, *case))
print(json.dumps(peaks))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Bytes per pixel of each case, in a process that gives back at once what is freed."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not count a process's peak memory anew")
    folder, given = tmp_path_factory.mktemp("pictures"), []
    for i, case in enumerate(CASES):
        format, mode, *options = case[0]
        (folder / str(i)).write_bytes(file_of(case))
        (folder / f"{i}.small").write_bytes(picture(format, mode, 16, **(options[0] if options else {})))
        given.append((str(folder / str(i)), case[1], SIDE))
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    words = [sys.executable, "-c", MEASURED, json.dumps(given)]
    result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=600, check=True)
    return dict(zip(map(named, CASES), json.loads(result.stdout)))


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES, ids=named)
def test_what_a_picture_takes_is_known_from_its_header(case, measured):
    expected = known(file_of(case), case[1])
    assert expected == case[2]
    assert expected - 0.5 < measured[named(case)] < expected + 0.5  # a decoder's rows and tables come on top


@pytest.mark.heavy
def test_drawing_a_part_of_a_picture_anew_copies_neither_it_nor_its_mask():
    """The server holds four bytes a pixel in RGB and one of the mask, of another size or not; a grey one is in RGB in
    the end, when it stands beside that."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("this system does not count a process's peak memory anew")
    cases = {
        ("RGB", "L", False): 5,
        ("RGB", "RGBA", False): 5,
        ("RGB", "L", True): 5,
        ("RGB", "RGBA", True): 5,
        ("L", "L", True): 1 + 4 + 1,
    }
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    words = [sys.executable, "-c", INPAINTED, str(2 * SIDE), json.dumps([*cases])]
    result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=600, check=True)
    for (case, expected), peak in zip(cases.items(), json.loads(result.stdout)):
        assert expected - 0.5 < peak < expected + 0.8, case


@pytest.mark.parametrize("place", ["before", "behind"])
def test_the_size_of_an_upright_picture_is_known_from_its_header(place, monkeypatch):
    plain, exif = io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (24, 8)).save(plain, "PNG", exif=exif)
    content = plain.getvalue()
    if place == "behind":  # the pixels
        start = content.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(content[start : start + 4])
        last = content.index(b"IEND") - 4
        content = content[:start] + content[end:last] + content[start:end] + content[last:]
    jpeg = io.BytesIO()
    Image.new("RGB", (24, 8)).save(jpeg, "JPEG", exif=exif)
    for each in (content, jpeg.getvalue()):
        assert decode_picture(each, "x").size == (8, 24)
        with monkeypatch.context() as patched:
            patched.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("it was decoded"))
            assert upright_size(each, "x") == (8, 24)


def test_a_first_scan_of_one_component_makes_a_decoder_hold_them_all():
    content = picture("JPEG", side=64, subsampling=0)
    at = content.index(b"\xff\xda")
    assert coefficient_bytes(content) == 0 and content[at + 4] == 3
    assert coefficient_bytes(content[: at + 4] + b"\1" + content[at + 5 :]) == 6


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0", b"\xff\xd8\xff\xc2\0\x08" + bytes(5) + b"\3\xff\xda"]
)
def test_a_jpeg_file_that_is_cut_off_holds_what_can_be_told(content):
    assert coefficient_bytes(content) in (0, 2)


# ---- on the server ---------------------------------------------------------------------------------------------------

MOST = 2048


@pytest.mark.parametrize(
    ("format", "mode", "taken", "side"),
    [("WEBP", "RGB", 67.1, 1233), ("PNG", "RGBA", 33.6, 1743), ("JPEG", "CMYK", 33.6, 1743)],
)
def test_a_small_file_that_takes_much_memory_is_refused_before_it_is_decoded(format, mode, taken, side, monkeypatch):
    content = picture(format, mode, MOST)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(Refusal) as caught:
        Opening(MOST).picture(content, "image")
    assert caught.value.status == 413 and str(caught.value) == (
        f"image is a {format} of 2048×2048 in {mode}, which takes {taken} MB to decode; send it as a PNG file in "
        f"RGB, or send at most {side}×{side}"
    )


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "I;16"])
def test_the_largest_picture_and_its_mask_are_taken(mode):
    for mask in ("L", "RGBA"):
        opening = Opening(MOST)
        assert opening.mask(picture("PNG", mask, MOST), "mask").size == (MOST, MOST)
        assert opening.picture(picture("PNG", mode, MOST), "image").picture.size == (MOST, MOST)


def test_a_request_s_pictures_are_bounded_together():
    opening = Opening(MOST)
    opening.mask(picture("PNG", "L", MOST), "mask")
    opening.picture(picture("PNG", "RGB", MOST), "image")
    with pytest.raises(Refusal) as caught:
        opening.picture(picture("PNG", "RGB", MOST), "control_image")
    assert str(caught.value) == (
        "control_image is a PNG of 2048×2048 in RGB, which takes 16.8 MB to decode; send at most 915×915"
    )
    assert opening.picture(picture("PNG", "RGB", 915), "control_image").picture.size == (915, 915)


@pytest.mark.parametrize("side", [8, 64, 1024])
def test_a_picture_of_a_megapixel_is_taken_in_any_format_and_mode(side):
    assert Opening(side).picture(picture("WEBP", "RGBA", side), "image").picture.size == (side, side)


def test_a_file_that_holds_as_much_as_a_photo_is_taken_in_any_format():
    file = io.BytesIO()
    Image.effect_noise((MOST, MOST), 90).convert("RGB").save(file, "WEBP", quality=80)
    assert Opening(MOST).picture(file.getvalue(), "image").picture.size == (MOST, MOST)


def test_local_pictures_have_no_such_bound(tmp_path, monkeypatch):
    (tmp_path / "x.webp").write_bytes(picture("WEBP", side=2048))
    assert load_image(tmp_path / "x.webp").size == (2048, 2048)
    with pytest.raises(PictureTooLarge):
        decode_picture((tmp_path / "x.webp").read_bytes(), "x", most_bytes=60e6)
