"""Who may know whom, and who may touch the outside world.

Each rule reads one file and yields what breaks it. `PLANTED` breaks every rule once, so that a
rule which has gone blind fails here as well.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Rule = Callable[[str, str], Iterator[str]]

ROOMS = ("schemas", "agents", "streams")
#: Nothing points back.
MAY_IMPORT = {
    "schemas": {"schemas"},
    "agents": {"schemas", "agents"},
    "streams": {"schemas", "agents", "streams"},
}
#: All that a room without I/O, clock and randomness may import beside its own kind.
PURE = {
    *("__future__", "abc", "base64", "bisect", "collections", "contextlib", "copy", "dataclasses"),
    *(
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "functools",
        "graphlib",
        "hashlib",
        "heapq",
        "hmac",
        "itertools",
    ),
    *("json", "math", "operator", "re", "statistics", "string", "struct", "types", "typing"),
    *("unicodedata", "uuid", "zoneinfo", "numba", "numpy", "orjson", "pydantic", "pydantic_core"),
    *("cel_expr_python", "jsonpatch", "jsonpointer", "ruamel"),
}
#: Imports that one file needs beside these, and why.
ALSO_PURE = {
    # From arrays to a model's bytes; to threads, it only says how many.
    "agents/models/boosted_trees.py": {"sklearn", "skl2onnx", "threadpoolctl"},
    "agents/models/calibration.py": {"sklearn"},  # isotonic regression, of arrays
    "agents/models/fitted.py": {"skl2onnx"},
    "agents/models/forest.py": {"sklearn"},
    # Arrays in bytes, in memory: their frame is a zip's.
    "agents/models/text_classifier.py": {"io", "sklearn", "zipfile"},
    "agents/fraud/training.py": {"sklearn"},  # its metrics
}
#: Builtins and methods that reach out of a pure room, whatever they are called on.
IMPURE_NAMES = {"open", "input", "print", "exec", "eval", "compile", "__import__", "breakpoint"}
IMPURE_METHODS = {
    *("now", "utcnow", "today", "uuid1", "uuid4", "urandom", "token_bytes", "token_hex"),
    *("read_text", "read_bytes", "write_text", "write_bytes", "fromfile", "tofile", "memmap"),
    *("loadtxt", "savetxt", "genfromtxt"),
}
#: What numpy's random module may be used for: a generator that somebody else has seeded.
SEEDED = {"Generator", "SeedSequence", "PCG64", "Philox", "default_rng"}

MAY_READ_ENVIRONMENT = {
    "streams/environment.py",  # the addresses and keys that a pipeline file names
    "streams/settings.py",  # every setting of ours
    "streams/broker/apache.py",  # the test suite's BATUTA_TEST_KAFKA_LIBS, before any setting
    "streams/broker/process.py",  # hands its own environment to the child process, unread
}
#: The rooms that know what the fraud pipeline is about.
KNOWS_FRAUD = ("agents/fraud/", "schemas/fraud.py")
FRAUD_WORD = re.compile(
    r"(?<![a-z])(?:cards?|terminal_(?:ids?|count|mean|risk))(?![a-z])", re.IGNORECASE
)
CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
#: A model or skill card, what a model is described on, is a payment card by name alone.
MODEL_CARD = re.compile(r"(?:model|skill)_cards?|models\.card", re.IGNORECASE)
#: What customers of any house write about, and whose numbers nobody else is told.
SPEAKS_OF_LOST_CARDS = ("agents/support/", "agents/verification/privacy.py")
SPEAKS_OF_MODEL_CARDS = {
    "streams/adapters/text.py",
    "agents/models/card.py",
    "streams/adapters/onnx.py",
    "streams/model_store.py",
    "streams/cli/train.py",
    "streams/adapters/river.py",
    "streams/pipelines/opening_files.py",
    "streams/registry/files.py",
    "streams/registry/following.py",
    "streams/registry/live.py",
    "streams/pipelines/furnishing.py",
    "streams/pipelines/opening.py",
}
#: Underscored, yet not a named tuple's public methods.
PRIVATE = re.compile(r"_(?!_|replace$|asdict$|make$|fields$)")
MAY_TOUCH_PRIVATE = {
    "streams/lanes/kafka_shim.py",  # aiokafka: docs/decisions/0002
    "streams/lanes/kafka_fetches.py",  # its other half
    "agents/models/boosted_trees.py",  # skl2onnx has its registry of converters nowhere else
    "streams/rehearsal/virtual_loop.py",  # asyncio's documented way to write a loop
    "streams/adapters/river.py",  # river takes weights back in no other way
    "streams/lanes/failpoint_testing.py",  # os._exit: a forked child ends at once
}
#: Names of Python things may serve people and tests, never the wire.
MAY_SAY_NAME = {
    "schemas/event_codec.py",  # a usage error names the schema class
    "streams/broker/codec.py",  # an error names the message class
    "streams/lifecycle.py",  # --stages: pinned as literals by test_wire_names.py
    "streams/lanes/ownership.py",  # an error names Kafka's error
    "streams/rehearsal/in_process_member.py",  # an error names Kafka's error
    "streams/rehearsal/pipeline_play.py",  # stages: pinned as literals by test_wire_names.py
    "streams/rehearsal/wire.py",  # an error names the message class
}


def room_of(path: str) -> str:
    return path.partition("/")[0]


@cache
def nodes(text: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(text)))


def imports(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of each import, wherever in the file it stands."""
    for node in nodes(text):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def imports_point_one_way(path: str, text: str) -> Iterator[str]:
    for line, name in imports(text):
        parts = name.split(".")
        if room_of(path) in MAY_IMPORT and parts[0] == "batuta":
            room = parts[1] if len(parts) > 1 else ""
            if room not in MAY_IMPORT[room_of(path)]:
                yield f"{line}: {room_of(path)} imports {name}"


