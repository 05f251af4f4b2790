"""Pictures that anybody may have made: read within bounds, from files and from addresses."""

import io
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from mindone.diffusers.server.refusals import Refusal
from mindone.diffusers.server.uploads import Opening
from mindone.diffusers.utils import fetching, images, load_image
from mindone.diffusers.utils.images import PictureTooLarge, decode_picture

NOISE = Image.effect_noise((64, 64), 50)


def saved(format, image=None, **options):
    file = io.BytesIO()
    (image or Image.new("RGB", (8, 8), (200, 100, 0))).save(file, format=format, **options)
    return file.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(added, times):
    """A PNG file with a chunk, so many times, behind its header."""
    content = saved("PNG")
    return content[:33] + added * times + content[33:]


def with_scans(times):
    """A progressive JPEG file whose last scan comes so many times more."""
    content = saved("JPEG", NOISE, progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * times + content[-2:]


def bomb(side):
    """A PNG file of a few bytes whose header names a square of so many pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", images.FORMATS)
def test_pictures_are_read_by_what_they_hold(format, tmp_path):
    (tmp_path / "photo.png").write_bytes(saved(format))
    assert load_image(tmp_path / "photo.png").size == (8, 8)


@pytest.mark.parametrize("format", ["EPS", "PDF", "TIFF", "GIF", "BMP", "ICO", "PPM", "TGA", "JPEG2000"])
def test_other_formats_are_refused_whatever_their_name(format, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("subprocess.check_call", lambda *words, **_: started.append(words))
    (tmp_path / "photo.png").write_bytes(saved(format))
    with pytest.raises(ValueError, match="is no image in a known format; give a PNG, JPEG or WEBP file"):
        load_image(tmp_path / "photo.png")
    assert not started


@pytest.mark.parametrize(
    "content, message",
    [
        (bomb(20_000), "x is larger than 8192×8192"),
        (bomb(10_000), "x is 10000×10000; at most 8192×8192 is accepted"),
        (bomb(2**31 - 1), "x is larger than 8192×8192"),
        (saved("PNG", NOISE)[:2000], "x is truncated or broken"),
        (saved("WEBP", save_all=True, append_images=[Image.new("RGB", (8, 8))]), "x is animated"),
    ],
)
def test_what_is_too_large_or_broken_is_refused(content, message):
    with pytest.raises(ValueError) as caught:
        decode_picture(content, "x")
    assert message in str(caught.value) and isinstance(caught.value, PictureTooLarge) == ("8192" in message)


@pytest.mark.parametrize(
    "content, message",
    [
        (with_scans(64), "x has more than 64 scans; save the picture again"),
        (b"\xff\xd8" + b"\xff\xe0\0\2" * 10_000, "x has more than 10,000 segments; save the picture again"),
        (with_chunk(chunk(b"prVt", b""), 100_000), "x has more than 100,000 chunks; save the picture again"),
    ],
    ids=["scans", "segments", "chunks"],
)
def test_a_picture_that_is_made_to_be_slow_is_refused(content, message):
    with pytest.raises(ValueError) as caught:
        decode_picture(content, "x")
    assert str(caught.value) == message


def test_a_progressive_picture_with_a_thumbnail_is_read():
    """The thumbnail is a picture of its own, whose scans are not gone over."""
    scans = b"Exif\0\0" + b"\xff\xda\0\2" * 100
    assert decode_picture(saved("JPEG", NOISE, progressive=True, exif=scans), "x").size == NOISE.size
    assert decode_picture(with_scans(20), "x").size == NOISE.size


@pytest.mark.parametrize("kind, content", [(b"iCCP", b"a\0\0"), (b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")])
def test_what_would_be_decompressed_beside_the_pixels_is_left_out(kind, content, monkeypatch):
    monkeypatch.setattr("PIL.PngImagePlugin._safe_zlib_decompress", lambda _: pytest.fail("it was decompressed"))
    picture = decode_picture(with_chunk(chunk(kind, content + zlib.compress(bytes(1000))), 2), "x")
    assert picture.tobytes() == Image.open(io.BytesIO(saved("PNG"))).tobytes()


def test_the_server_reads_pictures_with_the_same_reader():
    for content, status in (
        (bomb(5000), 413),
        (bomb(2**31 - 1), 413),
        (saved("GIF"), 422),
        (saved("PNG", NOISE)[:2000], 422),
    ):
        with pytest.raises(Refusal) as caught:
            Opening(4096).picture(content, "image")
        assert caught.value.status == status


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(images.MOST_BYTES + 1)
    monkeypatch.setattr(images.Path, "read_bytes", lambda _: pytest.fail("read it"))
    with pytest.raises(ValueError, match=r"x\.png has 64 MB; at most 64 are read"):
        load_image(tmp_path / "x.png")


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\xff\xff", b"Exif\0\0nonsense"])
def test_a_picture_with_broken_exif_data_is_taken_as_it_lies(exif, tmp_path):
    (tmp_path / "x.jpg").write_bytes(saved("JPEG", exif=exif))
    assert load_image(tmp_path / "x.jpg").size == (8, 8)


# ---- addresses -------------------------------------------------------------------------------------------------------


class Pages(BaseHTTPRequestHandler):
    """/picture is one; /endless does not end; /cut breaks off; /to?… redirects there."""

    def do_GET(self):
        kind, _, target = self.path.partition("?")
        if kind == "/to":
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
            return
        self.send_response(200)
        if kind == "/cut":
            self.send_header("Content-Length", "1000")
        self.end_headers()
        if kind == "/picture":
            self.wfile.write(saved("PNG"))
        while kind == "/endless":
            try:
                self.wfile.write(bytes(2**16))
            except OSError:
                return

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_is_fetched_also_through_a_redirect_on_its_host(site):
    assert load_image(f"{site}/picture").size == load_image(f"{site}/to?/picture").size == (8, 8)


@pytest.mark.parametrize(
    "path, message",
    [
        ("/endless", "it has more than 64 MB"),
        ("/cut", "it ended 1000 bytes early|IncompleteRead"),
        ("/to?http://127.0.0.1:9/picture", "it redirects to 127.0.0.1, which is no public host"),
        ("/to?http://[::1]/picture", "it redirects to ::1, which is no public host"),
        ("/to?http://169.254.169.254/latest/meta-data", "it redirects to 169.254.169.254, which is no public host"),
        ("/to?file:///etc/passwd", "'file:///etc/passwd' is not allowed"),
        ("/to?ftp://127.0.0.1/x", "it redirects to ftp://127.0.0.1/x, which is no web address"),
        ("/to?/to?/to", "cannot fetch"),
    ],
)
def test_an_address_is_refused_in_one_line(site, path, message):
    with pytest.raises(ConnectionError, match=message) as caught:
        load_image(site + path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"cannot fetch {site}")


def test_an_address_that_takes_too_long_is_given_up(site, monkeypatch):
    monkeypatch.setattr(fetching, "_SECONDS", 0.0)
    with pytest.raises(ConnectionError, match="it takes more than 0 s"):
        load_image(f"{site}/endless")
