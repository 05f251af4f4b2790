"""Whether `tune` keeps its promises; give claims by name, several for one search.

python benchmarks/tune.py predictions --model icons      predicted against measured seconds, 20 random combinations
python benchmarks/tune.py predictions --shape sd15 --steps 4 --count 20
python benchmarks/tune.py front                          at 2×, 3×, 4×: the front against the best of 40 random ones
python benchmarks/tune.py four-times                     4× and plain DPM++ of the same cost, against 100 steps
python benchmarks/tune.py undo                           a profile applied twice and removed: bit-equal images
python benchmarks/tune.py shape --shape sd15 --seconds 14  a target on random weights, and its time when run
python benchmarks/tune.py picture --tiny-vae icons-tiny-vae  the plot of docs/tune.md, from a search

python benchmarks/tune.py front four-times undo          three of these

Seconds need an otherwise idle machine. A shared machine's speed drifts, so settings to compare take turns, and
`predictions` measures the parts of each combination right before running it, several times (once for --shape, which
takes long), and gives the median of the ratios.
"""

import argparse
import contextlib
import functools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from mindone.diffusers.tune.page import render

from mindone.diffusers import jobs
from mindone.diffusers.acceleration.calibration import REFERENCE_STEPS
from mindone.diffusers.bench import shapes
from mindone.diffusers.tune.candidates import Space
from mindone.diffusers.tune.costs import Costs
from mindone.diffusers.tune.likeness import Drawings
from mindone.diffusers.tune.pipeline import BASELINE
from mindone.diffusers.tune.stacks import Stacks

HELD_OUT = (
    "a yellow star on a black background",
    "a guitar on a pink background",
    "a green tree on a white background",
    "a crown on a purple background",
    "a red heart on a gray background",
    "an umbrella on an orange background",
    "a lion on a blue background",
    "a banana on a red background",
    "a snail on a green background",
    "a train",
    "a violin on a black background",
    "an anchor on a white background",
    "a mushroom on an orange background",
    "a cow and a tree",
    "a pencil on a pink background",
    "a green frog on a gray background",
    "a sun",
    "a balloon on a purple background",
    "a turtle on a yellow background",
    "a book on a brown background",
    "a bell",
    "a lemon on a blue background",
    "a television on a red background",
    "a pair of scissors",
    "a hammer on a white background",
    "a fox on a green background",
    "a snowman on a dark blue background",
    "a cherry",
    "a bear and a fish",
    "a helicopter on a cyan background",
)
"""Prompts that no search has seen."""
ROUNDS = 5


@contextlib.contextmanager
def loaded(options):
    """The pipeline, and the checkpoints beside it."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        places = {"model": options.model}
        if options.shape:
            places = {role: str(path) for role, (_, path) in shapes.write(options.shape, Path(folder)).items()}
        pipe = jobs.load(jobs.PipelineKey(model=places["model"]))
        pipe.set_progress_bar_config(disable=True)
        yield pipe, places


def costs_of(pipe):
    """The costs of images of the model's own size."""
    size = [each * pipe.vae_scale_factor for each in np.broadcast_to(pipe.unet.config["sample_size"], 2)]
    return Costs(Stacks(pipe), {"prompt": HELD_OUT[0], "height": int(size[0]), "width": int(size[1])})


def space_of(pipe, places):
    """Every knob that there is."""
    lossy = {"int8": (False, True), "downsampling": (1, 2), "dtypes": ("float16", "float32")}
    others = {"distilled": places.get("distilled"), "tiny_vae": places.get("tiny_vae")}
    decoders = ("", "int8", "tiny") if others["tiny_vae"] else ("", "int8")
    return Space(branches=len(pipe.unet.cuts), decoders=decoders, **lossy, **others)


def measured(costs, runs, *settings):
    """Median seconds of runs with each of the settings, which take turns, after one of each that compiles."""
    views = [costs.stacks.view(each) for each in settings]
    taken = [[] for _ in views]
    for i in range(runs + 1):
        for view, seconds in zip(views, taken):
            if i == 0 or len(views) > 1:  # room for the UNet is made at the expense of a big text encoder, too
                costs.make_room(view.unet)
            began = time.perf_counter()
            view(**costs.arguments, generator=np.random.default_rng(0))
            seconds.append(time.perf_counter() - began)
    return [statistics.median(seconds[1:]) for seconds in taken]


