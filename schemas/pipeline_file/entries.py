"""What stands in a pipeline file: one frozen model per kind of entry.

Unknown keys are refused. Durations are kept in milliseconds, sizes in bytes, shares from 0 to 1.
"""

from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from batuta.schemas.decision import Outcome
from batuta.schemas.model_version import Kind, Risk
from batuta.schemas.notification import Severity
from batuta.schemas.pipeline_file.calibrating import Points, calibration_fault
from batuta.schemas.pipeline_file.guarding import guard_fault
from batuta.schemas.pipeline_file.person import (
    PersonEntry,
    person_fault,
    person_schema,
    with_person_defaults,
)
from batuta.schemas.pipeline_file.quantities import (
    PROBLEM,
    Bytes,
    Duration,
    Expression,
    FieldName,
    Moment,
    MoneyText,
    Name,
    QueueName,
    Reference,
    Sha256,
    duration_text,
)
from batuta.schemas.pipeline_file.serving import ServedEntry, served_fault, text_fault

__all__ = [
    "ActionEntry",
    "DecideEntry",
    "DuplicatesEntry",
    "EscalateEntry",
    "FeatureEntry",
    "LabelsEntry",
    "LatenessEntry",
    "ModelEntry",
    "NotifyEntry",
    "Part",
    "PartEntry",
    "ShareEntry",
    "SourceEntry",
    "UnderstandEntry",
]

_DAY_MS: Final = 86_400_000
_MIB: Final = 1_048_576
_WINDOWS_MAX: Final = 16

Options = dict[str, object]
Whole = Annotated[int, Field(strict=True)]
Truth = Annotated[bool, Field(strict=True)]


def refuse(said: str) -> PydanticCustomError:
    """Return the error of a whole entry: what is wrong with it; what to do."""
    return PydanticCustomError(PROBLEM, "{said}", {"said": said})


def _ascending(widths: tuple[int, ...]) -> tuple[int, ...]:
    for width, wider in pairwise(widths):
        if width >= wider:
            said = f"{duration_text(wider)} stands behind {duration_text(width)}"
            raise refuse(f"{said}; write each window once, the narrowest first")
    return widths


Widths = Annotated[
    tuple[Duration, ...],
    Field(min_length=1, max_length=_WINDOWS_MAX),
    AfterValidator(_ascending),
]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class PartEntry(_Entry):
    """A part of the user's own or of batuta's."""

    use: Reference = Field(description="`package.module:Name`, or an entry point's name")
    options: Options = Field(
        default={}, alias="with", description="what the part is made with: keyword arguments"
    )


def _short(value: object) -> object:
    """Take `schema: transaction` for `schema: {use: transaction}`."""
    return {"use": value} if isinstance(value, str) else value