def imports_say_batuta(path: str, text: str) -> Iterator[str]:
    del path
    for line, name in imports(text):
        if name.startswith(".") or name.split(".")[0] in ROOMS:
            yield f"{line}: imports {name}; say batuta.{name.lstrip('.')}"


def thinking_imports_nothing_that_acts(path: str, text: str) -> Iterator[str]:
    if room_of(path) not in {"schemas", "agents"}:
        return
    allowed = PURE | ALSO_PURE.get(path, set())
    for line, name in imports(text):
        root, last = name.split(".")[0], name.split(".")[-1]
        dice = name.startswith("numpy.random") and last not in SEEDED
        if dice or root not in {"batuta", *allowed}:
            yield f"{line}: imports {name}, which is not known to be pure"


def thinking_neither_reads_nor_writes_nor_rolls_dice(path: str, text: str) -> Iterator[str]:
    if room_of(path) not in {"schemas", "agents"}:
        return
    for node in nodes(text):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_NAMES:
                yield f"{node.lineno}: calls {name}()"
            case ast.Attribute(attr=name) if name in IMPURE_METHODS:
                yield f"{node.lineno}: uses .{name}"
            case ast.Attribute(
                value=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"), attr=name
            ) if name not in SEEDED:
                yield f"{node.lineno}: draws from numpy's own random.{name}"
            case ast.Call(func=ast.Attribute(attr=name), args=[], keywords=[]) if name in SEEDED:
                yield f"{node.lineno}: {name}() without a seed"
            case _:
                pass


def only_settings_read_the_environment(path: str, text: str) -> Iterator[str]:
    if room_of(path) not in ROOMS or path in MAY_READ_ENVIRONMENT:
        return
    for node in nodes(text):
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if name in {"environ", "environb", "getenv", "putenv"}:
            yield f"{getattr(node, 'lineno', 0)}: {name}"


def only_fraud_knows_fraud(path: str, text: str) -> Iterator[str]:
    if room_of(path) not in ROOMS or path.startswith(
        (*KNOWS_FRAUD, *SPEAKS_OF_MODEL_CARDS, *SPEAKS_OF_LOST_CARDS)
    ):
        return
    documentation = _docstrings(text)
    for node in nodes(text):
        if id(node) not in documentation:
            for word in _words(node):
                if FRAUD_WORD.search(MODEL_CARD.sub("", CAMEL_HUMP.sub("_", word))):
                    yield f"{getattr(node, 'lineno', 0)}: says {word!r}"