def random_settings(space, costs, count, most_seconds=np.inf, steps=None):
    """Combinations that the pipeline takes."""
    generator, found = np.random.default_rng(0), []
    while len(found) < count:
        candidate = space.random(generator)
        if steps is not None:
            candidate = candidate._replace(steps=int(generator.integers(steps, 2 * steps + 1)))
        settings = space.settings(candidate)
        with contextlib.suppress(ValueError):
            costs.rehearsal(settings)  # which refuses what the pipeline would
            if candidate not in found and (most_seconds == np.inf or costs.seconds(settings) <= most_seconds):
                found.append(candidate)
    return found


def predictions(pipe, places, options):
    """Predicted against measured seconds."""
    costs = costs_of(pipe)
    space, within = space_of(pipe, places), 0
    print("predicted  measured  ratio")
    for candidate in random_settings(space, costs, options.count or 20, steps=options.steps):
        settings, pairs = space.settings(candidate), []
        for _ in range(1 if options.shape else ROUNDS):
            costs.parts.clear()
            pairs.append((costs.seconds(settings), *measured(costs, 1, settings)))
        if options.shape:
            costs.stacks.release()  # 20 combinations need more networks than there is memory for
        predicted, taken = np.median(pairs, axis=0)
        ratio = statistics.median(before / after for before, after in pairs)
        within += abs(ratio - 1) <= 0.1
        print(f"{predicted:9.3f} {taken:9.3f} {ratio:6.2f}  {settings.words}", flush=True)
    print(f"within 10 %: {within} of {options.count or 20}")


@functools.cache
def tuned(pipe, minutes, tiny_vae):
    """The front of a search."""
    began = time.perf_counter()
    front = pipe.tune(budget_seconds=60 * minutes, tiny_vae=tiny_vae)
    print(f"tune took {time.perf_counter() - began:.0f} s of {60 * minutes:.0f}; {len(front.dots)} candidates tried")
    return front


def held_out(pipe, costs, space):
    """Drawings of prompts that the search has not seen, with their references."""
    size = (costs.arguments["height"], costs.arguments["width"])
    drawings = Drawings(costs.stacks, space, costs, HELD_OUT, size, seed=1000)
    for _ in HELD_OUT:
        drawings.draw_reference()
    return drawings


def psnr_of(drawings, settings):
    """Decibels of settings on the held-out prompts, the mean of the images' own."""
    return float(np.mean([decibels(each) for each in squares_of(drawings, settings)]))


def decibels(squares):
    """Decibels of a mean squared error, or of several together."""
    return float(10 * np.log10(255**2 / max(np.mean(squares), 1e-9)))


def squares_of(drawings, settings):
    """The mean squared error of each held-out prompt's image, in steps of 0 to 255."""
    view, images = drawings.stacks.view(settings), []
    for i, prompt in enumerate(HELD_OUT):
        generator = np.random.Generator(np.random.PCG64(1000 + i))
        height, width = drawings.size
        images.append(view(prompt, height=height, width=width, generator=generator, output_type="np").images[0])
    ours, theirs = np.round(np.stack(images) * 255), np.stack(drawings.reference_images).astype(np.float64)
    return np.mean((ours - theirs) ** 2, axis=(1, 2, 3))


def front(pipe, places, options):
    """The front against random combinations that are no slower, on held-out prompts."""
    found, costs = tuned(pipe, options.budget, options.tiny_vae), costs_of(pipe)
    space, baseline = space_of(pipe, places), costs.seconds(BASELINE)
    drawings = held_out(pipe, costs, space)
    for factor in (2, 3, 4):
        chosen = found.at(speed_up=factor)
        others = random_settings(space, costs, options.count or 40, most_seconds=baseline / factor)
        best = max(others, key=lambda each: psnr_of(drawings, space.settings(each)))
        ours, theirs = psnr_of(drawings, chosen.settings), psnr_of(drawings, space.settings(best))
        print(
            f"{factor}×: {ours:.2f} dB ({chosen.settings.words}); best of {len(others)} random: {theirs:.2f} dB "
            f"({space.settings(best).words}); difference {ours - theirs:+.2f}",
            flush=True,
        )


