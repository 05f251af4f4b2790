"""Image grids, image loading, files written whole or not at all, scratch arrays, logging and progress bars."""

import errno
import io
import logging as python_logging
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from mindone.diffusers import interrupts
from mindone.diffusers.jobs.png import read_job
from mindone.diffusers.loading.hub import Source
from mindone.diffusers.loading.safetensors import SafetensorsFile
from mindone.diffusers.schedulers import DDIMScheduler
from mindone.diffusers.server.keys import Keys
from mindone.diffusers.utils import atomic_write, files, load_image, logging, make_image_grid, progress_bar, write_json
from mindone.diffusers.utils.errors import in_one_line
from mindone.diffusers.utils.files import read_json, read_lines
from mindone.diffusers.utils.scratch import Scratch


def flat(shade: int, size: tuple[int, int] = (4, 3)) -> Image.Image:
    return Image.new("RGB", size, (shade, 0, 255 - shade))


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
def test_every_image_is_in_its_cell(rows, cols, width, height):
    images = [flat(n, (width, height)) for n in range(rows * cols)]
    grid = np.asarray(make_image_grid(images, rows, cols))
    assert grid.shape == (rows * height, cols * width, 3)
    for n, image in enumerate(images):
        row, col = divmod(n, cols)
        cell = grid[row * height : (row + 1) * height, col * width : (col + 1) * width]
        np.testing.assert_array_equal(cell, np.asarray(image))


def test_a_grid_can_be_resized():
    assert make_image_grid([flat(1), flat(2)], rows=1, cols=2, resize=10).size == (20, 10)


@pytest.mark.parametrize(
    ("count", "rows", "cols", "message"),
    [
        (3, 2, 2, "a grid of 2 rows and 2 cols takes 4 images, got 3"),
        (5, 2, 2, "takes 4 images, got 5"),
        (0, 0, 2, "rows and cols must be at least 1, got rows=0 and cols=2"),
        (4, -2, -2, "must be at least 1"),
    ],
)
def test_a_wrong_number_of_images_is_refused(count, rows, cols, message):
    with pytest.raises(ValueError, match=message):
        make_image_grid([flat(n) for n in range(count)], rows, cols)


@pytest.mark.oracle
def test_grids_equal_those_of_diffusers():
    diffusers_utils = pytest.importorskip("diffusers.utils")
    images = [flat(10), flat(20, (5, 5)), flat(30), flat(40, (2, 2)), flat(50), flat(60)]
    for options in ({}, {"resize": 7}):
        theirs = diffusers_utils.make_image_grid(images, 2, 3, **options)
        assert make_image_grid(images, 2, 3, **options).tobytes() == theirs.tobytes()


def test_images_load_as_rgb(tmp_path):
    Image.new("RGBA", (2, 3), (255, 0, 0, 128)).save(tmp_path / "a.png")
    for given_image in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.open(tmp_path / "a.png")):
        image = load_image(given_image)
        assert (image.mode, image.size) == ("RGB", (2, 3))


def test_images_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    flat(0, (4, 2)).save(tmp_path / "turned.jpg", exif=exif)
    assert load_image(tmp_path / "turned.jpg").size == (2, 4)


def test_another_conversion_can_be_asked_for(tmp_path):
    flat(7).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", convert_method=lambda image: image.convert("L")).mode == "L"


def test_a_missing_image_is_named():
    with pytest.raises(FileNotFoundError, match=r"no image 'nowhere.png': it is neither a file nor an address"):
        load_image("nowhere.png")


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match=r"text.png is no image in a known format; give a PNG"):
        load_image(tmp_path / "text.png")


