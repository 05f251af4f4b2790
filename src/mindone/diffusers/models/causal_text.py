"""Language models that read prompts: each token sees only earlier ones, so a common beginning is read once.

A prompt for such a model often follows a fixed instruction that is longer than the prompt. Later tokens need only the
keys and values of earlier ones; those of the instruction are computed once and kept. The result is exact.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..engines import Array, Engine, Input, several
from ..engines.base import FreeAxes, Stored, is_adjustable
from ..engines.binding import stored
from .text_model import LOWEST, Floats, Ids, TextModel, fillers, grouped

_AT_ONCE = 1024
"""The most tokens in one run: attention's time and memory grow with their square."""
_KEPT = 2
"""The most beginnings to keep."""


class Beginning(NamedTuple):
    """The kept results of a common beginning."""

    ids: tuple[int, ...]
    states: Floats
    """The network's result for them, (tokens, channels)."""
    past: tuple[Array, ...]
    """Their keys and values, layer by layer, each (1, tokens, channels of the keys): the engine's arrays."""
    made_of: tuple[object, ...]
    """The weights and settings behind these results."""


class CausalTextModel(TextModel):
    """A network whose `construct` continues after earlier tokens; `encode_with` uses this."""

    free_axes: ClassVar[FreeAxes] = {"construct": {0: (1,), "positions": (0,), "hidden": (2, 3), "past": (1,)}}

    def __init__(self, config: Any):
        super().__init__(config)
        self._beginnings: dict[tuple[Engine, tuple[int, ...]], Beginning] = {}
        self._beginning_lock = threading.Lock()

    @property
    def key_channels(self) -> Sequence[int]:
        """The channels of each layer's keys and values."""
        raise NotImplementedError

    def construct(
        self, input_ids: Array, positions: Array, hidden: Array, past: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        """Encode tokens that follow others.

        Args:
            input_ids: (1, tokens) integers.
            positions: (tokens, 1), the position of each in its text, from 0.
            hidden: (1, 1, tokens, earlier + tokens), the bias of attention's scores: 0 where a token sees another one,
                the lowest number where it does not.
            past: the keys and the values of ``earlier`` tokens for each layer, (1, earlier, `key_channels`).

        Returns:
            The hidden states (1, tokens, channels), and then the keys and the values of these tokens for each layer.
        """
        raise NotImplementedError

    def encode_with(
        self, engine: Engine, input_ids: Array, attention_mask: Array | None = None, beginning: Iterable[int] = ()
    ) -> Array:
        """Encode texts, skipping the part they share with ``beginning``; see `TextModel.encode_with`.

        Args:
            engine, input_ids, attention_mask: see there.
            beginning: ids of an instruction with which many texts begin. Its keys and values are computed at the first
                call and kept until the weights change. Texts may also begin differently, or with a part of it.
        """
        ids, lengths = self._checked(input_ids, attention_mask)
        first = self._beginning(engine, tuple(map(int, beginning)))
        known = _common(ids, lengths, first.ids)
        states = np.zeros((*ids.shape, first.states.shape[1]), np.float32)
        for row, count in enumerate(known):
            states[row, :count] = first.states[:count]
        for rows in grouped(lengths - known, _AT_ONCE):
            parts = [ids[row, known[row] : lengths[row]] for row in rows]
            places = [np.arange(known[row], lengths[row], dtype=np.float32) for row in rows]
            hidden = _hidden([(known[row], len(part)) for row, part in zip(rows, parts)], len(first.ids))
            result, *_ = self._read(engine, np.concatenate(parts), np.concatenate(places), hidden, first.past)
            ends = np.cumsum([len(part) for part in parts])
            for row, some in zip(rows, np.split(engine.numpy(result)[0], ends[:-1])):
                states[row, known[row] : lengths[row]] = some
        return engine.asarray(states)

    def _read(
        self, engine: Engine, ids: Ids, positions: Floats, hidden: Floats, past: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        count, extra = len(ids), fillers(engine, len(ids))
        if extra:  # tokens that see only themselves and that no token sees
            ids, positions = np.pad(ids, (0, extra)), np.pad(positions, (0, extra))
            last = np.arange(-extra, 0)
            hidden = np.pad(hidden, ((0, 0), (0, 0), (0, extra), (0, extra)), constant_values=LOWEST)
            hidden[:, :, last, last] = 0
        options: dict[str, Input] = {"positions": positions[:, None], "hidden": hidden, "past": past}
        outputs = several(engine.run(self, ids[None], **options))  # type: ignore[arg-type]
        return tuple(engine.asarray(engine.numpy(x)[:, :count]) for x in outputs) if extra else outputs

    def _beginning(self, engine: Engine, ids: tuple[int, ...]) -> Beginning:
        """The results for a common beginning, computed if they are not kept."""
        if not ids:
            return self._nothing(engine)
        self._checked(np.array([ids], np.int64))
        with self._beginning_lock:
            made_of, key = self._state(), (engine, ids)
            found = self._beginnings.pop(key, None)
            if found is None or not _same(found.made_of, made_of):
                places, nothing = np.arange(len(ids), dtype=np.float32), self._nothing(engine)
                hidden = _hidden([(0, len(ids))], len(nothing.ids))
                states, *past = self._read(engine, np.array(ids, np.int64), places, hidden, nothing.past)
                found = Beginning(ids, engine.numpy(states)[0], tuple(past), made_of)
            self._beginnings[key] = found
            while len(self._beginnings) > _KEPT:
                del self._beginnings[next(iter(self._beginnings))]
            return found

    def _nothing(self, engine: Engine) -> Beginning:
        """A dummy token that no token sees, so that texts without a past need no graphs of their own."""
        past = [engine.asarray(np.zeros((1, 1, size), np.float32)) for size in self.key_channels for _ in range(2)]
        channels: int = self.config["hidden_size"]
        return Beginning((-1,), np.zeros((1, channels), np.float32), tuple(past), ())

    def forget_beginnings(self) -> None:
        """Drop the kept results of common beginnings."""
        with self._beginning_lock:
            self._beginnings.clear()

    def _state(self) -> tuple[object, ...]:
        """What results depend on in addition to the tokens."""
        values: list[object] = [self.dtype, *self.passes]
        for _, parameter in self.parameters_and_names():
            value: Stored = stored(parameter)
            values += [value, value.version if is_adjustable(value) else 0]
        return tuple(values)


def _same(first: Sequence[object], second: Sequence[object]) -> bool:
    """Whether both consist of identical objects."""
    equal = (a is b or (isinstance(a, (int, str)) and a == b) for a, b in zip(first, second))
    return len(first) == len(second) and all(equal)


def _common(ids: Ids, lengths: Ids, beginning: Sequence[int]) -> Ids:
    """How many tokens each row shares with the beginning."""
    counts = []
    for row, length in zip(ids, lengths):
        most = min(length, len(beginning))
        differs = np.flatnonzero(row[:most] != np.asarray(beginning[:most]))
        counts.append(differs[0] if len(differs) else most)
    return np.array(counts)


def _hidden(texts: Sequence[tuple[int, int]], earlier: int) -> Floats:
    """The mask of texts in one row, for `CausalTextModel.construct`.

    ``texts`` gives for each text how many of the ``earlier`` tokens it shares, and how many more it has.
    """
    tokens = sum(count for _, count in texts)
    hidden = np.full((tokens, earlier + tokens), LOWEST, np.float32)
    begin = 0
    for known, count in texts:
        end = begin + count
        hidden[begin:end, :known] = 0
        among = hidden[begin:end, earlier + begin : earlier + end]
        among[:] = np.triu(among, 1)
        begin = end
    return hidden[None, None]