def four_times(pipe, places, options):
    """4× against the reference of 100 steps, beside plain DPM++ of the same cost."""
    found, costs = tuned(pipe, options.budget, options.tiny_vae), costs_of(pipe)
    space, chosen = space_of(pipe, places), found.at(speed_up=4)
    drawings = held_out(pipe, costs, space)
    baseline, cost = costs.seconds(BASELINE), costs.seconds(chosen.settings)
    steps = max(n for n in range(2, 26) if costs.seconds(BASELINE.changed(steps=n)) <= 1.02 * cost)
    plain = BASELINE.changed(steps=steps)
    taken, whole = measured(costs, 9, chosen.settings, BASELINE)
    print(f"against {REFERENCE_STEPS} DPM++ steps in float32, {len(HELD_OUT)} held-out prompts:")
    for settings in (chosen.settings, plain):
        squares = squares_of(drawings, settings)
        single = [decibels(each) for each in squares]
        error = np.std(single, ddof=1) / np.sqrt(len(single))
        print(
            f"{settings.words}: {np.mean(single):.2f} ± {error:.2f} dB, the mean of",
            *(f"{each:.1f}" for each in single),
        )
        print(f"    (median {np.median(single):.1f} dB; {decibels(squares):.2f} dB over all images together)")
    print(f"the first of these: predicted {baseline / cost:.2f}×, measured {whole / taken:.2f}×", flush=True)


def undo(pipe, places, options):
    """A profile applied twice gives the same images; taken off it leaves none of itself."""
    profile = tuned(pipe, options.budget, options.tiny_vae).at(speed_up=3)

    def draw(**more):
        return pipe(HELD_OUT[0], generator=np.random.default_rng(0), output_type="np", **more).images

    before = draw(num_inference_steps=10)
    pipe.apply_profile(profile)
    once = draw()
    pipe.apply_profile(profile)
    print("twice:", np.array_equal(once, draw()))
    pipe.apply_profile(None)
    print("undone:", np.array_equal(before, draw(num_inference_steps=10)))


def shape(pipe, places, options):
    """A number of seconds on random weights, and what the profile takes when it is run."""
    offered = {role: places.get(role) for role in ("tiny_vae", "distilled")}
    found = pipe.tune(budget_seconds=60 * options.budget, quality=False, **offered)
    profile = found.at(seconds=options.seconds)
    [taken] = measured(costs_of(pipe), 3, profile.settings)
    print(f"{profile.settings.words}: predicted {profile.evidence.predicted_seconds:.2f} s, measured {taken:.2f} s")


def picture(pipe, places, options):
    """Search, and keep the page's plot as a picture of its own in ``docs/tune-plot.svg``."""
    found = tuned(pipe, options.budget, options.tiny_vae)
    page = render(found, "", {})
    drawing = page[page.index("<svg") : page.index("</svg>") + len("</svg>")]
    style = (
        "line{stroke:#d5d8de} text{fill:#5c6270;font:12px sans-serif;dominant-baseline:central} .up{text-anchor:end} "
        ".across{text-anchor:middle} .dot{fill:#5c6270;fill-opacity:.35} "
        ".front{fill:none;stroke:#2b5fd0;stroke-width:2} .best{fill:#2b5fd0}"
    )
    head, _, rest = drawing.partition(">")
    Path("docs/tune-plot.svg").write_text(f'{head} xmlns="http://www.w3.org/2000/svg"><style>{style}</style>{rest}\n')
    for factor, row in found.marks().items():
        print(f"{factor:g}×: {row.quality}, {row.settings.words}")


CLAIMS = {
    "predictions": predictions,
    "front": front,
    "four-times": four_times,
    "undo": undo,
    "shape": shape,
    "picture": picture,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="+", choices=CLAIMS, metavar="CLAIM")
    parser.add_argument("--model", default="icons")
    parser.add_argument("--shape", choices=list(shapes.SHAPES))
    parser.add_argument("--count", type=int, help="how many random combinations (20, or 40 beside the front)")
    parser.add_argument("--steps", type=int, help="random combinations have from this many to twice as many steps")
    parser.add_argument("--budget", type=float, default=2.5, help="minutes of the search")
    parser.add_argument("--tiny-vae", help="what may decode in the search")
    parser.add_argument("--seconds", type=float, default=14.0, help="the target on random weights")
    chosen = parser.parse_args()
    with loaded(chosen) as (pipe, places):
        for claim in chosen.claims:
            CLAIMS[claim](pipe, places, chosen)
