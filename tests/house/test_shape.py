"""How large things may grow, what rooms look like, what a module says it offers."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    Rule = Callable[[str, str], Iterator[str]]

ROOMS = ("schemas", "agents", "streams")
FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 400
INTRODUCTION_LINES = range(2, 7)
MEANINGLESS = {"utils", "util", "common", "helpers", "helper", "core", "base", "misc"}
#: Folders that hold something else than code of ours.
NOT_ROOMS = {"__pycache__"}


@cache
def tree_of(text: str) -> ast.Module:
    return ast.parse(text)


def room_of(path: str) -> str:
    return path.partition("/")[0]


def functions_are_short(path: str, text: str) -> Iterator[str]:
    del path
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{node.lineno}: {node.name} has {lines} lines, {FUNCTION_LINES_MAX} at most"


def modules_are_short(path: str, text: str) -> Iterator[str]:
    del path
    lines = len(text.splitlines())
    if lines > MODULE_LINES_MAX:
        yield f"{lines} lines, {MODULE_LINES_MAX} at most"


def names_mean_something(path: str, text: str) -> Iterator[str]:
    del text
    for part in path.removesuffix(".py").split("/"):
        if part in MEANINGLESS:
            yield f"{part!r} says nothing; name the concept it holds"


def rooms_have_one_level(path: str, text: str) -> Iterator[str]:
    del text
    if room_of(path) in ROOMS and path.count("/") > 2:
        yield "one level of sub-rooms, no more"


def rooms_say_why_they_exist(path: str, text: str) -> Iterator[str]:
    if room_of(path) not in ROOMS or not path.endswith("/__init__.py"):
        return
    said = ast.get_docstring(tree_of(text)) or ""
    lines = [line for line in said.splitlines() if line.strip()]
    if len(lines) not in INTRODUCTION_LINES:
        yield f"its docstring has {len(lines)} lines, 2 to 6 are due"


def modules_say_what_they_offer(path: str, text: str) -> Iterator[str]:
    if room_of(path) not in ROOMS or path.endswith("__main__.py"):
        return
    tree = tree_of(text)
    offered = _offered(tree)
    if offered is None:
        if public := sorted(_defined(tree)):
            yield f"no __all__, but public names: {', '.join(public)}"
        return
    if offered != sorted(offered, key=_rank):
        yield f"__all__ is not sorted: {', '.join(sorted(offered, key=_rank))}"
    missing = set(offered) - _defined(tree) - _imported(tree)
    if missing:
        yield f"__all__ names what is not there: {', '.join(sorted(missing))}"


def _offered(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return [str(name) for name in ast.literal_eval(value)]
            case _:
                pass
    return None


def _rank(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Constants, then classes, then the rest, numbers by their value: as ruff sorts them."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    parts = re.split(r"(\d+)", name)
    return kind, [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def _defined(tree: ast.Module) -> set[str]:
    """Return the public names that the module's own statements bind."""
    names: set[str] = set()
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Assign(targets=targets):
                found = (each for target in targets for each in ast.walk(target))
                names |= {each.id for each in found if isinstance(each, ast.Name)}
            case _:
                pass
    return {name for name in names if not name.startswith("_")}


def _imported(tree: ast.Module) -> set[str]:
    imports = (node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    return {alias.asname or alias.name for node in imports for alias in node.names}


RULES: tuple[Rule, ...] = (
    functions_are_short,
    modules_are_short,
    names_mean_something,
    rooms_have_one_level,
    rooms_say_why_they_exist,
    modules_say_what_they_offer,
)

PLANTED: tuple[tuple[Rule, str, str], ...] = (
    (functions_are_short, "agents/a.py", "def f():\n" + 60 * "    x = 1\n"),
    (functions_are_short, "tests/a.py", "class A:\n async def f():\n" + 60 * "  x = 1\n"),
    (modules_are_short, "streams/a.py", 401 * "x = 1\n"),
    (names_mean_something, "streams/utils.py", ""),
    (names_mean_something, "agents/core/state.py", ""),
    (rooms_have_one_level, "streams/broker/log/segment.py", ""),
    (rooms_say_why_they_exist, "agents/policy/__init__.py", ""),
    (rooms_say_why_they_exist, "agents/policy/__init__.py", '"""One line."""'),
    (rooms_say_why_they_exist, "agents/policy/__init__.py", '"""' + 7 * "A line.\n" + '"""'),
    (modules_say_what_they_offer, "agents/a.py", "class Agent: ..."),
    (modules_say_what_they_offer, "agents/a.py", "LIMIT = 3"),
    (modules_say_what_they_offer, "agents/a.py", "__all__ = ['gone']"),
    (modules_say_what_they_offer, "agents/a.py", "__all__ = ['b', 'A']\nclass A: ...\nb = 1"),
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


def test_every_room_is_a_package(root: Path) -> None:
    files = (path for room in ROOMS for path in (root / room).rglob("*.py"))
    bare = {path.parent for path in files if not (path.parent / "__init__.py").exists()}
    assert not bare, "a folder of modules without __init__.py"


def test_every_room_is_packed(root: Path) -> None:
    """setuptools finds nothing by itself here: the import names are not the folders' names."""
    setuptools = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    rooms = {
        ".".join(("batuta", *path.parent.relative_to(root).parts)): str(
            path.parent.relative_to(root)
        )
        for room in ROOMS
        for path in (root / room).rglob("__init__.py")
    }
    listed = set(setuptools["packages"])
    assert not set(rooms) - listed, "missing from pyproject's tool.setuptools.packages"
    assert not listed - set(rooms), "packages in pyproject that are no folder"
    assert setuptools["package-dir"] == rooms


def test_nothing_hides_the_namespace(root: Path) -> None:
    assert not (root / "batuta").exists(), "a folder batuta/ hides the installed one"
    assert not list((root / "tests").rglob("__init__.py")), "tests are no package"


def test_every_room_is_typed(root: Path) -> None:
    assert [room for room in ROOMS if not (root / room / "py.typed").exists()] == []


def test_decisions_are_numbered_without_gaps(root: Path) -> None:
    names = sorted(path.name for path in (root / "docs" / "decisions").glob("*.md"))
    assert names
    for number, name in enumerate(names, start=1):
        assert re.fullmatch(rf"{number:04}-[a-z0-9-]+\.md", name), name
