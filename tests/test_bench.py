"""The bench: what it measures, what it writes, and what it says when something goes wrong."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny_flux
import tiny_pixart
import tiny_sana
import tiny_sd3
from mindone.diffusers import bench, schedulers
from mindone.diffusers.bench import measure, ours, process, session, shapes, worker
from mindone.diffusers.bench.clock import STAGES, Calls, StageClock
from mindone.diffusers.bench.report import Report
from mindone.diffusers.bench.tables import make_plan
from mindone.diffusers.bench.terminal import ProgressBar
from mindone.diffusers.tune import session as tune_session
from mindone.diffusers.tune.options import Options as TuneOptions
from tiny_pipelines import PROMPT, checkpoint, load, tiny_autoencoder_folder


def options(output, **more):
    """A bench of the tiny checkpoints."""
    given = {
        "model": str(checkpoint("sd1")),
        "distilled": str(checkpoint("bk_sdm")),
        "tiny_vae": str(tiny_autoencoder_folder()),
        "prompt": PROMPT,
        "steps": 2,
        "engine": "openvino",
        "output": output,
    }
    return bench.Options(**{**given, **more})


class PretendedRow:
    """A row's process that answers at once, or as ``script`` says: "fail" raises, "interrupt" is a Ctrl-C."""

    script: tuple[str, ...] = ()

    def __init__(self, setup):
        self.setup, self.runs = setup, 0

    def reply(self, on_step):
        return worker.Reply(0.5, 10**9, [], engine="pretended")

    def draw(self, on_step, job, images):
        act = self.script[self.runs] if self.runs < len(self.script) and self.setup.name == "distilled" else ""
        self.runs += 1
        if act == "fail":
            raise process.RowFailed("out of memory")
        if act == "interrupt":
            raise KeyboardInterrupt
        on_step()
        pictures = np.full((job.num_images, job.height, job.width, 3), 128, np.uint8)
        stages = dict(zip(STAGES, (0.1, 0.3, 0.1)))
        return worker.Reply(0.5, 10**9, [], stages=stages, images=pictures if images else None)

    def hang_up(self):
        pass

    def end(self, deadline):
        pass


def pretend(*script):
    return type("Scripted", (PretendedRow,), {"script": script})


def unmeasured(tables):
    """Results to be filled, and a bar over them."""
    rows = [[measure.Row(setup) for setup in table.setups] for table in tables]
    return [measure.Results(table, each) for table, each in zip(tables, rows)], ProgressBar(tables)


def valid(data):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(Path(bench.__file__).with_name("schema.json").read_text())
    jsonschema.validate(data, schema, jsonschema.Draft202012Validator)
    return data


# ---- one real measurement --------------------------------------------------------------------------------------------


