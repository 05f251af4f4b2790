"""The search for the best stack: what it predicts, what it finds, and what it says when something cannot be."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from mindone.diffusers import DeepCacheConfig, TaylorSeerCacheConfig, cli
from mindone.diffusers.acceleration.stack import parse_cache
from mindone.diffusers.jobs.profile import Profile, Settings
from mindone.diffusers.tune import costs as costing, pipeline, rehearsal, session, verify as verifying
from mindone.diffusers.tune.candidates import Candidate, Space
from mindone.diffusers.tune.costs import Costs, Part
from mindone.diffusers.tune.front import Dot, Front, Row
from mindone.diffusers.tune.likeness import Drawings, Likeness
from mindone.diffusers.tune.options import Options
from mindone.diffusers.tune.prior import expected_psnr
from mindone.diffusers.tune.rehearsal import RehearsingEngine
from mindone.diffusers.tune.report import print_front, write_report
from mindone.diffusers.tune.search import LocalSearch, Pareto, Point, estimated, halve, on_front
from mindone.diffusers.tune.stacks import Stacks
from tiny_pipelines import PROMPT, checkpoint, let_time_tick, load

SIZE = 64
SETTINGS = [
    Settings(steps=6, scheduler="pndm", dtype="float32"),
    Settings(steps=5, scheduler="heun", dtype="float32"),
    Settings(steps=8, cache=("deepcache:3:1", "taylorseer:2:2:2"), guidance_interval=(0.0, 0.5), dtype="float32"),
    Settings(steps=9, cache=("spectrum",), dtype="float32"),
    Settings(steps=7, cache=("deepcache:2", "guidance:3:1:3"), dtype="float32"),
]


@pytest.fixture(autouse=True)
def little_to_multiply(monkeypatch):
    """What a rehearsal keeps the processor busy with, where no time is measured."""
    monkeypatch.setattr(rehearsal, "_MATRIX", np.ones((8, 8), np.float32))


@pytest.fixture(scope="module")
def pipe():
    return load(checkpoint("bk_sdm"))


@pytest.fixture
def instant(monkeypatch):
    """Parts that need not be measured: a whole step takes a second per row of its batch, a shallow one a tenth."""

    def measure(self, network, call):
        seconds = {"denoiser": 1.0 if call.taps is None else 0.1, "vae": 0.5}.get(call.role, 0.01)
        return Part(seconds * (call.rows if call.role == "denoiser" else 1), 0.0)

    monkeypatch.setattr(Costs, "_measure", measure)
    monkeypatch.setattr(pipeline, "_EXPLORE", 0.0)  # networks in int8 and the like take long to make


def costs_of(pipe):
    return Costs(Stacks(pipe), {"prompt": PROMPT, "height": SIZE, "width": SIZE})


class CountingEngine(RehearsingEngine):
    """Counts the calls, and runs them."""

    def run(self, network, *inputs, method="construct", **options):
        self.count(network, inputs, method, options)
        return self.engine.run(network, *inputs, method=method, **options)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings.words)
def test_a_rehearsal_makes_the_calls_of_the_run(pipe, settings):
    costs = costs_of(pipe)
    view = costs.stacks.view(settings)
    counting = view.engine = CountingEngine(view, {}, {})
    view(PROMPT, SIZE, SIZE, generator=np.random.default_rng(0))
    assert costs.rehearsal(settings).calls == counting.calls


def test_a_run_costs_the_sum_of_its_parts(pipe, instant):
    costs = costs_of(pipe)
    costs.warming_up = 0.001
    settings = Settings(steps=6, cache=("deepcache:3",), guidance_interval=(0.0, 0.5), dtype="float32")
    # The texts; whole at steps 0 (guided) and 3 (not), shallow at 1 and 2 (guided), 4 and 5 (not); the decoder.
    parts = 0.01 + 2.0 + 1.0 + 2 * 0.2 + 2 * 0.1 + 0.5 + 8 * 0.001
    assert costs.seconds(settings) == pytest.approx(parts + costs.rehearsal(settings).arithmetic)


def test_parts_are_measured_once(pipe, monkeypatch):
    measured = []
    monkeypatch.setattr(Costs, "_measure", lambda self, network, call: measured.append(call) or Part(1.0, 0.0))
    costs = costs_of(pipe)
    for steps in (4, 5, 6):
        costs.seconds(Settings(steps=steps, dtype="float32"))
    assert len(measured) == len(set(measured)) == 3  # the text, the step, the decoder


def test_a_measured_part_has_a_time_and_a_feature_of_its_own(pipe, monkeypatch):
    monkeypatch.setattr(costing, "_ENOUGH_SECONDS", 0.0)
    costs = costs_of(pipe)
    assert costs.seconds(Settings(steps=4, cache=("deepcache:2:1",), dtype="float32")) > 0
    assert {(call.method, call.taps and bool(call.taps.left_out)) for _, call in costs.parts} == {
        *[("construct", None), ("construct", True), ("decode_latents", None)]
    }


def landscape(candidate):
    """Seconds of a candidate on an imagined machine."""
    features = candidate.cache("features")
    whole = -(-candidate.steps // (features.cache_interval if features else 1))
    computed = candidate.steps * (0.6 if candidate.cache("steps") else 1.0)
    rows = 1 + candidate.guided
    return (
        rows * (whole + 0.1 * (candidate.steps - whole)) * computed / candidate.steps * (0.7 if candidate.int8 else 1)
    )


@pytest.mark.heavy
def test_the_search_finds_the_front_of_a_known_landscape():
    space = Space(branches=3, int8=(False, True))
    search = LocalSearch(space, landscape, expected_psnr, most_seconds=60)
    search.run([Candidate(), Candidate(steps=10)], lambda: True)
    generator = np.random.default_rng(0)
    others = [space.random(generator) for _ in range(4000)]
    worst = max(expected_psnr(each) - search.front.at(landscape(each)) for each in others if landscape(each) > 3)
    assert worst < 0.5
    assert len(search.known) < 1500  # of some 100,000


def test_guidance_that_ends_after_the_last_step_is_no_other_candidate():
    assert Candidate(steps=7, guided=0.9).settled == Candidate(steps=7)
    assert Candidate(steps=7, guided=0.9, guidance_forecast=True).settled == Candidate(steps=7)
    near = {each.guided for each in Space(branches=1).neighbours(Candidate(steps=7)) if each.steps == 7}
    assert near == {1.0, 0.85}  # 6 of 7


def test_other_decoders_are_all_that_differs():
    space = Space(branches=1, decoders=("", "int8", "tiny"), tiny_vae="tiny")
    plain = space.settings(Candidate(steps=7))
    others = [space.settings(each) for each in space.decoded_otherwise(Candidate(steps=7))]
    assert others == [plain.changed(int8_vae=True), plain.changed(tiny_vae="tiny")]


def test_a_lossier_relative_of_what_is_beaten_is_not_tried():
    tried = []
    space = Space(branches=1, schedulers=("dpm++",))
    search = LocalSearch(space, landscape, lambda each: tried.append(each) or 30.0, most_seconds=60)
    search.known[Candidate(steps=20)] = Point(landscape(Candidate(steps=20)), 20.0)
    search.front.add(Point(1.0, 25.0))
    search.run([Candidate(steps=18), Candidate(steps=22)], lambda: len(tried) < 1)
    assert tried == [Candidate(steps=22)]


def test_the_front_is_what_nothing_beats():
    staircase = Pareto()
    for point in [(3, 30), (1, 20), (2, 31), (4, 31), (2, 25)]:
        staircase.add(Point(*point))
    assert list(zip(staircase.seconds, staircase.psnr)) == [(1, 20), (2, 31)]
    assert staircase.at(1.5) == 20 and staircase.at(0.5) < 0


def test_halving_drops_what_falls_behind_and_keeps_the_last_complete_rung():
    a, b, c = (Candidate(steps=steps) for steps in (4, 5, 6))
    known = {a: Point(1.0, 30.0), b: Point(2.0, 29.5), c: Point(3.0, 20.0)}
    better = {a: 25.0, b: 31.0}
    drawn = []

    def redraw(candidate, prompts):
        drawn.append((candidate, prompts))
        return Point(known[candidate].seconds, better[candidate])

    found, prompts = halve(known, 1, redraw, [(3, 1.0)], lambda: True)
    assert prompts == 3 and set(found) == {a, b} and on_front(found) == [a, b]
    assert halve(known, 1, redraw, [(3, 1.0)], lambda: False) == (known, 1)


def test_a_longer_interval_and_a_higher_branch_are_lossier_and_another_order_is_not():
    plain, cached = Candidate(), Candidate(caches=(DeepCacheConfig(3, 1),))
    assert cached.is_lossier(plain) and not plain.is_lossier(cached)
    assert cached.with_cache("features", DeepCacheConfig(5, 0)).is_lossier(cached)
    assert not cached.with_cache("features", DeepCacheConfig(5, 0, max_order=1)).is_lossier(cached)
    assert not cached.with_cache("steps", TaylorSeerCacheConfig(2)).is_lossier(cached)


def test_what_is_tried_fits_the_network_and_easycache_is_not():
    caches = Space(branches=2).caches
    assert {each.cache_branch_id for each in caches["features"]} == {0, 1}
    kinds = {type(each).__name__ for each in caches["steps"]}
    assert {"TaylorSeerCacheConfig", "SpectrumConfig"} <= kinds and "EasyCacheConfig" not in kinds
    assert all(parse_cache(each.text) == each for kind in caches.values() for each in kind)


def a_front(**origin):
    rows = [
        Row(Settings(steps=5), 1.0, 8.0, 28.0, 0.5, 0.9, peak_memory=10**9),
        Row(Settings(steps=10), 2.0, 4.0, 33.0, 0.5, 0.95, peak_memory=2 * 10**9),
        Row(Settings(steps=20), 4.0, 2.0, 38.0, 0.5, 0.99),
    ]
    profile = Profile(checkpoint="x", fingerprint="0", height=SIZE, width=SIZE, settings=Settings(), **origin)
    return Front(rows, profile, 8.0, prompts=("a", "b"))


@pytest.mark.parametrize(
    "wish, steps",
    [
        ({"speed_up": 3}, 10),
        ({"speed_up": 2}, 20),
        ({"seconds": 1.5}, 5),
        ({"min_psnr": 30}, 10),
        ({"speed_up": 2, "memory": 1.5e9}, 5),
        ({"speed_up": 2, "min_psnr": 30}, 20),
    ],
)
def test_a_wish_gets_the_closest_profile_that_meets_it(wish, steps):
    profile = a_front().at(**wish)
    assert profile.settings.steps == steps and profile.evidence.speed_up >= wish.get("speed_up", 0)


@pytest.mark.parametrize(
    "wish, message",
    [
        ({"speed_up": 16}, r"^16× is out of reach here: the fastest is 8.0× \(1 s\), 28.0 dB: 5 dpm\+\+ steps$"),
        ({"seconds": 0.5}, "^0.5 s is out of reach here"),
        ({"speed_up": 4, "min_psnr": 40}, "^40 dB is out of reach at this speed: the best is 33.0 dB at 4.0×"),
        ({"memory": 1e8}, "^a peak of 0.10 GB is out of reach: at this speed it is 1.00 GB at least"),
    ],
)
def test_a_wish_out_of_reach_names_what_is_nearest(wish, message):
    with pytest.raises(ValueError, match=message):
        a_front().at(**wish)


class NoCompiling:
    """Costs of a machine that compiles in no time."""

    def compile_seconds(self, settings):
        return 0.0


def run_on(monkeypatch, taken):
    """A machine that takes ``taken[steps]`` seconds for an image; returns the list of the steps that it ran."""
    ran = []

    def measure(stacks, costs, settings, runs):
        ran.append(settings.steps)
        return taken[settings.steps], None

    monkeypatch.setattr(verifying, "_measure", measure)
    return ran


def test_settings_that_run_too_slowly_for_a_speed_up_give_way_to_faster_ones_that_keep_it(monkeypatch):
    front = a_front()
    ran = run_on(monkeypatch, {25: 8.8, 20: 4.8, 10: 2.4, 5: 1.2})
    verifying.verify(front, None, NoCompiling(), pipeline.Clock(1000, False), [{"speed_up": 4, "min_psnr": 20}])
    assert ran == [25, 10, 5]  # the baseline, what was predicted to be 4 times as fast, and what is
    profile = front.at(speed_up=4)
    assert (profile.settings.steps, profile.evidence.measured_seconds) == (5, 1.2)
    assert profile.evidence.speed_up == pytest.approx(8.8 / 1.2, abs=1e-3)
    assert front.baseline_seconds == 8.8


def test_settings_that_did_not_run_are_predicted_from_those_that_did(monkeypatch):
    front = a_front()
    run_on(monkeypatch, {5: 1.5})
    verifying.verify(front, None, NoCompiling(), pipeline.Clock(8, False), [8])
    assert [(row.predicted_seconds, row.measured_seconds) for row in front.rows] == [
        (1.5, 1.5),
        (3.0, None),
        (6.0, None),
    ]


def test_a_search_reads_the_variant_of_its_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"variant='fp16' is not there; there is variant=None"):
        session.run(Options(model=str(checkpoint("bk_sdm")), variant="fp16"), "tune", tmp_path / "report")
    with pytest.raises(
        ValueError, match="--shape makes random weights of its own; leave it out, or leave out --variant"
    ):
        Options(shape="sd15", variant="fp16")


def test_a_goal_that_no_time_was_left_to_run_is_said_to_be_predicted():
    front = a_front()
    session._chosen(front, Options(speed_up=4))
    assert front.notes == ["No time was left to run these settings: their speed is predicted. More --budget helps."]


def test_the_recommended_row_is_in_the_table_though_it_did_not_run_and_is_no_usual_one(tmp_path, capsys):
    front = a_front(machine={"cpu": "Some CPU", "cores": 2, "system": "Linux"}, versions={"numpy": "1"})
    front.rows.insert(2, Row(Settings(steps=16), 3.1, 2.6, 36.0))
    chosen = {"profile.json": front.at(seconds=3.1)}
    print_front(front, chosen, write_report(front, chosen, tmp_path, "mindone-diffusers tune"))
    rows = [line.partition("dpm++")[0] for line in capsys.readouterr().out.splitlines() if "×" in line]
    assert [row.strip() for row in rows] == ["baseline: 25", "20", "→ 16", "10", "5"]
    assert "<code>profile.json</code>" in (tmp_path / "tune.html").read_text()


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_wish_out_of_reach_of_a_search_that_ended_early_asks_for_more_time(is_complete):
    front = a_front()
    front.is_complete = is_complete
    chosen, problem = session._chosen(front, Options(speed_up=16))
    assert not chosen and problem.startswith("16× is out of reach")
    assert problem.endswith("--budget MINUTES gives it more time") is not is_complete


@pytest.mark.parametrize(
    "words, message",
    [
        ("--shape sd15 --min-psnr 30", "--shape has no quality to measure"),
        ("--shape sd15 --model icons", "--shape makes random weights of its own"),
        ("--speed-up 0.5", "speed_up must be 1 or more"),
        ("--memory lots", "memory must be a size such as 2GB or 800MB, got 'lots'"),
        ("--memory 0", "memory must be a size such as 2GB or 800MB, got '0'"),
        ("--name fast", "--name saves one profile: say which"),
        ("--speed-up 4 --name ../fast", "a profile's name may have only letters"),
    ],
)
def test_contradicting_wishes_are_refused_before_any_work(words, message, tmp_path):
    result = CliRunner().invoke(cli.main, ["tune", *words.split(), "-o", str(tmp_path / "out")])
    assert result.exit_code in (1, 2) and message in result.output, result.output
    assert "Traceback" not in result.output and not (tmp_path / "out").exists()


@pytest.fixture
def ticking(instant, monkeypatch):
    let_time_tick(monkeypatch)


@pytest.fixture
def quick(ticking, monkeypatch):
    """Few references and few tries."""
    monkeypatch.setattr(pipeline, "verify", lambda *_: None)
    monkeypatch.setattr(Drawings, "reference", Settings(steps=40, dtype="float32"))


@pytest.mark.heavy
def test_tune_returns_a_front_and_leaves_the_pipeline_as_it_is(pipe, quick, monkeypatch):
    before, limit = pipe.unet, pipe.unet.graphs.limit
    front = pipe.tune([PROMPT, "a dog"], budget_seconds=300, height=SIZE, width=SIZE, progress=False)
    assert pipe.unet is before and pipe.unet.graphs.limit == limit and pipe.profile is None
    seconds, psnr = [row.predicted_seconds for row in front.rows], [row.psnr for row in front.rows]
    assert len(front.rows) > 2 and seconds == sorted(seconds) and psnr == sorted(psnr)
    pipe.apply_profile(front.at(speed_up=1.5))
    assert pipe.profile.evidence.psnr is not None
    pipe.apply_profile(None)
    calibrated = [dot.settings for dot in front.dots if dot.settings.calibration]
    assert calibrated and all(len(each.calibration) == each.steps for each in calibrated)


def test_what_latents_tell_is_moved_to_the_decibels_of_images():
    few, more, many = (Candidate(steps=steps) for steps in (5, 10, 20))
    tried = {few: Point(1.0, 20.0), more: Point(2.0, 30.0), many: Point(4.0, 41.0)}
    decoded = {more: Point(2.0, 26.0), many: Point(4.0, 35.0)}
    assert estimated(tried, decoded) == {few: Point(1.0, 15.0)}
    assert estimated(tried, {}) == {}


def test_quality_is_the_mean_over_the_prompts(monkeypatch):
    drawings = Drawings(None, Space(branches=1), None, ("a cat", "a dog"), (SIZE, SIZE), seed=0)
    drawings.reference_images = 2 * [np.full((SIZE, SIZE, 3), 100, np.uint8)]
    monkeypatch.setattr(drawings, "image", lambda _, i: drawings.reference_images[i] + np.uint8((1, 100)[i]))
    found = drawings.likeness(Candidate(), 2)
    assert found.psnr == pytest.approx((48.13 + 8.13) / 2, abs=0.01)
    assert found.psnr_error == pytest.approx(40 / 2)
    assert drawings.likeness(Candidate(), 1).psnr_error is None


def test_what_there_was_no_time_to_measure_is_left_out(pipe, instant, monkeypatch):
    tuner = pipeline.Tuner(pipe, (PROMPT,), (SIZE, SIZE), pipeline.Clock(60, False), seed=0)
    plain = Candidate()
    tuner.space, tuner.tried = Space(branches=1, decoders=("", "int8")), {plain: Point(1.0, 40.0)}
    monkeypatch.setattr(tuner, "seconds", lambda settings: np.inf if settings.int8_vae else 1.0)
    monkeypatch.setattr(tuner.drawings, "likeness", lambda candidate, count: Likeness(35.0, None, 0.9))
    tuner.decode(1)
    assert tuner.points == {plain: Point(1.0, 35.0)}


@pytest.mark.heavy
def test_half_precision_that_computes_in_float32_is_not_measured_against_it(pipe, quick, monkeypatch):
    monkeypatch.setattr(pipeline, "computes_in", lambda *_: "f32")
    front = pipe.tune([PROMPT, "a dog"], budget_seconds=300, height=SIZE, width=SIZE, progress=False)
    assert {dot.settings.dtype for dot in front.dots} == {"float16"}


@pytest.mark.heavy
def test_ctrl_c_keeps_the_front_so_far(pipe, quick, monkeypatch):
    latents, tries = Drawings.latents, []

    def interrupted(self, candidate, i):
        if len(tries) == 6:
            raise KeyboardInterrupt
        tries.append(candidate)
        return latents(self, candidate, i)

    monkeypatch.setattr(Drawings, "latents", interrupted)
    monkeypatch.setattr(Drawings, "image", lambda self, candidate, i: self.reference_images[i])
    front = pipe.tune([PROMPT], budget_seconds=300, height=SIZE, width=SIZE, progress=False)
    assert front.was_interrupted and not front.is_complete and front.rows


@pytest.mark.heavy
def test_without_quality_cost_alone_is_reported(pipe, quick):
    front = pipe.tune([PROMPT], budget_seconds=50, height=SIZE, width=SIZE, quality=False, progress=False)
    assert front.rows and all(row.psnr is None and row.picture is None for row in front.rows)
    assert front.at(speed_up=2).evidence.psnr is None
    with pytest.raises(ValueError, match="no quality was measured"):
        front.at(min_psnr=30)


def test_a_budget_without_room_for_the_reference_gives_cost_alone_and_says_how_much_there_must_be(pipe, ticking):
    front = pipe.tune([PROMPT], budget_seconds=80, height=SIZE, width=SIZE, progress=False)
    (note,) = front.notes
    assert "one reference image of 100 steps takes 2" in note and note.endswith("minutes or more.")
    assert not front.is_complete and front.rows and all(row.psnr is None for row in front.rows)


@pytest.mark.parametrize("quality", [True, False])
def test_a_budget_that_is_gone_at_once_gives_the_baseline(pipe, instant, tmp_path, quality):
    front = pipe.tune([PROMPT], 1e-9, height=SIZE, width=SIZE, quality=quality, progress=False)
    (row,), (note,) = front.rows, front.notes
    assert (row.settings, row.speed_up) == (pipeline.BASELINE, 1.0) and not front.is_complete
    assert note.startswith("The budget of 1.7e-11 minutes is too short") and note.endswith(
        "minutes or more (--budget)."
    )
    assert front.at(speed_up=1.0).settings == pipeline.BASELINE
    files = write_report(front, {}, tmp_path, "mindone-diffusers tune")
    assert note in files[0].read_text() and json.loads(files[1].read_text())["notes"] == [note]


def test_ctrl_c_before_anything_but_the_baseline_is_known_keeps_that(pipe, instant, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.Tuner, "explore", interrupted)
    front = pipe.tune([PROMPT], 300, height=SIZE, width=SIZE, progress=False)
    assert [row.speed_up for row in front.rows] == [1.0] and front.was_interrupted


def test_one_prompt_has_no_standard_error():
    assert Row(Settings(), 1.0, 2.0, 31.24, None).decibels == "31.2 dB"
    assert Row(Settings(), 1.0, 2.0, 31.24, 0.04).decibels == "31.2 ± 0.0 dB"
    assert Row(Settings(), 1.0, 2.0).decibels == "–"


def test_schedulers_that_draw_noise_are_refused(pipe):
    from mindone.diffusers import LCMScheduler

    before, pipe.scheduler = pipe.scheduler, LCMScheduler.from_config(pipe.scheduler.config)
    try:
        with pytest.raises(ValueError, match="LCMScheduler draws new noise at every step"):
            pipe.tune(progress=False)
    finally:
        pipe.scheduler = before


def test_the_page_is_self_contained_and_the_json_holds_every_candidate(tmp_path):
    front = a_front(machine={"cpu": "Some CPU", "cores": 2, "system": "Linux"}, versions={"numpy": "1"})
    front.dots = [Dot(Settings(steps=7), 1.5, 29.0)]
    for row in front.rows:
        row.picture = np.zeros((8, 8, 3), np.uint8)
    front.reference, front.reference_picture = "100 steps", np.zeros((8, 8, 3), np.uint8)
    files = write_report(front, {"profile.json": front.at(speed_up=4)}, tmp_path, "mindone-diffusers tune")
    page = (tmp_path / "tune.html").read_text()
    assert "<svg" in page and 'class="front"' in page and "<code>profile.json</code>" in page
    assert "http" not in page.replace("http-equiv", "") and 'src="data:image/png;base64,' in page
    data = json.loads((tmp_path / "tune.json").read_text())
    assert [row["settings"]["steps"] for row in data["rows"]] == [5, 10, 20]
    settings = {"steps": 7, "scheduler": "dpm++", "dtype": "float16"}
    assert data["candidates"] == [{"settings": settings, "seconds": 1.5, "psnr": 29.0}]
    assert [path.name for path in files] == ["tune.html", "tune.json", "profile.json"]
