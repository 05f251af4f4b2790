"""Batches on one machine: every job once, whatever happens; run on a tiny checkpoint."""

import contextlib
import csv
import errno
import json
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mindone.diffusers import cli, jobs
from mindone.diffusers.batch import make_jobs, parse_axis, parse_seeds, read_rows, rows, run, worker as workers
from mindone.diffusers.batch.manifest import Manifest
from mindone.diffusers.batch.outputs import LocalFolder, open_output
from mindone.diffusers.batch.queue import Queue
from mindone.diffusers.batch.sheet import sheets_of
from mindone.diffusers.jobs import Job, LoadedPipelines, draw, draw_together, load, loaded
from mindone.diffusers.jobs.png import read_job, save_png
from tiny_pipelines import checkpoint


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINDONE_ENGINE", "openvino")


def job(**fields):
    return Job(
        **{"prompt": "a red cat", "model": checkpoint("bk_sdm"), "steps": 1, "seed": 5, "engine": "openvino", **fields}
    )


def command(*words, code=0):
    result = CliRunner().invoke(cli.main, ["batch", *(str(word) for word in words)])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def records(folder="out"):
    return [json.loads(line) for line in Path(folder, "manifest.jsonl").read_text().splitlines()]


def images(folder="out"):
    return {name for name in os.listdir(folder) if name.endswith(".png")}


@pytest.fixture
def drawings(monkeypatch):
    """Draws nothing, and notes what would have been drawn; a prompt that starts with "bad" fails."""
    drawn = []

    def draw_none(pipe, group):
        if any(each.prompt.startswith("bad") for each in group):
            drawn.extend(group)
            raise ValueError("cannot draw this")
        drawn.extend(group)
        return [[Image.new("RGB", (8, 8))] for _ in group]

    class Pipe:
        engine = type("Engine", (), {"name": "none"})

        def __init__(self):
            self.components = {}

        def set_progress_bar_config(self, **options):
            pass

        def release(self):
            pass

    monkeypatch.setattr(workers, "draw_together", draw_none)
    monkeypatch.setattr(loaded, "load", lambda key: Pipe())
    return drawn


# ---- what is drawn ---------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_batch_draws_what_each_job_draws_alone():
    listed = [job(), job(prompt="a dog", seed=1, height=72, width=80), job(scheduler="euler")]
    summary = run(listed, "out")
    assert (summary.drawn, summary.kept, summary.failed) == (3, 0, ())
    pipe = load(job())
    pipe.set_progress_bar_config(disable=True)
    for record in records():
        path = Path("out", record["file"])
        drawn = Job.of(record["job"])
        assert read_job(path) == drawn
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), np.asarray(draw(pipe, drawn)[0]))
    assert {Job.of(record["job"]) for record in records()} == set(listed)


def test_one_call_draws_the_jobs_that_share_it_in_their_order():
    pipe = load(job(dtype="float32"))
    pipe.set_progress_bar_config(disable=True)
    listed = [job(dtype="float32", prompt=prompt, seed=i) for i, prompt in enumerate(["a cat", "a dog", "a hat"])]
    for (together,), each in zip(draw_together(pipe, listed), listed):
        difference = np.asarray(together).astype(int) - np.asarray(draw(pipe, each)[0])
        assert np.abs(difference).max() <= 1  # the last bit of a float32 may decide how a pixel is rounded
    with pytest.raises(ValueError, match="may differ only in prompt and seed"):
        draw_together(pipe, [job(), job(steps=2)])


def test_prompts_seeds_and_a_grid_are_combined(drawings):
    Path("prompts.txt").write_text("a cat\n\na dog\n")
    words = ["--prompts", "prompts.txt", "--seeds", "0-2,7", "--grid-search", "steps=10,20", "scheduler=unipc,dpm++"]
    assert "generated 32 images" in command(*words, "-o", "out", "--guidance-scale", 3)
    wanted = {
        (p, s, n, c) for p in ("a cat", "a dog") for s in (0, 1, 2, 7) for n in (10, 20) for c in ("unipc", "dpm++")
    }
    assert {(each.prompt, each.seed, each.steps, each.scheduler) for each in drawings} == wanted
    assert {each.guidance_scale for each in drawings} == {3.0}


