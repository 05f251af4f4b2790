"""What a batch costs, and what it survives.

python benchmarks/batch.py throughput --images 300     against the plain pipeline in a loop, on the bundled model
python benchmarks/batch.py kill --times 50             kill -9 at random moments, resumed each time
python benchmarks/batch.py ray --images 60             two Ray nodes with half the cores each, against one with all
python benchmarks/batch.py sizes --images 32           batch sizes: images a minute, and whether pixels stay the same

Each prints its figures and ends with an error if a promise is broken.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mindone.diffusers.batch import run
from mindone.diffusers.jobs import Job, draw_together, load
from mindone.diffusers.jobs.png import read_job
from mindone.diffusers.utils import logging

SUBJECTS = ("a rocket", "a cat", "a red apple", "a house", "a tree", "a guitar", "a bicycle", "a fish", "a crown")


def icons_jobs(count: int, steps: int, dtype: str = "float16") -> list[Job]:
    """This many different pictures of the bundled model."""
    return [
        Job(prompt=f"{SUBJECTS[i % len(SUBJECTS)]} on a blue background", seed=i, steps=steps, dtype=dtype)
        for i in range(count)
    ]


def quiet_pipeline(job: Job):
    """The job's pipeline, with its graphs compiled."""
    pipe = load(job)
    pipe.set_progress_bar_config(disable=True)
    draw_together(pipe, [job])
    return pipe