class KilledInItsSecondRun(process.RowProcess):
    """A row that the system ends, as it does when memory runs out."""

    def draw(self, on_step, job, images):
        if self.process.name.endswith("tiny autoencoder") and not images:
            os.kill(self.process.pid, signal.SIGKILL)
        return super().draw(on_step, job, images)

    def __init__(self, setup):
        super().__init__(setup)
        self.process.name = setup.name


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Table 2 on the tiny checkpoints, its last row killed in the first timed run."""
    folder = tmp_path_factory.mktemp("bench") / "report"
    request = options(folder, table="2", repeats=2, num_images=2, seed=5)
    report = session.run(request, "mindone-diffusers bench --repeats 2", KilledInItsSecondRun)
    return report, folder


def rows_of(folder):
    return valid(json.loads((folder / "report.json").read_text()))["tables"][0]["rows"]


@pytest.mark.heavy
def test_rows_take_turns_run_by_run(measured):
    baseline, distilled, _ = rows_of(measured[1])
    assert [baseline["first_run"]["order"], distilled["first_run"]["order"]] == [1, 2]
    assert [run["order"] for run in baseline["runs"]] == [4, 7]
    assert [run["order"] for run in distilled["runs"]] == [5, 8]


@pytest.mark.heavy
def test_a_killed_row_says_why_and_the_others_go_on(measured):
    baseline, distilled, killed = rows_of(measured[1])
    assert (baseline["status"], distilled["status"], killed["status"]) == ("finished", "finished", "failed")
    assert "SIGKILL" in killed["error"] and "memory" in killed["error"]
    assert killed["latency"] is None and killed["first_run"] is not None


@pytest.mark.heavy
def test_stages_add_up_to_the_run(measured):
    for row in rows_of(measured[1]):
        for run in [row["first_run"], *row["runs"]]:
            assert sum(run["stages"].values()) == pytest.approx(run["seconds"], rel=1e-6)
            assert all(run["stages"].values())


@pytest.mark.heavy
def test_every_row_draws_what_a_user_would_get(measured):
    report, _ = measured
    pipe = load(checkpoint("sd1"), mindspore_dtype="float16")
    pipe.scheduler = schedulers.PNDMScheduler.from_config(pipe.scheduler.config)
    noise = [np.random.Generator(np.random.PCG64(seed)) for seed in (5, 6)]
    expected = pipe(PROMPT, num_inference_steps=2, num_images_per_prompt=2, generator=noise).images
    np.testing.assert_array_equal(report.results[0].rows[0].images, np.stack([np.asarray(x) for x in expected]))


@pytest.mark.heavy
def test_memory_is_that_of_a_process_of_its_own(measured):
    peaks = [row["peak_memory"] for row in rows_of(measured[1])]
    assert all(1e8 < peak < 3e9 for peak in peaks)  # MindSpore alone takes 0.4 GB; the tiny networks next to nothing


@pytest.mark.heavy
def test_the_report_has_quality_speed_up_and_machine(measured):
    data = json.loads((measured[1] / "report.json").read_text())
    baseline, distilled, tiny = data["tables"][0]["rows"]
    assert baseline["speedup"] == 1.0 and baseline["quality"] is None
    assert distilled["speedup"] == pytest.approx(baseline["latency"]["median"] / distilled["latency"]["median"])
    assert 0 < distilled["quality"]["psnr"] < 60
    assert tiny["quality"] is not None  # its images are there, from the first run
    assert data["machine"]["cores"] >= 1 and data["versions"]["openvino"]
    assert data["complete"] and data["command"] == "mindone-diffusers bench --repeats 2"


@pytest.mark.heavy
def test_the_grid_has_a_row_a_set_up_and_a_column_a_seed(measured):
    with Image.open(measured[1] / "grid.png") as grid:
        assert grid.width >= 2 * 64 and 3 * 64 < grid.height < 3 * 64 + 3 * 40


# ---- rows in a process, without the process --------------------------------------------------------------------------


class Wire:
    """The worker's end of a connection: what it is asked, and what it said."""

    def __init__(self, *asked):
        self.asked, self.said = list(asked), []

    def send(self, message):
        self.said.append(message)

    def recv(self):
        if not self.asked:
            raise EOFError
        return self.asked.pop(0)


@pytest.fixture
def quiet(monkeypatch):
    """Leave this process's signals and logging alone."""
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    monkeypatch.setattr(worker.logging.getLogger(), "addHandler", lambda handler: None)