def test_lists_of_every_kind_say_the_same(drawings):
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    values = [
        {"prompt": "a cat", "seed": 1, "steps": 25, "lora": ["a.safetensors:0.5", "b.safetensors"]},
        {"prompt": "a dog, a hat", "seed": 2, "steps": None, "lora": None},
    ]
    Path("a.jsonl").write_text("".join(json.dumps(each) + "\n\n" for each in values))
    Path("a.csv").write_text(
        'prompt,seed,steps,lora\na cat,1,25,"a.safetensors:0.5,b.safetensors"\n"a dog, a hat",2,,\n'
    )
    parquet.write_table(arrow.Table.from_pylist(values), "a.parquet")
    listed = [make_jobs(read_rows(f"a{suffix}"), {}, {"steps": 9}) for suffix in rows.SUFFIXES]
    assert listed[0] == listed[1] == listed[2]
    assert [each.steps for each in listed[0]] == [25, 9] and listed[0][1].prompt == "a dog, a hat"


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ({"prompt": ["x" * 90_000] * 3000}, {}, "row 2"),
        ({"prompt": ["x" * 90_000] * 3000}, {"column_encoding": {"prompt": "DELTA_BYTE_ARRAY"}}, "row 2"),
        ({"prompt": ["x"], "lora": [["x" * 90_000] * 3000]}, {}, "row 1: its values take more than 256 MB"),
        ({"prompt": ["x" * 90_000] * 3000}, {"use_dictionary": False}, "its values take more than 256 MB"),
        ({"prompt": ["x"], "stpes": [None]}, {}, "unknown field 'stpes'; did you mean 'steps'?"),
        ({"prompt": [{"x": "y"}]}, {}, "a field is a text, a number or a list of them, not struct<x: "),
    ],
)
def test_a_parquet_file_cannot_ask_for_more_memory_than_the_bound(tmp_path, values, options, message):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    if "column_encoding" in options:
        options = {"use_dictionary": False, **options}
    parquet.write_table(arrow.table(values), "a.parquet", compression="zstd", **options)
    assert os.path.getsize("a.parquet") < 100_000
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_rows("a.parquet")
    assert "a.parquet" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("many", [range(10**9), range(10**30)])
def test_combinations_are_counted_before_any_is_made(many):
    with pytest.raises(ValueError, match="steps, seed have more combinations than the 100,000 images"):
        make_jobs([rows.Row({"prompt": "x"}, "line 1")], {"steps": [1, 2], "seed": many}, {})
    each = rows.Row({"prompt": "x"}, "line 1")
    with pytest.raises(ValueError, match=r"line 1: a batch takes up to 100,000 images .*60,000 rows.*2 combinations"):
        make_jobs([each] * 60_000, {"steps": [1, 2]}, {})


def test_a_job_of_several_images_becomes_several():
    made = make_jobs([rows.Row({"prompt": "a cat", "num_images": "3"}, "line 1")], {}, {"seed": 5})
    assert [(each.seed, each.num_images) for each in made] == [(5, 1), (6, 1), (7, 1)]


def test_a_seed_that_is_not_given_is_the_same_in_every_run():
    first, second = (make_jobs([rows.Row({"prompt": p}, "line 1")], {}, {}) for p in ("a cat", "a dog"))
    assert first == make_jobs([rows.Row({"prompt": "a cat"}, "line 1")], {}, {}) and first[0].seed != second[0].seed


def test_values_with_commas_come_as_a_list():
    name, values = parse_axis("guidance-interval=[[0, 0.5], [0.2, 0.8]]")
    made = make_jobs([rows.Row({"prompt": "x"}, "line 1")], {name: values}, {})
    assert [each.guidance_interval for each in made] == [(0, 0.5), (0.2, 0.8)]
    assert parse_seeds("3,0-2") == [3, 0, 1, 2]


def test_jobs_of_one_pipeline_and_shape_are_drawn_together():
    listed = [job(height=h, dtype=d, seed=s) for s in (0, 1) for h in (64, 72) for d in ("float16", "float32")]
    queue, taken, last = Queue(listed), [], None
    while task := queue.take(last):
        last = task.group
        taken += task.jobs
    assert [(each.dtype, each.height) for each in taken] == [
        (dtype, height) for dtype in ("float16", "float32") for height in (64, 72) for _ in range(2)
    ]


