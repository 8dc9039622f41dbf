"""What is installed is what is here: every file of the rooms, data files too."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOMS = ("schemas", "agents", "streams")
#: Imports that another dependency pins and re-exports, and one that only type checkers know.
ONE_WITH = {"pydantic_core", "mode", "_typeshed"}
BUILD = "import sys, setuptools.build_meta as b; getattr(b, sys.argv[1])(sys.argv[2], {})"
EDIT = BUILD.replace("{}", "{'editable_mode': 'strict'}")


def room_files(root: Path) -> set[str]:
    """Return every file of the rooms, by its path below `root`."""
    files = (path for room in ROOMS for path in (root / room).rglob("*") if path.is_file())
    return {
        path.relative_to(root).as_posix()
        for path in files
        if "__pycache__" not in path.parts and not path.name.startswith(".")
    }


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of what a build reads, so that building leaves nothing in the tree."""
    target = tmp_path / "copy"
    target.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, target)
    for room in ROOMS:
        shutil.copytree(root / room, target / room, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "agents" / "fraud" / "planted.yaml").write_text("a: 1\n")
    return target


def build(program: str, kind: str, copy: Path) -> Path:
    """Run setuptools as a build front end does, and return what it made."""
    target = copy.parent / kind
    target.mkdir()
    command = [sys.executable, "-c", program, kind, str(target)]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(target.glob("*.whl"))


def test_the_wheel_holds_every_room_file(copy: Path) -> None:
    with zipfile.ZipFile(build(BUILD, "build_wheel", copy)) as wheel:
        names = {name.partition("/") for name in wheel.namelist()}
    packed = {rest for top, _, rest in names if top == "batuta"}
    assert packed == room_files(copy)
    others = {top for top, _, _ in names} - {"batuta"}
    assert all(top.endswith(".dist-info") for top in others), others


def test_a_strict_editable_install_links_every_room_file(copy: Path) -> None:
    build(EDIT, "build_editable", copy)
    (links,) = (copy / "build").glob("__editable__*")
    linked = {path.relative_to(links).as_posix() for path in links.rglob("*") if path.is_file()}
    assert linked == {f"batuta/{name}" for name in room_files(copy)}


def test_this_environment_holds_every_room_file(root: Path) -> None:
    spec = find_spec("batuta")
    assert spec is not None
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    missing = {
        name for name in room_files(root) if not any((place / name).exists() for place in places)
    }
    assert not missing, (
        "installed before these files were there: uv sync --reinstall-package batuta"
    )


def test_every_import_is_a_declared_dependency(root: Path, sources: Mapping[str, str]) -> None:
    """What another package happens to bring along is gone with its next release."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {normal(re.split(r"[^\w.-]", line)[0]) for line in project["dependencies"]}
    known = {"batuta", *ONE_WITH, *sys.stdlib_module_names}
    bringers = packages_distributions()
    missing = {
        name: path
        for path, text in sources.items()
        if path.startswith(ROOMS)
        for name in imported(text) - known
        if not {normal(bringer) for bringer in bringers.get(name, [])} & declared
    }
    assert not missing


def normal(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


def imported(text: str) -> set[str]:
    """Return the top-level names that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_the_rooms_themselves_are_not_importable() -> None:
    """`import streams` would mean that a plain editable install put the folders on the path."""
    asked = f"import importlib.util as u; print([n for n in {ROOMS} if u.find_spec(n)])"
    command = [sys.executable, "-P", "-c", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
