"""Every regular expression of the package takes time in proportion to the text."""

import ast
import functools
import re
import signal
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import mindone.diffusers

PACKAGE = Path(mindone.diffusers.__file__).parent
METHODS = {"match", "fullmatch", "search", "sub", "findall", "finditer", "split"}
PUMPED = 20_000
SECONDS = 1.2
"""Of the processor: hundreds of times what an expression takes that looks at each character a few times, and a small
part of what one takes that looks at the rest of the text from each of them."""


@functools.cache
def expressions() -> list[tuple[str, str, str]]:
    """All of the package, read where these tests run, not where they are collected: it takes seconds."""
    return list(_expressions())


def _expressions() -> Iterator[tuple[str, str, str]]:
    """Where an expression stands, the expression, and how it is used; "search" where that is unknown."""
    used: dict[str, set[str]] = {}
    calls, names = [], {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in METHODS:
                used.setdefault(ast.unparse(node.value).rpartition(".")[2], set()).add(node.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if isinstance(node.func.value, ast.Name) and node.func.value.id == "re":
                    calls.append((path, node, node.func.attr))
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                names[node.value] = ast.unparse(node.targets[0])
    for path, call, method in calls:
        if isinstance(call.args[0], ast.Constant):
            known = used.get(names.get(call, ""), {"search"}) if method == "compile" else {method}
            for each in sorted(known):
                yield f"{path.relative_to(PACKAGE)}:{call.lineno}", str(call.args[0].value), each


def texts(pattern: str) -> Iterator[str]:
    """Texts that repeat what the expression's own literals may match, and end with what they may not."""
    words = {"a", "1", " ", "-", ".", '"', "\\", ":", "/", "_", *re.findall(r"[\w.:<\-]{2,}", pattern)}
    for first, second in product(sorted(words), repeat=2):
        yield (first + second) * (PUMPED // len(first + second)) + "\0"
        yield first + second * (PUMPED // len(second)) + "\0"


def test_there_are_expressions():
    found = expressions()
    assert len(found) > 20 and {method for *_, method in found} >= {"fullmatch", "match", "search", "sub"}


def test_an_expression_takes_time_in_proportion_to_the_text():
    class TooLong(Exception):
        pass

    def give_up(*_):
        raise TooLong

    slow = []
    before = signal.signal(signal.SIGVTALRM, give_up)
    try:
        for where, pattern, method in {each[1:]: each for each in expressions()}.values():  # each as it is used, once
            try:
                read(re.compile(pattern), dict.fromkeys(texts(pattern)), method)
            except TooLong:
                slow.append(f"{where}: {pattern!r} takes more than {SECONDS} s of the processor")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert not slow


def read(compiled: re.Pattern[str], given: Iterable[str], method: str) -> None:
    """Apply the expression to each of the texts, with a time for each."""
    for text in given:
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        if method in ("match", "fullmatch"):
            getattr(compiled, method)(text)
        else:
            list(compiled.finditer(text))