def test_a_task_has_as_many_jobs_as_a_batch_or_one():
    queue, sizes = Queue([job(seed=i) for i in range(5)] + [job(steps=2)], batch_size=2), []
    while task := queue.take():
        sizes.append(len(task.jobs))
    assert sizes == [2, 2, 1, 1]


# ---- resuming --------------------------------------------------------------------------------------------------------


def test_what_is_there_is_not_drawn_again(drawings):
    listed = [job(seed=i) for i in range(4)]
    run(listed[:3], "out")
    summary = run(listed, "out")
    assert (summary.drawn, summary.kept) == (1, 3)
    assert drawings == listed and len(records()) == 4 == len(images())


def test_an_image_without_a_line_gets_its_line_and_a_damaged_one_is_drawn_again(drawings):
    listed = [job(seed=i) for i in range(3)]
    run(listed, "out")
    lines = Path("out/manifest.jsonl").read_text().splitlines()
    Path("out/manifest.jsonl").write_text(lines[0] + "\n" + lines[1][:50])  # killed in the middle of a line
    damaged = Path("out", json.loads(lines[2])["file"])
    damaged.write_bytes(damaged.read_bytes()[:-30])
    Path("out/.cat.png.0123456789abcdef0123456789abcdef.part").write_bytes(b"half")
    summary = run(listed, "out")
    assert (summary.drawn, summary.kept) == (1, 2) and drawings[3:] == [listed[2]]
    assert [Job.of(each["job"]) for each in records()] == listed and not list(Path("out").glob(".*"))


def test_a_job_that_is_listed_twice_is_drawn_once(drawings):
    summary = run([job(), job(seed=1), job()], "out")
    assert (summary.drawn, summary.repeated) == (2, 1)
    assert len(drawings) == 2 == len(images())


def test_the_table_holds_what_the_manifest_holds(drawings):
    parquet = pytest.importorskip("pyarrow.parquet")
    run([job(seed=0, lora=("a.safetensors",)), job(seed=1, prompt="bad")], "out")
    table = parquet.read_table("out/manifest.parquet").to_pylist()
    assert [each["file"] for each in table] == [each["file"] for each in records()]
    assert table[0]["lora"] == ["a.safetensors"] and table[0]["steps"] == 1 and table[0]["width"] is None
    assert table[1]["error"] == "cannot draw this" and table[1]["prompt"] == "bad"


def test_a_folder_that_another_batch_writes_to_is_refused(drawings):
    pytest.importorskip("fcntl")
    with contextlib.closing(Manifest(open_output("out"))):
        Path("prompts.txt").write_text("a cat\n")
        assert "Error: another batch is writing to out" in command("--prompts", "prompts.txt", "-o", "out", code=1)
    assert drawings == []


def test_an_object_store_has_no_folder_before_its_first_file(drawings, monkeypatch):
    pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(MemoryFileSystem, "makedirs", lambda *_, **__: None)  # as of S3 inside a bucket
    for kept in range(2):
        assert run([job(seed=0)], "memory://bucket/images").kept == kept
    assert len(drawings) == 1


def test_addresses_are_written_to_through_fsspec(drawings):
    fsspec = pytest.importorskip("fsspec")
    listed = [job(seed=i) for i in range(2)]
    run(listed[:1], "memory://batch/images")
    files = fsspec.filesystem("memory")
    files.rm_file("/batch/images/manifest.jsonl")  # as if the process had been killed before it was written
    assert run(listed, "memory://batch/images").kept == 1 and drawings == listed
    names = {path.rsplit("/", 1)[-1] for path in files.ls("/batch/images", detail=False)}
    lines = files.cat_file("/batch/images/manifest.jsonl").decode().splitlines()
    assert {json.loads(line)["file"] for line in lines} <= names
    assert sum(name.endswith(".png") for name in names) == 2 and not any(name.endswith(".part") for name in names)