def throughput(options: argparse.Namespace) -> None:
    """Turns of the bare loop and of the batch, by the seconds that each image takes; loading counts for neither."""
    jobs = icons_jobs(options.images, options.steps)
    turn = max(options.images // options.turns, 1)
    pipe = quiet_pipeline(jobs[0])
    seconds = {"bare loop": 0.0, "batch": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        run([jobs[0].changed(seed=10**6)], folder)  # the batch loads and compiles as well, before the clock starts
        for at in range(0, len(jobs), turn):
            part = jobs[at : at + turn]
            began = time.perf_counter()
            for job in part:
                generator = [np.random.Generator(np.random.PCG64(job.seed))]
                pipe(job.prompt, num_inference_steps=job.steps, generator=generator)
            seconds["bare loop"] += time.perf_counter() - began
            with_warm_up = [part[0].changed(seed=2 * 10**6 + at), *part]
            run(with_warm_up, folder)
            records = [json.loads(line) for line in (Path(folder) / "manifest.jsonl").read_text().splitlines()]
            finished = [np.datetime64(record["finished"][:23]) for record in records[-len(with_warm_up) :]]
            seconds["batch"] += (finished[-1] - finished[0]) / np.timedelta64(1, "s")
    for name, taken in seconds.items():
        print(f"{name:10} {60 * len(jobs) / taken:8.2f} images/min")
    print(f"batch / bare loop: {seconds['bare loop'] / seconds['batch']:.3f}")


def kill(options: argparse.Namespace) -> None:
    """Kill the command at random moments until it has been killed often enough, then let it finish."""
    with tempfile.TemporaryDirectory() as folder:
        out, prompts = Path(folder) / "out", Path(folder) / "prompts.txt"
        prompts.write_text("a rocket\na cat\n")
        seeds = f"0-{options.images // 2 - 1}"
        words = [
            "batch",
            "--prompts",
            str(prompts),
            "--seeds",
            seeds,
            "--steps",
            "1",
            "--model",
            options.model,
            "-o",
            str(out),
        ]
        command = [sys.executable, "-m", "mindone.diffusers.cli", *words]
        chance, kills, drawn = random.Random(0), 0, []
        while kills < options.times:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            before = _count(out)
            while process.poll() is None and _count(out) < before + 1:  # it has begun to draw
                time.sleep(0.002)
            time.sleep(chance.uniform(0, options.longest))
            if process.poll() is None:
                process.kill()
                kills += 1
            process.wait()
            drawn.append(_count(out) - before)
            print(f"\rkilled {kills} times, {_count(out)} images", end="", file=sys.stderr, flush=True)
            if _count(out) >= options.images:
                break
        print(file=sys.stderr)
        finished = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{kills} kills, {sum(each > 0 for each in drawn)} of them after an image was drawn")
        print(finished.stdout.strip())
        _check_whole(out, 2 * (options.images // 2))


def _count(out: Path) -> int:
    return sum(name.endswith(".png") for name in os.listdir(out)) if out.is_dir() else 0


def _check_whole(out: Path, count: int) -> None:
    records = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    files = {name for name in os.listdir(out) if name.endswith(".png")}
    leftovers = set(os.listdir(out)) - files - {"manifest.jsonl", "manifest.parquet"}
    assert len(records) == count == len({record["id"] for record in records}), "a job is missing or was drawn twice"
    assert {record["file"] for record in records} == files, "manifest and folder differ"
    assert not leftovers, f"left over: {leftovers}"
    for record in records:
        assert read_job(out / record["file"]) == Job.of(record["job"]), f"{record['file']} is not whole"
    unknown = sum(record["machine"] is None for record in records)
    print(f"{count} jobs, each once in folder and manifest; {unknown} images had lost their line and got it back")


def ray(options: argparse.Namespace) -> None:
    """Images a minute of two nodes with half the cores each, and of one node with all."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    cores = len(os.sched_getaffinity(0))
    rates = {}
    for nodes in (1, 2):
        size = {"num_cpus": cores // nodes, "object_store_memory": 100 * 2**20}
        cluster = Cluster(initialize_head=True, head_node_args=size)
        for _ in range(nodes - 1):
            cluster.add_node(**size)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        with tempfile.TemporaryDirectory() as folder:
            run(icons_jobs(options.images, options.steps), folder, ray="auto")
            records = [json.loads(line) for line in (Path(folder) / "manifest.jsonl").read_text().splitlines()]
        # From the moment that every worker has drawn once: loading and compiling are done.
        finished = sorted(np.datetime64(record["finished"][:23]) for record in records)[2 * nodes :]
        rates[nodes] = 60 * (len(finished) - 1) / ((finished[-1] - finished[0]) / np.timedelta64(1, "s"))
        print(f"{nodes} nodes of {cores // nodes} cores: {rates[nodes]:.2f} images/min")
        ray.shutdown()
        cluster.shutdown()
    print(f"two nodes / one node: {rates[2] / rates[1]:.3f}")


def sizes(options: argparse.Namespace) -> None:
    """Batch sizes in both precisions: speed, and the greatest difference of a pixel from the single draw."""
    for dtype in ("float16", "float32"):
        jobs = icons_jobs(options.images, options.steps, dtype)
        pipe = quiet_pipeline(jobs[0])
        alone = [np.asarray(draw_together(pipe, [job])[0][0]).astype(int) for job in jobs]
        for size in (1, 2, 4):
            draw_together(pipe, jobs[:size])
            began, differences = time.perf_counter(), []
            for at in range(0, len(jobs), size):
                images = draw_together(pipe, jobs[at : at + size])
                differences += [np.abs(np.asarray(i) - one).max() for (i,), one in zip(images, alone[at:])]
            rate = 60 * len(jobs) / (time.perf_counter() - began)
            print(
                f"{dtype}, {size} at a time: {rate:7.2f} images/min, pixels differ by {max(differences)} of 255 at most"
            )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["throughput", "kill", "ray", "sizes"])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--turns", type=int, default=10, help="throughput: how often loop and batch take turns")
    parser.add_argument("--times", type=int, default=50, help="kill: how often")
    parser.add_argument("--model", default="icons", help="kill: what draws; the smaller, the more moments")
    parser.add_argument("--longest", type=float, default=1.0, help="kill: seconds after the first image, at most")
    options = parser.parse_args()
    logging.disable_progress_bar()
    {"throughput": throughput, "kill": kill, "ray": ray, "sizes": sizes}[options.what](options)


if __name__ == "__main__":
    main()
