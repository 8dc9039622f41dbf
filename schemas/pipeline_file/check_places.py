"""Where checks and remedies stand in a pipeline file: behind whole plans, and steps of them."""

from collections.abc import Iterator
from typing import cast

from batuta.schemas.pipeline_file.check_entries import CheckEntry
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.plan_entries import PlanEntry
from batuta.schemas.pipeline_file.problems import Path
from batuta.schemas.pipeline_file.remedy_entries import OnFailureEntry, RemedyEntry

__all__ = ["check_places", "remedies_path", "remedy_places", "verify_path"]


def verify_path(value: object) -> Path:
    """Return where the checks of `verify` stand, given the file as YAML: a list may stand alone."""
    listed = isinstance(value, dict) and isinstance(value.get("verify"), list)
    return ("verify",) if listed else ("verify", "check")


def check_places(file: PipelineFile, value: object) -> Iterator[tuple[Path, CheckEntry]]:
    """Yield every check of a file and its path; `value` is the file as YAML."""
    above = verify_path(value)
    for number, entry in enumerate(file.verify.check):
        yield (*above, number), entry
    for name, plan in file.plans.items():
        yield from _within(plan, ("plans", name))


def _within(plan: PlanEntry, path: Path) -> Iterator[tuple[Path, CheckEntry]]:
    for number, entry in enumerate(plan.check):
        yield (*path, "check", number), entry
    for number, step in enumerate(plan.steps):
        yield from _within(step, (*path, plan.kind, number))


def remedies_path(value: object, path: Path) -> Path:
    """Return where the remedies of the `on_failure` at `path` stand: a list may stand alone."""
    for part in path:
        if isinstance(value, dict):
            value = cast("dict[object, object]", value).get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = cast("list[object]", value)[part]
    return path if isinstance(value, list) else (*path, "remedies")


def remedy_places(file: PipelineFile, value: object) -> Iterator[tuple[Path, RemedyEntry]]:
    """Yield every remedy of a file and its path; `value` is the file as YAML."""
    if file.verify.on_failure is not None:
        yield from _remedies(file.verify.on_failure, ("verify", "on_failure"), value)
    for name, plan in file.plans.items():
        yield from _remedies_within(plan, ("plans", name), value)


def _remedies_within(
    plan: PlanEntry, path: Path, value: object
) -> Iterator[tuple[Path, RemedyEntry]]:
    if plan.on_failure is not None:
        yield from _remedies(plan.on_failure, (*path, "on_failure"), value)
    for number, step in enumerate(plan.steps):
        yield from _remedies_within(step, (*path, plan.kind, number), value)


def _remedies(
    entry: OnFailureEntry, path: Path, value: object
) -> Iterator[tuple[Path, RemedyEntry]]:
    above = remedies_path(value, path)
    for number, remedy in enumerate(entry.remedies):
        yield (*above, number), remedy