def test_a_cell_that_is_too_long_is_refused_by_its_line(drawings):
    Path("a.csv").write_text("prompt\nx\n" + "x" * 200_000)
    before = csv.field_size_limit(131_072)
    try:
        assert "a.csv, line 3: no readable CSV: field larger than field limit" in command("a.csv", "-o", "out", code=1)
    finally:
        csv.field_size_limit(before)


def test_a_line_that_does_not_fit_is_taken_back(drawings, monkeypatch):
    """As on a full disk: a part of a line is written, and the next write fails."""
    with contextlib.closing(open_output("out").open_log("manifest.jsonl")) as log:
        log.add("first")
        write = log._file.write

        class Full:
            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, content):
                if len(content) < 20:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return write(content[:15])

        file, log._file = log._file, Full()
        with pytest.raises(OSError, match=r"cannot write out/manifest\.jsonl: No space left on device; make room"):
            log.add("a line that is too long")
        log._file = file
        log.add("second")
    assert Path("out/manifest.jsonl").read_text() == "first\nsecond\n"


def test_a_line_that_is_written_in_pieces_is_whole():
    with contextlib.closing(open_output("out").open_log("manifest.jsonl")) as log:
        file = log._file

        class Short:
            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, content):
                return file.write(content[:3])

        log._file = Short()
        log.add("a line of many pieces")
        log._file = file
    assert Path("out/manifest.jsonl").read_text() == "a line of many pieces\n"


@pytest.mark.parametrize("content", [b"", b"half", None])
def test_an_image_that_is_no_longer_whole_is_drawn_again(drawings, content):
    listed = [job(seed=i) for i in range(2)]
    run(listed, "out")
    [path] = Path("out").glob("*-1-*.png")
    path.write_bytes(path.read_bytes()[:-30] if content is None else content)
    assert run(listed, "out").kept == 1 and drawings == [*listed, listed[1]]
    assert read_job(path) == listed[1]


@pytest.mark.parametrize("kind", ["pipe", "link to a file", "link to a folder", "link to nothing"])
def test_only_regular_files_count_and_what_lies_outside_is_left_alone(drawings, kind):
    if not hasattr(os, "mkfifo"):
        pytest.skip("a system without pipes and links in folders")
    run([job()], "elsewhere")
    [name] = images("elsewhere")
    outside, there = Path("elsewhere", name).absolute(), Path("out", name)
    content = outside.read_bytes()
    there.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(there)
    else:
        there.symlink_to({"link to a file": outside, "link to a folder": outside.parent}.get(kind, Path("/nowhere")))
    assert LocalFolder(Path("out")).names() == set()
    with pytest.raises(OSError, match=r"is a (symbolic link|pipe, a device or a folder), not a file"):
        LocalFolder(Path("out")).read(name)
    assert run([job()], "out").drawn == 1
    assert there.is_file() and not there.is_symlink() and read_job(there) == job()
    assert outside.read_bytes() == content and images("elsewhere") == {name}


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_manifest_that_is_no_regular_file_is_refused(drawings, kind):
    if not hasattr(os, "mkfifo"):
        pytest.skip("a system without pipes and links in folders")
    Path("out").mkdir()
    Path("victim").write_text("no line end")
    manifest = Path("out/manifest.jsonl")
    os.mkfifo(manifest) if kind == "pipe" else manifest.symlink_to(Path("victim").absolute())
    with pytest.raises(OSError, match=r"manifest\.jsonl is a .*, not a file; remove it, or give another --output"):
        run([job()], "out")
    assert drawings == [] and Path("victim").read_text() == "no line end"


