"""Graphs that are the same to the last weight are compiled once in a process of tests, and run on one thread.

Compiling takes most of the time of tests on networks this tiny, and most graphs are those of an earlier test, as every
test loads its own pipeline. Recording and passes run as always; only then a graph that equals one compiled before gets
what OpenVINO made of that one, and requests of its own. Tests about compiling itself carry the mark ``compiles``.
"""

import hashlib
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import openvino as ov

from mindone.diffusers.engines.openvino import compiling, graph
from mindone.diffusers.engines.openvino.constants import Constants
from mindone.diffusers.engines.openvino.operators import Operators

GRAPHS, WEIGHTS = 48, 96 << 20
"""How many graphs are kept, as each takes memory maps, and the bytes of their weights, which are packed beside."""
NAMES = re.compile(rb' (?:output_)?names?="[^"]*"')
"""Of layers: a process numbers them in the order in which it makes them."""


@dataclass(frozen=True)
class Shared:
    """What is compiled, with the constants whose memory it reads: both live as long as any request."""

    compiled: ov.CompiledModel
    constants: Constants

    def create_infer_request(self) -> ov.InferRequest:
        """A request of the caller's own."""
        request = self.compiled.create_infer_request()
        request.constants = self.constants
        return request


@dataclass
class CompiledOnce:
    """Takes the place of `compile_graph`, and calls it for graphs that are new."""

    compile_graph: Callable[..., ov.CompiledModel]
    is_on: bool = True
    kept: OrderedDict[tuple[str, str], tuple[ov.CompiledModel, Constants, int]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    recent: threading.local = field(default_factory=threading.local)

    def operators(self, precision: str) -> Operators:
        """What records a graph, noted for its thread, which compiles that graph next."""
        self.recent.recorder = Operators(precision)
        return self.recent.recorder

    def __call__(self, model: ov.Model, precision: str, *rest: Mapping[str, str]) -> "Shared | ov.CompiledModel":
        recorder = vars(self.recent).pop("recorder")
        compiling._core().set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
        if not self.is_on:
            return self.compile_graph(model, precision, *rest)
        content, size = _content(model)
        key = (content, precision)
        with self.lock:
            found = self.kept.get(key)
        if found is None:
            found = self.compile_graph(model, precision, *rest), recorder.constants, size
        with self.lock:
            self.kept[key] = found
            self.kept.move_to_end(key)
            while len(self.kept) > GRAPHS or sum(size for *_, size in self.kept.values()) > WEIGHTS:
                self.kept.popitem(last=False)
        return Shared(*found[:2])

    def rest(self) -> None:
        """Have kept graphs give back their intermediate results, which take more memory than weights this small."""
        with self.lock:
            for compiled, *_ in self.kept.values():
                compiled.release_memory()


def _content(model: ov.Model) -> tuple[str, int]:
    """A digest of all that a graph computes with, and the size of its weights in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        layers, weights = Path(folder) / "graph.xml", Path(folder) / "graph.bin"
        ov.serialize(model, layers, weights)
        digest = hashlib.blake2b(NAMES.sub(b"", layers.read_bytes()))
        digest.update(weights.read_bytes())
        return digest.hexdigest(), weights.stat().st_size


def compile_once() -> CompiledOnce:
    """Begin, or find what has begun in this process."""
    if not isinstance(graph.compile_graph, CompiledOnce):
        graph.compile_graph = CompiledOnce(graph.compile_graph)
        graph.Operators = graph.compile_graph.operators
    return graph.compile_graph
