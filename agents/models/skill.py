"""The skill card of a model that a pipeline file names."""

from batuta.schemas.model_version import SkillCard
from batuta.schemas.pipeline_file.entries import ModelEntry

__all__ = ["price_text", "skill_of"]


def skill_of(entry: ModelEntry, inputs: tuple[str, ...]) -> SkillCard:
    """Return what whoever chooses among models must know of one.

    Args:
        entry: what the file says of it.
        inputs: the features it sees, groups taken apart.
    """
    return SkillCard(
        kind=entry.kind,
        purpose=entry.purpose,
        inputs=inputs,
        output=entry.answer or "score from 0 to 1",
        cost=price_text(entry),
        latency_ms=entry.timeout,
        risk=entry.risk,
    )


def price_text(entry: ModelEntry) -> str:
    """Return what a model costs as people read it; empty where nothing is billed."""
    parts: list[str] = []
    if entry.cost is not None:
        parts.append(f"{entry.cost.amount:f} {entry.cost.currency}")
    if entry.prices is not None:
        read, written = entry.prices.input, entry.prices.output
        tokens = f"{read.amount:f} and {written.amount:f} {read.currency}"
        parts.append(f"{tokens} per million tokens read and written")
    return " and ".join(parts)
