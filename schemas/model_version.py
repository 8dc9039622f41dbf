"""Versions of models, and where they stand: what `batuta.versions` and `batuta.control` carry.

A version is written once and never changes. Which one is live is a pointer, a record of its own
that the next one with its key replaces.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from batuta.schemas.times import EventTime

__all__ = ["KINDS", "STAGES", "Kind", "ModelVersion", "Pointer", "Risk", "SkillCard", "Stage"]

#: What a model is for.
Kind = Literal["ingestion", "cleaning", "predictive", "llm", "validation", "policy", "human"]
KINDS: Final[tuple[Kind, ...]] = (
    "ingestion",
    "cleaning",
    "predictive",
    "llm",
    "validation",
    "policy",
    "human",
)
#: What a wrong answer may do.
Risk = Literal["low", "medium", "high"]
#: Where a version stands on its way; `archived` is no way back into use by itself.
Stage = Literal["shadow", "canary", "production", "archived"]
STAGES: Final[tuple[Stage, ...]] = ("shadow", "canary", "production", "archived")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
VersionId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}@[0-9a-f]{12}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class SkillCard(_Part):
    """What whoever chooses among models must know of one.

    >>> SkillCard(kind="predictive", inputs=("amount",), latency_ms=20).risk
    'medium'
    """

    kind: Kind
    purpose: str = ""
    inputs: tuple[str, ...] = Field(default=(), description="what it sees")
    output: str = Field(default="score from 0 to 1", description="what it answers")
    cost: str = Field(default="", description="of one answer; empty where nothing is billed")
    latency_ms: Annotated[int, Field(ge=0)] = Field(description="a later answer counts as none")
    risk: Risk = "medium"


class ModelVersion(_Part):
    """One version of a model: written once."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    version_id: VersionId
    pipeline: Name
    model: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    stage: Literal["registered"] = "registered"
    adapter: Literal["onnx"] = "onnx"
    algorithm: str
    skill: SkillCard
    price: str = Field(default="", description="of one answer; empty where nothing is billed")
    registered_at: EventTime


class Pointer(_Part):
    """Which version of a model stands at a stage; for `archived`, one record per version."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    pipeline: Name
    model: Name
    stage: Stage
    points_to: VersionId | None = Field(description="null: none")
    set_at: EventTime

    @property
    def control_id(self) -> str:
        """The key of its record."""
        place = f"model/{self.pipeline}/{self.model}/{self.stage}"
        return f"{place}/{self.points_to}" if self.stage == "archived" else place