def test_a_manifest_that_is_not_text_is_refused_by_its_line(drawings):
    Path("out").mkdir()
    Path("out/manifest.jsonl").write_bytes(b"{}\n\xff\n")
    Path("p.csv").write_text("prompt\nx\n")
    assert "manifest.jsonl, line 2: byte 3 is not UTF-8" in command("p.csv", "-o", "out", code=1)
    Path("out/manifest.jsonl").write_bytes(b"[" * 100_000 + b"\n")
    printed = command("p.csv", "-o", "out", code=1)
    assert "manifest.jsonl, line 1 is no record of a batch" in printed and len(printed) < 510


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": [1]}, "id must be a valid string, got [1]"),
        ({"id": 5}, "id must be a valid string, got 5"),
        ({"seconds": "abc"}, "seconds must be a valid number, got 'abc'"),
        ({"seconds": float("nan")}, "seconds must be a finite number, got nan"),
        ({"tries": 10**30}, "tries must be less than 2147483648, got 1000"),
        ({"error": ["x"]}, "error must be a valid string, got ['x']"),
        ({"machine": "\ud800"}, "machine must be text that UTF-8 can write"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"job": None}, "job must be a valid dictionary, got None"),
        ({"job": [1]}, "job must be a valid dictionary, got [1]"),
        ({"job": {"prompt": {"a": 1}}}, "job prompt must be a valid string, got {'a': 1}"),
        ({"job": {"prompt": "x", "seed": -1}}, "job seed must be greater than or equal to 0, got -1"),
        ({"job": {"prompt": "x", "last_timestep": 10**30}}, "job last_timestep must be less than or equal to 1000000"),
        ({"job": {"prompt": "x", "model": "\ud800"}}, "job model must be text that UTF-8 can write"),
    ],
)
def test_a_record_of_wrong_types_is_refused_by_its_line_before_anything_is_drawn(drawings, change, message):
    run([job()], "out")
    [record] = records()
    Path("out/manifest.jsonl").write_text(f"{json.dumps(record)}\n{json.dumps({**record, **change})}\n")
    with pytest.raises(ValueError) as caught:
        run([job(seed=6)], "out")
    said = str(caught.value)
    assert said.startswith(f"out/manifest.jsonl, line 2 is no record of a batch: {message}"), said
    assert "\n" not in said and len(said) <= 500 and drawings == [job()]


@pytest.mark.parametrize("seconds", ["abc", float("nan"), 10**400, -1, None])
def test_an_image_s_own_word_on_its_seconds_is_not_trusted(drawings, seconds):
    run([job()], "out")
    [name] = images()
    save_png(Image.new("RGB", (8, 8)), Path("out", name), job(), {"seconds": seconds})
    Path("out/manifest.jsonl").unlink()
    assert run([job()], "out").kept == 1 and records()[0]["seconds"] is None


@pytest.mark.parametrize("prompt", ["海" * 300, "𠀀" * 300, "🚀" * 300])
def test_a_name_that_is_long_in_bytes_is_shortened(drawings, prompt):
    assert run([job(prompt=prompt, seed=2**64 - 1)], "out").drawn == 1
    [name] = images()
    assert len(os.fsencode(name)) < 255


# ---- sheets ----------------------------------------------------------------------------------------------------------


def seeds_and_steps(pipe, group):
    """Images whose colours say the job's seed and steps."""
    return [[Image.new("RGB", (40, 20), (10 * each.steps, 0, 100 + each.seed))] for each in group]


def test_a_sheet_has_the_first_field_across_and_the_second_down(drawings, monkeypatch):
    monkeypatch.setattr(workers, "draw_together", seeds_and_steps)
    Path("prompts.txt").write_text("a cat\na dog\n")
    words = ["--prompts", "prompts.txt", "--grid-search", "steps=3,6,9", "--seeds", "1,2", "-o", "out", "--sheet"]
    assert command(*words).splitlines()[-2:] == ["wrote out/sheet-0.png", "wrote out/sheet-1.png"]
    with Image.open("out/sheet-1.png") as sheet:
        colours = [colour for _, colour in sheet.getcolors(10_000) if colour[0] != colour[1]]
        places = {colour: np.argwhere((np.asarray(sheet) == colour).all(-1)) for colour in colours}
    assert set(colours) == {(10 * steps, 0, 100 + seed) for steps in (3, 6, 9) for seed in (1, 2)}
    for name, axis, values in (
        ("across", 1, [(30, 0, 101), (60, 0, 101), (90, 0, 101)]),
        ("down", 0, [(30, 0, 101), (30, 0, 102)]),
    ):
        starts = [places[value][:, axis].min() for value in values]
        assert starts == sorted(set(starts)), name
    assert {len(place) for place in places.values()} == {40 * 20}


