"""Generate from broken folders and single files: each generates, or ends in one short line that names the file (and the
tensor, if one of a single file is another), within 20 s and 2 GB.

    PYTHONPATH=tests python benchmarks/mutated_checkpoints.py --count 2000

Exits with 1 if a mutation ends otherwise.
"""

import argparse
import collections
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

FAMILIES = ("sd1", "sd2", "sdxl", "lcm", "bk_sdm", "sd3", "pixart-alpha", "pixart-sigma", "sana", "sana-sprint")
GGUF = "sd3.gguf"
FILES = ("sd1.safetensors", "sd2.safetensors", "sdxl.safetensors", "sd3.safetensors")
EVERY = (*FAMILIES, *FILES, GGUF)
SECONDS, MEGABYTES = 20.0, 2048
"""What one may take: time of the processor, so that a busy machine is no finding, and memory."""
PATIENCE = 10 * SECONDS
"""When a process that does not answer is ended."""


def worker(pipe: Connection, checkpoints: dict[str, Path], work: Path) -> None:
    """Attempt the seeds that come through the pipe, and answer with the outcomes and this process's peak memory."""
    from mutations import attempt, attempt_file, attempt_gguf

    while (job := pipe.recv()) is not None:
        family, seed = job
        start = time.process_time()
        kind = attempt_gguf if family == GGUF else attempt_file if family in FILES else attempt
        outcome = kind(checkpoints[family], work / str(seed), seed)
        pipe.send((*outcome, time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


def _checkpoint(name: str) -> Path:
    import tiny_pipelines
    import tiny_pixart
    import tiny_sana
    import tiny_sd3

    family = name.removesuffix(".safetensors")
    if family == "sd3":
        return tiny_sd3.checkpoint() if family == name else tiny_sd3.single_file_checkpoint()
    for module in (tiny_pixart, tiny_sana):
        if family in module.FAMILIES:
            return module.checkpoint(family)
    return tiny_pipelines.checkpoint(family, name == "sd1")


def main() -> int:
    """Run the mutations in a process of its own, so that one that hangs can be ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, nargs="*", help="these instead")
    parser.add_argument("--only", nargs="+", choices=EVERY, default=EVERY, metavar="NAME")
    options = parser.parse_args()
    from mindone.diffusers.families.convert import folder_to_file

    checkpoints = {family: _checkpoint(family) for family in FAMILIES if family in options.only}
    outcomes: collections.Counter[str] = collections.Counter()
    slowest, most = 0.0, 0
    context = multiprocessing.get_context("fork")
    child: multiprocessing.process.BaseProcess | None = None
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as whole:
        if GGUF in options.only:
            import tiny_gguf

            tiny_gguf.folder()
            checkpoints[GGUF] = tiny_gguf.transformer_file()
        for file in (each for each in FILES if each in options.only):
            checkpoints[file] = Path(whole, file)
            folder_to_file(_checkpoint(file), checkpoints[file])
        for seed in options.seeds or range(options.first, options.first + options.count):
            if child is None:
                ours, theirs = context.Pipe()
                child = context.Process(target=worker, args=(theirs, checkpoints, Path(name)))
                child.start()
                theirs.close()
            ours.send((options.only[seed % len(options.only)], seed))
            kind, message, seconds, memory = "did not answer", f"seed {seed}", 0.0, 0
            try:
                if ours.poll(PATIENCE):
                    kind, message, seconds, memory = ours.recv()
            except EOFError:
                kind = "ended the process"
            slowest = max(slowest, seconds)
            most = max(most, memory)
            if seconds > SECONDS:
                kind = f"took {seconds:.0f} s"
            if memory > MEGABYTES:
                kind = f"took {memory} MB"
            outcomes[kind] += 1
            if kind not in ("drew", "explained"):
                print(f"{kind}: {message}", flush=True)
            # A new process now and then, so that its peak says something of few mutations.
            if kind in ("did not answer", "ended the process") or seed % 50 == 49 or memory > MEGABYTES:
                child.kill()
                child.join()
                child = None
        if child is not None:
            child.kill()
            child.join()
    print(f"{dict(outcomes)}; slowest {slowest:.1f} s, peak {most} MB")
    return 0 if set(outcomes) <= {"drew", "explained"} else 1


if __name__ == "__main__":
    sys.exit(main())