#: A part, in short or with options.
Part = Annotated[
    PartEntry,
    BeforeValidator(_short),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"use": {"type": "string"}, "with": {"type": "object"}},
                    "required": ["use"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class DuplicatesEntry(_Entry):
    """How far back a redelivery is recognised; the smaller of the two bounds holds."""

    within: Duration = Field(default=7 * _DAY_MS, description="from its first arrival on")
    entries: Annotated[Whole, Field(ge=1, le=100_000_000)] = Field(
        default=1_000_000, description="ids remembered per lane"
    )


class LatenessEntry(_Entry):
    """How far out of order events may come, and what becomes of one that comes later still."""

    allowed: Duration = Field(
        default=3_600_000, description="the watermark stays this far behind the latest event"
    )
    idle: Duration = Field(default=10_000, description="a lane silent for longer holds nobody back")
    rule: Literal["accept", "aside", "drop"] = Field(
        default="accept", description="aside: to `<pipeline>.late`; drop: counted only"
    )


class SourceEntry(_Entry):
    """Where events come from, and which of their fields mean what."""

    topic: str | None = Field(default=None, description="always `<pipeline>.events`")
    data: Part = Field(alias="schema", description="the pydantic model of an event's payload")
    id: FieldName | None = Field(
        default=None, description="tells events apart; else `ce_source` and `ce_id` do"
    )
    key: FieldName = Field(description="the entity that an event is about: the topic's key")
    time: FieldName = Field(description="when the event happened")
    zone: str = Field(default="UTC", description="the time zone of `hour` and `weekday`")
    strict: Truth = Field(default=False, description="refuse unknown fields, not ignore them")
    size: Bytes = Field(default=_MIB, description="the largest value taken, at most `24MiB`")
    earliest: Moment = Field(default=0, description="an event before it is absurd")
    ahead: Duration = Field(default=_DAY_MS, description="further ahead of the clock is absurd")
    duplicates: DuplicatesEntry = Field(
        default=DuplicatesEntry(), description="which redeliveries are recognised"
    )
    lateness: LatenessEntry = Field(
        default=LatenessEntry(), description="what becomes of late events"
    )


class ShareEntry(_Entry):
    """Of the events whose label is known, how many have it set."""

    of: FieldName = Field(description="the label: a true or false field of the labels' schema")
    over: Widths = Field(description="windows (t - delay - w, t - delay] of event time")
    delay: Duration | None = Field(default=None, description="how long a label takes; else none")


class FeatureEntry(_Entry):
    """Trailing windows of one key: counts, means, shares of a label. Or a part of one's own."""

    by: FieldName | None = Field(
        default=None, description="the field whose windows, or memories, these are"
    )
    count: Widths | None = Field(default=None, description="events within each window")
    mean: dict[FieldName, Widths] = Field(
        default={}, description="a number field to the windows it is averaged over"
    )
    share: ShareEntry | None = Field(default=None, description="share of a label, delayed")
    use: Reference | None = Field(default=None, description="a feature of one's own")
    options: Options = Field(default={}, alias="with", description="what `use` is made with")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        windowed = self.count is not None or bool(self.mean) or self.share is not None
        if self.use is not None:
            if windowed:
                raise refuse('"use" stands beside windows; give each an entry of its own')
        elif not windowed:
            raise refuse("nothing is computed; add count, mean, share or use")
        elif self.by is None:
            raise refuse('"by" is missing; add the field whose windows these are')
        return self


class UnderstandEntry(BaseModel):
    """One step of understanding: `context`, or features under a name of their own."""

    model_config = ConfigDict(
        frozen=True, extra="allow", json_schema_extra={"minProperties": 1, "maxProperties": 1}
    )
    __pydantic_extra__: dict[str, FeatureEntry] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    context: dict[Name, Expression] | None = Field(
        default=None, description="features that are expressions, by name"
    )

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        names = [*self.__pydantic_extra__, *(["context"] if self.context is not None else [])]
        if len(names) != 1:
            found = ", ".join(names) or "none"
            raise refuse(f"an entry has one name, but here: {found}; begin each with a dash")
        return self

    @property
    def feature(self) -> tuple[str, FeatureEntry] | None:
        """The name and the entry, unless this is a context."""
        return next(iter(self.__pydantic_extra__.items()), None)


class ModelEntry(ServedEntry, PersonEntry):
    """A model: what it sees, how it is reached, what it may cost."""

    model_config = ConfigDict(json_schema_extra=person_schema)

    kind: Kind = Field(default="predictive", description="what it is for")
    adapter: Literal["onnx", "text", "python", "river", "open-inference", "openai", "person"] = (
        Field(description="how it is reached; `person` goes without saying for `kind: human`")
    )
    use: Reference | None = Field(default=None, description="for `python`: the class")
    options: Options = Field(default={}, alias="with", description="what `use` is made with")
    file: str | None = Field(
        default=None,
        description="for `onnx`, `text`, `river`: beside this file; else the trained one",
    )
    sha256: Sha256 | None = Field(default=None, description="of `file`, or of `use`'s module")
    inputs: tuple[str, ...] = Field(
        default=(), description="features, groups of them, and number fields, in order"
    )
    reads: tuple[str, ...] = Field(
        default=(),
        max_length=64,
        description="for `openai`, `python` and `text`, in place of `inputs`: features, `event`, "
        "`event.FIELD`, answers",
    )
    timeout: Duration = Field(default=1_000, description="a later answer counts as none")
    cost: MoneyText | None = Field(default=None, description="of one answer")
    version: Literal["production"] | None = Field(
        default=None, description="for `onnx`: the one that the registry has in production"
    )
    calibration: Points = Field(
        default=(),
        description="what it says of how sure it is, and how often that was right, in pairs; else "
        "it is believed",
    )
    purpose: str = Field(default="", description="what it is for, in a sentence")
    risk: Risk = Field(default="medium", description="what a wrong answer may do")

    @model_validator(mode="before")
    @classmethod
    def _person(cls, value: object) -> object:
        return with_person_defaults(value)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.adapter == "python" and self.use is None:
            raise refuse('a python model needs "use"; add use: "package.module:Name"')
        if self.adapter == "onnx" and self.use is not None:
            raise refuse('"use" belongs to adapter python; leave it out, or change the adapter')
        if self.adapter == "python" and self.file is not None:
            raise refuse('"file" belongs to adapter onnx; leave it out, or change the adapter')
        if self.adapter == "river" and self.file is None:
            raise refuse('a river model needs "file"; add the file that river_state wrote')
        if self.file is not None and self.sha256 is None:
            raise refuse('a model file needs its "sha256"; add what sha256sum prints for it')
        if self.file is not None and self.version is not None:
            raise refuse('"version" stands beside "file"; keep one of them')
        if not self.inputs and not self.reads:
            raise refuse("it sees nothing; add inputs: [..], names of features or number fields")
        if self.inputs and self.reads:
            raise refuse('"reads" stands beside "inputs"; name everything under reads')
        fault = (
            person_fault(self.kind, self.adapter, self.inputs, self)
            or text_fault(self.adapter, self.reads)
            or served_fault(self.adapter, self, self.cost)
            or guard_fault(self, self.timeout)
            or calibration_fault(self.adapter, self.calibration)
        )
        if fault is not None:
            raise refuse(fault)
        return self


class DecideEntry(_Entry):
    """One rule. The first whose `when` holds decides; the last is `otherwise`."""

    when: Expression | None = Field(default=None, description="true or false")
    otherwise: Outcome | None = Field(default=None, description="the outcome where no rule holds")
    outcome: Outcome | None = Field(default=None, description="the outcome where `when` holds")
    action: Name | None = Field(default=None, description="an action that follows")
    reason: Name | None = Field(default=None, description="the reason's code; else `rule_<number>`")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.when is None) == (self.otherwise is None):
            raise refuse('a rule has either "when" or "otherwise"; write one of them')
        if self.when is not None and self.outcome is None:
            raise refuse('"outcome" is missing beside "when"; add approve, review or block')
        if self.otherwise is not None and self.outcome is not None:
            raise refuse('"outcome" stands beside "otherwise"; "otherwise" names the outcome')
        return self


class EscalateEntry(_Entry):
    """Who reviews, and within what time."""

    queue: QueueName = Field(description="the reviewers")
    due: Duration = Field(default=1_800_000, description="from the decision on")


class ActionEntry(_Entry):
    """Something done to the world because of a decision."""

    version: Annotated[Whole, Field(ge=1)] = Field(
        default=1, description="raise it when the action means something else"
    )
    carries: Name | None = Field(
        default=None, description="the model whose value goes along; a tainted one does not act"
    )


class NotifyEntry(_Entry):
    """What people are told. The first rule whose `when` holds speaks."""

    when: Expression = Field(description="true or false, also of the `outcome`")
    severity: Severity = Field(default="warning", description="how loud")
    title: Annotated[str, Field(min_length=1, max_length=80)] = Field(
        description="what happened to the event, in a few words; unique"
    )


class LabelsEntry(_Entry):
    """What becomes known of an event later: `<pipeline>.feedback`."""

    data: Part = Field(alias="schema", description="the pydantic model of a label")
    id: FieldName = Field(description="the field that names the event")
    time: FieldName = Field(description="when it became known")
    of: FieldName = Field(description="the label itself: a true or false field")
    expire: Duration = Field(default=90 * _DAY_MS, description="a label without event is kept for")
