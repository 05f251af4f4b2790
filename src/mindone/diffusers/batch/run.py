"""A batch from its jobs to its images: existing images stay, missing ones are generated and recorded."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..jobs import Job
from ..utils.errors import in_one_line
from ..utils.progress import progress_bar
from .combinations import file_name, identity
from .manifest import Manifest, Record
from .outputs import Output, open_output
from .queue import Queue, Result
from .stopping import Stop

if TYPE_CHECKING:
    from .on_ray import RayRunner
    from .worker import Worker


_FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class Bar:
    """Images done out of all, the time left, images per minute, and failures."""

    def __init__(self, total: int, kept: int):
        self._bar = progress_bar(total=total, initial=kept, bar_format=_FORMAT, smoothing=0.1, unit="image")
        self._failed = 0

    def advance(self, failed: bool) -> None:
        """A job is done, or has failed for good."""
        self._failed += failed
        self._bar.update()
        rate = self._bar.format_dict["rate"] or 0.0
        postfix = f"{60 * rate:.1f} images/min" + (f", {self._failed} failed" if self._failed else "")
        self._bar.set_postfix_str(postfix)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()


@dataclass(frozen=True)
class Summary:
    """The results of a run."""

    drawn: int
    """Images of this run."""
    kept: int
    """Images that existed before."""
    repeated: int
    """Jobs identical to another one, whose image they share."""
    failed: tuple[Record, ...]
    stopped: int | None
    """The signal that ended the run early."""


def run(jobs: Iterable[Job], output: str | os.PathLike[str], *, ray: str | None = None, batch_size: int = 1) -> Summary:
    """Generate every job whose image is not yet in ``output``. The same call resumes a killed one.

    Args:
        jobs: what to generate, one image each (`combinations.make_jobs`).
        output: a folder, or a URL that fsspec knows.
        ray: the cluster to use (`on_ray.RayRunner`); None for this process.
        batch_size: how many jobs that differ only in prompt and seed share one call. More than one can be faster; in
            half precision it changes the images' last bits.

    Raises:
        ValueError: a job has several images, or the manifest is damaged.
        OSError: the output cannot be written, or another batch is writing there.
        ImportError: a cluster or a URL without the ``[batch]`` extra.
        RuntimeError: no node of the cluster can generate.
    """
    jobs = list(jobs)
    several = next((job for job in jobs if job.num_images != 1), None)
    if several is not None:
        raise ValueError(f"each job of a batch makes one image, got num_images={several.num_images}; use several jobs")
    by_id = {identity(job): job for job in jobs}
    folder = open_output(output)
    with closing(Manifest(folder)) as manifest:
        whole = manifest.whole(by_id.values())
        missing = [job for id, job in by_id.items() if id not in whole]
        results: list[Record] = []
        stopped = None
        if missing:
            with closing(_runner(ray)) as runner, Stop() as stop:
                results = _draw(runner, Queue(missing, batch_size), stop, folder, manifest, len(by_id), len(whole))
            stopped = stop.signal
    failed = tuple(record for record in results if record.error is not None)
    return Summary(len(results) - len(failed), len(whole), len(jobs) - len(by_id), failed, stopped)


def _runner(ray: str | None) -> Worker | RayRunner:
    if ray is None:
        from .worker import Worker

        return Worker()
    from .on_ray import RayRunner

    return RayRunner(ray)


def _draw(
    runner: Worker | RayRunner, queue: Queue, stop: Stop, folder: Output, manifest: Manifest, total: int, kept: int
) -> list[Record]:
    """Generate and write: a file is written while the next image is generated, by one writer, with at most one image
    waiting."""
    records: list[Record] = []
    pending: Future[Record] | None = None
    with ThreadPoolExecutor(1) as writer, Bar(total, kept) as bar, closing(runner.run(queue, stop)) as results:
        for result in results:
            if pending is not None:
                records.append(pending.result())
            pending = writer.submit(_write, result, folder, manifest)
            bar.advance(failed=result.outcome.error is not None)
        if pending is not None:
            records.append(pending.result())
    return records


def _write(result: Result, folder: Output, manifest: Manifest) -> Record:
    """First the image, then its line: a run killed in between leaves an image with its own metadata."""
    outcome = result.outcome.encoded()
    if outcome.png is not None:
        try:
            folder.write(file_name(outcome.job), outcome.png)
        except OSError as error:  # the others may fit
            outcome = replace(outcome, error=f"cannot write {file_name(outcome.job)}: {in_one_line(error)}")
    return manifest.add(outcome, result.tries)