def test_prompts_run_down_where_one_field_varies_and_the_noise_is_the_same(drawings):
    Path("prompts.txt").write_text("a cat\na dog\n")
    command("--prompts", "prompts.txt", "--grid-search", "steps=3,6", "-o", "out", "--sheet")
    assert {each.seed for each in drawings} == {0} and Path("out/sheet.png").exists()
    [(across, down, title, cells)] = sheets_of(drawings, ["steps"])
    assert (across, down, title) == ("steps", "prompt", "")
    assert set(cells) == {(steps, prompt) for steps in (3, 6) for prompt in ("a cat", "a dog")}


def test_an_image_that_is_missing_is_a_gap(drawings):
    Path("prompts.txt").write_text("a cat\nbad dog\n")
    command("--prompts", "prompts.txt", "--grid-search", "steps=3,6", "-o", "out", "--sheet", code=3)
    with Image.open("out/sheet.png") as sheet:
        assert (211, 211, 211) in [colour for _, colour in sheet.getcolors(10_000)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a sheet needs several values to lay out: give --grid-search or --seeds"),
        (["--seeds", "0-300"], "a sheet has room for 256 values of a field"),
    ],
)
def test_a_sheet_that_cannot_be_is_refused_before_anything_is_drawn(drawings, words, message):
    Path("prompts.txt").write_text("a cat\n")
    assert message in command("--prompts", "prompts.txt", "-o", "out", "--sheet", *words, code=1)
    assert not drawings


# ---- failing, stopping -----------------------------------------------------------------------------------------------


def test_a_job_that_fails_is_tried_twice_more_and_the_others_go_on(drawings):
    Path("jobs.csv").write_text("prompt\nbad cat\na dog\n")
    printed = command("jobs.csv", "-o", "out", "--seed", 1, code=3)
    assert "generated 1 images, 0 existed, 1 failed" in printed and "failed: 'bad cat': cannot draw this" in printed
    assert sorted(each.prompt for each in drawings) == ["a dog"] + ["bad cat"] * 3
    failed = next(each for each in records() if each["error"])
    assert (failed["file"], failed["tries"], failed["job"]["prompt"]) == (None, 3, "bad cat")
    command("jobs.csv", "-o", "out", "--seed", 1, code=3)
    assert len(drawings) == 7  # the same command tries what failed again, and nothing else


def test_a_file_that_cannot_be_written_is_its_job_s_error(drawings, monkeypatch):
    write = LocalFolder.write

    def limited(self, name, content):
        if "-1-" in name:
            raise OSError(errno.EFBIG, "File too large")
        write(self, name, content)

    monkeypatch.setattr(LocalFolder, "write", limited)
    summary = run([job(seed=i) for i in range(3)], "out")
    assert summary.drawn == 2 and len(images()) == 2
    assert "File too large" in summary.failed[0].error and ".png" in summary.failed[0].error


def test_an_image_beyond_the_machine_s_memory_is_its_job_s_error(monkeypatch):
    monkeypatch.setattr("mindone.diffusers.utils.decoder_memory.total_memory", lambda: 8 * 10**9)
    summary = run([job(height=30_000, width=30_000), job(seed=1)], "out")
    assert summary.drawn == 1 and "an image of 30000×30000 takes about" in summary.failed[0].error


def test_one_bad_job_does_not_spoil_those_it_shares_a_call_with(drawings):
    summary = run([job(prompt="bad"), job(seed=1), job(seed=2)], "out", batch_size=3)
    assert summary.drawn == 2 and [each.tries for each in summary.failed] == [3]


