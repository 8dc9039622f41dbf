"""Where checks stand in a pipeline file: behind whole plans, and behind steps of them."""

from collections.abc import Iterator

from batuta.schemas.pipeline_file.check_entries import CheckEntry
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.plan_entries import PlanEntry
from batuta.schemas.pipeline_file.problems import Path

__all__ = ["check_places", "verify_path"]


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