def _docstrings(text: str) -> set[int]:
    """Return the ids of the constants that are docstrings: an example may speak of what ships."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    firsts = (node.body[0] for node in nodes(text) if isinstance(node, documented) and node.body)
    return {id(first.value) for first in firsts if isinstance(first, ast.Expr)}


def _words(node: ast.AST) -> Iterator[str]:
    """Yield the identifiers and the text that a node itself holds."""
    for _, value in ast.iter_fields(node):
        if isinstance(value, str):
            yield value


def nothing_unpickles(path: str, text: str) -> Iterator[str]:
    del path
    banned = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    for line, name in imports(text):
        if name.split(".")[0] in banned:
            yield f"{line}: imports {name}"


def only_the_command_line_prints(path: str, text: str) -> Iterator[str]:
    if room_of(path) not in ROOMS or path.startswith("streams/cli/"):
        return
    for node in nodes(text):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
            yield f"{node.lineno}: print()"


def only_the_shim_touches_what_is_private(path: str, text: str) -> Iterator[str]:
    if room_of(path) not in ROOMS or path in MAY_TOUCH_PRIVATE:
        return
    for node in nodes(text):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=_):
                pass
            case ast.Attribute(attr=name) if PRIVATE.match(name):
                if not _is_own(name, text):
                    yield f"{node.lineno}: .{name}"
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ) if PRIVATE.match(name):
                yield f"{node.lineno}: {name!r} by its string"
            case ast.ImportFrom(module=str(module)) if not module.startswith("batuta"):
                private = [alias.name for alias in node.names if PRIVATE.match(alias.name)]
                if private or re.search(r"\._[^_]", module):
                    yield f"{node.lineno}: imports {private or module}"
            case _:
                pass


def _is_own(name: str, text: str) -> bool:
    """Tell whether a class of this very file sets the attribute: an equal of its own kind."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        for node in nodes(text)
    ) or any(isinstance(node, ast.FunctionDef) and node.name == name for node in nodes(text))


def wire_names_come_from_no_module(path: str, text: str) -> Iterator[str]:
    if room_of(path) not in ROOMS:
        return
    for node in nodes(text):
        match node:
            case ast.Attribute(attr="__module__" | "__qualname__" as name):
                yield f"{node.lineno}: .{name}"
            case ast.Attribute(value=ast.Call(func=ast.Name(id="type")), attr="__name__"):
                pass  # the kind of an error, for people
            case ast.Attribute(attr="__name__") if path not in MAY_SAY_NAME:
                yield f"{node.lineno}: .__name__"
            case ast.Call(func=ast.Attribute(attr="agent" | "topic" as kind)) if not any(
                keyword.arg == "name" for keyword in node.keywords
            ):
                yield f"{node.lineno}: .{kind}(...) without name="
            case _:
                pass


RULES: tuple[Rule, ...] = (
    imports_point_one_way,
    imports_say_batuta,
    thinking_imports_nothing_that_acts,
    thinking_neither_reads_nor_writes_nor_rolls_dice,
    only_settings_read_the_environment,
    only_fraud_knows_fraud,
    nothing_unpickles,
    only_the_command_line_prints,
    only_the_shim_touches_what_is_private,
    wire_names_come_from_no_module,
)