def test_a_model_that_does_not_load_is_not_tried_for_each_of_its_jobs(drawings, monkeypatch):
    tried = []

    def missing(key):
        tried.append(key)
        raise FileNotFoundError("no such model")

    monkeypatch.setattr(loaded, "load", missing)
    summary = run([job(seed=i) for i in range(5)], "out")
    assert {each.error for each in summary.failed} == {"no such model"} and len(summary.failed) == 5
    assert len(tried) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_batch_after_the_image_that_is_being_drawn(drawings, monkeypatch, number):
    before = signal.getsignal(number)

    def draw_and_signal(pipe, group):
        drawings.extend(group)
        if len(drawings) == 2:
            signal.raise_signal(number)
        return [[Image.new("RGB", (8, 8))] for _ in group]

    monkeypatch.setattr(workers, "draw_together", draw_and_signal)
    Path("prompts.txt").write_text("a cat\n")
    words = ["--prompts", "prompts.txt", "--seeds", "0-4", "-o", "out"]
    assert "generated 2 images" in command(*words, code=128 + number)
    assert len(records()) == 2 == len(images()) and signal.getsignal(number) is before
    assert "generated 3 images, 2 existed" in command(*words)


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"prompt": "x"}\n{"prompt": }\n', "a.jsonl, line 2: not valid JSON: column 12"),
        ("a.jsonl", '["x"]\n', "a.jsonl, line 1: must be a JSON object"),
        ("a.jsonl", '{"steps": 3}\n', "a.jsonl, line 1: prompt is missing"),
        ("a.jsonl", "\n", "a.jsonl holds no jobs"),
        ("a.jsonl", '{"prompt": "x"}\n{"prompt": "x", "model": "nothing"}', "a.jsonl, line 2: unknown model 'nothing'"),
        ("a.csv", "prompt,lora\nx,nothing.safetensors:0.5\n", "a.csv, line 2: no file nothing.safetensors"),
        ("a.jsonl", '{"prompt": "x"}\n' + "[" * 100_000, "a.jsonl, line 2: not valid JSON: it is nested too deeply"),
        ("a.jsonl", '{"prompt": "x", "seed": ' + "9" * 5000 + "}", "line 1: not valid JSON: a number has thousands of"),
        (
            "a.jsonl",
            '{"prompt": "x", "seed": ' + "9" * 300 + "}",
            "line 1: seed must be less than or equal to 18446744",
        ),
        (
            "a.jsonl",
            '{"prompt": "x", "num_images": 10000000}',
            "line 1: num_images must be less than or equal to 100000",
        ),
        (
            "a.jsonl",
            '{"prompt": "x", "width": 100000}',
            "line 1: width must be less than or equal to 32768, got 100000",
        ),
        ("a.jsonl", '{"prompt": "x", "num_images": 50000}\n' * 3, "line 3: a batch takes up to 100,000 images"),
        ("a.csv", "prompt\n" + "a\n" * 100_001, "a.csv, line 100002: a batch takes up to 100,000 jobs and these are"),
        ("a.jsonl", '{"prompt": "x", "num_images": 2, "seed": 18446744073709551615}', "line 1: seed must be less than"),
        ("a.jsonl", b'{"prompt": "x"}\n{"prompt": "\xff"}', "a.jsonl, line 2: byte 28 is not UTF-8"),
        ("a.jsonl", '{"prompt": "x"}\n{"prompt": " "}', "a.jsonl, line 2: prompt is empty; describe the image"),
        ("a.csv", "prompt,seed\n,1\n", "a.csv, line 2: prompt is empty; describe the image"),
        ("a.csv", "prompt\n" + "x" * 110_000, "a.csv, line 2: prompt must have at most 100000 characters"),
        ("a.csv", "prompt,seed\nx," + "9" * 5000, "a.csv, line 2: seed Unable to parse input string as an integer"),
        ("a.csv", "prompt,stpes\nx,3\n", "a.csv, line 2: unknown field 'stpes'; did you mean 'steps'?"),
        ("a.csv", "prompt,steps\nx,0\n", "a.csv, line 2: steps must be greater than or equal to 1, got '0'"),
        ("a.csv", "prompt,steps\nx,y,3\n", "a.csv, line 2: more values than the header has columns"),
        ("a.csv", b"prompt\n\xff\n", "a.csv, line 2: byte 7 is not UTF-8"),
        ("a.txt", "a cat\n", "a list of jobs must be a file that ends in .jsonl, .csv, .parquet, got 'a.txt'"),
        ("a.parquet", "no table", "a.parquet is no readable Parquet file"),
    ],
)
def test_a_list_that_is_wrong_is_refused_in_one_line_before_anything_is_drawn(drawings, name, content, message):
    if name == "a.parquet":
        pytest.importorskip("pyarrow")
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    printed = command(name, "-o", "out", code=1)
    assert message in printed and len(printed.strip().splitlines()) == 1 and len(printed) <= 510
    assert drawings == [] and not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-o", "out"], 2, "give a file of jobs, or a file of prompts with --prompts"),
        (["missing.csv", "-o", "out"], 1, "Error: no file missing.csv"),
        (["p.csv", "-o", "out", "--seeds", "3-1"], 1, "seeds must be numbers and ranges such as 0-9,20, got '3-1'"),
        (["p.csv", "-o", "out", "--seeds", "0-99999999999"], 1, "are more than the 100,000 that a batch takes"),
        (
            ["p.csv", "-o", "out", "--seeds", "0-59999", "--grid-search", "steps=1,2"],
            1,
            "steps, seed have more combina",
        ),
        (["p.csv", "-o", "out", "--seeds", "9" * 5000], 1, "seeds must be numbers and ranges such as 0-9,20, got '999"),
        (["p.csv", "-o", "out", "--grid-search", "steps=" + "[" * 9999], 1, "is no JSON list: it is nested too deeply"),
        (["p.csv", "-o", "out", "--seeds", "1", "--seed", "2"], 2, "--seeds and another seed were both given"),
        (
            ["p.csv", "-o", "out", "--grid-search", "steps"],
            1,
            "grid search takes FIELD=VALUE,VALUE such as steps=10,20",
        ),
        (
            ["p.csv", "-o", "out", "--grid-search", "stpes=1,2"],
            1,
            "grid search, stpes=1: unknown field 'stpes'; did you mean 'steps'?",
        ),
        (["p.csv", "-o", "out", "--grid-search", "steps=4,0"], 1, "grid search, steps=0: steps must be"),
        (["p.csv", "-o", "out", "--grid-search", "height=1,2"], 1, "line 2: height is set here and as several values"),
        (["p.csv", "-o", "p.csv"], 1, "the folder p.csv is a file"),
    ],
)
def test_options_that_are_wrong_are_refused_in_one_line(drawings, words, code, message):
    Path("p.csv").write_text("prompt,height\nx,64\n")
    assert message in " ".join(command(*words, code=code).split())
    assert drawings == [] and not Path("out").exists()


