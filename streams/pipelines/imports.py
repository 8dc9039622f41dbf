"""Imports the parts that a pipeline file names: by `package.module:Name` or by entry point.

The folder of the pipeline file is put at the end of the import path, so that a part can lie beside
the file and never hides an installed module.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import entry_points, packages_distributions, version
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Final, cast

from batuta.agents.compiler.faults import Faults
from batuta.schemas.pipeline_file.entries import PartEntry
from batuta.schemas.pipeline_file.problems import Path as FieldPath
from batuta.schemas.pipeline_file.problems import did_you_mean

__all__ = ["GROUPS", "Import", "Importer"]

#: The entry point groups, by what is looked for.
GROUPS: Final[Mapping[str, str]] = {
    "schema": "batuta.schemas",
    "feature": "batuta.features",
    "model": "batuta.models",
    "check": "batuta.checks",
    "repair": "batuta.repairs",
    "sink": "batuta.sinks",
    "reasons": "batuta.reasons",
    "samples": "batuta.samples",
    "train": "batuta.trainers",
    "history": "batuta.histories",
}
_MESSAGE_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Import:
    """One part, as it was found.

    Attributes:
        field: where the file names it.
        use: as named there.
        module: where it lives.
        version: of the distribution that installed it; empty where it lies beside the file.
        sha256: of the module's source, empty where that cannot be read.
    """

    field: str
    use: str
    module: str
    version: str
    sha256: str


class Importer:
    """Resolves references for one pipeline file, and remembers what it found."""

    def __init__(self, folder: Path, faults: Faults) -> None:
        self.found: list[Import] = []
        self._faults = faults
        place = str(folder.resolve())
        if place not in sys.path:
            sys.path.append(place)
            importlib.invalidate_caches()

    def named(self, kind: str, path: FieldPath, use: str) -> object | None:
        """Return what `use` names, None where something was noted."""
        target = use if ":" in use else self._entry_point(kind, path, use)
        if target is None:
            return None
        module_name, _, name = target.partition(":")
        module = self._module(path, use, module_name)
        if module is None:
            return None
        part: object | None = getattr(module, name, None)
        if part is None:
            public = [one for one in vars(module) if not one.startswith("_")]
            remedy = did_you_mean(name, public, what=f"in {module_name}")
            self._faults.add(path, use, f"is not there: {module_name} has no {name}; {remedy}")
            return None
        field = ".".join(str(one) for one in path)
        self.found.append(_described(field, use, module_name, module))
        return part

    def made(self, kind: str, path: FieldPath, entry: PartEntry) -> object | None:
        """Return the part that `entry` describes: a class is called with its options."""
        part = self.named(kind, path, entry.use)
        if part is None:
            return None
        if not inspect.isclass(part) and not entry.options:
            return part
        try:
            return cast("Callable[..., object]", part)(**entry.options)
        except Exception as error:  # noqa: BLE001 - a part is anybody's code
            # One fault, one line: some messages are pages.
            said = shorten(f"{type(error).__name__}: {error}", _MESSAGE_MAX, placeholder=" ...")
            what = f"cannot be made from {entry.use}: {said}; change what stands under with"
            where = (*(path[:-1] if path[-1] in {"use", "repair"} else path), "with")
            self._faults.add(where, entry.options, what)
            return None

    def _entry_point(self, kind: str, path: FieldPath, use: str) -> str | None:
        group = GROUPS[kind]
        known = {point.name: point.value for point in entry_points(group=group)}
        if use not in known:
            remedy = (
                did_you_mean(use, list(known), what=f"in {group}")
                if known
                else 'install the package that brings it, or write "package.module:Name"'
            )
            self._faults.add(path, use, f"is no entry point of the group {group}; {remedy}")
        return known.get(use)

    def _module(self, path: FieldPath, use: str, name: str) -> ModuleType | None:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                remedy = "put it beside the pipeline file, or install its package"
                self._faults.add(path, use, f"cannot be imported: no module {name}; {remedy}")
            else:
                remedy = f"install {error.name}"
                self._faults.add(path, use, f"needs the module {error.name}; {remedy}")
        except Exception as error:  # noqa: BLE001 - a module is anybody's code
            said = f"{type(error).__name__}: {error}"
            self._faults.add(path, use, f"cannot be imported: {said}; mend {name}")
        return None


def _described(field: str, use: str, name: str, module: ModuleType) -> Import:
    owners = _owners().get(name.partition(".")[0], [])
    installed = version(owners[0]) if owners else ""
    source = Path(module.__file__) if module.__file__ else None
    digest = sha256(source.read_bytes()).hexdigest() if source and source.is_file() else ""
    return Import(field, use, name, installed, digest)


@cache
def _owners() -> Mapping[str, list[str]]:
    """Return which distributions installed which top-level package: a second's work."""
    return packages_distributions()