PLANTED: tuple[tuple[Rule, str, str], ...] = (
    (imports_point_one_way, "schemas/a.py", "from batuta.agents import state"),
    (imports_point_one_way, "schemas/a.py", "import batuta.streams.lanes.lane"),
    (imports_point_one_way, "agents/a.py", "def f():\n    from batuta import streams"),
    (imports_point_one_way, "agents/a.py", "if TYPE_CHECKING:\n    import batuta.streams.app"),
    (imports_say_batuta, "streams/a.py", "from schemas.event import Event"),
    (imports_say_batuta, "tests/a.py", "import agents.state"),
    (imports_say_batuta, "streams/a.py", "from .lane import Lane"),
    (thinking_imports_nothing_that_acts, "agents/a.py", "import socket"),
    (thinking_imports_nothing_that_acts, "agents/a.py", "import random"),
    (thinking_imports_nothing_that_acts, "agents/a.py", "from time import time"),
    (thinking_imports_nothing_that_acts, "agents/a.py", "import asyncio"),
    (thinking_imports_nothing_that_acts, "agents/a.py", "import faust"),
    (thinking_imports_nothing_that_acts, "agents/a.py", "from numpy import random"),
    (thinking_imports_nothing_that_acts, "schemas/a.py", "import aiokafka"),
    (thinking_imports_nothing_that_acts, "schemas/a.py", "import os"),
    (thinking_neither_reads_nor_writes_nor_rolls_dice, "agents/a.py", "open('x')"),
    (thinking_neither_reads_nor_writes_nor_rolls_dice, "agents/a.py", "datetime.now(UTC)"),
    (thinking_neither_reads_nor_writes_nor_rolls_dice, "schemas/a.py", "uuid.uuid4()"),
    (thinking_neither_reads_nor_writes_nor_rolls_dice, "agents/a.py", "np.random.normal(0, 1)"),
    (thinking_neither_reads_nor_writes_nor_rolls_dice, "agents/a.py", "np.random.default_rng()"),
    (only_settings_read_the_environment, "streams/a.py", "import os\nos.environ['X']"),
    (only_settings_read_the_environment, "streams/cli/a.py", "os.getenv('X')"),
    (only_settings_read_the_environment, "streams/a.py", "environ.get('X')"),
    (only_fraud_knows_fraud, "streams/a.py", "KEY = 'card_id'"),
    (only_fraud_knows_fraud, "agents/a.py", "class CardWorld: ..."),
    (only_fraud_knows_fraud, "agents/understanding/a.py", "new_card = terminal_id = 1"),
    (nothing_unpickles, "streams/a.py", "import pickle"),
    (nothing_unpickles, "streams/a.py", "from joblib import load"),
    (only_the_command_line_prints, "streams/a.py", "print('x')"),
    (only_the_shim_touches_what_is_private, "streams/a.py", "consumer._fetcher.x = 0"),
    (only_the_shim_touches_what_is_private, "streams/a.py", "setattr(a, '_closed', 1)"),
    (only_the_shim_touches_what_is_private, "streams/a.py", "from aiokafka.client import _x"),
    (wire_names_come_from_no_module, "streams/a.py", "topic = f'{stage.__name__}.events'"),
    (wire_names_come_from_no_module, "schemas/a.py", "kind = Event.__qualname__"),
    (wire_names_come_from_no_module, "streams/a.py", "@app.agent(channel)\ndef f(): ..."),
)


@pytest.mark.parametrize("rule", RULES)
def test_no_file_breaks(rule: Rule, sources: Mapping[str, str]) -> None:
    broken = [f"{path}:{what}" for path, text in sources.items() for what in rule(path, text)]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_a_planted_breach_is_seen(rule: Rule, path: str, text: str) -> None:
    assert list(rule(path, text))


def test_every_rule_is_known_to_see() -> None:
    assert {rule for rule, _, _ in PLANTED} == set(RULES)


@pytest.mark.parametrize(
    ("rule", "exceptions"),
    [
        (thinking_imports_nothing_that_acts, "ALSO_PURE"),
        (only_settings_read_the_environment, "MAY_READ_ENVIRONMENT"),
        (only_fraud_knows_fraud, "SPEAKS_OF_MODEL_CARDS"),
        (only_the_shim_touches_what_is_private, "MAY_TOUCH_PRIVATE"),
        (wire_names_come_from_no_module, "MAY_SAY_NAME"),
    ],
)
def test_every_exception_is_needed(
    rule: Rule, exceptions: str, sources: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = list(globals()[exceptions])
    monkeypatch.setitem(globals(), exceptions, {})
    idle = [path for path in named if path not in sources or not list(rule(path, sources[path]))]
    assert not idle