@pytest.mark.parametrize(
    ("module", "words", "purpose"),
    [
        ("pyarrow", ["p.parquet", "-o", "out"], "Parquet files need pyarrow"),
        ("ray", ["p.csv", "-o", "out", "--ray", "auto"], "batches on a cluster need ray"),
        ("fsspec", ["p.csv", "-o", "memory://out"], "addresses such as s3://bucket/images need fsspec"),
    ],
)
def test_what_needs_the_extra_says_so(drawings, monkeypatch, module, words, purpose):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Without(module), *sys.meta_path])
    Path("p.csv").write_text("prompt\nx\n")
    Path("p.parquet").write_text("")
    printed = command(*words, code=1)
    assert f'{purpose}: pip install ".[batch]" in a checkout' in printed and len(printed.strip().splitlines()) == 1
    assert drawings == []


class _Without:
    """Finds no module of that name."""

    def __init__(self, module):
        self.module = module

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == self.module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


# ---- pipelines that are kept -----------------------------------------------------------------------------------------


def test_the_least_recently_used_pipeline_goes_when_weights_exceed_the_limit(monkeypatch):
    # As on a CPU that computes in 16 bits: others hold such weights in float32.
    monkeypatch.setattr("mindone.diffusers.engines.openvino.compiling.half_precision", lambda: "bf16")
    monkeypatch.setattr("mindone.diffusers.engines.openvino.compiling._half_types", lambda: {"bf16"})
    loaded = []

    def load_and_note(key):
        loaded.append(key)
        return jobs.load(key)

    half, whole, other = (job(dtype=dtype).pipeline_key for dtype in ("float16", "float32", "bfloat16"))
    everything = LoadedPipelines(load=load_and_note)
    first = everything.get(half)
    assert everything.get(half) is first and loaded == [half]
    size = sum(
        parameter.size * 2 for net in (first.unet, first.vae, first.text_encoder) for parameter in net.get_parameters()
    )
    kept = LoadedPipelines(limit=3 * size, load=load_and_note)
    for key in (half, whole, half, other):
        kept.get(key)
    assert list(kept) == [half, other]
    kept.get(whole)
    assert list(kept) == [other, whole]
