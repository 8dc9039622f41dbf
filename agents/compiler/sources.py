"""Compiles `source` and `labels`: which field means what, against the schemas they name."""

from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from batuta.agents.compiler.faults import Faults
from batuta.agents.compiler.payload import PayloadField
from batuta.agents.policy.names import Kind
from batuta.schemas.pipeline import Duplicates, Lateness, Source
from batuta.schemas.pipeline_file.entries import LabelsEntry, SourceEntry
from batuta.schemas.pipeline_file.file import PipelineFile
from batuta.schemas.pipeline_file.problems import Path, did_you_mean
from batuta.schemas.pipeline_rules import LabelRule

__all__ = ["check_field", "labels_of", "source_of", "zone_of"]

_WORDS: Final[Mapping[Kind, str]] = {
    "string": "a text",
    "int": "a whole number",
    "double": "a number",
    "bool": "true or false",
    "timestamp": "a moment (EventTime)",
}
Fields = Mapping[str, PayloadField]


def check_field(
    faults: Faults, path: Path, name: str, fields: Fields, kinds: tuple[Kind, ...]
) -> bool:
    """Note where `name` is no field that each event has, of one of `kinds`."""
    declared = fields.get(name)
    if declared is None:
        remedy = did_you_mean(name, list(fields), what="its fields")
        faults.add(path, name, f"is no field of the schema; {remedy}")
        return False
    wanted = " or ".join(_WORDS[kind] for kind in kinds)
    if declared.kind not in kinds:
        found = _WORDS[declared.kind] if declared.kind else "no plain value"
        fit = ", ".join(n for n, one in fields.items() if one.kind in kinds) or "none"
        faults.add(path, name, f"is {found} in the schema; name a field that is {wanted}: {fit}")
        return False
    if declared.optional:
        faults.add(path, name, "may be missing; name a field that every event has")
        return False
    return True


def source_of(file: PipelineFile, fields: Fields, faults: Faults) -> Source | None:
    """Return the source, None where something was noted."""
    entry, before = file.source, len(faults)
    if entry.id is not None:
        check_field(faults, ("source", "id"), entry.id, fields, ("string", "int"))
    check_field(faults, ("source", "key"), entry.key, fields, ("string", "int"))
    check_field(faults, ("source", "time"), entry.time, fields, ("timestamp",))
    topic = f"{file.pipeline}.events"
    if entry.topic not in {None, topic}:
        faults.add(
            ("source", "topic"),
            entry.topic,
            f"is not this pipeline's; leave it out or write {topic}",
        )
    return _source(entry) if len(faults) == before else None


def _source(entry: SourceEntry) -> Source:
    return Source(
        id_field=entry.id,
        key_field=entry.key,
        time_field=entry.time,
        strict=entry.strict,
        value_bytes_max=entry.size,
        earliest_ms=entry.earliest,
        ahead_ms_max=entry.ahead,
        duplicates=Duplicates(
            within_ms=entry.duplicates.within, entries_max=entry.duplicates.entries
        ),
        lateness=Lateness(
            allowed_ms=entry.lateness.allowed,
            idle_ms=entry.lateness.idle,
            rule=entry.lateness.rule,
        ),
    )


def zone_of(entry: SourceEntry, faults: Faults) -> ZoneInfo | None:
    """Return the declared time zone, None where there is no such zone."""
    try:
        return ZoneInfo(entry.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        remedy = "write a name of the IANA data base, such as UTC or Europe/Madrid"
        faults.add(("source", "zone"), entry.zone, f"is no time zone; {remedy}")
        return None


def labels_of(entry: LabelsEntry, fields: Fields, faults: Faults) -> LabelRule:
    """Return what the fields of a label mean."""
    check_field(faults, ("labels", "id"), entry.id, fields, ("string", "int"))
    check_field(faults, ("labels", "time"), entry.time, fields, ("timestamp",))
    check_field(faults, ("labels", "of"), entry.of, fields, ("bool",))
    return LabelRule(id_field=entry.id, time_field=entry.time, of=entry.of, expire_ms=entry.expire)
