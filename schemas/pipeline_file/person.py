"""People as models: what an entry under `models` of `kind: human` has, and what it lacks."""

from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.pipeline_file.quantities import Duration, PerHour, QueueName

__all__ = ["PERSON", "PersonEntry", "person_fault", "person_schema", "with_person_defaults"]

#: The adapter that reaches people: cases and verdicts on topics. No file needs to say it.
PERSON: Final = "person"
#: A person sees the event, whole.
_SEES: Final = ("event",)
#: What only people have.
_OWN: Final = ("queue", "capacity", "sla")


class PersonEntry(BaseModel):
    """The keys of a person who is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    queue: QueueName | None = Field(
        default=None, description="for `kind: human`: the reviewers who are asked"
    )
    capacity: Annotated[int | None, PerHour()] = Field(
        default=None, description="for `kind: human`: cases they manage, told to whoever plans"
    )
    sla: Duration = Field(
        default=1_800_000, description="for `kind: human`: a later verdict counts as none"
    )


def person_schema(schema: dict[str, Any]) -> None:
    """Let the JSON Schema of an entry ask for what is needed of whoever answers."""
    schema["required"] = []
    schema["if"] = {"properties": {"kind": {"const": "human"}}, "required": ["kind"]}
    schema["then"] = {"required": ["queue"]}
    schema["else"] = {"required": ["adapter"]}


def with_person_defaults(value: object) -> object:
    """Return an entry with what nobody has to say of a person."""
    if isinstance(value, dict) and value.get("kind") == "human":
        return {"adapter": PERSON, "inputs": list(_SEES), **cast("dict[str, object]", value)}
    return value


def person_fault(
    kind: str, adapter: str, inputs: tuple[str, ...], entry: PersonEntry
) -> str | None:
    """Return what is wrong with an entry in view of who answers; what to do; None if nothing."""
    if kind != "human":
        if adapter == PERSON:
            return "a person is asked by kind: human; write that, or another adapter"
        given = next((key for key in _OWN if key in entry.model_fields_set), None)
        return given and f'"{given}" belongs to kind human; leave it out, or change the kind'
    faults = {
        "a person has no adapter; leave it out, or change the kind": adapter != PERSON,
        'a person sees the whole event; leave "inputs" out': inputs != _SEES,
        'a person is waited for by "sla"; write that in place of "timeout"': (
            "timeout" in entry.model_fields_set
        ),
        'a person needs "queue"; add queue: fraud-review, the reviewers who are asked': (
            entry.queue is None
        ),
    }
    return next((fault for fault, holds in faults.items() if holds), None)