def test_a_truncated_image_is_named(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    noise.save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut.png is truncated or broken"):
        load_image(tmp_path / "cut.png")


@pytest.fixture(scope="module")
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = io.BytesIO()
            flat(9).save(data, "PNG")
            self.send_response(200 if self.path == "/a.png" else 404)
            self.end_headers()
            self.wfile.write(data.getvalue())

        def log_message(self, *args):
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


@pytest.fixture
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_images_load_from_an_address(server, no_proxy):
    assert load_image(f"{server}/a.png").getpixel((0, 0)) == (9, 0, 246)


def test_an_address_without_an_image_is_named(server, no_proxy):
    with pytest.raises(ConnectionError, match=r"cannot fetch .*/b.png: the server answers 404"):
        load_image(f"{server}/b.png")


def test_an_address_that_nobody_serves_is_named(no_proxy):
    with pytest.raises(ConnectionError, match=r"cannot fetch http://127.0.0.1:9/a.png: .*check the address"):
        load_image("http://127.0.0.1:9/a.png")


def test_a_file_is_written_whole(tmp_path):
    with atomic_write(tmp_path / "a.bin") as file:
        file.write(b"hello")
        assert not (tmp_path / "a.bin").exists()
    assert (tmp_path / "a.bin").read_bytes() == b"hello"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(type(error)), atomic_write(tmp_path / "a.bin") as file:
        file.write(b"half of the new")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_an_interrupted_first_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "a.bin") as file:
        file.write(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_write(tmp_path / "new") as file:
        file.write(b"x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new").chmod(0o600)
    with atomic_write(tmp_path / "new") as file:
        file.write(b"y")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"new"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; create it"), atomic_write(tmp_path / "no" / "a"):
        pass
    with pytest.raises(IsADirectoryError, match="it is a folder"), atomic_write(tmp_path):
        pass


def test_what_is_no_json_is_refused_before_writing(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def quiet_again():
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    yield
    logging.set_verbosity(level)
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()


def test_verbosity_decides_what_is_shown(quiet_again, caplog):
    logger = logging.get_logger("mindone.diffusers.somewhere")
    logger.info("not shown")
    logging.set_verbosity_info()
    logger.info("shown")
    logging.set_verbosity_error()
    logger.warning("not shown either")
    assert caplog.messages == ["shown"]
    logging.set_verbosity_debug()
    assert logging.get_verbosity() == python_logging.DEBUG
    logging.set_verbosity_warning()
    assert logging.get_verbosity() == python_logging.WARNING


def test_messages_go_to_standard_error_once(capsys, monkeypatch):
    monkeypatch.setattr(python_logging.getLogger(), "handlers", [])
    logging.get_logger("cli").warning("mind the step")
    assert capsys.readouterr().err.count("WARNING: mind the step") == 1


def test_a_programs_own_handlers_get_the_messages_alone(capsys, monkeypatch):
    heard: list[str] = []
    handler = python_logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(python_logging.getLogger(), "handlers", [handler])
    logging.get_logger().warning("mind the step")
    assert heard == ["mind the step"] and capsys.readouterr().err == ""


def test_progress_bars_count_and_can_be_turned_off(quiet_again, capsys):
    assert list(progress_bar(range(3), desc="steps")) == [0, 1, 2]
    assert "steps" in capsys.readouterr().err
    assert list(progress_bar(range(3), disable=True)) == [0, 1, 2]
    logging.disable_progress_bar()
    with progress_bar(total=2, desc="steps") as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""


# ---- scratch ---------------------------------------------------------------------------------------------------------


def test_scratch_arrays_outlive_their_pages_and_their_keeper():
    values = np.arange(10**6, dtype=np.float32).reshape(1000, 1000)
    scratch = Scratch()
    kept = scratch.keep(values.T)
    scratch.release()
    del scratch
    np.testing.assert_array_equal(kept, values.T)


def test_scratch_takes_few_files_for_many_arrays(monkeypatch):
    monkeypatch.setattr(Scratch, "ROOM", 1 << 20)
    scratch = Scratch()
    kept = [scratch.keep(np.full((i % 7 + 1, 1000), i, np.int32)) for i in range(500)]
    assert len(scratch._maps) <= 9 and scratch.nbytes == sum(each.nbytes for each in kept) > 7 << 20
    large = scratch.keep(np.arange(1 << 20))
    for i, each in enumerate(kept):
        assert (each == i).all() and not each.flags.writeable and each.base is not None
    np.testing.assert_array_equal(large, np.arange(1 << 20))


def test_scratch_keeps_arrays_in_memory_where_no_file_can_be_written(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    scratch = Scratch()
    np.testing.assert_array_equal(scratch.keep(np.arange(3)), [0, 1, 2])
    scratch.release()


def test_a_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "to" / "model"
    with pytest.raises(ZeroDivisionError), files.whole_folder(target, "index.json") as folder:
        (folder / "part").write_text("x")
        assert str(folder) in interrupts.unfinished  # a signal removes it
        _ = 1 / 0
    assert list(target.parent.iterdir()) == []
    (target / "unet").mkdir(parents=True)
    (target / "unet" / "old").write_text("stays")
    moved, move = [], os.replace
    monkeypatch.setattr(os, "replace", lambda source, final: (moved.append(final.name), move(source, final)))
    with files.whole_folder(target, "index.json") as folder:
        for name in ("index.json", "unet/weights", "z"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(name)
        assert moved == []
    assert sorted(moved[:2]) == ["weights", "z"] and moved[2:] == ["index.json"]
    found = {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}
    assert found == {"index.json": "index.json", "unet/weights": "unet/weights", "z": "z", "unet/old": "stays"}
    assert [path.name for path in target.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("name", "do", "message"),
    [
        ("", files.make_folder, "the folder to write into has no name; give one, or"),
        ("file/x", files.make_folder, "cannot make the folder .*: Not a directory; a part of the path is a file"),
        ("file", files.make_folder, "cannot make the folder .*: File exists; it is taken; give another name"),
        ("a" * 300, files.make_folder, "cannot make the folder a+: File name too long; give a shorter one"),
        (
            "file/x/y",
            lambda path: write_json(path, 1),
            "cannot write .*: Not a directory; a part of the path is a file",
        ),
        ("a" * 300, lambda path: write_json(path, 1), "cannot write a+: File name too long; give a shorter one"),
        ("", lambda path: write_json(path, 1), "cannot write '': it is a folder; give a file name inside it"),
        ("a" * 300, read_json, "cannot read a+: File name too long; give a shorter one"),
        ("a" * 300, load_image, "cannot read a+: File name too long; give a shorter one"),
        ("a" * 300, files.check_folder, "cannot write to a+: File name too long; give a shorter one"),
        ("a" * 300, lambda path: Source(path).index(), "cannot read a+: File name too long; give a shorter one"),
        ("~nobody-here/x", lambda path: Source(path).index(), "unknown model '~nobody-here/x': no such local folder"),
        ("", lambda path: DDIMScheduler().save_pretrained(path), "the folder to write into has no name; give one, or"),
    ],
)
def test_what_the_system_refuses_names_the_path_and_the_deed(name, do, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises((OSError, ValueError), match=message):
        do(name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_finished_is_named_and_not_its_place_meanwhile(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with (
        pytest.raises(OSError, match=f"^cannot write {tmp_path}/model/a.json: No space left on device") as caught,
        files.whole_folder(tmp_path / "model", "a.json") as folder,
    ):
        write_json(folder / "a.json", 1)
    assert caught.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())


def test_a_message_with_what_a_file_says_reaches_the_terminal_escaped(capsys, monkeypatch):
    monkeypatch.setattr(python_logging.getLogger(), "handlers", [])
    logging.get_logger("mindone.diffusers.somewhere").warning("unknown key %s\nand more", "\x1b]0;title\x07a\u202eb")
    assert capsys.readouterr().err == "WARNING: unknown key \\x1b]0;title\\x07a\\u202eb\nand more\n"


def test_a_long_message_keeps_its_beginning_and_its_end():
    shown = in_one_line(ValueError("unknown keys in model.safetensors: " + "\x1b[2J, " * 5000 + "; known are a, b"))
    assert len(shown) == 500 and shown.isprintable()
    assert shown.startswith("unknown keys in model.safetensors: \\x1b[2J, ") and shown.endswith("; known are a, b")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_pipes_and_devices_are_refused_at_once(tmp_path):
    """Opened, a pipe waits for ever, and a device such as /dev/zero does not end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    readers = (read_json, read_lines, read_job, Keys, SafetensorsFile)
    for path in (pipe, Path("/dev/zero")):
        for reader in readers:
            with pytest.raises(OSError, match=f"{path} is a pipe or a device; give a file"):
                reader(path)