def test_a_row_with_a_broken_file_fails_with_the_reason(quiet, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(checkpoint("sd1"), broken)
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    table = make_plan(options(tmp_path, model=str(broken)), tmp_path).tables[0]
    wire = Wire()
    worker.serve(wire, table.setups[0])
    (kind, reason), *_ = wire.said
    assert kind == "failed" and str(weights) in reason and "\n" not in reason


def test_a_row_whose_weights_do_not_fit_into_memory_fails_before_it_draws(quiet, tmp_path, monkeypatch):
    table = make_plan(options(tmp_path, table="1"), tmp_path).tables[0]
    monkeypatch.setattr(ours, "free_memory", lambda: 300_000)
    wire = Wire()
    worker.serve(wire, table.setups[0])
    advice = "close other programs, and hold one row at a time with --repeats 1"
    assert wire.said == [("failed", f"a run takes at least 0.0 GB of memory and 0.0 GB are free; {advice}")]


def test_a_row_tells_of_every_denoising_step(quiet, tmp_path):
    table = make_plan(options(tmp_path, table="1", steps=4), tmp_path).tables[0]
    wire = Wire((table.job, False), None)
    worker.serve(wire, table.setups[0])
    assert [kind for kind, _ in wire.said] == ["done", *["step"] * 4, "done"]
    loaded, drawn = wire.said[0][1], wire.said[-1][1]
    assert loaded.engine == "openvino, f32" and drawn.images is None


def test_calls_of_the_network_are_counted_by_what_they_run(tmp_path):
    given = options(tmp_path, steps=6, guidance_scale=3.0, guidance_interval=(0.0, 0.5), cache=("deepcache:3",))
    setup, clock = make_plan(given, tmp_path).tables[0].setups[0], StageClock(lambda: None)
    runner = ours.Runner(setup, clock)
    for _ in range(2):  # of one run, not of all
        clock.start()
        runner.draw(setup.job)
        assert clock.calls == Calls(full=2, shallow=4, single=3)


@pytest.mark.parametrize("family, rows", [("pixart", 2), ("sana", 2), ("sana-sprint", 1)])
def test_a_denoiser_that_reads_the_text_once_is_counted_by_its_steps(family, rows, tmp_path):
    model = tiny_pixart.checkpoint("pixart-sigma") if family == "pixart" else tiny_sana.checkpoint(family)
    given = options(tmp_path, model=str(model), distilled=None, tiny_vae=None, table="1", steps=2, height=64, width=64)
    setup, steps = make_plan(given, tmp_path).tables[0].setups[0], []
    clock = StageClock(lambda: steps.append(1))
    runner = ours.Runner(setup, clock)
    clock.start()
    runner.draw(setup.job)
    assert clock.calls == Calls(full=2, single=2 if rows == 1 else 0) and len(steps) == 2


def test_the_clock_splits_a_run_where_networks_are_first_called(monkeypatch):
    times = iter([0.0, 1.0, 3.0, 10.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    steps = []
    clock = StageClock(lambda: steps.append(1))
    clock.start()
    for stage in ("text_encoder", "text_encoder", "denoising", "denoising", "decode"):
        clock.enter(stage)
    assert clock.stop() == (10.0, {"text_encoder": 1.0, "denoising": 2.0, "decode": 7.0})
    assert len(steps) == 2


# ---- failures and interruptions, with pretended rows -----------------------------------------------------------------


def test_a_failing_row_keeps_what_it_has(tmp_path):
    session.run(options(tmp_path / "r", table="2"), "bench", pretend("", "", "fail"))
    baseline, distilled, tiny = rows_of(tmp_path / "r")
    assert (distilled["status"], distilled["error"], len(distilled["runs"])) == ("failed", "out of memory", 1)
    assert baseline["status"] == tiny["status"] == "finished"


def test_ctrl_c_keeps_what_is_finished_and_says_that_the_report_is_partial(tmp_path, capsys):
    report = session.run(options(tmp_path / "r"), "bench", pretend("", "", "interrupt"))
    data = valid(json.loads((tmp_path / "r" / "report.json").read_text()))
    assert report.interrupted and not data["complete"]
    assert [row["status"] for row in data["tables"][0]["rows"]] == ["finished", "finished"]
    assert [row["status"] for row in data["tables"][1]["rows"]] == ["partial", "partial", "partial"]
    assert "partial" in capsys.readouterr().out
    assert "this report is partial" in (tmp_path / "r" / "report.html").read_text()


def test_ctrl_c_in_the_first_run_leaves_a_report_without_figures(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "grid.png").write_bytes(b"of an earlier run")
    session.run(options(tmp_path / "r", table="2"), "bench", pretend("interrupt"))
    assert [row["status"] for row in rows_of(tmp_path / "r")] == ["not run"] * 3
    assert (tmp_path / "r" / "grid.png").read_bytes() != b"of an earlier run"  # the baseline's first images are there


def test_no_row_at_all_is_an_error_with_the_first_reason(tmp_path):
    class Failing(PretendedRow):
        def reply(self, on_step):
            raise process.RowFailed("no such kernel")

    report = session.run(options(tmp_path / "r"), "bench", Failing)
    assert report.failure == "no row could be measured; the first reason: no such kernel"
    assert rows_of(tmp_path / "r")[0]["status"] == "failed"


def test_the_bar_reaches_its_end_also_when_rows_fail(tmp_path):
    results, bar = unmeasured(make_plan(options(tmp_path), tmp_path).tables)
    measure.measure(results, bar, pretend("", "fail"))
    assert bar.tasks[0].completed == bar.tasks[0].total


# ---- the layout of the tables ----------------------------------------------------------------------------------------


def test_the_tables_follow_the_guide(tmp_path):
    given = options(tmp_path, steps=None, prompt=None)
    first, second = make_plan(given, tmp_path).tables
    for table, *expected in ((first, "ddim", 50, 1), (second, "pndm", 25, 4)):
        assert [table.job.scheduler, table.job.steps, table.job.num_images] == expected and table.repeats == 3
    assert [setup.job.dtype for setup in first.setups] == ["float32", "float16"]
    assert [setup.name for setup in second.setups] == ["baseline", "distilled", "distilled + tiny autoencoder"]
    assert {setup.job.dtype for setup in second.setups} == {"float16"}
    assert first.job.prompt == second.job.prompt == "a photo of an astronaut riding a horse on mars"
    assert second.job.seeds == [0, 1, 2, 3] and (first.job.height, first.job.width) == (64, 64)


def test_options_change_both_tables(tmp_path):
    given = options(tmp_path, steps=7, num_images=3, repeats=1, height=128, width=64, seed=9, dtype="bfloat16")
    for table in make_plan(given.changed(scheduler="euler"), tmp_path).tables:
        for setup in table.setups:
            job = setup.job
            assert (job.steps, job.num_images, job.height, job.width, job.scheduler) == (7, 3, 128, 64, "euler")
            assert job.seeds == [9, 10, 11]
        assert table.setups[-1].job.dtype == "bfloat16" and table.repeats == 1


def test_the_guidance_is_the_users_else_the_checkpoints(tmp_path):
    icons = bench.Options(steps=1)
    assert {table.job.guidance_scale for table in make_plan(icons, tmp_path).tables} == {2.0}
    asked = icons.changed(guidance_scale=1.0)
    assert {table.job.guidance_scale for table in make_plan(asked, tmp_path).tables} == {1.0}
    silent = make_plan(options(tmp_path), tmp_path).tables
    assert {table.job.guidance_scale for table in silent} == {None}


def test_the_reference_has_rows_in_both_precisions(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    first, second = make_plan(options(tmp_path, against=("diffusers",)), tmp_path).tables
    assert [(setup.library, setup.job.dtype) for setup in first.setups[2:]] == [
        ("diffusers", "float32"),
        ("diffusers", "bfloat16"),
    ]
    assert {setup.library for setup in second.setups} == {"mindone.diffusers"}


def test_genai_has_one_row_beside_the_references(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    both = ("diffusers", "openvino-genai")
    first, _ = make_plan(options(tmp_path, against=both, scheduler="euler"), tmp_path).tables
    assert [setup.library for setup in first.setups[2:]] == ["diffusers", "diffusers", "openvino-genai"]


def test_without_a_distilled_model_there_is_one_table(tmp_path):
    layout = make_plan(options(tmp_path, distilled=None, tiny_vae=None), tmp_path)
    assert len(layout.tables) == 1 and "no second table" in layout.notes[0]


def test_a_tiny_autoencoder_alone_stands_beside_the_baseline(tmp_path):
    second = make_plan(options(tmp_path, distilled=None), tmp_path).tables[1]
    assert [setup.name for setup in second.setups] == ["baseline", "baseline + tiny autoencoder"]


def test_images_of_other_random_weights_are_not_compared(tmp_path):
    first, second = make_plan(options(tmp_path), tmp_path).tables
    first, second = replace(first, random_weights=True), replace(second, random_weights=True)
    assert first.compares_images(first.setups[1])
    assert not second.compares_images(second.setups[1]) and not second.compares_images(second.setups[2])


# ---- rivals: as fast with fewer steps --------------------------------------------------------------------------------


def timed(*script):
    """Rows whose denoising takes 0.1 s a step; the distilled model's 0.06 s."""

    class Timed(pretend(*script)):
        def draw(self, on_step, job, images):
            reply = super().draw(on_step, job, images)
            per_step = 0.06 if "distilled" in job.model or "bk" in job.model else 0.1
            per_step *= 0.8 ** (len(job.cache) + (job.guidance_interval is not None) + job.int8)
            decode = 0.1 if job.tiny_vae else 0.6
            stages = dict(zip(STAGES, (0.1, per_step * job.steps, decode)))
            return replace(reply, stages=stages, seconds=sum(stages.values()))

    return Timed


def test_the_whole_stack_holds_each_layer_against_fewer_steps(tmp_path):
    session.run(options(tmp_path / "r", table="3", steps=None), "bench", timed())
    rows = rows_of(tmp_path / "r")
    assert [(row["name"], row["steps"], row["rival_of"]) for row in rows] == [
        ("baseline", 25, None),
        ("+ distilled", 25, None),
        ("instead: baseline, 15 steps", 15, "+ distilled"),  # 2.2 s less 0.7 s outside the steps, at 0.1 s a step
        ("+ tiny autoencoder", 25, None),
        ("instead: + distilled, 17 steps", 17, "+ tiny autoencoder"),
        ("+ DeepCache 3", 25, None),
        ("instead: + tiny autoencoder, 20 steps", 20, "+ DeepCache 3"),
        ("+ TaylorSeer 2", 25, None),
        ("instead: + DeepCache 3, 20 steps", 20, "+ TaylorSeer 2"),
        ("+ half the steps guided", 25, None),
        ("instead: + TaylorSeer 2, 20 steps", 20, "+ half the steps guided"),
        ("+ token downsampling 2", 25, None),
        ("instead: + half the steps guided, 25 steps", 25, "+ token downsampling 2"),
        ("+ int8", 25, None),
        ("instead: + token downsampling 2, 20 steps", 20, "+ int8"),
        ("baseline + both caches", 25, None),
        ("instead: baseline, 16 steps", 16, "baseline + both caches"),
    ]
    for row in rows:
        assert row["status"] == "finished" and len(row["runs"]) == 3
    assert rows[2]["latency"]["median"] == pytest.approx(rows[1]["latency"]["median"], abs=0.1)
    turns = [[run["order"] for run in row["runs"]] for row in rows]
    assert all(first < second < third for first, second, third in turns)
    assert [row[1] for row in turns] == list(range(27, 44))  # in turn, the rivals among them


def test_layers_that_cannot_be_are_left_out_and_said_so(tmp_path):
    def layers(**more):
        plan = make_plan(options(tmp_path, table="3", distilled=None, tiny_vae=None, **more), tmp_path)
        return [setup.name for setup in plan.tables[0].setups if setup.rival_of is None][1:], " ".join(plan.notes)

    names, notes = layers(steps=3, guidance_scale=1.0, engine="mindspore")
    assert names == ["+ token downsampling 2"]
    assert "'+ DeepCache 3': cache_interval 3 needs a run of more than 3 steps, got 3" in notes
    assert "'+ int8': int8 needs the OpenVINO engine" in notes
    names, notes = layers(steps=8, scheduler="lcm", guidance_interval=(0.0, 0.4))
    assert names == ["+ DeepCache 3", "+ token downsampling 2", "+ int8"]
    assert "the steps of lcm, because each starts from new noise" in notes and "guidance_interval was given" in notes
    assert layers(steps=8, cache=("spectrum",))[0][0] == "+ half the steps guided"


def test_a_rival_draws_in_the_process_of_the_row_that_it_is_made_from(tmp_path):
    started = []

    class Counted(timed()):
        def __init__(self, setup):
            super().__init__(setup)
            started.append(setup.name)

    results, bar = unmeasured(make_plan(options(tmp_path, table="3", steps=None), tmp_path).tables)
    measure.measure(results, bar, Counted)
    assert len(started) == 9 and not any(name.startswith("instead") for name in started)


def test_one_repeat_keeps_a_process_only_as_long_as_a_row_draws_in_it(tmp_path):
    alive, most = [], []

    class Mortal(timed()):
        def __init__(self, setup):
            super().__init__(setup)
            alive.append(setup.name)
            most.append(len(alive))

        def end(self, deadline):
            alive.remove(self.setup.name)

    results, bar = unmeasured(make_plan(options(tmp_path, table="3", steps=None, repeats=1), tmp_path).tables)
    measure.measure(results, bar, Mortal)
    assert not alive and max(most) == 3  # the baseline, which the last rival is made from, a row and its base
    assert all(row.status(1) == "finished" for row in results[0].rows)
    assert bar.tasks[0].completed == bar.tasks[0].total


def test_a_warm_up_has_the_steps_that_compile_everything_and_the_images_are_those_of_a_whole_run(tmp_path):
    plan = make_plan(options(tmp_path, table="3", steps=None, repeats=1), tmp_path)
    steps = {setup.name: setup.warm_up.steps for setup in plan.tables[0].setups}
    assert (steps["baseline"], steps["+ DeepCache 3"], steps["+ int8"]) == (2, 12, 12)
    results, bar = unmeasured(plan.tables)
    measure.measure(results, bar, timed())
    baseline = results[0].rows[0]
    assert baseline.first_run.steps == 2 and baseline.runs[0].steps == 25 and baseline.images is not None
    needs_all = options(tmp_path, table="1", steps=25, cache=("deepcache:20",))
    assert make_plan(needs_all, tmp_path).tables[0].setups[0].warm_up.steps == 25


def test_the_stack_calls_all_of_its_networks_within_its_warm_up(tmp_path):
    plan = make_plan(options(tmp_path, table="3", steps=25, guidance_scale=3.0), tmp_path)
    stack = next(setup for setup in plan.tables[0].setups if setup.name == "+ token downsampling 2")
    called = []
    for job in (stack.warm_up, stack.job):
        runner = ours.Runner(stack, StageClock(lambda: None))
        runner.draw(job)
        called.append(set(runner.pipe.unet.graphs))
    assert called[0] == called[1] and len(called[0]) == 4  # full and shallow, with guidance and without


def test_only_the_rows_that_are_asked_for_are_measured(tmp_path):
    def names(*only, **more):
        return [setup.name for setup in make_plan(options(tmp_path, only=only, **more), tmp_path).tables[-1].setups]

    assert names("int8", table="3") == ["baseline", "+ int8"]
    assert names("distilled", table="3") == ["baseline", "+ distilled", "instead: baseline, fewer steps"]
    assert names("distilled + tiny") == ["baseline", "distilled + tiny autoencoder"]
    with pytest.raises(ValueError, match="only 'spectrum' matches no row; the rows are 'baseline', "):
        names("spectrum", table="3")


def test_a_rival_of_a_row_that_failed_says_so_and_the_bar_reaches_its_end(tmp_path):
    results, bar = unmeasured(make_plan(options(tmp_path, table="3"), tmp_path).tables)

    class Failing(timed()):
        def reply(self, on_step):
            if self.setup.name == "+ distilled":
                raise process.RowFailed("out of memory")
            return super().reply(on_step)

    measure.measure(results, bar, Failing)
    errors = {row.setup.name: row.error for row in results[0].rows}
    assert (
        errors["instead: baseline, fewer steps"]
        == "it was to be as fast as '+ distilled', but '+ distilled' has failed"
    )
    assert errors["+ tiny autoencoder"] is None
    assert bar.tasks[0].completed == bar.tasks[0].total


# ---- bad requests, refused before anything runs ----------------------------------------------------------------------


def never(setup):
    raise AssertionError("a row was started")


def changed(folder, component, **fields):
    """A copy of the tiny checkpoint with other entries in a config."""
    import shutil

    shutil.copytree(checkpoint("sd1"), folder)
    path = folder / component / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return str(folder)


def refused(request, error=ValueError):
    """What a request, or making one, is refused with."""
    with pytest.raises(error) as caught:
        session.run(request() if callable(request) else request, "bench", never)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_other_latent_channels_are_refused(tmp_path):
    other = changed(tmp_path / "other", "unet", in_channels=16)
    other_vae = tmp_path / "other" / "vae" / "config.json"
    other_vae.write_text(json.dumps({**json.loads(other_vae.read_text()), "latent_channels": 16}))
    assert "16 latent channels" in refused(options(tmp_path / "r", distilled=other))


def test_other_sizes_are_refused_unless_a_size_is_given(tmp_path):
    other = changed(tmp_path / "other", "unet", sample_size=16)
    message = refused(options(tmp_path / "r", distilled=other))
    assert "64×64" in message and "128×128" in message and "--height" in message
    make_plan(options(tmp_path / "r", distilled=other, height=64, width=64), tmp_path)


def test_an_inpainting_model_is_refused(tmp_path):
    assert "9 channels" in refused(options(tmp_path / "r", model=changed(tmp_path / "other", "unet", in_channels=9)))


@pytest.mark.parametrize("fields", [{"latent_channels": 16}, {"upsampling_scaling_factor": 4}])
def test_a_tiny_autoencoder_that_does_not_fit_is_refused(tmp_path, fields):
    config = json.loads((tiny_autoencoder_folder() / "config.json").read_text())
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    assert str(folder) in refused(options(tmp_path / "r", tiny_vae=str(folder)))


def test_a_big_autoencoder_is_no_tiny_one(tmp_path):
    assert "AutoencoderKL" in refused(options(tmp_path / "r", tiny_vae=str(checkpoint("sd1") / "vae")))


def test_a_report_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "r").write_text("")
    assert "is a file" in refused(options(tmp_path / "r"), FileExistsError)
    assert "is a file" in refused(options(tmp_path / "r" / "below"), NotADirectoryError)


def test_weights_that_no_row_can_hold_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("mindone.diffusers.bench.shapes.free_memory", lambda: 10**9)
    said = "any run of sd15 takes more than 1.4 GB of memory and 1.0 GB are free; close other programs"
    assert said in refused(bench.Options(shape="sd15", output=tmp_path / "r"))
    with pytest.raises(ValueError, match=said):
        tune_session.run(TuneOptions(shape="sd15"), "tune", tmp_path / "r")
    assert not (tmp_path / "r").exists()
    shapes.check_room("sd15", tmp_path, 0.5)  # with weights in int8


def test_no_space_left_is_said_before_anything_runs(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert "no space left" in refused(options(tmp_path / "r"), OSError)
    assert "3,1" in refused(bench.Options(shape="sd15", output=tmp_path / "r"), OSError)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"height": 100}, "multiple of 8"),
        ({"steps": 0}, "steps must be greater than or equal to 1"),
        ({"repeats": 0}, "repeats must be greater than or equal to 1"),
        ({"shape": "sd15"}, "leave out --model"),
        ({"distilled": None, "tiny_vae": None, "table": "2"}, "--distilled or --tiny-vae"),
    ],
)
def test_options_that_cannot_be(tmp_path, more, words):
    assert words in refused(lambda: options(tmp_path / "r", **more))
    assert not (tmp_path / "r").exists()


def test_an_unknown_checkpoint_or_shape_is_refused(tmp_path):
    assert "no-such-model" in refused(options(tmp_path / "r", model="no-such-model"), FileNotFoundError)
    assert "sd15" in refused(lambda: bench.Options(shape="sd99"))


def test_a_reference_that_is_not_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = refused(options(tmp_path / "r", against=("diffusers",)))
    assert "pip install torch diffusers transformers" in message


def test_the_reference_is_not_held_against_a_scheduler_with_noise(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    for name in ("euler-ancestral", "dpm++-sde", "dpm++-sde-karras", "dpm2-ancestral-beta", "ddpm", "lcm", "tcd"):
        given = options(tmp_path / "r", against=("diffusers",), scheduler=name)
        assert "draws noise at every step" in refused(given)


def test_genai_is_not_held_against_a_scheduler_that_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    message = refused(options(tmp_path / "r", against=("openvino-genai",), scheduler="dpm++"))
    assert "no dpm++" in message and "flow-euler" in message


# ---- the reference library -------------------------------------------------------------------------------------------


def assert_same_images(ours, theirs):
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


@pytest.mark.oracle
def test_both_libraries_draw_the_same_images_in_processes_of_their_own(tmp_path):
    given = options(tmp_path, num_images=2, steps=4, repeats=1, against=("diffusers",))
    table = make_plan(given, tmp_path).tables[0]
    baseline, _, reference, _ = table.setups  # those in float32
    results, bar = unmeasured([replace(table, setups=(baseline, reference))])
    measure.measure(results, bar)
    assert_same_images(*(row.images for row in results[0].rows))


@pytest.mark.oracle
@pytest.mark.parametrize("written", [tiny_flux.checkpoint, tiny_sd3.checkpoint, tiny_sd3.checkpoint_without_t5])
def test_both_libraries_draw_the_same_images_with_a_transformer(written, quiet, tmp_path):
    flow = {"height": 64, "width": 80, "scheduler": "flow-euler", "distilled": None, "tiny_vae": None}
    given = options(tmp_path, model=str(written()), repeats=1, against=("diffusers",), **flow)
    table = make_plan(given, tmp_path).tables[0]
    drawn = []
    for setup in (setup for setup in table.setups if setup.job.dtype == "float32"):
        wire = Wire((setup.job, True), None)
        worker.serve(wire, setup)  # in this process, as importing the libraries would take most of the time of two
        drawn.append(wire.said[-1][1].images)
    assert_same_images(*drawn)


@pytest.mark.oracle
def test_the_reference_has_every_thread_that_it_would_have_by_itself(tmp_path):
    (table, *_) = make_plan(options(tmp_path, against=("diffusers",)), tmp_path).tables
    row = process.RowProcess(table.setups[2])
    engine = row.reply(lambda: None).engine
    row.hang_up()
    code = "import torch; print(torch.get_num_threads())"
    # An environment is given, since MindSpore has changed the one that would be inherited.
    by_itself = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), capture_output=True, check=True)
    assert engine.endswith(f" {int(by_itself.stdout)} threads")


def test_a_report_knows_when_it_was_begun(tmp_path):
    before = datetime.now(timezone.utc).replace(microsecond=0)
    report = Report(make_plan(options(tmp_path), tmp_path), "bench")
    started = datetime.fromisoformat(valid(report.data())["started"])
    assert before <= started <= datetime.now(timezone.utc)
